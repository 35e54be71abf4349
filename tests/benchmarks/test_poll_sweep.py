"""One sweep over 1,000 emulated miners by the guardian's own poller, against bare aiohttp on the same pages.

The machines run in a process of their own and share the cores with the poller, so requests per second is
about both; CPU time per miner is the poller's process alone.
"""

import asyncio
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import msgspec
import pytest

from edge_agent.guardian.polling.board import Board
from edge_agent.guardian.polling.link import CONCURRENT_READS, DeviceLink, Samples
from edge_agent.guardian.polling.poller import Poller
from edge_agent.guardian.polling.ring import Ring
from firmware_adapters.capabilities import Credential
from firmware_adapters.registry import open_device
from firmware_adapters.transport.http import AiohttpTransport, HttpReply
from shared.clock import SystemClock
from shared.ids import DeviceId
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind
from shared.units import Algorithm
from support.benchmark import Line, Turns, rounded

MINERS = 1_000
PER_ZONE = 100
REPEATS = 10
"""One whole round of the adapter's rarer pages: one on every second read, one on every fifth."""
TIMEOUT_S = 20.0
OPENS = Credential(user=None, secret="admin")
READY_WITHIN_S = 240.0
CADENCE_S = 0.05
"""Far shorter than a sweep takes, so the poller is always busy and its own limits shape the load."""


def _entries(port: int) -> list[DeviceEntry]:
    return [
        DeviceEntry(
            id=DeviceId(f"m-{number:04d}"),
            kind=DeviceKind.MINER,
            adapter="vnish",
            host=f"127.90.{number // 200}.{number % 200 + 1}",
            port=port,
            zone=f"c{number // PER_ZONE}",  # type: ignore[arg-type]  # a plain word is fine here
            model="s19jpro",
            algorithm=Algorithm.SHA256D,
            nominal_w=3068.0,
            safe_preset="1850",
        )
        for number in range(MINERS)
    ]


def _free_pair() -> int:
    """A port that is free with the one above it, on every address, and that no outgoing call may take."""
    for port in range(21_000, 30_000, 2):
        with socket.socket() as web, socket.socket() as cgminer, contextlib.suppress(OSError):
            web.bind(("0.0.0.0", port))
            cgminer.bind(("0.0.0.0", port + 1))
            return port
    raise RuntimeError("no two free ports between 21000 and 30000")


