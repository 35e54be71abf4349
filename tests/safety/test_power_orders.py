"""Power orders on a whole guardian: the meter decides, whatever the miners say (S17, S18; plant.md §5)."""

import asyncio
from pathlib import Path

import pytest

from edge_agent.guardian.interlocks.asks import Granted
from edge_agent.guardian.requests import Refusal, Request, Source
from edge_agent.ipc import Mode, PlanRequest, StandingState
from shared.alarms import EventKind
from shared.commands import (
    ActionOutcome,
    AnyOrder,
    CancelOrder,
    CommandState,
    Curtail,
    DoActions,
    Priority,
    RenewOrder,
    Schedule,
    SetPreset,
    StandingCap,
)
from shared.errors import StoreError, Unreachable
from shared.ids import CommandId
from shared.telemetry import MinerState
from support.guardian import ZONE, miner_id, signed_order
from support.power import CAP, MAINS, UPS, PowerBench

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


async def test_miners_that_lie_do_not_confirm_a_target(tmp_path: Path) -> None:
    """The meter reads more than the miners tell: more of them go down, and only the meter confirms."""
    bench = await PowerBench.begin(tmp_path)
    bench.lie_w = 1_000.0
    await bench.order(Curtail(target_w=14_000.0, deadline_s=120.0, duration_s=3600.0))
    await bench.run(40)
    assert bench.standing().state is StandingState.HOLDING
    assert bench.real_w + bench.lie_w <= 14_000 * 1.02
    await bench.close()


async def test_an_unknown_meter_counts_commands_and_confirms_nothing(tmp_path: Path) -> None:
    bench = await PowerBench.begin(tmp_path)
    bench.known = False
    await bench.run(10)
    await bench.order(LONG)
    await bench.run(150)
    assert bench.real_w <= 10_200
    assert bench.running >= 3  # counted once, not again and again
    assert bench.standing().state is StandingState.RUNNING
    assert bench.standing().meter_w is None
    final = bench.results("c-1")[-1]
    assert final.outcome is ActionOutcome.UNCONFIRMED
    assert "deadline" in final.detail
    bench.known = True
    await bench.run(15)
    assert bench.standing().state is StandingState.HOLDING
    await bench.close()


async def test_what_does_not_obey_or_answer_is_replaced_by_others(tmp_path: Path) -> None:
    """A third of the site hears nothing or does nothing."""
    bench = await PowerBench.begin(tmp_path)
    bench.miner(1).fail = Unreachable("gone")
    bench.miner(2).ignores = True
    await bench.run(20)
    await bench.order(Curtail(target_w=11_000.0, deadline_s=300.0, duration_s=3600.0))
    await bench.run(200)
    assert bench.standing().state is StandingState.HOLDING, bench.real_w
    assert bench.real_w <= 11_000 * 1.02
    assert bench.miner(1).state is MinerState.MINING
    assert [e for e in bench.events(EventKind.ALARM) if "take its place" in e.title]
    await bench.close()


async def test_a_target_that_cannot_be_reached_is_reported_late_with_what_was(tmp_path: Path) -> None:
    bench = await PowerBench.begin(tmp_path)
    bench.base_w = 9_000.0
    await bench.run(5)
    await bench.order(Curtail(target_w=5_000.0, deadline_s=60.0, duration_s=3600.0))
    await bench.run(70)
    final = bench.results("c-1")[-1]
    assert final.outcome is ActionOutcome.PARTIAL
    assert "9.1 kW" in final.detail
    assert bench.running == 0
    assert [e for e in bench.events(EventKind.ALARM) if "is late" in e.title]
    await bench.close()


async def test_a_miner_that_climbs_back_is_told_again(tmp_path: Path) -> None:
    bench = await PowerBench.begin(tmp_path)
    await bench.order(LONG)
    await bench.run(40)
    stopped = [fake for fake in bench.miners if fake.state is MinerState.STOPPED]
    lowered = [fake for fake in bench.miners if fake.preset == "2000"]
    stopped[0].state = MinerState.MINING  # rebooted, and mines again
    lowered[0].preset, lowered[0].power_w = "2500", 2500.0  # its preset switcher
    await bench.run(40)
    assert stopped[0].state is MinerState.STOPPED
    assert lowered[0].preset == "2000"
    assert bench.real_w <= 10_200
    await bench.close()


