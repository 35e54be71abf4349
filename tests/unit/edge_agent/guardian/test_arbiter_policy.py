"""Action limits: how far and how fast models and schedules may go, and that nobody else is bound by them."""

import msgspec
import pytest

from edge_agent.config import SiteFile
from edge_agent.guardian import ladder
from edge_agent.guardian.arbiter import Direction
from edge_agent.guardian.requests import Memory, Refusal, RefusalKind
from edge_agent.ipc import Mode
from shared.capabilities import Ability, Capability, DeviceFacts, Preset
from shared.commands import Priority, SetPoint, SetPreset, StopMining, SwitchOutlet
from shared.ids import CommandId
from support.arbiter import M1, M2, MODEL, START, STOP, ZONE, World, preset
from support.guardian import PDU, WALL

POINT = "speed_setpoint_pct"
POLICIES = pytest.mark.parametrize("by", [Priority.ML, Priority.SCHEDULE])
SMOOTH = (
    Capability(ability=Ability.PRESET, settle_s=80.0, restarts_mining=False),
    Capability(ability=Ability.MINING),
)
"""A firmware that throttles without a restart."""


def steps_of(*shares: float) -> tuple[Preset, ...]:
    """A ladder by share of nominal: 100 TH/s at 3000 W."""
    return tuple(
        Preset(name=f"{share:g}", power_w=3000 * share, hashrate_ths=100 * share, tuned=True)
        for share in shares
    )


def fan(value: float) -> SetPoint:
    return SetPoint(device=WALL, point=POINT, value=value)


@pytest.fixture
def world(site: SiteFile) -> World:
    return World(site).hall(Mode.ML_ACTIVE)


@pytest.fixture
def smooth(world: World) -> World:
    facts = DeviceFacts(
        model="x", presets=steps_of(0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9, 1.0, 1.05), capabilities=SMOOTH
    )
    return world.seen(M1, facts=facts, preset="0.8")


class TestShareOfNominal:
    def test_nominal_is_the_step_nearest_to_the_sites_word(self) -> None:
        facts = DeviceFacts(model="x", presets=steps_of(0.5, 1.0, 1.2))
        assert ladder.share_of(facts, "0.5", 3100.0) == 0.5
        assert ladder.share_of(facts, "0.5", 3550.0) == pytest.approx(0.5 / 1.2)

    @pytest.mark.parametrize(("name", "nominal_w"), [("9", 3000.0), (None, 3000.0), ("0.5", None)])
    def test_is_unknown_without_step_or_nominal(self, name: str | None, nominal_w: float | None) -> None:
        assert ladder.share_of(DeviceFacts(model="x", presets=steps_of(0.5, 1.0)), name, nominal_w) is None

    def test_is_unknown_where_the_nominal_step_hashes_nothing(self) -> None:
        dead = Preset(name="1", power_w=3000.0, hashrate_ths=0.0, tuned=True)
        assert ladder.share_of(DeviceFacts(model="x", presets=(dead,)), "1", 3000.0) is None


class TestHashrateBounds:
    @POLICIES
    @pytest.mark.parametrize("name", ["0.45", "1.05"])
    def test_outside_of_half_to_all_of_nominal(self, smooth: World, by: Priority, name: str) -> None:
        assert (
            f"preset '{name}' is {float(name):.2f} of nominal hashrate, allowed are 0.50 to 1.00"
            in smooth.why_not(preset(name), by=by)
        )

    @pytest.mark.parametrize(("name", "step"), [("0.5", "0.7"), ("1", "0.9")])
    def test_the_bounds_themselves_may_be_asked_for(self, smooth: World, name: str, step: str) -> None:
        assert smooth.permit(preset(name), by=Priority.ML).action == preset(step)

    def test_orders_and_trips_are_not_bound(self, smooth: World) -> None:
        assert smooth.permit(preset("0.45")).action == preset("0.45")
        assert smooth.permit(preset("1.05"), by=Priority.TRIP).action == preset("1.05")

    def test_unknown_nominal_power_is_not_full_power(self, smooth: World) -> None:
        entry = msgspec.structs.replace(smooth.devices[M1].entry, nominal_w=None)
        smooth.seen(M1, entry=entry)
        assert "m-1: what share of its nominal hashrate that would be is not known" in smooth.why_not(
            preset("0.7"), by=Priority.ML
        )
        smooth.permit(preset("0.7"))


