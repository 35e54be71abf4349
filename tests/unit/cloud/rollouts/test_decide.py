"""The decision of a campaign: never on silence, never two steps, a halt is final, the same every time."""

import dataclasses
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.rollouts.campaigns.decide import Advance, Decision, Halt, Standing, Wait, decide, judge, needed
from cloud.rollouts.campaigns.plan import (
    PATH,
    Campaign,
    CampaignState,
    Criteria,
    Evidence,
    Numbers,
    Plan,
    Position,
)
from shared.artifacts.manifest import Stage

NOW = 1_780_000_000_000
SOAK_S = 600.0
FINE = Numbers(agreement=0.99, alarm_rate=0.01, latency_p99_ms=20.0, intervention_rate=0.01, error_rate=0.0)


def campaign(
    *rings: int,
    at: tuple[int, int] = (0, 0),
    state: CampaignState = CampaignState.RUNNING,
    criteria: Criteria | None = None,
    expires_ms: int = NOW + 10**9,
    why: str = "",
) -> Campaign:
    sizes = rings or (1, 2, 2, 5)
    return Campaign(
        state=state,
        position=Position(ring=at[0], step=at[1]),
        rings=sizes,
        plan=Plan(stages=PATH, soak_s=(SOAK_S,) * len(sizes), criteria=criteria or Criteria()),
        expires_ms=expires_ms,
        why=why,
    )


def site(number: int = 0, ring: int = 0, stage: Stage = Stage.SHADOW, **changes: Any) -> Evidence:
    """A site that has held everything for longer than the soak time."""
    facts: dict[str, Any] = {
        "site": f"s-{number}",
        "ring": ring,
        "stage": stage,
        "assigned_ms": NOW - 1_000_000,
        "reached_ms": NOW - 700_000,
        "heard_ms": NOW - 30_000,
        "cycles": 100,
        "worst": FINE,
        "said": stage.value,
        "seen_ms": NOW - 5_000,
        "has_baseline": True,
        "baseline_intervention": 0.01,
    }
    return Evidence(**{**facts, **changes})


def worst(**changes: float | None) -> Numbers:
    return msgspec.structs.replace(FINE, **changes)


class TestOneSite:
    def test_a_good_site_brings_its_ring_on(self) -> None:
        found = decide(campaign(), [site()], NOW)
        assert found == Advance(
            to=Position(ring=0, step=1), why="ring 1, shadow: 1 of 1 sites held every criterion"
        )

    def test_after_the_last_stage_comes_the_next_ring(self) -> None:
        found = decide(campaign(at=(0, 1)), [site(stage=Stage.ACTIVE)], NOW)
        assert isinstance(found, Advance)
        assert found.to == Position(ring=1, step=0)

    def test_after_the_last_ring_it_is_done(self) -> None:
        found = decide(campaign(1, at=(0, 1)), [site(stage=Stage.ACTIVE)], NOW)
        assert isinstance(found, Advance)
        assert found.to is None

    @pytest.mark.parametrize(
        ("changes", "standing", "words"),
        [
            ({"reached_ms": None, "said": "verified"}, Standing.COMING, "last word: verified"),
            ({"reached_ms": None, "said": ""}, Standing.COMING, "no word yet"),
            ({"reached_ms": NOW - 500_000}, Standing.SOAKING, "soaks for 10 min"),
            ({"heard_ms": None, "cycles": 0}, Standing.YOUNG, "fewer than 20 cycles"),
            ({"cycles": 19}, Standing.YOUNG, "fewer than 20 cycles"),
            ({"worst": worst(latency_p99_ms=None)}, Standing.YOUNG, "does not say its latency"),
            ({"worst": worst(agreement=None)}, Standing.YOUNG, "its agreement"),
            (
                {"worst": worst(alarm_rate=None, error_rate=None)},
                Standing.YOUNG,
                "its alarm rate, its errors",
            ),
            ({"reached_ms": NOW - 9_000_000, "heard_ms": NOW - 3_700_000}, Standing.SILENT, "no numbers"),
            ({"seen_ms": NOW - 1_900_000, "assigned_ms": NOW - 2_000_000}, Standing.OFFLINE, "30 min"),
            ({"seen_ms": None, "assigned_ms": NOW - 2_000_000}, Standing.OFFLINE, "nothing was heard"),
            ({"taken": True}, Standing.TAKEN, "newest assignment"),
            (
                {"reached_ms": None, "assigned_ms": NOW - 22_000_000},
                Standing.STUCK,
                "not on shadow after 6 h",
            ),
            ({"failed": "it says refused: too old"}, Standing.BAD, "too old"),
            ({"worst": worst(agreement=0.9)}, Standing.BAD, "agreement 90.0%, at least 95.0% is asked"),
            ({"worst": worst(alarm_rate=0.2)}, Standing.BAD, "alarm rate 20.0%"),
            ({"worst": worst(latency_p99_ms=900)}, Standing.BAD, "latency 900 ms"),
            ({"worst": worst(error_rate=0.06)}, Standing.BAD, "errors 6.0%"),
        ],
    )
    def test_what_is_not_good(self, changes: dict[str, Any], standing: Standing, words: str) -> None:
        found = judge(site(**changes), campaign(), NOW)
        assert found.standing is standing
        assert words in found.why
        assert not isinstance(decide(campaign(), [site(**changes)], NOW), Advance)

    def test_interventions_count_only_where_the_model_acts(self) -> None:
        rising = worst(intervention_rate=0.5)
        assert judge(site(worst=rising), campaign(), NOW).standing is Standing.GOOD
        active = judge(site(stage=Stage.ACTIVE, worst=rising), campaign(at=(0, 1)), NOW)
        assert active.standing is Standing.BAD
        assert "at 50.0%, before it was 1.0%" in active.why

    def test_where_the_interventions_before_are_unknown_there_may_be_hardly_any(self) -> None:
        for rate, standing in ((0.02, Standing.GOOD), (0.03, Standing.BAD)):
            one = site(stage=Stage.ACTIVE, worst=worst(intervention_rate=rate), baseline_intervention=None)
            assert judge(one, campaign(at=(0, 1)), NOW).standing is standing

    def test_a_site_that_had_a_restless_guardian_before_may_keep_it(self) -> None:
        one = site(stage=Stage.ACTIVE, worst=worst(intervention_rate=0.31), baseline_intervention=0.3)
        assert judge(one, campaign(at=(0, 1)), NOW).standing is Standing.GOOD

    def test_a_first_model_has_nothing_to_agree_with(self) -> None:
        one = site(worst=worst(agreement=None), has_baseline=False)
        assert judge(one, campaign(), NOW).standing is Standing.GOOD