async def test_a_running_order_survives_a_crash_and_comes_back_from_what_ran_before(tmp_path: Path) -> None:
    bench = await PowerBench.begin(tmp_path)
    await bench.order(Curtail(target_w=10_000.0, deadline_s=60.0, duration_s=300.0))
    await bench.run(40)
    for fake in bench.miners:  # a power cut: everything mines again, at the preset it had
        fake.state = MinerState.MINING
    bench = await bench.crash()
    assert bench.guardian.power.held
    await bench.run(60)
    assert bench.standing().state is StandingState.HOLDING
    assert bench.real_w <= 10_200
    await bench.run(500)
    assert bench.standing().state is StandingState.ENDED
    assert bench.running == 6
    assert {fake.preset for fake in bench.miners} == {"2500"}
    await bench.close()


async def test_a_crash_while_miners_come_back_forgets_none(tmp_path: Path) -> None:
    bench = await PowerBench.begin(tmp_path)
    await bench.order(Curtail(target_w=10_000.0, deadline_s=60.0, duration_s=40.0))
    await bench.run(50)
    assert bench.standing().state is StandingState.RESTORING
    bench = await bench.crash()
    await bench.run(300)
    assert bench.running == 6
    assert {fake.preset for fake in bench.miners} == {"2500"}
    assert bench.standing().state is StandingState.ENDED
    await bench.close()


async def test_the_same_order_twice_is_answered_with_its_final_word(tmp_path: Path) -> None:
    bench = await PowerBench.begin(tmp_path)
    signed = signed_order(LONG, bench.clock, counter=10_000, command="c-9", life_ms=60_000)
    bench.guardian.intake.order(signed)
    await bench.run(40)
    bench.guardian.intake.order(signed)
    await bench.run(5)
    words = [result.outcome for result in bench.results("c-9")]
    assert words == [ActionOutcome.UNCONFIRMED, ActionOutcome.APPLIED, ActionOutcome.APPLIED]
    await bench.close()


async def test_a_lost_signal_ends_the_order(tmp_path: Path) -> None:
    bench = await PowerBench.begin(tmp_path)
    await bench.order(Curtail(target_w=10_000.0, deadline_s=60.0, duration_s=3600.0, signal_s=60.0))
    await bench.run(50)
    await bench.order(RenewOrder(target=CommandId("c-1")), "c-2")
    await bench.run(50)
    assert bench.standing().state is StandingState.HOLDING
    await bench.run(15)
    assert bench.standing().state is StandingState.RESTORING
    await bench.run(300)
    assert bench.running == 6
    assert [e for e in bench.events(EventKind.ALARM) if "signal is lost" in e.title]
    await bench.close()


async def test_a_cancelled_order_lets_go(tmp_path: Path) -> None:
    bench = await PowerBench.begin(tmp_path)
    await bench.order(LONG)
    await bench.run(40)
    await bench.order(CancelOrder(target=CommandId("c-1")), "c-2")
    await bench.run(200)
    assert bench.standing().state is StandingState.CANCELLED
    assert bench.running == 6
    await bench.order(CancelOrder(target=CommandId("c-1")), "c-3")
    assert bench.results("c-3")[-1].outcome is ActionOutcome.REJECTED
    await bench.close()


