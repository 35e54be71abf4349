"""The arbiter at the edges of its rules: on the limit and next to it, and where something is not known."""

import math
import pickle

import msgspec
import pytest

from edge_agent.config import SiteFile
from edge_agent.guardian import arbiter, ladder
from edge_agent.guardian.arbiter import Direction, Permit, direction, possible, raising, rates, steps
from edge_agent.guardian.requests import CapView, Claim, Memory, Raise, Refusal, RefusalKind, Request, Source
from edge_agent.ipc import Mode
from shared.capabilities import Ability, Capability, DeviceFacts, Preset
from shared.commands import AnyAction, ModelRef, Priority, SetPoint, SwitchOutlet
from shared.ids import CommandId, DeviceId
from shared.telemetry import MinerState
from support.arbiter import FACTS, FAN, M1, M2, START, STOP, ZONE, World, preset
from support.guardian import MINER_ABILITIES, PDU, WALL

POINT = "speed_setpoint_pct"
SMOOTH = (Capability(ability=Ability.PRESET, settle_s=80.0, restarts_mining=False),)


@pytest.fixture
def world(site: SiteFile) -> World:
    return World(site)


def fan(value: float) -> SetPoint:
    return SetPoint(device=WALL, point=POINT, value=value)


def request(action: AnyAction, by: Priority = Priority.ORDER, source: Source = Source.ORDER) -> Request:
    return Request(id=CommandId("r-1"), action=action, priority=by, source=source, why="test")


def way(world: World, action: AnyAction, source: Source = Source.ORDER) -> Direction:
    view = world.devices[action.device]
    return direction.of(action, request(action, source=source), view, world.zone, world.context)


def step(name: str, power_w: float, **fields: object) -> Preset:
    return msgspec.structs.replace(
        Preset(name=name, power_w=power_w, hashrate_ths=power_w / 25, tuned=True), **fields
    )


class TestPermits:
    def test_nobody_else_makes_copies_or_changes_one_and_each_says_so(self, world: World) -> None:
        made = world.permit(preset("2000"))
        with pytest.raises(TypeError, match=r"^only the arbiter makes permits$"):
            Permit(
                object(),
                **{name: getattr(made, name) for name in Permit.__slots__},
            )
        with pytest.raises(AttributeError, match=r"^a permit cannot be changed \(settle_s\)$"):
            made.settle_s = 0.0
        with pytest.raises(TypeError, match=r"^a permit cannot be subclassed$"):
            type("Mine", (Permit,), {})
        with pytest.raises(TypeError, match=r"^a permit cannot be copied or pickled$"):
            pickle.dumps(made)

    def test_a_refusal_carries_what_was_asked(self, world: World) -> None:
        for action in (preset("2000", DeviceId("m-99")), preset("nonsense"), START):
            decision = world.ask(action, command="r-7")
            assert isinstance(decision, Refusal)
            assert decision.request.action == action
            assert decision.request.id == "r-7"


class TestWaits:
    def test_a_device_that_declares_nothing_shows_nothing_later(self, world: World) -> None:
        made = world.seen(M1, facts=None).permit(STOP, by=Priority.TRIP)
        assert (made.shows_s, made.settle_s, made.confirm_s) == (0.0, 0.0, world.site.timing.stop_confirm_s)

    def test_a_fan_that_is_not_known_yet_is_waited_for_as_long_as_any_write(self, world: World) -> None:
        made = world.seen(WALL, facts=None).permit(fan(100.0), by=Priority.TRIP)
        assert (made.shows_s, made.confirm_s) == (0.0, world.site.timing.write_confirm_s)


