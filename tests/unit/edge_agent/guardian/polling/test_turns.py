"""Turns: the silent ones never keep those waiting that answer."""

import asyncio

import pytest

from edge_agent.guardian.polling.turns import Turns


class Reads:
    """Reads that begin when they get their turn and end when they are told."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.began: list[str] = []
        self.end = asyncio.Event()

    def start(self, name: str, *, failing: bool = False) -> "asyncio.Task[None]":
        return asyncio.ensure_future(self._read(name, failing=failing))

    async def _read(self, name: str, *, failing: bool) -> None:
        async with self._turns.turn(failing=failing):
            self.began.append(name)
            await self.end.wait()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_so_many_at_a_time_and_the_next_when_one_is_done() -> None:
    reads = Reads(Turns(healthy=2, hold_s=60.0))
    tasks = [reads.start(name) for name in "abc"]
    await settle()
    assert reads.began == ["a", "b"]
    reads.end.set()
    await asyncio.gather(*tasks)
    assert reads.began == ["a", "b", "c"]


async def test_those_that_fail_wait_for_each_other_only() -> None:
    reads = Reads(Turns(healthy=1, failing=1, hold_s=60.0))
    tasks = [reads.start("dead 1", failing=True), reads.start("dead 2", failing=True), reads.start("alive")]
    await settle()
    assert reads.began == ["dead 1", "alive"]
    reads.end.set()
    await asyncio.gather(*tasks)


async def test_a_silent_device_loses_its_turn_and_is_waited_for_all_the_same() -> None:
    reads = Reads(Turns(healthy=1, hold_s=0.01))
    tasks = [reads.start(name) for name in "abc"]
    async with asyncio.timeout(5):
        while len(reads.began) < 3:
            await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    reads.end.set()
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("hold_s", [0.0, 60.0])
async def test_a_turn_is_given_back_once_however_it_ends(hold_s: float) -> None:
    turns = Turns(healthy=2, hold_s=hold_s)
    reads = Reads(turns)
    for task in [reads.start(name) for name in "ab"]:
        await settle()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    with pytest.raises(ZeroDivisionError):
        async with turns.turn(failing=False):
            raise ZeroDivisionError
    reads = Reads(Turns(healthy=2, hold_s=60.0)) if hold_s == 0 else Reads(turns)
    tasks = [reads.start(name) for name in "abc"]
    await settle()
    assert reads.began == ["a", "b"]
    reads.end.set()
    await asyncio.gather(*tasks)


async def test_whoever_stops_waiting_takes_nothing_along() -> None:
    reads = Reads(Turns(healthy=1, hold_s=60.0))
    first, second, third = (reads.start(name) for name in "abc")
    await settle()
    second.cancel()
    reads.end.set()
    await asyncio.gather(first, second, third, return_exceptions=True)
    assert reads.began == ["a", "c"]