async def test_held_miners_stay_off_after_a_trip_was_reset(tmp_path: Path) -> None:
    bench = await PowerBench.begin(tmp_path)
    await bench.order(LONG)
    await bench.run(40)
    held = {fake.entry.id for fake in bench.miners if fake.state is MinerState.STOPPED}
    assert len(held) == 2
    bench.wall.broken = True
    await bench.run(20)
    assert bench.mode is Mode.TRIPPED
    assert bench.running == 0
    bench.wall.broken = False
    await bench.run(15)
    reset = asyncio.ensure_future(bench.guardian.persons.reset(ZONE, by="ada", reason="belt replaced"))
    await bench.run(5)
    assert isinstance(await reset, Granted)
    await bench.run(120)
    running = {fake.entry.id for fake in bench.miners if fake.state.draws_power}
    # A start counts with the nominal power until it is seen, so the last of the four may have no room yet.
    assert running.isdisjoint(held)
    assert len(running) >= 3
    assert bench.real_w <= 10_200
    await bench.order(CancelOrder(target=CommandId("c-1")), "c-2")
    await bench.run(200)
    assert bench.running == 6
    await bench.close()


async def test_cap_and_curtailment_at_once_the_lower_target_counts(tmp_path: Path) -> None:
    bench = await PowerBench.begin(tmp_path)
    await bench.order(StandingCap(cap_w=14_000.0), "cap")
    await bench.run(40)
    assert bench.standing("cap").state is StandingState.HOLDING
    assert bench.real_w <= 14_000
    await bench.order(Curtail(target_w=10_000.0, deadline_s=60.0, duration_s=100.0), "c-2")
    await bench.run(50)
    assert bench.real_w <= 10_200
    await bench.run(350)
    assert bench.standing("c-2").state is StandingState.ENDED
    assert bench.standing("cap").state is StandingState.HOLDING
    assert 12_000 < bench.real_w <= 14_000  # back as far as the cap lets it
    await bench.order(StandingCap(cap_w=None), "away")
    await bench.run(250)
    assert bench.real_w == 16_000
    await bench.close()


async def test_what_other_load_leaves_is_given_back_through_the_arbiter(tmp_path: Path) -> None:
    bench = await PowerBench.begin(tmp_path)
    bench.base_w = 4_000.0
    await bench.run(5)
    await bench.order(Curtail(target_w=16_500.0, deadline_s=120.0, duration_s=3600.0))
    await bench.run(60)
    low_w = bench.real_w
    bench.base_w = 2_000.0  # other load falls
    for _ in range(40):
        await bench.run(5)
        assert bench.real_w <= 16_500
    assert bench.real_w >= 16_500 - 2 * 330  # was 2 kW lower before the trim
    assert bench.real_w > low_w - 1_500
    assert bench.standing().state is StandingState.HOLDING
    await bench.close()


async def test_a_ramp_is_kept(tmp_path: Path) -> None:
    bench = await PowerBench.begin(tmp_path)
    await bench.order(Curtail(target_w=10_000.0, deadline_s=600.0, duration_s=3600.0, ramp_w_per_min=2_000.0))
    for seconds in range(0, 240, 5):
        await bench.run(5)
        assert bench.real_w >= 16_000 - 2_000 * (seconds + 5) / 60 - 2_500, seconds  # one miner is one stair
    await bench.run(60)
    assert bench.real_w <= 10_200
    await bench.close()


async def test_restores_in_stages_with_jitter(tmp_path: Path) -> None:
    """At most 5 % of the site per 30 s: of 20 miners of 3 kW one at a time."""

    def edit(text: str) -> str:
        return text.replace("restart_power_pct = 50.0", "restart_power_pct = 5.0")

    bench = await PowerBench.begin(tmp_path, 20, edit=edit)
    await bench.order(Curtail(target_w=30_000.0, deadline_s=60.0, duration_s=60.0))
    await bench.run(59)
    low_w = bench.real_w
    history = [bench.real_w]
    for _ in range(60):
        await bench.run(10)
        history.append(bench.real_w)
    assert history[-1] > low_w + 10_000
    for earlier, later in zip(history, history[3:], strict=False):
        assert later - earlier <= 3_000 + 3_000, history  # a window may straddle two
    await bench.close()


