"""The arbiter case by case: one line says who wants what in which situation, the next what becomes of it."""

import ast
import copy
import math
import pickle
from pathlib import Path

import msgspec
import pytest

import edge_agent
from edge_agent.config import CoolingActuator, SiteFile
from edge_agent.guardian import arbiter
from edge_agent.guardian.arbiter import Direction, Permit
from edge_agent.guardian.requests import CapView, Memory, Raise, Refusal, Source
from edge_agent.ipc import Mode
from firmware_adapters.site.modbus import capabilities_of
from firmware_adapters.site.profile import load_profile
from shared.capabilities import DeviceFacts
from shared.commands import (
    AnyAction,
    Priority,
    SetPoint,
    StartMining,
    StopMining,
    SwitchOutlet,
)
from shared.ids import DeviceId
from shared.telemetry import MinerState
from support.arbiter import FACTS, M1, M2, MODEL, START, STOP, World, preset
from support.guardian import LADDER, PDU, WALL


@pytest.fixture
def world(site: SiteFile) -> World:
    return World(site)


class TestPermitIsATypeNotAHabit:
    def test_nobody_else_makes_one(self, world: World) -> None:
        made = world.permit(STOP, by=Priority.TRIP)
        with pytest.raises(TypeError, match="only the arbiter"):
            Permit(
                object(),
                action=STOP,
                request=made.request,
                direction=Direction.LOWER,
                settle_s=0,
                confirm_s=1,
                shows_s=0,
                narrowed="",
                then=None,
            )

    def test_it_cannot_be_changed_copied_pickled_or_subclassed(self, world: World) -> None:
        made = world.permit(STOP, by=Priority.TRIP)
        with pytest.raises(AttributeError):
            made.action = START
        for copier in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError):
                copier(made)
        with pytest.raises(TypeError):
            type("Forged", (Permit,), {})

    def test_the_seal_is_spoken_of_in_one_module_only(self) -> None:
        root = Path(next(iter(edge_agent.__path__)))
        users = [
            path.name
            for path in root.rglob("*.py")
            if any(
                (isinstance(node, ast.Name) and node.id == "_SEAL")
                or (isinstance(node, ast.Attribute) and node.attr == "_SEAL")
                for node in ast.walk(ast.parse(path.read_text()))
            )
        ]
        assert users == ["decision.py"]


class TestDenyByDefault:
    @pytest.mark.parametrize(
        ("action", "words"),
        [
            (StopMining(device=DeviceId("m-99")), "unknown device"),
            (preset("9999"), "has no preset"),
            (preset("2700"), "not tuned"),
            (SetPoint(device=WALL, point="valve_pct", value=50), "no writable point"),
            (SetPoint(device=WALL, point="speed_setpoint_pct", value=5), "outside 10.0 to 100.0"),
            (SetPoint(device=WALL, point="speed_setpoint_pct", value=math.nan), "not a finite number"),
            (SetPoint(device=WALL, point="speed_setpoint_pct", value=math.inf), "not a finite number"),
            (SetPoint(device=M1, point="speed_setpoint_pct", value=50), "does not declare"),
            (StartMining(device=WALL), "does not declare"),
            (SwitchOutlet(device=PDU, outlet=7, on=False), "feeds nothing"),
            (SwitchOutlet(device=PDU, outlet=1, on=False), "by escalation only"),
            (SwitchOutlet(device=PDU, outlet=1, on=True), "by escalation only"),
        ],
    )
    def test_unknown_or_impossible(self, world: World, action: AnyAction, words: str) -> None:
        assert words in world.why_not(action)

    def test_a_preset_for_water_needs_water(self, world: World) -> None:
        wet = msgspec.structs.replace(LADDER[0], name="4000", power_w=4000, needs_liquid=True)
        world.seen(M1, facts=msgspec.structs.replace(FACTS, presets=(*LADDER, wet)))
        assert "not for this cooling" in world.why_not(preset("4000"))
        world.hall(hydro=True).permit(preset("4000"))

    def test_a_device_that_has_not_introduced_itself_can_be_stopped_but_nothing_else(
        self, world: World
    ) -> None:
        world.seen(M1, facts=None)
        assert "not known yet" in world.why_not(preset("2300"))
        assert "not known yet" in world.why_not(STOP)
        world.permit(STOP, by=Priority.TRIP)

    def test_fans_go_on_even_before_the_drive_introduced_itself(self, world: World) -> None:
        world.seen(WALL, facts=None)
        full = SetPoint(device=WALL, point="speed_setpoint_pct", value=100.0)
        world.permit(full, by=Priority.TRIP)
        assert world.why_not(msgspec.structs.replace(full, value=99.0), by=Priority.TRIP)

    @pytest.mark.parametrize("ttl_s", [0.0, -1.0, math.nan])
    def test_stale_proposals(self, world: World, ttl_s: float) -> None:
        assert "no longer fresh" in world.why_not(preset("2300"), by=Priority.SCHEDULE, ttl_left_s=ttl_s)

    @pytest.mark.parametrize("confidence", [-0.1, 1.1, math.nan])
    def test_confidence_out_of_bounds(self, world: World, confidence: float) -> None:
        assert "confidence" in world.why_not(preset("2300"), by=Priority.SCHEDULE, confidence=confidence)