class TestHashrateSteps:
    @POLICIES
    @pytest.mark.parametrize(
        ("asked", "step", "then"),
        [("0.5", "0.7", "0.6"), ("0.6", "0.7", "0.6"), ("0.7", "0.7", None), ("1", "0.9", "1")],
    )
    def test_a_tenth_of_nominal_per_change(
        self, smooth: World, by: Priority, asked: str, step: str, then: str | None
    ) -> None:
        made = smooth.permit(preset(asked), by=by)
        assert made.action == preset(step)
        assert made.then == (None if then is None else preset(then))
        assert made.narrowed == ("" if step == asked else f"one step per change: '{step}' of '{asked}'")

    def test_several_small_steps_at_once(self, smooth: World) -> None:
        """0.60 → 0.50 is a tenth, over 0.55."""
        smooth.seen(M1, preset="0.6")
        assert smooth.permit(preset("0.5"), by=Priority.ML).action == preset("0.5")

    def test_a_ladder_without_small_steps_is_not_climbed_by_a_policy(self, smooth: World) -> None:
        facts = DeviceFacts(model="x", presets=steps_of(0.6, 0.8, 1.0), capabilities=SMOOTH)
        smooth.seen(M1, facts=facts)
        assert "the step to '0.6' is 0.20 of nominal, allowed are 0.10 per 300 s" in smooth.why_not(
            preset("0.6"), by=Priority.ML
        )

    def test_where_a_change_restarts_mining_it_is_one_preset_whatever_its_size(self, world: World) -> None:
        world.seen(M1, preset="3000")
        made = world.permit(preset("2000"), by=Priority.ML)
        assert (made.action, made.then) == (preset("2500"), preset("2300"))
        assert world.permit(preset("2500"), by=Priority.ML).then is None

    def test_from_a_step_that_was_never_tuned_it_is_the_next_tuned_one_down(self, world: World) -> None:
        world.seen(M1, preset="2700")
        assert world.permit(preset("2000"), by=Priority.ML).action == preset("2500")

    def test_orders_go_straight_and_say_no_next_step(self, smooth: World) -> None:
        made = smooth.permit(preset("0.5"))
        assert (made.action, made.narrowed, made.then) == (preset("0.5"), "", None)


class TestRest:
    @POLICIES
    @pytest.mark.parametrize("action", [preset("2300"), STOP])
    def test_a_miner_rests_ten_minutes_after_any_change(
        self, world: World, by: Priority, action: SetPreset | StopMining
    ) -> None:
        world.now(memory=Memory(changed_at={M1: 500.0}), ml_may_stop=True)
        assert world.why_not(action, by=by) == "m-1 changed 500 s ago and rests 100 s more"
        world.now(now_s=1099.9).why_not(action, by=by)
        world.now(now_s=1100.0).permit(action, by=by)

    def test_starts_rest_as_well(self, world: World) -> None:
        world.stopped(M1).now(memory=Memory(changed_at={M1: 500.0}))
        assert "rests 100 s more" in world.why_not(START, by=Priority.ML)
        world.now(now_s=1100.0).permit(START, by=Priority.ML)

    def test_another_miners_change_does_not_count(self, world: World) -> None:
        world.now(memory=Memory(changed_at={M2: 999.0})).permit(preset("2300"), by=Priority.ML)

    def test_orders_do_not_wait(self, world: World) -> None:
        world.now(memory=Memory(changed_at={M1: 999.0})).permit(preset("2300"))

    @pytest.mark.parametrize("action", [preset("2300"), preset("3000"), STOP, START])
    def test_whoever_changed_it(self, world: World, action: SetPreset) -> None:
        if action == START:
            world.stopped(M1)
        world.sent(world.permit(action))
        assert world.context.memory.changed_at == {M1: 1000.0}


