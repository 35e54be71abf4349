"""Clamps, units, conflicts, starts per hour and power caps (S08, S09, S17, S18)."""

import math

import msgspec
import pytest

from edge_agent.config import CoolingActuator, SiteFile
from edge_agent.guardian import arbiter
from edge_agent.guardian.arbiter import Direction, Permit, direction
from edge_agent.guardian.requests import (
    SETTLING,
    CapView,
    Claim,
    Memory,
    Raise,
    Refusal,
    RefusalKind,
    Request,
    Source,
)
from edge_agent.ipc import Mode
from shared.capabilities import Ability, Capability, DeviceFacts, Preset
from shared.commands import Priority, SetPoint, SetPreset, StartMining, SwitchOutlet
from shared.ids import CommandId, DeviceId
from shared.telemetry import MinerState
from support.arbiter import FACTS, FAN, M1, M2, START, STOP, WALL_FACTS, ZONE, World, preset
from support.guardian import PDU, WALL

POINT = "speed_setpoint_pct"
OWN = pytest.mark.parametrize(
    "source", [Source.INTERLOCK, Source.BASELINE, Source.RESTART, Source.ESCALATION, Source.ROLLBACK]
)


@pytest.fixture
def world(site: SiteFile) -> World:
    return World(site)


def fan(value: float) -> SetPoint:
    return SetPoint(device=WALL, point=POINT, value=value)


def actuator(low: float, high: float, **fields: object) -> dict[tuple[DeviceId, str], CoolingActuator]:
    return {(WALL, POINT): msgspec.structs.replace(FAN, low=low, high=high, **fields)}


class TestClamps:
    @pytest.mark.parametrize(
        ("low", "high", "value", "words"),
        [
            (20.0, 90.0, 19.9, "speed_setpoint_pct = 19.9 is outside 20.0 to 90.0"),
            (20.0, 90.0, 90.1, "outside 20.0 to 90.0"),
            (0.0, 100.0, 9.0, "outside 10.0 to 100.0"),
            (0.0, 200.0, 101.0, "outside 10.0 to 100.0"),
            (101.0, 102.0, 50.0, "speed_setpoint_pct of wall-1 has no bounds, so nothing is written"),
        ],
    )
    @pytest.mark.parametrize("by", [Priority.ORDER, Priority.ML])
    def test_what_others_ask_is_refused(
        self, world: World, by: Priority, low: float, high: float, value: float, words: str
    ) -> None:
        world.hall(Mode.ML_ACTIVE, cooling=actuator(low, high))
        decision = world.ask(fan(value), by=by)
        assert isinstance(decision, Refusal)
        assert decision.kinds == (RefusalKind.INVALID,)
        assert words in decision.violations[0]

    @OWN
    def test_what_the_guardian_wants_is_clamped(self, world: World, source: Source) -> None:
        world.hall(cooling=actuator(20.0, 90.0))
        for asked, written in ((100.0, 90.0), (5.0, 20.0), (50.0, 50.0)):
            made = world.permit(fan(asked), by=Priority.TRIP, source=source)
            assert made.action == fan(written)
            clamped = "clamped to what the device and the site file allow"
            assert made.narrowed == ("" if asked == written else clamped)
            assert made.then is None

    def test_the_bounds_themselves_may_be_written(self, world: World) -> None:
        world.hall(cooling=actuator(20.0, 90.0))
        assert world.permit(fan(20.0)).action == fan(20.0)
        assert world.permit(fan(90.0)).action == fan(90.0)

    def test_a_fan_that_must_stand_in_smoke_is_not_kept_turning(self, world: World) -> None:
        world.hall(cooling=actuator(20.0, 90.0, off=0.0))
        assert world.permit(fan(0.0), by=Priority.TRIP, source=Source.INTERLOCK).action == fan(0.0)
        assert world.permit(fan(0.0), by=Priority.TRIP, source=Source.ROLLBACK).action == fan(20.0)
        assert "outside" in world.why_not(fan(0.0))

    def test_from_outside_a_policy_cannot_step_inside_but_an_order_can(self, world: World) -> None:
        """30 + 7.5 is clamped up to 50, and that is more than a step."""
        world.hall(Mode.ML_ACTIVE, cooling=actuator(50.0, 100.0)).seen(WALL, points={POINT: 30.0})
        assert "would move by 20, allowed are 7.5 per 300 s" in world.why_not(fan(80.0), by=Priority.ML)
        assert world.permit(fan(80.0)).action == fan(80.0)

    def test_a_device_without_a_range_is_not_written(self, world: World) -> None:
        open_ended = Capability(ability=Ability.SETPOINT, points=(POINT,), low=0.0)
        world.seen(WALL, facts=DeviceFacts(model="x", capabilities=(open_ended,)))
        assert "has no bounds" in world.why_not(fan(50.0))
        assert "has no bounds" in world.why_not(fan(50.0), by=Priority.TRIP)

    def test_points_that_cool_nothing_have_the_devices_range(self, world: World) -> None:
        world.hall(cooling={})
        assert world.permit(fan(10.0)).action == fan(10.0)
        assert "outside 10.0 to 100.0" in world.why_not(fan(9.0))


