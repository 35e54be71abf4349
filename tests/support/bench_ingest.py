"""What the benchmarks of ingest share: a broker that is not there, and a server that really writes."""

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cloud.migrations.versions.v0001_series import NUMBERS
from support import postgres
from support.ports import free_port


class Sink:
    """Stands for the broker: takes acknowledgements and drops them."""

    generation = 1

    def acknowledge(self, mid: int, qos: int, generation: int) -> None:
        """Nothing to do."""

    def post(self, topic: str, payload: bytes) -> None:
        """Nothing to do."""


def plain_table(*, keyed: bool = False) -> str:
    """Makes `plain`, the peer's table on PostgreSQL: the same columns; `keyed`: with the same key as ours."""
    numbers = ", ".join(f"{name} double precision" for name in NUMBERS)
    return (
        "CREATE TABLE plain (site text, device text, at_ms bigint, step_s integer, kind text, "
        "algorithm text, samples integer, failed integer, quality smallint, state text, preset text, "
        f"{numbers}{', PRIMARY KEY (site, device, at_ms)' if keyed else ''})"
    )


@contextmanager
def durable_server() -> Iterator[int]:
    """PostgreSQL as it comes, fsync on; yields the port. The tests' own server writes nothing to the disk."""
    user, folder = postgres._user(), Path(tempfile.mkdtemp(prefix="minewarden-bench-"))
    folder.chmod(0o711)
    data, port = folder / "data", free_port()
    data.mkdir()
    if user is not None:
        shutil.chown(data, user)
    make = [postgres._program("initdb"), "-D", str(data), "-U", "tester", "-A", "trust", "-E", "UTF8"]
    subprocess.run([*make, "--locale=C"], check=True, capture_output=True, user=user, cwd="/")
    command = [postgres._program("postgres"), "-D", str(data), "-p", str(port)]
    command += ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
    process = subprocess.Popen(command, user=user, cwd="/", stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert any("ready to accept connections" in line for line in process.stderr)
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        process.stderr.close()
        process.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)