async def test_a_preview_acts_on_nothing(tmp_path: Path) -> None:
    bench = await PowerBench.begin(tmp_path)
    asked = PlanRequest(id=CommandId("p-1"), order=LONG)
    shown = bench.guardian.power_front.preview(asked)
    assert shown.reaches_target
    assert shown.now_w == 16_000
    assert shown.expected_w is not None
    assert shown.expected_w <= 10_000
    assert sum(step.saves_w for step in shown.steps) == pytest.approx(16_000 - shown.expected_w)
    await bench.run(20)
    assert bench.real_w == 16_000
    await bench.close()


@pytest.mark.parametrize(
    ("order", "why"),
    [
        (Curtail(target_w=float("nan"), deadline_s=60.0, duration_s=60.0), "not finite"),
        (Curtail(target_w=-5.0, deadline_s=60.0, duration_s=60.0), "below zero"),
        (Curtail(target_w=5.0, deadline_s=60.0, duration_s=0.0), "duration"),
        (Curtail(target_w=5.0, deadline_s=0.0, duration_s=10.0), "above zero"),
        (RenewOrder(target=CommandId("nobody")), "no running power order"),
    ],
)
async def test_impossible_orders_are_refused_with_a_sentence(
    tmp_path: Path, order: AnyOrder, why: str
) -> None:
    bench = await PowerBench.begin(tmp_path)
    await bench.order(order)
    (answer,) = bench.results("c-1")
    assert answer.outcome is ActionOutcome.REJECTED
    assert answer.command_state is CommandState.REFUSED
    assert why in answer.detail
    await bench.run(5)
    assert bench.real_w == 16_000
    await bench.close()


async def test_a_schedule_runs_without_the_cloud_and_takes_itself_back(tmp_path: Path) -> None:
    bench = await PowerBench.begin(tmp_path)
    now_ms = bench.clock.utc_ms()
    what = DoActions(actions=(SetPreset(device=miner_id(1), preset="2300"),))
    await bench.order(Schedule(start_ms=now_ms + 40_000, end_ms=now_ms + 150_000, what=what), "s-1")
    assert bench.standing("s-1").state is StandingState.SCHEDULED
    await bench.run(35)
    assert bench.miner(1).preset == "2500"
    bench = await bench.crash()
    await bench.run(80)
    assert bench.standing("s-1").state is StandingState.RUNNING
    assert bench.miner(1).preset == "2300"
    await bench.run(120)
    assert bench.standing("s-1").state is StandingState.ENDED
    assert bench.miner(1).preset == "2500"
    await bench.close()


async def test_a_scheduled_curtailment_and_a_wall_clock_that_jumps(tmp_path: Path) -> None:
    bench = await PowerBench.begin(tmp_path)
    now_ms = bench.clock.utc_ms()
    what = Curtail(target_w=14_000.0, deadline_s=60.0, duration_s=1.0)
    await bench.order(Schedule(start_ms=now_ms + 100_000, end_ms=now_ms + 300_000, what=what), "s-1")
    await bench.run(20)
    bench.clock.step_wall(86_400_000)
    await bench.run(60)
    assert bench.standing("s-1").state is StandingState.SCHEDULED  # neither started nor missed
    assert bench.real_w == 16_000
    bench.clock.step_wall(-2 * 86_400_000)
    await bench.run(60)
    assert bench.standing("s-1").state is StandingState.HOLDING
    await bench.run(170)
    assert bench.standing("s-1").state in (StandingState.RESTORING, StandingState.ENDED)
    await bench.run(200)
    assert bench.real_w == 16_000
    await bench.close()


async def test_a_schedule_that_names_no_device_of_the_site_is_refused(tmp_path: Path) -> None:
    bench = await PowerBench.begin(tmp_path)
    now_ms = bench.clock.utc_ms()
    what = DoActions(actions=(SetPreset(device=miner_id(99), preset="2000"),))
    await bench.order(Schedule(start_ms=now_ms, end_ms=now_ms + 60_000, what=what), "s-1")
    (answer,) = bench.results("s-1")
    assert answer.detail == "no device m-99 on this site"
    assert bench.guardian.status().orders == ()
    await bench.close()


