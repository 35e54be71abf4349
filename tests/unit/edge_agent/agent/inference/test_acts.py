"""When what became of a model's proposals speaks against it, and when it is only chance."""

import pytest

from edge_agent.agent.inference.acts import ERROR_WINDOW_S, LOSS_WINDOW_S, Acts, Tally
from edge_agent.ipc import Effect, Outcome, Result
from shared.commands import ActionOutcome, ModelRef, Proposal, SetPreset
from shared.ids import CommandId, DeviceId

REF = ModelRef(name="miner-anomaly", version=2, sha256="2" * 64)
ACTION = SetPreset(device=DeviceId("m01"), preset="2600")
OTHER = SetPreset(device=DeviceId("m01"), preset="2200")


def propose(acts: Acts, number: int, *, model: ModelRef | None = REF) -> CommandId:
    command = CommandId(f"p{number}")
    acts.proposed(
        Proposal(id=command, policy="anomaly", actions=(ACTION,), reason="ill", ttl_s=10, model=model)
    )
    return command


def answer(acts: Acts, number: int, outcome: ActionOutcome, *, now_s: float = 0.0, **more: object) -> None:
    given = {"asked": (ACTION,), "applied": (ACTION,), **more}
    acts.result(
        Result(id=propose(acts, number), outcome=outcome, detail="", at_ms=0, **given),  # type: ignore[arg-type]  # pass-through
        now_s,
    )


def measured(number: int, before: float | None, after: float | None, disturbed: str | None = None) -> Outcome:
    return Outcome(
        id=CommandId(f"p{number}"),
        action=ACTION,
        before=Effect(j_per_th=before),
        after=Effect(j_per_th=after),
        window_s=60,
        disturbed=disturbed,
        at_ms=0,
    )


def test_answers_to_others_and_repeated_answers_do_not_count() -> None:
    acts = Acts(REF)
    acts.result(Result(id=CommandId("x"), outcome=ActionOutcome.FAILED, detail="", at_ms=0), 0.0)
    command = propose(acts, 1, model=None)
    acts.result(Result(id=command, outcome=ActionOutcome.FAILED, detail="", at_ms=0), 0.0)
    assert acts.tally == Tally()
    for _ in range(3):
        acts.result(Result(id=CommandId("p2"), outcome=ActionOutcome.APPLIED, detail="", at_ms=0), 0.0)
    answer(acts, 2, ActionOutcome.APPLIED)
    acts.result(Result(id=CommandId("p2"), outcome=ActionOutcome.FAILED, detail="", at_ms=0), 0.0)
    assert acts.tally == Tally(answered=1)


@pytest.mark.parametrize(
    ("outcome", "more", "stepped_in", "failed"),
    [
        (ActionOutcome.APPLIED, {}, 0, 0),
        (ActionOutcome.APPLIED, {"applied": (OTHER,)}, 1, 0),
        (ActionOutcome.APPLIED, {"next_steps": (OTHER,)}, 1, 0),
        (ActionOutcome.REJECTED, {"applied": ()}, 1, 0),
        (ActionOutcome.FAILED, {"applied": ()}, 0, 1),
        (ActionOutcome.UNCONFIRMED, {"applied": ()}, 0, 1),
        (ActionOutcome.PARTIAL, {"applied": ()}, 0, 1),
    ],
)
def test_what_counts_as_what(
    outcome: ActionOutcome, more: dict[str, object], stepped_in: int, failed: int
) -> None:
    acts = Acts(REF)
    answer(acts, 1, outcome, **more)  # type: ignore[arg-type]  # fields of a result
    assert acts.tally == Tally(answered=1, intervened=stepped_in, failed=failed)


class TestInterventions:
    def after(self, refused: int, fine: int, before: Tally) -> str:
        acts = Acts(REF, before)
        for number in range(refused + fine):
            outcome = ActionOutcome.REJECTED if number < refused else ActionOutcome.APPLIED
            answer(acts, number, outcome)
        return acts.overruled()

    def test_a_rise_over_the_model_before_is_found(self) -> None:
        assert "at 8 of 12 proposals, before at 2 of 50" in self.after(8, 4, Tally(answered=50, intervened=2))

    def test_the_same_rate_as_before_is_no_reason(self) -> None:
        assert self.after(6, 6, Tally(answered=50, intervened=25)) == ""

    def test_a_few_refusals_prove_nothing(self) -> None:
        assert self.after(5, 0, Tally(answered=50, intervened=0)) == ""

    def test_a_first_model_is_held_against_every_second_proposal(self) -> None:
        assert self.after(9, 0, Tally()) == ""
        assert "11 of 11" in self.after(11, 0, Tally())


class TestErrors:
    def test_one_failed_write_among_a_few_is_chance(self) -> None:
        acts = Acts(REF)
        answer(acts, 0, ActionOutcome.FAILED)
        for number in range(1, 5):
            answer(acts, number, ActionOutcome.APPLIED)
        assert acts.failing(0.0) == ""

    def test_more_than_five_percent_and_not_by_chance(self) -> None:
        acts = Acts(REF)
        for number in range(12):
            answer(acts, number, ActionOutcome.FAILED if number < 4 else ActionOutcome.APPLIED)
        assert "4 of 12" in acts.failing(0.0)
        assert acts.failing(ERROR_WINDOW_S + 1) == "", "half an hour later they are forgotten"

    def test_a_site_whose_writes_always_failed_like_this_does_not_blame_the_model(self) -> None:
        acts = Acts(REF, Tally(answered=100, failed=35))
        for number in range(12):
            answer(acts, number, ActionOutcome.FAILED if number < 4 else ActionOutcome.APPLIED)
        assert acts.failing(0.0) == ""

    def test_refusals_are_no_errors(self) -> None:
        acts = Acts(REF)
        for number in range(12):
            answer(acts, number, ActionOutcome.REJECTED)
        assert acts.failing(0.0) == ""


class TestOutcomes:
    def after(self, *pairs: tuple[float | None, float | None], disturbed: str | None = None) -> Acts:
        acts = Acts(REF)
        for number, (before, after) in enumerate(pairs):
            answer(acts, number, ActionOutcome.APPLIED)
            acts.outcome(measured(number, before, after, disturbed), 0.0)
        return acts

    def test_a_fifth_less_hash_per_watt_is_a_reason_for_an_hour(self) -> None:
        acts = self.after((25.0, 33.0), (25.0, 34.0), (25.0, 32.0))
        assert "fell by 24%" in acts.worsened(0.0)
        assert acts.worsened(LOSS_WINDOW_S + 1) == ""

    def test_two_bad_ones_or_one_very_bad_one_among_good_ones_are_not(self) -> None:
        assert self.after((25.0, 40.0), (25.0, 40.0)).worsened(0.0) == ""
        assert self.after((25.0, 90.0), (25.0, 24.0), (25.0, 24.0)).worsened(0.0) == ""

    def test_better_or_a_little_worse_is_none(self) -> None:
        assert self.after((30.0, 27.0), (30.0, 27.0), (30.0, 28.0)).worsened(0.0) == ""
        assert self.after((30.0, 33.0), (30.0, 33.0), (30.0, 33.0)).worsened(0.0) == ""

    def test_unknown_and_disturbed_effects_say_nothing(self) -> None:
        assert self.after((None, 40.0), (25.0, None), (0.0, 40.0)).worsened(0.0) == ""
        acts = self.after((25.0, 40.0), (25.0, 40.0), (25.0, 40.0), disturbed="zone tripped")
        assert acts.worsened(0.0) == ""