class TestWho:
    def test_a_raise_by_order_has_no_say_in_safe(self, world: World) -> None:
        decision = world.hall(Mode.SAFE).ask(preset("3000"))
        assert isinstance(decision, Refusal)
        assert RefusalKind.AUTHORITY in decision.kinds
        assert isinstance(world.ask(preset("2000")), Permit)

    def test_a_stale_file_of_a_model_is_told_by_twelve_digits_of_its_hash(self, world: World) -> None:
        assigned = ModelRef(name="anomaly", version=7, sha256="a" * 64)
        world.hall(Mode.ML_ACTIVE).now(active_model=assigned)
        asks = ModelRef(name="anomaly", version=7, sha256="b" * 64)
        assert world.why_not(preset("2300"), by=Priority.ML, model=asks) == (
            "model anomaly v7 is not the assigned one: its file's hash bbbbbbbbbbbb is stale, "
            "assigned is aaaaaaaaaaaa"
        )

    @pytest.mark.parametrize(("by", "waits"), [(Priority.ORDER, True), (Priority.MANUAL, False)])
    def test_without_a_lease_only_a_person_on_site_raises(
        self, world: World, by: Priority, waits: bool
    ) -> None:
        world.now(lease_overdue_s=world.site.timing.lease_hold_s)
        decision = world.ask(preset("3000"), by=by)
        assert isinstance(decision, Refusal) is waits
        if isinstance(decision, Refusal):
            assert decision.violations == ("no lease: nothing is raised while the agent is silent",)

    def test_a_journal_that_stores_nothing_holds_raises(self, world: World) -> None:
        assert world.now(journal_ok=False).why_not(preset("3000")) == (
            "the journal cannot store entries: nothing is raised before it can"
        )

    @pytest.mark.parametrize(("by", "may"), [(Priority.SAFE, True), (Priority.ORDER, False)])
    def test_an_unknown_miner_may_be_stopped_from_safe_mode_upwards(
        self, world: World, by: Priority, may: bool
    ) -> None:
        decision = world.seen(M1, facts=None).ask(STOP, by=by)
        assert isinstance(decision, Permit) is may
        if isinstance(decision, Refusal):
            assert decision.violations == ("m-1: mining is refused, its abilities are not known yet",)


class TestDirection:
    def test_power_to_an_outlet_is_a_raise_and_none_is_lower(self, world: World) -> None:
        assert way(world, SwitchOutlet(device=PDU, outlet=1, on=True)) is Direction.RAISE
        assert way(world, SwitchOutlet(device=PDU, outlet=1, on=False)) is Direction.LOWER

    def test_of_a_miner_that_tells_no_ladder_every_preset_is_a_raise(self, world: World) -> None:
        assert way(world.seen(M1, facts=None), preset("2000")) is Direction.RAISE

    def test_a_sample_of_the_very_age_is_fresh(self, world: World) -> None:
        stale_s = world.site.timing.stale_after_s
        assert way(world.seen(M1, age_s=stale_s), preset("2000")) is Direction.LOWER
        assert way(world.seen(M1, age_s=stale_s + 0.1), preset("2000")) is Direction.RAISE

    def test_another_preset_of_the_same_power_is_a_raise(self, world: World) -> None:
        twins = DeviceFacts(
            model="x", presets=(step("a", 2500), step("b", 2500)), capabilities=MINER_ABILITIES
        )
        assert way(world.seen(M1, facts=twins, preset="a"), preset("b")) is Direction.RAISE

    def test_towards_its_fail_safe_value_a_fan_cools_more_and_beyond_it_is_a_raise(
        self, world: World
    ) -> None:
        low = msgspec.structs.replace(FAN, fail_safe=80.0)
        world.hall(cooling={(WALL, POINT): low})
        ways = {
            59.9: Direction.RAISE,
            60.0: Direction.SAME,
            60.1: Direction.LOWER,
            80.0: Direction.LOWER,
            80.1: Direction.RAISE,
        }
        assert {value: way(world, fan(value)) for value in ways} == ways
        world.seen(WALL, points={POINT: 90.0})
        assert way(world, fan(85.0)) is Direction.LOWER

    @pytest.mark.parametrize("points", [{}, {POINT: 100.0}])
    def test_its_fail_safe_value_is_lower_whatever_it_reads(
        self, world: World, points: dict[str, float]
    ) -> None:
        assert way(world.seen(WALL, points=points), fan(100.0)) is Direction.LOWER

    def test_a_point_that_cools_nothing_is_a_raise_wherever_it_goes(self, world: World) -> None:
        world.hall(cooling={})
        assert [way(world, fan(value)) for value in (10.0, 60.0, 100.0)] == [Direction.RAISE] * 3

    def test_fans_that_stand_are_lower_for_an_interlock_alone(self, world: World) -> None:
        assert way(world, fan(0.0), Source.INTERLOCK) is Direction.LOWER
        assert way(world, fan(0.0), Source.BASELINE) is Direction.RAISE


