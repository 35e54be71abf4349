"""How long one sweep takes by number of miners: the guardian's own poller against bare aiohttp, same pages.

The machines run in a process of their own and share the cores with the poller, so requests per second is
about both; CPU time per miner is the poller's process alone.
"""

import asyncio
import contextlib
import socket
import statistics
import time
from collections.abc import Awaitable, Callable

import aiohttp
import msgspec
import pytest

from edge_agent.guardian.polling.board import Board
from edge_agent.guardian.polling.link import DeviceLink, Samples
from edge_agent.guardian.polling.open_files import raise_limit
from edge_agent.guardian.polling.poller import Poller
from edge_agent.guardian.polling.ring import Ring
from edge_agent.guardian.polling.turns import CONCURRENT_READS, Turns
from firmware_adapters.capabilities import Credential
from firmware_adapters.registry import open_device
from shared.clock import SystemClock
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind
from support.benchmark import Line, rounded
from support.benchmark import Turns as Both
from support.poll_bench import Fleet, cpu_s, running_fleet

SIZES = (100, 300, 1_000, 3_000, 10_000)
REPEATS = 10
"""One whole round of the adapter's rarer pages: one on every second read, one on every fifth."""
REPEATS_LARGE = 5
LARGE = 3_000
TIMEOUT_S = 20.0
OPENS = Credential(user=None, secret="admin")
SETTLE_SWEEPS = 2
"""A machine's first reads ask more pages than the later ones."""
CADENCE_S = 0.05
"""Far shorter than a sweep takes, so the poller is always busy and its own limits shape the load."""


def _free_pair() -> int:
    """A port that is free with the one above it, on every address, and that no outgoing call may take."""
    for port in range(21_000, 30_000, 2):
        with socket.socket() as web, socket.socket() as cgminer, contextlib.suppress(OSError):
            web.bind(("0.0.0.0", port))
            cgminer.bind(("0.0.0.0", port + 1))
            return port
    raise RuntimeError("no two free ports between 21000 and 30000")


async def _learn(link: DeviceLink, places: asyncio.Semaphore) -> None:
    """What the machine is: asked once in ten minutes, so no part of a sweep."""
    async with places:
        assert await link.read_facts(), f"{link.device} does not tell what it is"


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One sweep: how long, and CPU milliseconds per miner of this process and the machines'."""

    took_s: float
    cpu_ms: float
    machines_cpu_ms: float


class _Sweeps:
    """Sweeps of one fleet, timed."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.miners = len(fleet.addresses)
        self._repeats = REPEATS if self.miners < LARGE else REPEATS_LARGE

    async def timed(self, sweep: Callable[[], Awaitable[None]]) -> _Seen:
        """Run one sweep of all miners."""
        pid = self.fleet.pid
        began_s, used_s, machines_s = time.perf_counter(), time.process_time(), cpu_s(pid)
        await sweep()
        return _Seen(
            took_s=time.perf_counter() - began_s,
            cpu_ms=(time.process_time() - used_s) * 1000 / self.miners,
            machines_cpu_ms=(cpu_s(pid) - machines_s) * 1000 / self.miners,
        )

    async def by_poller(self) -> tuple[list[_Seen], float]:
        """Let the poller run freely; a sweep is the time that as many good samples as miners take.

        With the sweeps comes how many requests a read was.
        """
        samples, turns, clock = Samples("bench", Board(), Ring()), Turns(), SystemClock()
        links = {
            entry.id: DeviceLink(
                entry,
                open_device(entry, OPENS, timeout_s=TIMEOUT_S),
                samples,
                clock,
                timeout_s=TIMEOUT_S,
                turns=turns,
            )
            for entry in map(self._entry, self.fleet.addresses)
        }
        news, good, places = asyncio.Event(), 0, asyncio.Semaphore(CONCURRENT_READS)

        def on_news() -> None:
            nonlocal good
            good += 1
            if good >= self.miners:
                news.set()

        samples.on_news = on_news
        poller = Poller(
            links,
            clock,
            periods_s=dict.fromkeys(links, CADENCE_S),
            urgent=frozenset(),
            on_facts=lambda _device: None,
        )
        await asyncio.gather(*(_learn(link, places) for link in links.values()))
        running = asyncio.create_task(poller.run())

        async def sweep() -> None:
            nonlocal good
            news.clear()
            good = 0
            await news.wait()

        try:
            for _ in range(SETTLE_SWEEPS):
                await sweep()
            await self.fleet.counts()
            polls, seen = samples.polls, [await self.timed(sweep) for _ in range(self._repeats)]
            counts, polls = await self.fleet.counts(), samples.polls - polls
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await asyncio.gather(*(link.close() for link in links.values()))
        assert not samples.failures, f"a sweep with failures is not a sweep: {samples.failures}"
        return seen, (sum(counts.http.values()) + counts.socket) / polls

    def _entry(self, address: str) -> DeviceEntry:
        return DeviceEntry(
            id=DeviceId(address),
            kind=DeviceKind.MINER,
            adapter="vnish",
            host=address,
            port=self.fleet.port,
            zone=ZoneId("z"),
        )

    async def by_aiohttp(self) -> list[_Seen]:
        """The two pages of an ordinary read, one session, bodies read and forgotten."""
        pages = [f"http://{address}:{self.fleet.port}/api/v1" for address in self.fleet.addresses]
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def one(base: str) -> None:
                for page in ("/status", "/summary"):
                    async with session.get(base + page) as reply:
                        assert reply.status == 200
                        assert len(await reply.read()) > 20

            async def sweep() -> None:
                left = iter(pages)

                async def worker() -> None:
                    for base in left:
                        await one(base)

                await asyncio.gather(*(worker() for _ in range(CONCURRENT_READS)))

            await sweep()
            return [await self.timed(sweep) for _ in range(self._repeats)]


@pytest.mark.parametrize("miners", SIZES)
async def test_poll_sweep(miners: int, report: Callable[[Line], None]) -> None:
    raise_limit()
    async with running_fleet(miners, _free_pair()) as fleet:
        sweeps = _Sweeps(fleet)
        ours, requests = await sweeps.by_poller()
        bare = await sweeps.by_aiohttp()
    assert requests > 1.9  # what is under way at both ends is counted by halves
    peer = "bare aiohttp, the same two pages, 64 at a time, not parsed"
    took = Both(ours=tuple(seen.took_s for seen in ours), peers=tuple(seen.took_s for seen in bare))
    cpu = Both(ours=tuple(seen.cpu_ms for seen in ours), peers=tuple(seen.cpu_ms for seen in bare))
    machines = rounded(statistics.median(seen.machines_cpu_ms for seen in ours))
    worst = rounded(max(seen.took_s for seen in ours))
    more = {"requests_per_read": rounded(requests), "slowest_s": worst}
    report(took.line("poll sweep", unit="s", peer=peer, n=miners, more=more))
    report(cpu.line("poll cpu", unit="ms per miner", peer=peer, n=miners, more={"machines_cpu_ms": machines}))