class TestRings:
    def ten(self, **changes: Any) -> list[Evidence]:
        return [site(number, **changes) for number in range(10)]

    def test_most_sites_are_enough(self) -> None:
        nine = [*self.ten()[:9], site(9, reached_ms=None)]
        assert isinstance(decide(campaign(10), nine, NOW), Advance)
        eight = [*self.ten()[:8], site(8, reached_ms=None), site(9, reached_ms=None)]
        assert isinstance(decide(campaign(10), eight, NOW), Wait)

    def test_a_few_bad_sites_are_allowed_and_more_halt(self) -> None:
        one = [*self.ten()[:9], site(9, failed="rolled back")]
        assert isinstance(decide(campaign(10), one, NOW), Advance)
        two = [*self.ten()[:8], site(8, failed="rolled back"), site(9, failed="rolled back")]
        found = decide(campaign(10), two, NOW)
        assert found == Halt(why="2 of 10 sites of ring 1 went wrong: s-8: rolled back; s-9: rolled back")

    def test_in_a_ring_of_one_there_are_none_to_spare(self) -> None:
        assert isinstance(decide(campaign(1), [site(failed="x")], NOW), Halt)

    def test_an_earlier_ring_can_still_halt_it(self) -> None:
        reports = [site(0, stage=Stage.ACTIVE, worst=worst(alarm_rate=0.9)), site(1, ring=1), site(2, ring=1)]
        found = decide(campaign(at=(1, 0)), reports, NOW)
        assert isinstance(found, Halt)
        assert "ring 1" in found.why

    def test_an_earlier_ring_that_fell_silent_holds_it(self) -> None:
        silent = site(0, stage=Stage.ACTIVE, reached_ms=NOW - 9_000_000, heard_ms=NOW - 4_000_000)
        found = decide(campaign(at=(1, 0)), [silent, site(1, ring=1), site(2, ring=1)], NOW)
        assert isinstance(found, Wait)
        assert found.held
        assert "ring 1 has gone silent" in found.why

    def test_a_site_that_is_offline_holds_it(self) -> None:
        away = site(9, seen_ms=NOW - 4_000_000, assigned_ms=NOW - 5_000_000)
        found = decide(campaign(10), [*self.ten()[:9], away], NOW)
        assert found == Wait(why="s-9 is offline: nothing was heard of it for more than 30 min", held=True)

    def test_a_late_site_on_an_earlier_stage_does_not_count_for_this_one(self) -> None:
        late = [site(0, stage=Stage.SHADOW), site(1, stage=Stage.ACTIVE)]
        assert isinstance(decide(campaign(2, at=(0, 1)), late, NOW), Wait)