class TestUnits:
    @pytest.mark.parametrize(
        ("point", "low", "high", "value", "hint"),
        [
            ("setpoint_c", 10.0, 30.0, 75.0, "; is it in °F instead of °C?"),
            ("setpoint_c", 10.0, 30.0, 50.0, "; is it in °F instead of °C?"),
            ("setpoint_c", 10.0, 30.0, 295.0, "; is it in K instead of °C?"),
            ("setpoint_c", 10.0, 30.0, 200.0, ""),
            ("speed_setpoint_pct", 20.0, 100.0, 0.8, "; is it in a share of 1 instead of %?"),
            ("speed_setpoint_pct", 20.0, 100.0, 8000.0, "; is it in hundredths of a per cent instead of %?"),
            ("power_w", 1000.0, 5000.0, 3.0, "; is it in kW instead of W?"),
            ("pressure_pa", 10_000.0, 90_000.0, 50.0, "; is it in kPa instead of Pa?"),
            ("pressure_pa", 150_000.0, 400_000.0, 2.0, "; is it in bar instead of Pa?"),
            ("flow_m3h", 3.0, 30.0, 200.0, "; is it in l/min instead of m³/h?"),
            ("flow_m3h", 3.0, 30.0, 1.0, "; is it in l/s instead of m³/h?"),
            ("frequency_hz", 20.0, 60.0, 1500.0, "; is it in rpm instead of Hz?"),
            ("running", 0.0, 1.0, 7.0, ""),
            ("valve_pct", 0.0, 1.0, 7.0, ""),
        ],
    )
    def test_a_number_in_another_unit_is_asked_about(
        self, world: World, point: str, low: float, high: float, value: float, hint: str
    ) -> None:
        capability = Capability(ability=Ability.SETPOINT, points=(point,), low=low, high=high)
        world.seen(WALL, facts=DeviceFacts(model="x", capabilities=(capability,)))
        sentence = world.why_not(SetPoint(device=WALL, point=point, value=value))
        assert sentence == f"{point} = {value:g} is outside {low} to {high}{hint}"