class TestModels:
    def test_act_in_ml_active_only(self, world: World) -> None:
        for mode in (Mode.LOCAL_AUTO, Mode.ML_SHADOW):
            assert "acts in ml-active only" in world.hall(mode).why_not(preset("2300"), by=Priority.ML)
        assert world.hall(Mode.ML_ACTIVE).permit(preset("2300"), by=Priority.ML).direction is Direction.LOWER

    @pytest.mark.parametrize("change", [{"version": 6}, {"sha256": "bb"}, {"name": "other"}])
    def test_only_the_assigned_one(self, world: World, change: dict[str, object]) -> None:
        other = msgspec.structs.replace(MODEL, **change)
        assert "not the assigned" in world.hall(Mode.ML_ACTIVE).why_not(
            preset("2300"), by=Priority.ML, model=other
        )

    def test_raise_only_where_the_site_says_so(self, world: World) -> None:
        world.hall(Mode.ML_ACTIVE).seen(M1, preset="2300")
        world.permit(preset("2500"), by=Priority.ML)
        assert "ml_may_raise" in world.now(ml_may_raise=False).why_not(preset("2500"), by=Priority.ML)

    def test_never_switch_off(self, world: World) -> None:
        world.hall(Mode.ML_ACTIVE)
        assert "not switch it off" in world.why_not(STOP, by=Priority.ML)
        assert "not switch it off" in world.why_not(STOP, by=Priority.SCHEDULE)

    def test_are_narrowed_to_one_step(self, world: World) -> None:
        world.hall(Mode.ML_ACTIVE).seen(M1, preset="3000")
        made = world.permit(preset("2000"), by=Priority.ML)
        assert made.action == preset("2500"), "2700 is not tuned, so 2500 is the next step"
        assert made.narrowed

    def test_orders_go_straight(self, world: World) -> None:
        assert world.seen(M1, preset="3000").permit(preset("2000")).action == preset("2000")


class TestRaises:
    RAISE = preset("3000")

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda w: w.seen(M1, inhibited="settling"), "inhibited: settling"),
            (lambda w: w.seen(M1, latched=True), "latched trip"),
            (lambda w: w.seen(M1, age_s=7.0), "last heard"),
            (lambda w: w.hall(cooling_proven=False), "not proven"),
            (lambda w: w.now(lease_overdue_s=30.0), "no lease"),
            (lambda w: w.now(journal_ok=False), "journal"),
            (lambda w: w.hall(Mode.TRIPPED, tripped=True), "tripped"),
        ],
    )
    def test_are_forbidden(self, world: World, change: object, words: str) -> None:
        world.permit(self.RAISE)
        change(world)  # type: ignore[operator] # a lambda from the table
        assert words in world.why_not(self.RAISE)

    def test_every_violation_is_listed(self, world: World) -> None:
        world.seen(M1, inhibited="x", latched=True).hall(cooling_proven=False)
        decision = world.ask(self.RAISE)
        assert isinstance(decision, Refusal)
        assert len(decision.violations) == 3

    def test_an_unknown_running_preset_makes_any_preset_a_raise(self, world: World) -> None:
        world.seen(M1, preset=None, inhibited="x")
        assert "inhibited" in world.why_not(preset("2000"))

    def test_lowering_is_free_of_all_that(self, world: World) -> None:
        world.seen(M1, inhibited="x").hall(cooling_proven=False).now(journal_ok=False, lease_overdue_s=60.0)
        world.permit(preset("2300"))
        world.permit(STOP)

    def test_less_cooling_is_a_raise_and_more_is_not(self, world: World) -> None:
        world.seen(WALL, inhibited="x")
        assert "inhibited" in world.why_not(SetPoint(device=WALL, point="speed_setpoint_pct", value=50))
        world.permit(SetPoint(device=WALL, point="speed_setpoint_pct", value=80))
        world.permit(SetPoint(device=WALL, point="speed_setpoint_pct", value=100))


