"""Runs a fleet of emulated machines and the clients that poll it, each in a process of its own."""

import asyncio
import contextlib
import os
import subprocess
import sys
import venv
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from support.guardian_bench import Site
from support.poll_bench_fleet import Counts, address

READY_WITHIN_S = 300.0
TESTS = Path(__file__).resolve().parents[1]
CACHE = "MINEWARDEN_BENCH_ENVIRONMENTS"
"""Names the folder in which peers are installed; without it `~/.cache/minewarden/bench`."""


class Polled(msgspec.Struct, frozen=True, kw_only=True):
    """What one client saw; `cpu_ms` is processor time per poll of one machine, all threads of its process."""

    polls: int
    failed: int
    why: str
    cpu_ms: float
    wall_s: float
    p50_ms: float
    p99_ms: float
    rss_mb: float


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A client's measurement with what the fleet counted meanwhile."""

    polled: Polled
    counts: Counts

    @property
    def requests(self) -> float:
        """Requests per poll: HTTP, and commands on the socket."""
        return (sum(self.counts.http.values()) + self.counts.socket) / max(self.polled.polls, 1)


class Fleet:
    """The emulated machines, running."""

    def __init__(self, process: asyncio.subprocess.Process, miners: int, port: int) -> None:
        self._process = process
        self.addresses = [address(number) for number in range(miners)]
        self.port = port
        self.pid = process.pid

    async def heard(self) -> Counts:
        """The next line that it says."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, "the fleet ended; see its words above"
        return msgspec.json.decode(line, type=Counts)

    async def counts(self) -> Counts:
        """Requests since the last time."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        return await self.heard()


@contextlib.asynccontextmanager
async def running_fleet(miners: int, port: int) -> AsyncIterator[Fleet]:
    """So many machines on one port of many addresses."""
    command = [sys.executable, "-P", "-m", "support.poll_bench_fleet", str(miners), str(port)]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment(ours=True)
    )
    try:
        fleet = Fleet(process, miners, port)
        async with asyncio.timeout(READY_WITHIN_S):
            await fleet.heard()
        yield fleet
    finally:
        await _end(process)


@contextlib.asynccontextmanager
async def running_silent_site(path: Path) -> AsyncIterator[Site]:
    """As `guardian_bench.running_site`, with machines that can fall silent."""
    command = [sys.executable, "-P", "-m", "support.poll_bench_site", str(path)]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment(ours=True), limit=64 << 20
    )
    try:
        site = Site(path, process)
        async with asyncio.timeout(READY_WITHIN_S):
            await site.told()
        yield site
    finally:
        await _end(process)


async def polled(fleet: Fleet, client: "Client", mode: str, seconds: float) -> Seen:
    """Have one client poll the fleet."""
    command = [*client.command, mode, str(seconds), str(fleet.port), *fleet.addresses]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment(ours=client.ours)
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            while (line := await process.stdout.readline()) != b"ready\n":
                assert line, f"{client.name} ended before it was ready; see its words above"
        await fleet.counts()
        process.stdin.write(b"\n")
        line = await process.stdout.readline()
        assert line, f"{client.name} ended without a result; see its words above"
        counts = await fleet.counts()
    finally:
        await _end(process)
    return Seen(polled=msgspec.json.decode(line, type=Polled), counts=counts)


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """One way to poll, and how its process is started."""

    name: str
    command: tuple[str, ...]
    ours: bool


def our(name: str) -> Client:
    """See `poll_bench_ours`."""
    return Client(name=name, command=(sys.executable, "-P", "-m", "support.poll_bench_ours", name), ours=True)


def peer(distribution: str, version: str, module: str) -> Client:
    """A package of others in a virtual environment of its own, made here unless it is there already.

    Raises `subprocess.CalledProcessError` with what pip said where it cannot be installed.
    """
    home = Path(os.environ.get(CACHE) or Path.home() / ".cache" / "minewarden" / "bench")
    folder = home / f"{distribution}-{version}"
    python, done = folder / "bin" / "python", folder / "installed"
    if not done.exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run(
            [
                python,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                f"{distribution}=={version}",
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        done.touch()
    command = (str(python), "-P", "-m", f"support.{module}")
    return Client(name=f"{distribution} {version}", command=command, ours=False)


def cpu_s(pid: int) -> float:
    """User and system time of a process, s."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _environment(*, ours: bool) -> dict[str, str]:
    paths = [str(TESTS.parent), str(TESTS)] if ours else [str(TESTS)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    await process.wait()