class TestConflicts:
    def test_a_write_in_flight_says_whose_it_is(self, world: World) -> None:
        world.seen(M1, busy=Priority.ORDER, busy_with="order c-7: preset 2300")
        assert world.why_not(preset("2000")) == ("another write to m-1 is in flight (order c-7: preset 2300)")
        world.seen(M1, busy_with="")
        assert world.why_not(preset("2000")) == "another write to m-1 is in flight"

    @pytest.mark.parametrize(
        ("held", "asks", "wins"),
        [
            (Priority.ML, Priority.ORDER, True),
            (Priority.ORDER, Priority.ORDER, False),
            (Priority.ORDER, Priority.SCHEDULE, False),
            (Priority.ORDER, Priority.TRIP, True),
        ],
    )
    def test_a_live_order_holds_its_device(
        self, world: World, held: Priority, asks: Priority, wins: bool
    ) -> None:
        claim = Claim(id=CommandId("c-7"), priority=held, words="order c-7 of ada")
        world.now(claims={M1: claim})
        decision = world.ask(preset("2000"), by=asks)
        assert isinstance(decision, Permit) is wins
        if isinstance(decision, Refusal):
            assert decision.violations == ("m-1 is held by order c-7 of ada",)
            assert decision.kinds == (RefusalKind.CONFLICT,)
        world.permit(preset("2000", M2))
        world.permit(preset("2000"), command="c-7")

    def test_a_stop_takes_over_from_its_equal(self, world: World) -> None:
        world.now(claims={M1: Claim(id=CommandId("c-7"), priority=Priority.ORDER, words="x")})
        world.permit(STOP)

    def test_a_live_order_holds_the_cooling_of_its_zone(self, world: World) -> None:
        claim = Claim(id=CommandId("c-7"), priority=Priority.ORDER, words="order c-7 of ada")
        world.now(cooling_claims={ZONE: claim})
        assert world.why_not(fan(80.0)) == "cooling of zone hall-1 is held by order c-7 of ada"
        world.permit(fan(80.0), command="c-7")
        world.permit(fan(80.0), by=Priority.SAFE, source=Source.INTERLOCK)
        world.permit(preset("2000"))
        world.hall(cooling={}).permit(fan(80.0))


class TestNoNeed:
    def test_a_set_point_that_is_already_there(self, world: World) -> None:
        assert world.why_not(fan(60.0)) == "wall-1 already runs that"
        assert world.permit(fan(60.0), by=Priority.SAFE, source=Source.INTERLOCK).direction is Direction.SAME

    def test_an_outlet_that_is_cut_is_remembered_as_a_change_of_nothing_hot(self, world: World) -> None:
        cut = SwitchOutlet(device=PDU, outlet=1, on=False)
        made = world.permit(cut, by=Priority.TRIP, source=Source.ESCALATION)
        assert made.direction is Direction.LOWER
        assert repr(made) == f"Permit({cut!r}, lower)"
        memory = world.sent(made).context.memory
        assert (memory.raises, memory.starts, memory.preset_at) == ((), (), {})


class TestStartsPerHour:
    def test_are_counted_for_each_miner(self, world: World) -> None:
        world.stopped(M1).stopped(M2)
        world.now(now_s=10_000.0, memory=Memory(starts_of={M1: tuple(6401.0 + n for n in range(20))}))
        assert world.why_not(START) == "m-1 was started 20 times in an hour, allowed are 20"
        assert "20 times" in world.why_not(START, by=Priority.SAFE, source=Source.RESTART)
        world.permit(StartMining(device=M2))
        world.now(now_s=10_001.0).permit(START)

    def test_a_permitted_start_is_remembered_for_an_hour(self, world: World) -> None:
        world.stopped(M1).now(now_s=4000.0, memory=Memory(starts_of={M1: (400.0, 401.0), M2: (1.0,)}))
        world.sent(world.permit(START))
        assert world.context.memory.starts_of == {M1: (401.0, 4000.0), M2: (1.0,)}
        assert world.context.memory.starts == ((4000.0, 3000.0),)


# ---------------------------------------------------------------- S18


def cap(room_w: float | None, *devices: DeviceId, ramp: float = 1e9) -> CapView:
    return CapView(id="pdu-a", devices=frozenset(devices or (M1, M2)), room_w=room_w, ramp_w_per_min=ramp)