class TestOff:
    @POLICIES
    def test_is_for_sites_that_say_so(self, world: World, by: Priority) -> None:
        assert world.why_not(STOP, by=by) == (
            "site.ml_may_stop is false: a policy may lower a miner but not switch it off on this site"
        )
        assert world.now(ml_may_stop=True).permit(STOP, by=by).direction is Direction.LOWER

    def test_orders_may(self, world: World) -> None:
        world.permit(STOP)

    def test_outlets_are_never_for_policies(self, world: World) -> None:
        cut = SwitchOutlet(device=PDU, outlet=1, on=False)
        decision = world.ask(cut, by=Priority.ML)
        assert isinstance(decision, Refusal)
        assert decision.kinds == (RefusalKind.UNKNOWN,)


class TestRaises:
    @POLICIES
    def test_rules_obey_the_site_as_models_do(self, world: World, by: Priority) -> None:
        world.seen(M1, preset="2300").now(ml_may_raise=False)
        assert world.why_not(preset("2500"), by=by) == (
            "site.ml_may_raise is false: a policy may only lower power or raise cooling"
        )
        world.permit(preset("2000"), by=by)
        world.permit(preset("2500"))

    def test_nothing_above_85_degrees(self, world: World) -> None:
        world.seen(M1, preset="2300", chip_c=85.0)
        assert "m-1 has a chip at 85.0 °C, nothing is proposed above 85 °C" in world.why_not(
            preset("2500"), by=Priority.ML
        )
        world.permit(preset("2000"), by=Priority.ML)
        world.permit(preset("2500"))
        world.seen(M1, chip_c=84.9).permit(preset("2500"), by=Priority.ML)

    def test_a_start_is_judged_by_the_step_it_comes_back_to(self, smooth: World) -> None:
        smooth.stopped(M1).permit(START, by=Priority.ML)
        smooth.seen(M1, preset="0.45")
        assert "'0.45' is 0.45 of nominal" in smooth.why_not(START, by=Priority.ML)
        smooth.seen(M1, preset=None)
        assert "not known" in smooth.why_not(START, by=Priority.ML)
        smooth.permit(START)