class TestWhoActs:
    @pytest.mark.parametrize("by", [Priority.SCHEDULE, Priority.ORDER, Priority.SAFE])
    def test_manual_belongs_to_the_person_on_site(self, world: World, by: Priority) -> None:
        assert "manual" in world.hall(Mode.MANUAL).why_not(preset("2300"), by=by)
        world.permit(preset("2300"), by=Priority.MANUAL)
        world.permit(STOP, by=Priority.TRIP)

    def test_safe_beats_orders_but_lets_them_lower(self, world: World) -> None:
        world.hall(Mode.SAFE)
        assert "safe" in world.why_not(preset("3000"))
        world.permit(preset("2300"))
        assert "no say" in world.why_not(preset("2300"), by=Priority.SCHEDULE)

    def test_tripped_beats_all_but_the_safe_direction(self, world: World) -> None:
        world.hall(Mode.TRIPPED, tripped=True)
        world.permit(STOP, by=Priority.TRIP)
        assert "tripped" in world.stopped(M1).why_not(START, by=Priority.MANUAL)

    @pytest.mark.parametrize(
        ("held", "asks", "action", "wins"),
        [
            (Priority.ORDER, Priority.SCHEDULE, preset("2300"), False),
            (Priority.ORDER, Priority.ORDER, preset("2300"), False),
            (Priority.SCHEDULE, Priority.ORDER, preset("2300"), True),
            (Priority.TRIP, Priority.TRIP, preset("2300"), False),
            (Priority.TRIP, Priority.TRIP, STOP, True),
            (Priority.TRIP, Priority.ORDER, STOP, False),
        ],
    )
    def test_writes_in_flight(
        self, world: World, held: Priority, asks: Priority, action: AnyAction, wins: bool
    ) -> None:
        world.seen(M1, busy=held)
        assert isinstance(world.ask(action, by=asks), Permit) is wins

    @pytest.mark.parametrize("held", Priority)
    @pytest.mark.parametrize("asks", [Priority.SAFE, Priority.MANUAL, Priority.TRIP])
    def test_a_stop_of_safe_mode_waits_for_no_write_that_leaves_the_miner_running(
        self, world: World, held: Priority, asks: Priority
    ) -> None:
        """A shed's preset that the miner did not take would hold a person's safe-stop up for minutes."""
        world.seen(M1, busy=held, busy_stop=False).permit(STOP, by=asks)
        world.seen(M1, busy=held, busy_stop=True)
        assert isinstance(world.ask(STOP, by=asks), Permit) is (asks >= held)

    def test_an_orders_stop_waits_for_what_stands_above_it(self, world: World) -> None:
        world.seen(M1, busy=Priority.SAFE)
        assert "another write to m-1 is in flight" in world.why_not(STOP, by=Priority.ORDER)

    def test_escalation_may_cut_a_known_outlet(self, world: World) -> None:
        cut = SwitchOutlet(device=PDU, outlet=1, on=False)
        world.permit(cut, by=Priority.TRIP, source=Source.ESCALATION)


class TestAPresetStartsAStoppedMiner:
    @pytest.mark.parametrize("by", [Priority.SCHEDULE, Priority.ML, Priority.ORDER])
    def test_so_it_is_a_raise_and_never_needless(self, world: World, by: Priority) -> None:
        world.stopped(M1).now(ml_may_raise=False).hall(tripped=True, mode=Mode.TRIPPED)
        assert "is tripped" in world.why_not(preset("2000"), by=by)
        assert "already runs" not in world.why_not(preset("2500"), by=by)

    def test_an_interlock_lowers_what_it_sees(self, world: World) -> None:
        made = world.stopped(M1).permit(preset("2000"), by=Priority.TRIP, source=Source.INTERLOCK)
        assert made.direction is Direction.LOWER


class TestNoNumberIsNoPermit:
    def test_watts_and_room(self, world: World) -> None:
        cap = CapView(id="f", devices=frozenset([M1]), room_w=math.nan, ramp_w_per_min=1e9)
        assert "cap f has room" in world.now(caps=(cap,)).why_not(preset("3000"))
        entry = msgspec.structs.replace(world.devices[M1].entry, nominal_w=math.nan)
        cap = msgspec.structs.replace(cap, room_w=1e9)
        world.now(caps=(cap,)).stopped(M1).seen(M1, entry=entry)
        assert "cap f has room" in world.why_not(START)

    def test_what_was_started_and_raised(self, world: World) -> None:
        world.stopped(M1).now(memory=Memory(starts=((999.0, math.nan),)))
        assert "were started" in world.why_not(START)
        raised = Raise(at_s=999.0, device=M1, watts=math.nan, settle_s=0.5)
        cap = CapView(id="f", devices=frozenset([M1]), room_w=1e9, ramp_w_per_min=1e9)
        world.seen(M1, state=MinerState.MINING).now(memory=Memory(raises=(raised,)), caps=(cap,))
        assert "per minute" in world.why_not(preset("3000"))

    def test_ages(self, world: World) -> None:
        assert "last heard" in world.seen(M1, age_s=math.nan).why_not(preset("3000"))
        world.seen(M1, age_s=1.0)
        assert "at least 15 s" in world.stopped(M1, math.nan).why_not(START)

    def test_heat_and_swing_of_a_zone(self, world: World) -> None:
        less = SetPoint(device=WALL, point="speed_setpoint_pct", value=55.0)
        world.hall(Mode.ML_ACTIVE).permit(less, by=Priority.ML)
        assert "has a chip at" in world.hall(chip_c=math.nan).why_not(less, by=Priority.ML)
        assert "moved by" in world.hall(chip_c=70.0, swing_k=math.nan).why_not(less, by=Priority.ML)


