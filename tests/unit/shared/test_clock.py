"""The manual clock stands still until it is moved."""

import asyncio

from shared.clock import ManualClock, SystemClock


def test_advance_moves_both_clocks_and_a_wall_step_only_one() -> None:
    clock = ManualClock(monotonic_s=5.0, utc_ms=1_000)
    clock.advance(2.5)
    clock.step_wall(-500)
    assert (clock.monotonic(), clock.utc_ms()) == (7.5, 3_000)


async def test_sleepers_wake_in_order_of_their_time() -> None:
    clock, woken = ManualClock(), list[str]()

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(sleeper("late", 2.0))
        group.create_task(sleeper("early", 1.0))
        await asyncio.sleep(0)
        clock.advance(1.0)
        await asyncio.sleep(0)
        assert woken == ["early"]
        clock.advance(1.0)
    assert woken == ["early", "late"]


def test_system_clock_is_milliseconds_since_1970() -> None:
    clock = SystemClock()
    assert clock.utc_ms() > 1_700_000_000_000
    assert clock.monotonic() <= clock.monotonic()