class TestSound:
    @pytest.mark.parametrize(
        ("confidence", "fine"), [(0.0, True), (1.0, True), (-0.01, False), (1.01, False)]
    )
    def test_confidence_is_a_share(self, world: World, confidence: float, fine: bool) -> None:
        decision = world.ask(preset("2300"), confidence=confidence)
        assert isinstance(decision, Permit) is fine
        if isinstance(decision, Refusal):
            assert decision.violations == ("confidence is not between 0 and 1",)

    def test_half_a_second_left_is_fresh_and_none_is_not(self, world: World) -> None:
        assert isinstance(world.ask(preset("2300"), ttl_left_s=0.5), Permit)
        assert world.why_not(preset("2300"), ttl_left_s=0.0) == "is no longer fresh"

    def test_a_value_that_is_no_number(self, world: World) -> None:
        assert world.why_not(fan(math.nan)) == "value is not a finite number"

    def test_what_a_device_does_not_declare(self, world: World) -> None:
        world.seen(M1, facts=DeviceFacts(model="x", capabilities=()))
        assert world.why_not(preset("2300")) == "m-1: preset is refused, it does not declare this ability"

    def test_outlets_are_for_escalation(self, world: World) -> None:
        assert world.why_not(SwitchOutlet(device=PDU, outlet=1, on=False)) == (
            "outlets are switched off by escalation only, and switched on by a person on site"
        )

    def test_bounds_that_meet_in_one_value_leave_that_value(self, world: World) -> None:
        world.hall(cooling={(WALL, POINT): msgspec.structs.replace(FAN, low=100.0, high=120.0)})
        assert possible.bounds_of(fan(100.0), world.devices[WALL], world.zone) == (100.0, 100.0)

    def test_an_indexed_point_has_the_unit_of_its_kind(self, world: World) -> None:
        point = "fan_rpm.3"
        capability = Capability(
            ability=Ability.SETPOINT, points=(point, "speed_pct.a b.2"), low=10.0, high=80.0
        )
        world.seen(WALL, facts=DeviceFacts(model="x", capabilities=(capability,)))
        asked = SetPoint(device=WALL, point="speed_pct.a b.2", value=0.8)
        assert world.why_not(asked).endswith("; is it in a share of 1 instead of %?")
        asked = SetPoint(device=WALL, point="speed_pct.a b.2", value=0.801)
        assert "is it in" not in world.why_not(asked)
        asked = SetPoint(device=WALL, point=point, value=0.8)
        assert world.why_not(asked) == "fan_rpm.3 = 0.8 is outside 10.0 to 80.0"


