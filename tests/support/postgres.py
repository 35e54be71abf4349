"""A PostgreSQL server of our own for the tests, from the system's binaries, and databases in it.

The server refuses to run as root, so then it runs as the user `postgres` in a folder that user can
reach (pytest's own folders are 0700).
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from support.ports import free_port

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))


def why_not() -> str | None:
    """Why no server can be started here; None where one can."""
    if shutil.which("postgres") is None and not BINARIES:
        return "PostgreSQL is not installed (apt-get install postgresql)"
    return None


def _program(name: str) -> str:
    found = shutil.which(name)
    return found if found is not None else str(BINARIES[-1] / name)


def _user() -> str | None:
    return "postgres" if os.geteuid() == 0 else None


class Server:
    """A server that can be stopped and started; `url` of any database in it."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._made = 0
        self._has_template = False
        self.port = free_port()

    def start(self) -> None:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",
            "full_page_writes": "off",
            "max_connections": "50",
            "shared_buffers": "32MB",
        }
        words = " ".join(f"-c {name}='{value}'" for name, value in options.items())
        self._control("start", "-w", "-l", str(self._data / "log"), "-o", words)

    def stop(self) -> None:
        """End it at once, as a crash would."""
        self._control("stop", "-m", "immediate")

    def url(self, name: str) -> str:
        return f"postgresql+asyncpg://tester@127.0.0.1:{self.port}/{name}"

    def create(self) -> str:
        """A new empty database; its URL."""
        self._made += 1
        name = f"test_{self._made}"
        command = [_program("createdb"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "tester", name]
        subprocess.run(command, check=True, capture_output=True)
        return self.url(name)

    def copied(self, make: Callable[[str], None]) -> str:
        """A database as `make(url)` left its first one: much quicker than migrating one per test."""
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "tester"]
        if not self._has_template:
            subprocess.run([_program("createdb"), *where, "made"], check=True, capture_output=True)
            make(self.url("made"))
            self._has_template = True
        sql = [
            "-c",
            "DROP DATABASE IF EXISTS copied WITH (FORCE)",
            "-c",
            "CREATE DATABASE copied TEMPLATE made",
        ]
        command = [_program("psql"), "-q", *where, "-d", "postgres", *sql]
        subprocess.run(command, check=True, capture_output=True)
        return self.url("copied")

    def emptied(self) -> str:
        """The shared database with nothing in it: much quicker than a new one per test."""
        sql = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "tester", "-d", "postgres"]
        subprocess.run([_program("psql"), "-q", *where, "-c", sql], check=True, capture_output=True)
        return self.url("postgres")

    def _control(self, *words: str) -> None:
        command = [_program("pg_ctl"), "-D", str(self._data), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, user=_user(), cwd="/")


@contextmanager
def server() -> Iterator[Server]:
    """Start a server on loopback, without fsync, and take it down with its folder."""
    folder = Path(tempfile.mkdtemp(prefix="minewarden-pg-"))
    try:
        folder.chmod(0o711)
        data = folder / "data"
        data.mkdir()
        if (user := _user()) is not None:
            shutil.chown(data, user)
        init = [_program("initdb"), "-D", str(data), "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run([*init, "--locale=C"], check=True, capture_output=True, user=user, cwd="/")
        found = Server(data)
        found.start()
        try:
            yield found
        finally:
            with suppress(subprocess.CalledProcessError):  # a test may have stopped it
                found.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
