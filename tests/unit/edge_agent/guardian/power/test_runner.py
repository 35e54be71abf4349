"""What of power orders and windows outlives the guardian, and what must not."""

import asyncio
from pathlib import Path

import pytest

from edge_agent.guardian.power import book as books
from edge_agent.guardian.power.book import Book
from edge_agent.ipc import StandingState
from shared.commands import Curtail, DoActions, Schedule, SetPreset, StopMining
from shared.errors import StoreError
from support.guardian import ZONE, miner_id
from support.power import PowerBench


async def test_a_window_ends_when_it_was_promised_to_after_a_crash_too(tmp_path: Path) -> None:
    bench = await PowerBench.begin(tmp_path)
    now_ms = bench.clock.utc_ms()
    what = DoActions(actions=(SetPreset(device=miner_id(1), preset="2300"),))
    await bench.order(Schedule(start_ms=now_ms + 5_000, end_ms=now_ms + 125_000, what=what), "s-1")
    await bench.run(100.0)
    assert bench.standing("s-1").state is StandingState.RUNNING
    bench = await bench.crash()
    await bench.run(20.0)
    assert bench.standing("s-1").state is StandingState.RUNNING
    await bench.run(10.0)
    assert bench.standing("s-1").state is not StandingState.RUNNING
    await bench.close()


async def test_a_zone_restarts_no_miner_that_a_running_window_stops(tmp_path: Path) -> None:
    """It was started by its zone and stopped by its window, over and over; after the window it comes back."""
    bench = await PowerBench.begin(tmp_path)
    bench.wall.broken = True
    await bench.run(30.0)
    bench.wall.broken = False
    await bench.run(3.0)
    now_ms = bench.clock.utc_ms()
    what = DoActions(actions=(StopMining(device=miner_id(6)),))
    await bench.order(Schedule(start_ms=now_ms + 1_000, end_ms=now_ms + 601_000, what=what), "s-1")
    answer = asyncio.ensure_future(bench.guardian.persons.reset(ZONE, by="ada", reason="belt replaced"))
    await bench.drain()
    await answer
    await bench.run(500.0)
    assert bench.running == 5
    assert "start" not in bench.miner(6).writes
    await bench.run(400.0)
    assert bench.running == 6
    await bench.close()


async def test_an_end_that_the_disk_did_not_take_is_told_to_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the order that has ended would lower miners once more after the next crash."""
    bench = await PowerBench.begin(tmp_path)
    await bench.order(Curtail(target_w=14_000.0, deadline_s=60.0, duration_s=60.0))
    await bench.run(50.0)
    power = bench.guardian.power
    path = power._path

    def full(_path: Path, _book: Book) -> None:
        raise StoreError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(books, "save", full)
        for _ in range(20):
            await bench.run(10.0)
            if power.book.power.idle:
                break
        assert power.book.power.idle
        await bench.run(5.0)
    assert not books.load(path)[0].power.idle
    await bench.run(5.0)
    assert books.load(path)[0].power.idle
    await bench.close()