class TestCaps:
    UP = preset("3000")
    """From 2500: 500 W."""

    def test_a_raise_needs_room(self, world: World) -> None:
        world.now(caps=(cap(500.0),)).permit(self.UP)
        assert world.now(caps=(cap(499.9),)).why_not(self.UP) == (
            "cap pdu-a has room for 500 W (0 W are on their way), not for 500 W"
        )
        assert "room for 0 W" in world.now(caps=(cap(-50.0),)).why_not(self.UP)

    def test_an_unknown_meter_has_none(self, world: World) -> None:
        world.now(caps=(cap(None),))
        assert world.why_not(self.UP) == "cap pdu-a: its meter is not known, nothing is raised below it"
        decision = world.ask(self.UP)
        assert isinstance(decision, Refusal)
        assert decision.kinds == (RefusalKind.CAP,)

    def test_every_cap_above_the_device_has_a_word_and_no_other(self, world: World) -> None:
        world.now(caps=(cap(None), cap(0.0, M1), cap(None, M2)))
        assert len(world.why_not(self.UP).split("; ")) == 2

    def test_lowering_needs_no_room(self, world: World) -> None:
        world.now(caps=(cap(None),)).permit(preset("2000"))
        world.permit(STOP)

    def test_less_cooling_adds_no_watts(self, world: World) -> None:
        assert world.now(caps=(cap(None, WALL),)).permit(fan(50.0)).direction is Direction.RAISE

    @pytest.mark.parametrize(
        ("source", "by"), [(Source.RESTART, Priority.SAFE), (Source.ORDER, Priority.ORDER)]
    )
    def test_starts_count_with_nominal_power_whoever_starts(
        self, world: World, source: Source, by: Priority
    ) -> None:
        world.stopped(M1).now(caps=(cap(3000.0),)).permit(START, by=by, source=source)
        assert "not for 3000 W" in world.now(caps=(cap(2999.0),)).why_not(START, by=by, source=source)

    def test_a_start_without_nominal_power_counts_with_its_step(self, world: World) -> None:
        entry = msgspec.structs.replace(world.devices[M1].entry, nominal_w=None)
        world.stopped(M1).seen(M1, entry=entry).now(caps=(cap(2500.0),)).permit(START)
        world.seen(M1, preset=None)
        assert world.why_not(START) == ("how much power m-1 would draw is not known, and caps stand above it")
        world.now(caps=()).permit(START)

    @pytest.mark.parametrize("state", [MinerState.AUTO_TUNING, MinerState.INITIALIZING, MinerState.MINING])
    def test_a_tuning_miner_counts_with_its_preset_and_not_with_a_moments_reading(
        self, world: World, state: MinerState
    ) -> None:
        world.seen(M1, state=state, points={"power_w": 300.0})
        world.now(caps=(cap(500.0),)).permit(self.UP)
        assert world.now(caps=(cap(499.0),)).why_not(self.UP)

    def test_from_a_standstill_or_an_unknown_step_the_whole_step_counts(self, world: World) -> None:
        world.now(caps=(cap(2999.0),)).seen(M1, preset=None)
        assert "not for 3000 W" in world.why_not(self.UP)
        world.seen(M1, preset="2500", state=MinerState.STOPPED)
        assert "not for 3000 W" in world.why_not(self.UP)
        world.now(caps=(cap(3000.0),)).permit(self.UP)

    def test_what_is_in_flight_below_a_cap_counts_as_applied(self, world: World) -> None:
        world.now(caps=(cap(1200.0),))
        world.sent(world.permit(self.UP))
        assert world.context.memory.raises == (Raise(at_s=1000.0, device=M1, watts=500.0, settle_s=20.0),)
        world.permit(preset("3000", M2))
        world.now(caps=(cap(999.0),))
        assert world.why_not(preset("3000", M2)) == (
            "cap pdu-a has room for 499 W (500 W are on their way), not for 500 W"
        )
        world.now(caps=(cap(500.0, M2),)).permit(preset("3000", M2))

    def test_it_counts_until_the_settle_time_is_over_and_twice_as_long_for_a_slow_starter(
        self, world: World
    ) -> None:
        world.now(caps=(cap(999.0),)).sent(world.permit(self.UP))
        world.now(now_s=1019.9).why_not(preset("3000", M2))
        world.now(now_s=1020.0).permit(preset("3000", M2))
        world.seen(M1, state=MinerState.INITIALIZING)
        world.now(now_s=1039.9).why_not(preset("3000", M2))
        world.now(now_s=1040.0).permit(preset("3000", M2))

    def test_lowering_is_not_in_flight(self, world: World) -> None:
        world.sent(world.permit(preset("2000"))).sent(world.permit(STOP))
        assert world.context.memory.raises == ()

    def test_load_rises_by_the_ramp_and_no_faster(self, world: World) -> None:
        world.now(caps=(cap(1e9, ramp=999.0),))
        world.sent(world.permit(self.UP))
        world.now(now_s=1059.9)
        assert world.why_not(preset("3000", M2)) == (
            "cap pdu-a rises by at most 999 W per minute, 500 W were raised in the last one"
        )
        world.now(caps=(cap(1e9, ramp=1000.0),)).permit(preset("3000", M2))
        world.now(caps=(cap(1e9, ramp=999.0),), now_s=1060.0).permit(preset("3000", M2))

    def test_one_machine_larger_than_the_ramp_starts_alone(self, world: World) -> None:
        world.stopped(M1).now(caps=(cap(1e9, ramp=100.0),)).permit(START)

    def test_what_no_limit_looks_at_any_more_is_forgotten(self, world: World) -> None:
        slow = Raise(at_s=800.0, device=M2, watts=1.0, settle_s=101.0)
        over = Raise(at_s=800.0, device=M2, watts=2.0, settle_s=100.0)
        recent = Raise(at_s=940.1, device=M2, watts=3.0, settle_s=1.0)
        old = Raise(at_s=940.0, device=M2, watts=4.0, settle_s=1.0)
        world.now(memory=Memory(raises=(slow, over, recent, old))).sent(world.permit(self.UP))
        assert [entry.watts for entry in world.context.memory.raises] == [1.0, 3.0, 500.0]

    def test_unknown_watts_are_not_none_at_all(self, world: World) -> None:
        entry = msgspec.structs.replace(world.devices[M1].entry, nominal_w=None)
        world.stopped(M1).seen(M1, entry=entry, preset=None)
        world.sent(world.permit(START))
        assert world.context.memory.raises[0].watts == math.inf

    def test_a_raise_that_waited_does_not_stand_in_its_own_way(self, world: World) -> None:
        world.now(caps=(cap(500.0),))
        made = world.permit(self.UP)
        world.sent(made).seen(M1, busy=Priority.ORDER, inhibited=SETTLING)
        assert arbiter.still_allowed(made, world.context) == ()
        world.now(caps=(cap(400.0),))
        assert "room for 400 W (0 W" in "; ".join(arbiter.still_allowed(made, world.context))

    @pytest.mark.parametrize(
        "why",
        [
            "on battery, or mains not back for long enough",
            "inlet air (warn)",
            "settling",
            "smoke is bypassed",
        ],
    )
    def test_what_came_up_while_it_waited_does(self, world: World, why: str) -> None:
        made = world.permit(self.UP)
        world.sent(made).seen(M1, inhibited=why)
        assert arbiter.still_allowed(made, world.context) == (f"m-1 is inhibited: {why}",)

    def test_but_an_earlier_one_on_the_same_device_does(self, world: World) -> None:
        earlier = Raise(at_s=999.0, device=M1, watts=100.0, settle_s=20.0)
        other = Raise(at_s=999.0, device=M2, watts=50.0, settle_s=20.0)
        world.now(caps=(cap(600.0),), memory=Memory(raises=(other, earlier)))
        decision = world.ask(preset("2500"))
        assert isinstance(decision, Refusal)
        world.now(caps=(cap(1000.0),))
        made = world.permit(self.UP)
        world.sent(made).now(caps=(cap(649.0),))
        assert "150 W are on their way" in "; ".join(arbiter.still_allowed(made, world.context))

    def test_a_claim_that_came_in_between_counts(self, world: World) -> None:
        made = world.permit(self.UP)
        world.now(claims={M1: Claim(id=CommandId("c-9"), priority=Priority.SAFE, words="order c-9")})
        assert arbiter.still_allowed(made, world.context) == ("m-1 is held by order c-9",)


