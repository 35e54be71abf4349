"""Power orders end to end on a whole guardian: the meter decides, whatever the miners say (S17, S18; plant.md §5)."""

from pathlib import Path

from edge_agent.ipc import StandingState
from shared.alarms import EventKind
from shared.commands import (
    ActionOutcome,
    CancelOrder,
    CommandState,
    Curtail,
    RenewOrder,
    StandingCap,
)
from support.power import METER, PowerBench, miner_id

LONG = Curtail(target_w=10_000.0, deadline_s=120.0, duration_s=3600.0)


async def test_lowers_to_the_target_and_is_confirmed_by_the_meter(tmp_path: Path) -> None:
    bench = await PowerBench.begin(tmp_path)  # 6 x 2500 W + 1000 W
    assert bench.real_w == 16_000
    await bench.order(Curtail(target_w=14_000.0, deadline_s=120.0, duration_s=3600.0))
    assert bench.results("c-1")[0].command_state is CommandState.RUNNING
    await bench.run(30)
    assert bench.standing().state is StandingState.HOLDING
    assert bench.real_w <= 14_000 * 1.02
    assert bench.running == 6  # presets alone do it, so nothing stops
    final = bench.results("c-1")[-1]
    assert final.outcome is ActionOutcome.APPLIED
    assert final.command_state is CommandState.DONE
    await bench.close()


async def test_stops_miners_only_where_presets_are_not_enough(tmp_path: Path) -> None:
    bench = await PowerBench.begin(tmp_path)
    await bench.order(LONG)  # the lowest presets leave 13 kW
    await bench.run(60)
    assert bench.standing().state is StandingState.HOLDING
    assert 8_500 < bench.real_w <= 10_200
    assert bench.running == 4
    await bench.close()
