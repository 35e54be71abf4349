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


async def test_the_rest_keeps_its_cadence() -> None:
    """With turns held for a whole deadline the silent thirty alone would need 30 * 0.4 / 4 = 3 s a round."""
    samples, turns, clock = (
        Samples("b", Board(), Ring()),
        Turns(healthy=4, failing=1, hold_s=0.01),
        SystemClock(),
    )
    fakes = [(Silent if number % 3 == 0 else FakeMiner)(entry(number)) for number in range(MINERS)]
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
    running = asyncio.ensure_future(poller.run())
    await clock.sleep(ROUNDS * POLL_S)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    healthy = [fake.reads for fake in fakes if not isinstance(fake, Silent)]
    silent = [fake.reads for fake in fakes if isinstance(fake, Silent)]
    assert min(healthy) >= ROUNDS * 0.6
    assert min(silent) >= 1
    assert max(silent) <= ROUNDS / 2