class TestCaps:
    def capped(self, world: World, **fields: object) -> World:
        cap = CapView(id="feeder", devices=frozenset({M1, M2}), room_w=10_000.0, ramp_w_per_min=1_000.0)
        return world.now(caps=(msgspec.structs.replace(cap, **fields),))

    def test_what_a_miner_would_draw_must_be_known(self, world: World) -> None:
        view = self.capped(world).seen(M1, facts=None).devices[M1]
        assert raising.over_caps(preset("2500"), view, world.context) == [
            "how much power m-1 would draw is not known, and caps stand above it"
        ]
        unlisted = world.seen(M1, facts=FACTS).devices[M1]
        assert raising.added_w(preset("nonsense"), unlisted) is None

    def test_a_start_counts_nominal_else_its_preset_else_is_unknown(self, world: World) -> None:
        view = world.devices[M1]
        bare = msgspec.structs.replace(view, entry=msgspec.structs.replace(view.entry, nominal_w=None))
        assert raising.added_w(START, view) == 3000.0
        assert raising.added_w(START, bare) == 2500.0
        assert raising.added_w(START, msgspec.structs.replace(bare, facts=None)) is None

    def test_even_half_a_watt_was_a_raise(self, world: World) -> None:
        """The first raise may be larger than the ramp, or large miners would never start; not the second."""
        self.capped(world, ramp_w_per_min=400.0)
        assert isinstance(world.ask(preset("3000")), Permit)
        world.now(memory=Memory(raises=(Raise(at_s=990.0, device=M2, watts=0.5, settle_s=20.0),)))
        assert "rises by at most 400 W per minute, 0 W were raised" in world.why_not(preset("3000"))

    def test_a_raise_that_adds_nothing_is_noted_with_nothing(self, world: World) -> None:
        view = world.seen(M1, preset="3000").devices[M1]
        [noted] = raising.noted((), preset("2500"), view, world.context, settle_s=20.0)
        assert (noted.device, noted.watts, noted.at_s, noted.settle_s) == (M1, 0.0, 1000.0, 20.0)


class TestSight:
    def test_a_sample_of_the_very_age_may_be_raised_on(self, world: World) -> None:
        stale_s = world.site.timing.stale_after_s
        assert isinstance(world.seen(M1, age_s=stale_s).ask(preset("3000")), Permit)
        assert "was last heard more than 6 s ago" in world.seen(M1, age_s=stale_s + 0.1).why_not(
            preset("3000")
        )


class TestMemory:
    def test_starts_older_than_their_window_are_let_go(self, world: World) -> None:
        window_s = world.site.timing.restart_window_s
        old, edge, new = (100.0, 3000.0), (1000.0 - window_s, 3000.0), (1000.1 - window_s, 3000.0)
        world.now(memory=Memory(starts=(old, edge, new))).stopped(M1)
        made = world.now(site_nominal_w=1e6).permit(START)
        assert world.sent(made).context.memory.starts == (new, (1000.0, 3000.0))

    def test_a_miner_without_a_nominal_power_starts_with_none(self, world: World) -> None:
        entry = msgspec.structs.replace(world.devices[M1].entry, nominal_w=None)
        world.stopped(M1).seen(M1, entry=entry).now(
            memory=Memory(starts=((999.0, 3000.0),)), site_nominal_w=6000.0
        )
        made = world.permit(START)
        assert world.sent(made).context.memory.starts[-1] == (1000.0, 0.0)


class TestStillAllowed:
    def waiting(self, world: World) -> Permit:
        return world.permit(preset("3000"))

    def test_a_zone_that_a_person_took_over_since(self, world: World) -> None:
        made = self.waiting(world)
        assert arbiter.still_allowed(made, world.hall(Mode.MANUAL).context) == (
            "zone hall-1 is manual, order has no say there",
        )

    def test_a_zone_that_went_safe_since(self, world: World) -> None:
        made = self.waiting(world)
        assert arbiter.still_allowed(made, world.hall(Mode.SAFE).context) == (
            "zone hall-1 is safe, order has no say there",
            "zone hall-1 is in safe: nothing above the baseline",
        )

    def test_cooling_that_another_holds_since(self, world: World) -> None:
        made = world.permit(fan(50.0))
        claim = Claim(id=CommandId("p-9"), priority=Priority.MANUAL, words="ada by hand")
        assert arbiter.still_allowed(made, world.now(cooling_claims={ZONE: claim}).context) == (
            "cooling of zone hall-1 is held by ada by hand",
        )