async def test_an_order_that_no_disk_takes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await PowerBench.begin(tmp_path)

    def full(*_: object) -> None:
        raise StoreError("no space left")

    monkeypatch.setattr("edge_agent.guardian.power.book.save", full)
    await bench.order(LONG)
    (answer,) = bench.results("c-1")
    assert answer.outcome is ActionOutcome.REJECTED
    assert "disk" in answer.detail
    await bench.run(10)
    assert bench.real_w == 16_000
    await bench.close()


async def test_what_runs_goes_on_lowering_when_the_disk_fills_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The safe direction never waits for storage (S21)."""
    bench = await PowerBench.begin(tmp_path)
    await bench.order(LONG)

    def full(*_: object) -> None:
        raise StoreError("no space left")

    monkeypatch.setattr("edge_agent.guardian.power.book.save", full)
    await bench.run(60)
    assert bench.real_w <= 10_200
    await bench.close()


async def test_a_policy_may_not_raise_what_an_order_holds(tmp_path: Path) -> None:
    bench = await PowerBench.begin(tmp_path)
    await bench.order(LONG)
    await bench.run(60)
    lowered = next(fake for fake in bench.miners if fake.preset == "2000")
    request = Request(
        id=CommandId("p-1"),
        action=SetPreset(device=lowered.entry.id, preset="3000"),
        priority=Priority.ORDER,
        source=Source.ORDER,
        why="someone",
    )
    refusal = bench.guardian.desk.decide(request)
    assert isinstance(refusal, Refusal)
    assert any("cap order c-1 has room for" in why for why in refusal.violations)
    await bench.close()


async def test_a_cancelled_schedule_never_starts(tmp_path: Path) -> None:
    bench = await PowerBench.begin(tmp_path)
    now_ms = bench.clock.utc_ms()
    what = Curtail(target_w=10_000.0, deadline_s=60.0, duration_s=1.0)
    await bench.order(Schedule(start_ms=now_ms + 60_000, end_ms=now_ms + 300_000, what=what), "s-1")
    assert bench.guardian.power_front.cancel(CommandId("s-1"), "ada", "not today") is None
    await bench.run(120)
    assert bench.standing("s-1").state is StandingState.CANCELLED
    assert bench.real_w == 16_000
    await bench.close()


async def test_a_site_cap_of_the_file_lowers_the_worst_and_then_trips(tmp_path: Path) -> None:
    bench = await PowerBench.begin(tmp_path, 4, more=CAP)  # 4 x 2500 + 1000 = 11 kW: at warn
    await bench.run(10)
    assert bench.guardian.status().caps["feeder"].level == "warn"
    bench.base_w = 2_200.0  # 12.2 kW: above shed
    await bench.run(30)
    assert bench.real_w < 12_000
    assert bench.running == 4
    bench.base_w = 30_000.0
    await bench.run(20)
    assert bench.mode is Mode.TRIPPED
    assert bench.running == 0
    await bench.close()


async def test_mains_lost_lowers_then_stops_and_brings_back_in_batches(tmp_path: Path) -> None:
    bench = await PowerBench.begin(tmp_path, 4, more=MAINS)
    await bench.run(25)
    ups = bench.probe(UPS)
    ups.points = {"on_battery": 1.0, "runtime_s": 1800.0}
    await bench.run(10)
    assert bench.guardian.status().on_battery is True
    assert bench.running == 4
    ups.points = {"on_battery": 1.0, "runtime_s": 500.0}
    await bench.run(40)
    assert {fake.preset for fake in bench.miners} == {"2300"}
    ups.points = {"on_battery": 1.0, "runtime_s": 200.0}
    await bench.run(20)
    assert bench.running == 0
    ups.points = {"on_battery": 1.0, "runtime_s": 3600.0}  # a UPS promises more once its load is gone
    await bench.run(60)
    assert bench.running == 0
    ups.points = {"on_battery": 0.0, "runtime_s": 3600.0}
    await bench.run(10)
    assert bench.running == 0  # not before they have been back for a while
    await bench.run(120)
    assert bench.running == 4
    await bench.close()
