"""A third of the fleet falls silent in one moment: the rest keeps its cadence (edge.md F16)."""

import asyncio

from edge_agent.guardian.polling.board import Board
from edge_agent.guardian.polling.link import DeviceLink, Samples
from edge_agent.guardian.polling.poller import Poller
from edge_agent.guardian.polling.ring import Ring
from edge_agent.guardian.polling.turns import Turns
from firmware_adapters.capabilities import Observation
from shared.clock import SystemClock
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind
from support.guardian import FakeMiner

MINERS = 90
POLL_S = 0.2
TIMEOUT_S = 0.1
"""So a silent one takes 0.4 s, twice the cadence."""
ROUNDS = 8


class Silent(FakeMiner):
    """Takes a connection and never says a word."""

    async def read(self) -> Observation:
        self.reads += 1
        await asyncio.Event().wait()
        raise AssertionError


def entry(number: int) -> DeviceEntry:
    return DeviceEntry(
        id=DeviceId(f"m-{number}"),
        kind=DeviceKind.MINER,
        adapter="vnish",
        host="h",
        port=80,
        zone=ZoneId("z"),
    )


async def rounds(fakes: list[FakeMiner]) -> float:
    """Poll until each healthy one was read `ROUNDS` times and each silent one was asked; the time in s."""
    samples, turns, clock = (
        Samples("b", Board(), Ring()),
        Turns(healthy=4, failing=1, hold_s=0.01),
        SystemClock(),
    )
    links = {
        fake.entry.id: DeviceLink(fake.entry, fake, samples, clock, timeout_s=TIMEOUT_S, turns=turns)
        for fake in fakes
    }
    poller = Poller(
        links,
        clock,
        periods_s=dict.fromkeys(links, POLL_S),
        urgent=frozenset(),
        on_facts=lambda _: None,
    )
    began_s = clock.monotonic()
    running = asyncio.ensure_future(poller.run())
    async with asyncio.timeout(60):
        while any(fake.reads < (1 if isinstance(fake, Silent) else ROUNDS) for fake in fakes):
            await clock.sleep(POLL_S / 10)
    took_s = clock.monotonic() - began_s
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return took_s


async def test_the_rest_keeps_its_cadence() -> None:
    """With turns held for a whole deadline the silent thirty alone would need 30 * 0.4 / 4 = 3 s a round."""
    healthy = [entry(number) for number in range(MINERS) if number % 3]
    alone_s = await rounds([FakeMiner(one) for one in healthy])
    silent = [Silent(entry(number)) for number in range(0, MINERS, 3)]
    beside_s = await rounds([*silent, *(FakeMiner(one) for one in healthy)])
    assert beside_s < 3 * alone_s
    assert max(fake.reads for fake in silent) <= ROUNDS / 2 * max(1.0, beside_s / (ROUNDS * POLL_S))
