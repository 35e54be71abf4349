"""What an order stopped stays stopped: neither the zone's restart nor a power order's end starts it."""

import asyncio
from pathlib import Path

from edge_agent.ipc import Mode
from shared.commands import ActionOutcome, Curtail, DoActions, StartMining, StopMining
from shared.telemetry import MinerState
from support.guardian import ZONE, miner_id
from support.power import PowerBench

STOP_6 = DoActions(actions=(StopMining(device=miner_id(6)),))


async def _reset_after_a_trip(bench: PowerBench) -> None:
    bench.wall.broken = True
    await bench.run(30.0)
    assert bench.mode is Mode.TRIPPED
    assert bench.running == 0
    bench.wall.broken = False
    await bench.run(3.0)
    answer = asyncio.ensure_future(bench.guardian.persons.reset(ZONE, by="ada", reason="belt replaced"))
    await bench.drain()
    await answer


async def test_the_zones_restart_leaves_out_what_an_order_stopped(tmp_path: Path) -> None:
    bench = await PowerBench.begin(tmp_path)
    await _reset_after_a_trip(bench)
    await bench.order(STOP_6, "stop-6")
    await bench.run(400.0)
    assert bench.running == 5
    assert bench.miner(6).state is MinerState.STOPPED
    assert "start" not in bench.miner(6).writes
    await bench.close()


async def test_the_end_of_a_curtailment_does_not_start_what_an_order_stopped(tmp_path: Path) -> None:
    bench = await PowerBench.begin(tmp_path)
    await bench.order(Curtail(target_w=2_000.0, deadline_s=60.0, duration_s=120.0))
    await bench.run(80.0)
    assert bench.running == 0
    await bench.order(STOP_6, "stop-6")
    assert bench.results("stop-6")[0].outcome is ActionOutcome.APPLIED
    await bench.run(600.0)
    assert bench.running == 5
    assert bench.miner(6).state is MinerState.STOPPED
    await bench.close()


async def test_a_power_order_brings_back_what_it_stopped_itself(tmp_path: Path) -> None:
    """Its own stops come through the same door and must not be forgotten."""
    bench = await PowerBench.begin(tmp_path)
    await bench.order(Curtail(target_w=2_000.0, deadline_s=60.0, duration_s=120.0))
    await bench.run(80.0)
    assert len(bench.guardian.power.book.power.goals) == 6
    await bench.run(600.0)
    assert bench.running == 6
    await bench.close()


async def test_what_an_order_stopped_an_order_starts(tmp_path: Path) -> None:
    bench = await PowerBench.begin(tmp_path)
    await bench.order(STOP_6, "stop-6")
    await bench.run(60.0)
    await bench.order(DoActions(actions=(StartMining(device=miner_id(6)),)), "start-6")
    assert bench.results("start-6")[0].outcome is ActionOutcome.APPLIED
    await bench.close()