class TestStates:
    def test_a_halt_is_final(self) -> None:
        done = campaign(state=CampaignState.HALTED, why="it flooded")
        assert decide(done, [site()], NOW) == Halt(why="it flooded")

    @pytest.mark.parametrize("state", [CampaignState.PROPOSED, CampaignState.DONE, CampaignState.PAUSED])
    def test_what_does_not_run_does_not_advance(self, state: CampaignState) -> None:
        assert isinstance(decide(campaign(state=state), [site()], NOW), Wait)

    def test_a_paused_one_still_halts(self) -> None:
        assert isinstance(decide(campaign(state=CampaignState.PAUSED), [site(failed="x")], NOW), Halt)

    def test_a_blessing_that_has_expired_halts(self) -> None:
        found = decide(campaign(expires_ms=NOW), [site()], NOW)
        assert found == Halt(why="the blessing of this version has expired")


# ---------------------------------------------------------------- properties

RATE = st.one_of(st.none(), st.floats(0, 1))
TIME = st.one_of(st.none(), st.integers(NOW - 10**8, NOW + 10**6))


@dataclasses.dataclass(frozen=True)
class Case:
    campaign: Campaign
    reports: list[Evidence]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any campaign at any place, with any evidence of the sites of its open rings."""
    rings = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    at = (draw(st.integers(0, len(rings) - 1)), draw(st.integers(0, 1)))
    shape = campaign(*rings, at=at, state=draw(st.sampled_from(CampaignState)), why="so")
    reports: list[Evidence] = []
    for ring in range(at[0] + 1):
        for _ in range(rings[ring]):
            stage = Stage.ACTIVE if ring < at[0] or at[1] else Stage.SHADOW
            changes: dict[str, Any] = draw(
                st.fixed_dictionaries(
                    {},
                    optional={
                        "stage": st.sampled_from((Stage.SHADOW, stage)),
                        "taken": st.booleans(),
                        "reached_ms": TIME,
                        "heard_ms": TIME,
                        "cycles": st.integers(0, 100),
                        "worst": st.builds(
                            Numbers,
                            agreement=RATE,
                            alarm_rate=RATE,
                            latency_p99_ms=st.one_of(st.none(), st.floats(0, 2000)),
                            intervention_rate=RATE,
                            error_rate=RATE,
                        ),
                        "failed": st.sampled_from(("", "rolled back")),
                        "seen_ms": TIME,
                        "has_baseline": st.booleans(),
                        "baseline_intervention": RATE,
                    },
                )
            )
            reports.append(site(len(reports), ring, **{"stage": stage, **changes}))
    return Case(shape, reports)


@given(cases())
def test_it_is_the_same_every_time_and_in_any_order(case: Case) -> None:
    found = decide(case.campaign, case.reports, NOW)
    assert decide(case.campaign, case.reports, NOW) == found
    shuffled = random.Random(1).sample(case.reports, len(case.reports))
    assert type(decide(case.campaign, shuffled, NOW)) is type(found)


@given(cases())
def test_never_more_than_one_step(case: Case) -> None:
    found = decide(case.campaign, case.reports, NOW)
    if isinstance(found, Advance):
        assert found.to == case.campaign.next
        if found.to is not None:
            at, to = case.campaign.position, found.to
            assert (to.ring, to.step) in ((at.ring, at.step + 1), (at.ring + 1, 0))


@given(cases())
def test_never_on_silence(case: Case) -> None:
    """Going on takes a fresh word of most sites of the ring, on the stage, for the soak time."""
    if not isinstance(decide(case.campaign, case.reports, NOW), Advance):
        return
    at = case.campaign.position
    proven = [
        one
        for one in case.reports
        if one.ring == at.ring
        and one.stage is case.campaign.stage
        and one.reached_ms is not None
        and one.reached_ms <= NOW - SOAK_S * 1000
        and one.heard_ms is not None
        and one.cycles >= 20
        and one.worst.alarm_rate is not None
        and one.worst.alarm_rate <= 0.05
        and one.worst.latency_p99_ms is not None
        and not one.failed
    ]
    assert len(proven) >= needed(case.campaign, at.ring)
    mute = [msgspec.structs.replace(one, reached_ms=None, heard_ms=None, cycles=0) for one in case.reports]
    assert not isinstance(decide(case.campaign, mute, NOW), Advance)


@given(cases(), st.data())
def test_worse_news_never_brings_it_on(case: Case, data: st.DataObject) -> None:
    before = decide(case.campaign, case.reports, NOW)
    index = data.draw(st.integers(0, len(case.reports) - 1))
    changed = list(case.reports)
    changed[index] = msgspec.structs.replace(changed[index], failed="rolled back")
    after = decide(case.campaign, changed, NOW)
    rank = {Advance: 0, Wait: 1, Halt: 2}
    assert rank[type(after)] >= rank[type(before)]


@given(cases(), st.integers(0, 10**9))
def test_a_halt_stays_a_halt_whatever_comes(case: Case, later_ms: int) -> None:
    halted = msgspec.structs.replace(case.campaign, state=CampaignState.HALTED, why="it flooded")
    found: Decision = decide(halted, case.reports, NOW + later_ms)
    assert found == Halt(why="it flooded")
