"""A mosquitto of our own on loopback, that can be killed and started again."""

import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from support.ports import free_port

PROGRAM = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


def why_not() -> str | None:
    """Why no broker can be started here; None where one can."""
    return None if PROGRAM else "mosquitto is not installed (apt-get install mosquitto)"


class Broker:
    """A broker without persistence: what it held is gone when it is killed, which is the hard case."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
            "max_queued_messages 100000\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert PROGRAM is not None
        self._process = subprocess.Popen(
            [PROGRAM, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=0.02)  # ends early only where the broker does
                raise RuntimeError("mosquitto did not start")

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(timeout=10)
            self._process = None


@contextmanager
def broker(folder: Path) -> Iterator[Broker]:
    found = Broker(folder)
    found.start()
    try:
        yield found
    finally:
        found.kill()
