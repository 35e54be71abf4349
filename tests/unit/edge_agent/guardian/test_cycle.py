"""How long a turn counts for, and that a late one is told (S19)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_agent.guardian.cycle import ASLEEP_DT_S, LOOP_DEAF_S, counted
from edge_agent.ipc import Mode
from shared.alarms import EventKind
from support.guardian import GuardianBench, make_site


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[GuardianBench]:
    bench = GuardianBench(make_site(tmp_path))
    await bench.start()
    yield bench
    await bench.close()


def test_a_slow_turn_counts_in_full_and_one_of_a_machine_that_slept_for_a_second() -> None:
    assert counted(0.25) == 0.25
    assert counted(LOOP_DEAF_S) == LOOP_DEAF_S
    assert counted(LOOP_DEAF_S + 0.1) == ASLEEP_DT_S
    assert counted(-5.0) == 0.0


async def test_delays_do_not_stretch_on_a_gateway_whose_turns_come_late(bench: GuardianBench) -> None:
    """Cooling counts as lost after 4 s: two turns of 3 s are enough."""
    bench.wall.broken = True
    for _ in range(3):
        bench.clock.advance(3.0)
        await bench.turn()
    assert bench.mode is Mode.TRIPPED


async def test_late_turns_are_told_once(bench: GuardianBench) -> None:
    for _ in range(3):
        bench.clock.advance(3.0)
        await bench.turn()
    await bench.run(1.0)
    assert [e.key for e in bench.events(EventKind.ALARM)].count("guardian/late") == 1