class TestCooling:
    """The wall's range is 10 to 100 %, so 15 % of it are 13.5."""

    @POLICIES
    @pytest.mark.parametrize(
        ("asked", "step", "then"),
        [(100.0, 73.5, 87.0), (80.0, 73.5, 80.0), (73.5, 73.5, None), (46.5, 46.5, None), (20.0, 46.5, 33.0)],
    )
    def test_moves_by_a_share_of_the_actuators_range(
        self, world: World, by: Priority, asked: float, step: float, then: float | None
    ) -> None:
        made = world.permit(fan(asked), by=by)
        assert made.action == fan(step)
        assert made.then == (None if then is None else fan(then))
        assert made.narrowed == (
            "" if step == asked else f"one step per change: {POINT} = {step:g} of {asked:g}"
        )

    def test_orders_and_trips_go_straight(self, world: World) -> None:
        assert world.permit(fan(100.0)).action == fan(100.0)
        assert world.permit(fan(10.0)).action == fan(10.0)

    @POLICIES
    def test_a_zone_rests_fifteen_minutes_after_any_change(self, world: World, by: Priority) -> None:
        world.now(memory=Memory(cooled_at={ZONE: (300.0, CommandId("other"))}))
        assert (
            world.why_not(fan(65.0), by=by) == "cooling of zone hall-1 changed 700 s ago and rests 200 s more"
        )
        world.now(now_s=1200.0).permit(fan(65.0), by=by)

    def test_the_actuators_of_one_proposal_move_together(self, world: World) -> None:
        world.now(memory=Memory(cooled_at={ZONE: (1000.0, CommandId("r-1"))}))
        world.permit(fan(65.0), by=Priority.ML)
        assert "rests" in world.why_not(fan(65.0), by=Priority.ML, command="r-2")
        world.permit(fan(65.0), command="r-2")

    def test_changes_by_anybody_are_remembered(self, world: World) -> None:
        world.sent(world.permit(fan(100.0), by=Priority.TRIP, command="trip-1"))
        assert world.context.memory.cooled_at == {ZONE: (1000.0, "trip-1")}

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"chip_c": 85.0}, "zone hall-1 has a chip at 85.0 °C, nothing is proposed above 85 °C"),
            ({"chip_c": None}, "zone hall-1 tells no chip temperature: no policy takes cooling away"),
            (
                {"swing_k": 5.1},
                "the temperature of zone hall-1 moved by 5.1 K within 300 s, allowed are 5 K",
            ),
            (
                {"swing_k": None},
                "zone hall-1 was not watched for 300 s yet: how fast its temperature moves is not known",
            ),
        ],
    )
    def test_less_of_it_wants_a_cool_and_calm_zone_and_more_of_it_does_not(
        self, world: World, fields: dict[str, object], words: str
    ) -> None:
        world.hall(**fields)  # type: ignore[arg-type] # the fields vary by test
        assert world.why_not(fan(55.0), by=Priority.ML) == words
        world.permit(fan(65.0), by=Priority.ML)
        world.permit(fan(55.0))

    def test_at_the_limits_it_is_calm(self, world: World) -> None:
        world.hall(chip_c=84.9, swing_k=5.0).permit(fan(55.0), by=Priority.ML)

    def test_an_unknown_set_point_is_not_moved(self, world: World) -> None:
        world.seen(WALL, points={})
        assert f"{POINT} of wall-1 is not known now: no step can be measured" in world.why_not(
            fan(65.0), by=Priority.ML
        )
        world.permit(fan(65.0))

    def test_a_point_that_cools_no_zone_is_not_for_policies(self, world: World) -> None:
        world.hall(cooling={})
        assert f"{POINT} of wall-1 is no cooling actuator of the site: no policy writes it" in world.why_not(
            fan(65.0), by=Priority.ML
        )
        made = world.permit(fan(65.0))
        assert world.sent(made).context.memory == Memory()

    def test_every_broken_limit_is_listed(self, world: World) -> None:
        world.hall(chip_c=None, swing_k=None).now(
            memory=Memory(cooled_at={ZONE: (999.0, CommandId("x"))}), ml_may_raise=False
        )
        decision = world.ask(fan(50.0), by=Priority.ML)
        assert isinstance(decision, Refusal)
        assert len(decision.violations) == 4
        assert decision.kinds == (RefusalKind.LIMIT,)


class TestStaleModels:
    def test_are_told_what_is_assigned(self, world: World) -> None:
        other = msgspec.structs.replace
        for change, words in (
            ({"sha256": "bb" * 20}, "its file's hash bbbbbbbbbbbb is stale, assigned is aa"),
            ({"version": 6}, "that is anomaly v7; the agent loads it at its next cycle"),
            ({"name": "mine"}, "model mine v7 is not the assigned one: that is anomaly v7"),
        ):
            assert words in world.why_not(preset("2300"), by=Priority.ML, model=other(MODEL, **change))
        world.now(active_model=None)
        assert "none is active on this site" in world.why_not(preset("2300"), by=Priority.ML)


def test_a_device_that_has_not_introduced_itself_is_not_started_by_a_policy(world: World) -> None:
    world.stopped(M1).seen(M1, facts=None)
    assert "its abilities are not known yet" in world.why_not(START, by=Priority.ML)