def _site_file(folder: Path, entries: list[DeviceEntry]) -> Path:
    """What the simulator reads of a site file."""
    lines = ["[site]", "simulated = true"]
    for number in range(MINERS // PER_ZONE):
        lines += ["[[zones]]", f'id = "c{number}"', 'cooling = "air"']
    for entry in entries:
        known = {name: value for name, value in msgspec.to_builtins(entry).items() if value is not None}
        lines += [
            "[[devices]]",
            *(f"{name} = {msgspec.json.encode(v).decode()}" for name, v in known.items()),
        ]
    path = folder / "site.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


@contextlib.asynccontextmanager
async def _simulator(site: Path) -> AsyncIterator[int]:
    """The emulated machines, answering; yields the process id."""
    command = [sys.executable, "-P", "-m", "shared.cli", "simulate", "--site", str(site)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(READY_WITHIN_S):
            said = await process.stdout.readline()
        assert said.startswith(b"simulating 1000 miners"), said
        yield process.pid
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


class _Counted(msgspec.Struct, kw_only=True):
    """What happened since the last look."""

    samples: int = 0
    failures: int = 0
    requests: int = 0


def _counting(count: _Counted) -> Callable[..., Awaitable[HttpReply]]:
    plain = AiohttpTransport.request

    async def request(self: AiohttpTransport, *words: object, **more: object) -> HttpReply:
        count.requests += 1
        return await plain(self, *words, **more)  # type: ignore[arg-type]  # passed on as it came

    return request


def _cpu_s(pid: int) -> float:
    """User and system time of a process, s."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One sweep: requests per second, and CPU milliseconds per miner of this process and the machines'."""

    took_s: float
    per_s: float
    cpu_ms: float
    machines_cpu_ms: float
    requests: float


async def _timed(pid: int, sweep: Callable[[], Awaitable[int]]) -> _Seen:
    """Run one sweep of all miners, which returns how many requests it made."""
    began_s, cpu_s, machines_s = time.perf_counter(), time.process_time(), _cpu_s(pid)
    requests = await sweep()
    took_s = time.perf_counter() - began_s
    return _Seen(
        took_s=took_s,
        per_s=requests / took_s,
        cpu_ms=(time.process_time() - cpu_s) * 1000 / MINERS,
        machines_cpu_ms=(_cpu_s(pid) - machines_s) * 1000 / MINERS,
        requests=requests,
    )


async def _poller_sweeps(entries: list[DeviceEntry], pid: int, count: _Counted) -> list[_Seen]:
    """Let the poller run freely; each sweep is the time that 1,000 good samples take."""
    clock = SystemClock()
    samples, turns = Samples("bench", Board(), Ring()), asyncio.Semaphore(CONCURRENT_READS)
    links = {
        entry.id: DeviceLink(
            entry,
            open_device(entry, OPENS, timeout_s=TIMEOUT_S),
            samples,
            clock,
            timeout_s=TIMEOUT_S,
            turns=turns,
        )
        for entry in entries
    }
    news, told = asyncio.Event(), set[DeviceId]()

    def on_news() -> None:
        count.samples += 1
        count.failures = sum(samples.failures.values())
        if count.samples >= MINERS:
            news.set()

    samples.on_news = on_news
    poller = Poller(
        links, clock, poll_s=CADENCE_S, urgent_poll_s=CADENCE_S, urgent=frozenset(), on_facts=told.add
    )
    running = asyncio.create_task(poller.run())

    async def sweep() -> int:
        news.clear()
        count.samples, before = 0, count.requests
        await news.wait()
        return count.requests - before

    try:
        async with asyncio.timeout(READY_WITHIN_S):
            while len(told) < MINERS:  # what a machine is, is asked once in ten minutes: not part of a sweep
                await sweep()
        return [await _timed(pid, sweep) for _ in range(REPEATS)]
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await asyncio.gather(*(link.close() for link in links.values()))


async def _bare_sweeps(entries: list[DeviceEntry], pid: int) -> list[_Seen]:
    """The two pages of an ordinary read, one session, bodies read and forgotten."""
    pages = [f"http://{entry.host}:{entry.port}/api/v1" for entry in entries]
    connector = aiohttp.TCPConnector(limit=CONCURRENT_READS)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def one(base: str) -> None:
            for page in ("/status", "/summary"):
                async with session.get(base + page) as reply:
                    assert reply.status == 200
                    assert len(await reply.read()) > 20

        async def sweep() -> int:
            left = iter(pages)

            async def worker() -> None:
                for base in left:
                    await one(base)

            await asyncio.gather(*(worker() for _ in range(CONCURRENT_READS)))
            return 2 * len(pages)

        await sweep()
        return [await _timed(pid, sweep) for _ in range(REPEATS)]


async def test_poll_sweep(
    tmp_path: Path, report: Callable[[Line], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = _free_pair()
    entries = _entries(port)
    count = _Counted()
    monkeypatch.setattr(AiohttpTransport, "request", _counting(count))
    async with _simulator(_site_file(tmp_path, entries)) as pid:
        ours = await _poller_sweeps(entries, pid, count)
        bare = await _bare_sweeps(entries, pid)
    assert count.failures == 0, "a sweep with failures is not a sweep"
    assert count.requests >= 2 * MINERS * REPEATS
    peer = "bare aiohttp, the same two pages, 64 at a time"
    per_s = Turns(ours=tuple(s.per_s for s in ours), peers=tuple(s.per_s for s in bare))
    cpu = Turns(ours=tuple(s.cpu_ms for s in ours), peers=tuple(s.cpu_ms for s in bare))
    requests = rounded(statistics.mean(seen.requests for seen in ours) / MINERS)
    machines = rounded(statistics.median(seen.machines_cpu_ms for seen in ours))
    sweep_s = rounded(statistics.median(seen.took_s for seen in ours))
    report(
        per_s.line(
            "poll requests",
            unit="requests/s",
            peer=peer,
            n=MINERS,
            more={"requests_per_read": requests, "sweep_s": sweep_s},
        )
    )
    report(cpu.line("poll cpu", unit="ms per miner", peer=peer, n=MINERS, more={"machines_cpu_ms": machines}))
