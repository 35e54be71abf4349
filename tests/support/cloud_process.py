"""The cloud as a process of its own, on a real broker."""

import contextlib
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from support.cloud import configure
from support.ports import free_port


class CloudProcess:
    """`python -P -m cloud run`, which can be killed and started again on the same data."""

    def __init__(self, folder: Path, broker_port: int, *, extra: str = "") -> None:
        self.port = free_port()
        self.folder = folder
        self._config = configure(folder, broker_port=broker_port, http_port=self.port, extra=extra)
        self._log = (folder / "cloud.log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, ready: bool = True) -> None:
        command = [sys.executable, "-P", "-m", "cloud", "run", "--config", str(self._config)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdout=self._log, stderr=self._log, env=environment)
        while ready and not self.answers("/health/ready"):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=0.1)  # ends early only where the process does
                raise AssertionError(self.log())

    def start_worker(self, number: int) -> subprocess.Popen[bytes]:
        """One more ingest process on the same configuration; the caller ends it."""
        command = [sys.executable, "-P", "-m", "cloud", "ingest", "--worker", str(number)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            [*command, "--config", str(self._config)], stdout=self._log, stderr=self._log, env=environment
        )

    def answers(self, path: str) -> bool:
        url = f"http://127.0.0.1:{self.port}{path}"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
        return False

    def log(self) -> str:
        return (self.folder / "cloud.log").read_text()

    def kill(self) -> None:
        """As the kernel would, in the middle of whatever it does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=20)

    def stop(self) -> int:
        """As a service manager would; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self._log.close()