class TestRates:
    def test_the_last_second_of_dwell_counts_and_its_end_is_free(self, world: World) -> None:
        dwell_s = world.site.timing.preset_dwell_s
        world.now(memory=Memory(preset_at={M1: 1000.0 - dwell_s + 0.6}))
        assert (
            world.why_not(preset("3000")) == f"preset changed {dwell_s - 1:.0f} s ago, 1 s of dwell are left"
        )
        assert isinstance(
            world.now(memory=Memory(preset_at={M1: 1000.0 - dwell_s})).ask(preset("3000")), Permit
        )

    def test_an_immersed_miner_has_its_own_steps(self, world: World) -> None:
        """In a hydro zone a step that needs liquid is one to stand on, in air it is not."""
        facts = DeviceFacts(
            model="x",
            presets=(step("2500", 2500, needs_liquid=True), step("3000", 3000, needs_liquid=True)),
            capabilities=MINER_ABILITIES,
        )
        world.hall(Mode.ML_ACTIVE, hydro=True).seen(M1, facts=facts, preset="2500")
        assert isinstance(world.ask(preset("3000"), by=Priority.ML), Permit)
        view = world.hall(hydro=False).devices[M1]
        asked = request(preset("3000"), Priority.ML, Source.POLICY)
        told = rates.too_fast(asked, preset("3000"), Direction.RAISE, view, world.zone, world.context)
        assert told == ["m-1: which step it runs is not known, or not a tuned one: no policy raises it"]
        blind = msgspec.structs.replace(view, facts=None)
        assert (
            rates.too_fast(asked, preset("3000"), Direction.RAISE, blind, world.zone, world.context) == told
        )


class TestSteps:
    def test_the_way_leads_over_steps_that_need_liquid_in_a_hydro_zone_only(self, world: World) -> None:
        presets = tuple(step(str(w), w, needs_liquid=w == 2500) for w in (2000, 2500, 3000))
        facts = DeviceFacts(model="x", presets=presets, capabilities=MINER_ABILITIES)
        world.hall(Mode.ML_ACTIVE, hydro=True).seen(M1, facts=facts, preset="3000")
        assert world.permit(preset("2000"), by=Priority.ML).action == preset("2500")
        world.hall(hydro=False)
        assert world.permit(preset("2000"), by=Priority.ML).action == preset("2000")

    def test_the_second_step_is_measured_from_the_first(self, world: World) -> None:
        """Steps of 5 % with 10 % per window: two at a time, and two again."""
        presets = tuple(step(str(w), w) for w in range(2100, 3001, 150))
        facts = DeviceFacts(model="x", presets=presets, capabilities=SMOOTH)
        world.hall(Mode.ML_ACTIVE).seen(M1, facts=facts, preset="3000")
        made = world.permit(preset("2100"), by=Priority.ML)
        assert (made.action, made.then) == (preset("2700"), preset("2400"))

    def test_exactly_the_largest_step_is_small_enough(self, world: World) -> None:
        limit = world.context.limits.hashrate.step_share
        assert steps.within_step(limit + steps.ROUNDING, world.context)
        assert not steps.within_step(limit + 3 * steps.ROUNDING, world.context)

    def test_a_ladder_without_a_nominal_goes_one_step_at_a_time(self, world: World) -> None:
        entry = msgspec.structs.replace(world.devices[M1].entry, nominal_w=None)
        facts = DeviceFacts(model="x", presets=FACTS.presets, capabilities=SMOOTH)
        world.hall(Mode.ML_ACTIVE).seen(M1, facts=facts, entry=entry, preset="3000")
        asked = request(preset("2000"), Priority.ML, Source.POLICY)
        made = steps.narrow(asked, world.devices[M1], world.zone, world.context)
        assert (made.action, made.then) == (preset("2500"), preset("2300"))

    def test_a_point_that_goes_exactly_one_step_goes_there_at_once(self, world: World) -> None:
        world.hall(Mode.ML_ACTIVE)
        largest = steps.largest_change(fan(60.0), world.devices[WALL], world.zone, world.context)
        assert largest == pytest.approx(13.5)
        made = world.permit(fan(73.5), by=Priority.ML)
        assert (made.action, made.narrowed, made.then) == (fan(73.5), "", None)