class TestWaits:
    def test_a_change_is_waited_for_as_long_as_the_device_declares(self, world: World) -> None:
        """VNish's throttle takes about 80 s to show (miners.md §5.1)."""
        slow = (
            Capability(ability=Ability.PRESET, settle_s=80.0),
            Capability(ability=Ability.MINING, settle_s=90.0),
        )
        world.seen(M1, facts=msgspec.structs.replace(FACTS, capabilities=slow))
        made = world.permit(preset("2300"))
        assert (made.settle_s, made.shows_s, made.confirm_s) == (80.0, 80.0, 120.0)
        stop = world.permit(STOP)
        assert (stop.settle_s, stop.shows_s, stop.confirm_s) == (0.0, 90.0, 30.0)
        start = world.stopped(M1).permit(START)
        assert (start.settle_s, start.confirm_s) == (90.0, 135.0)

    def test_one_that_declares_none_gets_the_site_files(self, world: World) -> None:
        start = world.stopped(M1).permit(START)
        assert (start.settle_s, start.shows_s, start.confirm_s) == (20.0, 0.0, 40.0)

    def test_set_points_open_no_settling_window(self, world: World) -> None:
        drive = msgspec.structs.replace(WALL_FACTS.capabilities[0], settle_s=15.0)
        world.seen(WALL, facts=DeviceFacts(model="x", capabilities=(drive,)))
        made = world.permit(fan(80.0))
        assert (made.settle_s, made.shows_s, made.confirm_s) == (0.0, 15.0, 40.0)


