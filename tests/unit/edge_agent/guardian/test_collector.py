"""The collector leaves alone what stays, and still finds what went."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from edge_agent.guardian import collector
from shared.clock import ManualClock


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


class Node:
    """Something that can point to itself."""

    def __init__(self) -> None:
        self.me: Node | None = None


async def test_what_is_alive_is_out_of_sight_twice_and_cycles_are_not_kept() -> None:
    clock, before = ManualClock(), gc.get_freeze_count()
    sparing = asyncio.ensure_future(collector.spare(clock))
    await asyncio.sleep(0)
    first = gc.get_freeze_count()
    assert first > before + 10_000
    assert gc.get_threshold() == collector.THRESHOLDS
    later, cycle = [[] for _ in range(1000)], Node()
    cycle.me, gone = cycle, weakref.ref(cycle)
    del cycle
    clock.advance(collector.SETTLED_AFTER_S)
    await sparing
    assert gone() is None
    assert gc.get_freeze_count() >= first + len(later)
