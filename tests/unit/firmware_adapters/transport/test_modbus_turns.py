"""Turns on a connection: one at a time, in order, writes first, and none is lost when somebody gives up."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.transport.modbus_turns import Turns


class Log:
    """Who had a turn, in which order; never two at a time."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.order: list[str] = []
        self.inside = 0

    async def one(self, name: str, *, urgent: bool = False, hold: asyncio.Event | None = None) -> None:
        async with self.turns.take(urgent=urgent):
            self.inside += 1
            assert self.inside == 1
            self.order.append(name)
            if hold is not None:
                await hold.wait()
            await asyncio.sleep(0)
            self.inside -= 1


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_reads_in_order_and_a_write_before_all_that_wait() -> None:
    log, hold = Log(), asyncio.Event()
    tasks = [asyncio.create_task(log.one("r0", hold=hold))]
    await _settle()
    tasks += [asyncio.create_task(log.one(f"r{n}")) for n in (1, 2, 3)]
    await _settle()
    tasks += [asyncio.create_task(log.one(f"w{n}", urgent=True)) for n in (1, 2)]
    await _settle()
    hold.set()
    await asyncio.gather(*tasks)
    assert log.order == ["r0", "w1", "w2", "r1", "r2", "r3"]


async def test_one_that_gives_up_while_waiting_loses_nobodys_turn() -> None:
    log, hold = Log(), asyncio.Event()
    first = asyncio.create_task(log.one("first", hold=hold))
    await _settle()
    gives_up, stays = asyncio.create_task(log.one("gives up")), asyncio.create_task(log.one("stays"))
    await _settle()
    gives_up.cancel()
    await _settle()
    hold.set()
    await asyncio.gather(first, stays)
    assert log.order == ["first", "stays"]


async def test_one_that_gives_up_in_the_moment_of_its_turn_hands_it_on() -> None:
    turns = Turns()
    held = turns.take(urgent=False)
    await held.__aenter__()
    order: list[str] = []

    async def one(name: str) -> None:
        async with turns.take(urgent=False):
            order.append(name)

    waiting, behind = asyncio.create_task(one("waiting")), asyncio.create_task(one("behind"))
    await _settle()
    await held.__aexit__(None, None, None)  # the turn is handed on, but `waiting` has not run yet
    waiting.cancel()
    await asyncio.gather(waiting, behind, return_exceptions=True)
    assert order == ["behind"]
    await asyncio.wait_for(one("later"), 1)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20))
async def test_whoever_gives_up_the_rest_all_come(plan: list[tuple[bool, bool]]) -> None:
    log, hold = Log(), asyncio.Event()
    gate = asyncio.create_task(log.one("gate", hold=hold))
    await _settle()
    tasks = [asyncio.create_task(log.one(str(n), urgent=urgent)) for n, (urgent, _) in enumerate(plan)]
    await _settle()
    for task, (_, gives_up) in zip(tasks, plan, strict=True):
        if gives_up:
            task.cancel()
    hold.set()
    await asyncio.gather(gate, *tasks, return_exceptions=True)
    stayed = {str(n) for n, (_, gives_up) in enumerate(plan) if not gives_up}
    assert set(log.order) == {"gate"} | stayed
    await asyncio.wait_for(log.one("after"), 1)