class TestLimitsOfPolicies:
    def test_a_start_is_bound_by_what_it_starts(self, world: World) -> None:
        """Both sentences: that raises are off on this site, and that the preset is out of bounds."""
        facts = DeviceFacts(
            model="x", presets=(step("900", 900), step("3000", 3000)), capabilities=MINER_ABILITIES
        )
        world.hall(Mode.ML_ACTIVE).seen(M1, facts=facts, preset="900").stopped(M1).now(ml_may_raise=False)
        assert world.why_not(START, by=Priority.ML) == (
            "site.ml_may_raise is false: a policy may only lower power or raise cooling; "
            "preset '900' is 0.30 of nominal hashrate, allowed are 0.50 to 1.00"
        )

    @pytest.mark.parametrize("running", [None, "nonsense"])
    def test_a_step_from_nowhere_is_of_unknown_size(self, world: World, running: str | None) -> None:
        facts = DeviceFacts(model="x", presets=FACTS.presets, capabilities=SMOOTH)
        world.hall(Mode.ML_ACTIVE).seen(M1, facts=facts, preset=running)
        assert "the step to '2000' is unknown, allowed are 0.10 per 300 s" in world.why_not(
            preset("2000"), by=Priority.ML
        )

    def test_the_bounds_themselves_are_allowed(self, world: World) -> None:
        facts = DeviceFacts(
            model="x", presets=tuple(step(str(w), w) for w in (1500, 1800, 2700, 3000)), capabilities=SMOOTH
        )
        world.hall(Mode.ML_ACTIVE).seen(M1, facts=facts, preset="1800")
        assert world.permit(preset("1500"), by=Priority.ML).action == preset("1500")
        world.seen(M1, preset="2700")
        assert world.permit(preset("3000"), by=Priority.ML).action == preset("3000")

    def test_the_last_second_of_a_zones_rest_counts(self, world: World) -> None:
        rest_s = world.context.limits.cooling.stable_s
        world.hall(Mode.ML_ACTIVE).now(
            memory=Memory(cooled_at={ZONE: (1000.0 - rest_s + 0.6, CommandId("p-1"))})
        )
        assert world.why_not(fan(65.0), by=Priority.ML) == (
            f"cooling of zone hall-1 changed {rest_s - 1:.0f} s ago and rests 1 s more"
        )


class TestInFlight:
    @pytest.mark.parametrize(
        ("age_s", "state", "flies"),
        [
            (19.9, MinerState.MINING, True),
            (20.0, MinerState.MINING, False),
            (20.0, MinerState.INITIALIZING, True),
            (39.9, MinerState.INITIALIZING, True),
            (40.0, MinerState.INITIALIZING, False),
            (20.0, None, False),
        ],
    )
    def test_until_it_settled_and_twice_as_long_for_a_slow_starter(
        self, world: World, age_s: float, state: MinerState | None, flies: bool
    ) -> None:
        entry = Raise(at_s=1000.0 - age_s, device=M1, watts=500.0, settle_s=20.0)
        assert raising.in_flight(entry, world.seen(M1, state=state).context) is flies

    def test_one_that_left_the_site_is_over_when_it_settled(self, world: World) -> None:
        entry = Raise(at_s=980.0, device=DeviceId("m-99"), watts=500.0, settle_s=20.0)
        assert not raising.in_flight(entry, world.context)


class TestLadder:
    def test_a_ladder_with_no_hashrate_tells_no_share(self) -> None:
        facts = DeviceFacts(model="x", presets=(step("a", 2500, hashrate_ths=0.0),))
        assert ladder.share_of(facts, "a", 2500.0) is None