class TestSafePresetFromAnUnknownStep:
    """S10: without a lease a miner goes to its safe step, also where nobody knows which one it runs."""

    SAFE = SetPreset(device=M1, preset="2300")

    @pytest.mark.parametrize("running", [None, "custom"])
    def test_is_the_safe_direction_for_the_baseline_only(self, world: World, running: str | None) -> None:
        world.hall(Mode.SAFE).seen(M1, preset=running, inhibited="x").now(lease_overdue_s=999.0)
        made = world.permit(self.SAFE, by=Priority.SAFE, source=Source.BASELINE)
        assert made.direction is Direction.LOWER
        assert "nothing above the baseline" in world.why_not(
            self.SAFE, by=Priority.SAFE, source=Source.INTERLOCK
        )
        assert "nothing above the baseline" in world.why_not(
            preset("2000"), by=Priority.SAFE, source=Source.BASELINE
        )

    def test_is_what_the_safe_preset_means_on_this_units_ladder(self, world: World) -> None:
        """A unit without the named step goes to the highest usable one below it."""
        facts = msgspec.structs.replace(
            FACTS,
            presets=(
                Preset(name="2000", power_w=2000.0, hashrate_ths=150.0, tuned=True),
                Preset(name="2200", power_w=2200.0, hashrate_ths=160.0, tuned=True, needs_liquid=True),
                Preset(name="2500", power_w=2500.0, hashrate_ths=170.0, tuned=True),
            ),
        )
        world.hall(Mode.SAFE).seen(M1, facts=facts, preset=None, inhibited="x").now(lease_overdue_s=999.0)
        baseline = {"by": Priority.SAFE, "source": Source.BASELINE}
        assert world.permit(preset("2000"), **baseline).direction is Direction.LOWER
        assert "nothing above the baseline" in world.why_not(preset("2500"), **baseline)
        assert "not for this cooling" in world.why_not(preset("2200"), **baseline)
        world.hall(hydro=True)
        assert world.permit(preset("2200"), **baseline).direction is Direction.LOWER
        assert "nothing above the baseline" in world.why_not(preset("2000"), **baseline)

    def test_without_any_facts_it_is_the_named_step_itself(self, world: World) -> None:
        world.hall(Mode.SAFE).seen(M1, facts=None, preset=None).now(lease_overdue_s=999.0)
        view = world.devices[M1]
        request = Request(
            id=CommandId("c-1"), action=self.SAFE, priority=Priority.SAFE, source=Source.BASELINE, why="x"
        )
        assert direction.of(self.SAFE, request, view, world.zone, world.context) is Direction.LOWER
        other = preset("2000")
        assert direction.of(other, request, view, world.zone, world.context) is Direction.RAISE

    def test_a_known_lower_step_is_not_raised_to_it(self, world: World) -> None:
        world.hall(Mode.SAFE).seen(M1, preset="2000").now(lease_overdue_s=999.0)
        assert "no lease" in world.why_not(self.SAFE, by=Priority.SAFE, source=Source.BASELINE)