class TestRates:
    def test_one_preset_change_per_dwell_for_models_and_raises(self, world: World) -> None:
        world.now(memory=Memory(preset_at={M1: 950.0}))
        assert "10 s of dwell are left" in world.why_not(preset("2300"), by=Priority.SCHEDULE)
        assert "dwell" in world.why_not(preset("3000"))
        world.permit(preset("2300"))
        world.permit(preset("2300"), by=Priority.TRIP)
        world.now(now_s=1010.0).permit(preset("3000"))

    def test_a_start_waits_after_its_stop(self, world: World) -> None:
        assert "at least 15 s" in world.stopped(M1, 14.0).why_not(START)
        world.stopped(M1, 15.0).permit(START)

    def test_a_start_needs_a_miner_that_is_seen_stopped(self, world: World) -> None:
        assert "not seen stopped" in world.why_not(START)

    def test_starts_fill_a_window_and_no_more(self, world: World) -> None:
        """50 % of 12 kW are two machines of 3 kW in 30 s."""
        world.stopped(M1).stopped(M2)
        for number in range(2):
            made = world.permit(StartMining(device=M1 if number else M2))
            world.now(memory=arbiter.note(world.context.memory, made, world.context))
        assert "more exceed 6000 W" in world.why_not(START)
        world.now(now_s=1030.0).permit(START)

    def test_one_machine_larger_than_the_window_starts_alone(self, world: World) -> None:
        world.now(site_nominal_w=1000.0).stopped(M1).permit(START)

    def test_restarts_in_safe_mode_are_the_guardians_own(self, world: World) -> None:
        world.hall(Mode.SAFE).stopped(M1).now(lease_overdue_s=999.0)
        world.permit(START, by=Priority.SAFE, source=Source.RESTART)
        assert world.why_not(START)

    def test_permits_remember_presets(self, world: World) -> None:
        made = world.permit(preset("2300"))
        assert arbiter.note(Memory(), made, world.context).preset_at == {M1: 1000.0}

    def test_nothing_to_do_is_said(self, world: World) -> None:
        assert "already runs" in world.why_not(preset("2500"))


class TestWhatADeviceDeclares:
    def test_each_writable_point_has_its_own_bounds(self, world: World) -> None:
        """A Carel controller has a set-point and an on/off: two SETPOINT abilities."""
        facts = capabilities_of(load_profile("carel-ir33"))
        running = CoolingActuator(device=WALL, point="running", fail_safe=1.0, low=0.0, high=1.0)
        world.hall(cooling={(WALL, "running"): running})
        world.seen(WALL, facts=DeviceFacts(model="ir33", capabilities=facts), points={"running": 0.0})
        on = SetPoint(device=WALL, point="running", value=1.0)
        assert world.permit(on, by=Priority.TRIP, source=Source.INTERLOCK).action == on
        far = SetPoint(device=WALL, point="running", value=18.0)
        assert "outside 0.0 to 1.0" in world.why_not(far)
        unknown = SetPoint(device=WALL, point="valve_pct", value=1.0)
        assert "no writable point" in world.why_not(unknown, by=Priority.TRIP)


class TestAnUnknownRunningPreset:
    """From an unknown step a policy cannot take one step up: it could be any number of steps (S08)."""

    @pytest.mark.parametrize("by", [Priority.ML, Priority.SCHEDULE])
    @pytest.mark.parametrize("running", [None, "custom", "2700"])
    def test_is_not_raised_by_a_policy(self, world: World, by: Priority, running: str | None) -> None:
        world.hall(Mode.ML_ACTIVE).seen(M1, preset=running)
        assert "which step it runs is not known" in world.why_not(preset("3000"), by=by)

    def test_may_be_set_by_an_order(self, world: World) -> None:
        assert world.seen(M1, preset=None).permit(preset("3000")).direction is Direction.RAISE

    def test_is_still_lowered_from_a_step_that_was_never_tuned(self, world: World) -> None:
        world.hall(Mode.ML_ACTIVE).seen(M1, preset="2700")
        assert world.permit(preset("2000"), by=Priority.ML).direction is Direction.LOWER
