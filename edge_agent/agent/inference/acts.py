"""What became of a model's proposals: how often the guardian stepped in, what failed, what it was worth.

The guardian answers each proposal with a `Result`, and each applied action, once settled, with an `Outcome`
(means before and after). Both are counted for the model that proposed. What the guardian does not tell is
unknown and counts for nothing.

The seeds want a model back at "20 % worse in 1 h" and "5 % errors in 30 min". Taken literally a single
failed write among ten would do it, so both are asked together with "and not by chance".
"""

import math
from collections import deque
from typing import Final

import msgspec

from edge_agent.agent.inference.figures import binomial_tail
from edge_agent.ipc import Outcome, Result
from shared.commands import ActionOutcome, ModelRef, Proposal
from shared.ids import CommandId

LOSS: Final = 0.20
LOSS_WINDOW_S: Final = 3_600.0
LEAST_OUTCOMES: Final = 3
ERRORS: Final = 0.05
ERROR_WINDOW_S: Final = 1_800.0
RISE: Final = 0.20
"""The guardian steps in this much more often per proposal than with the model before."""
LEAST_PROPOSALS: Final = 8
_CHANCE: Final = 0.01
_CHANCE_OF_A_LOOK: Final = 0.001
"""The rate of interventions is looked at after every result, so each look must be surer."""
_MOST_OPEN: Final = 1_024
_FAILED: Final = frozenset({ActionOutcome.FAILED, ActionOutcome.PARTIAL, ActionOutcome.UNCONFIRMED})


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """Answered proposals, those that the guardian narrowed or refused, and those that failed."""

    answered: int = 0
    intervened: int = 0
    failed: int = 0

    @property
    def intervention_rate(self) -> float | None:
        """Per answered proposal; None before the first answer."""
        return self.intervened / self.answered if self.answered else None


class Acts:
    """Of one model, from the moment it acts. `before` is the tally of the model that it took over from."""

    def __init__(self, ref: ModelRef, before: Tally = Tally()) -> None:  # noqa: B008 - frozen
        self.ref = ref
        self.before = before
        self.tally = Tally()
        self._open: dict[CommandId, bool] = {}
        """Our proposals → whether the guardian answered."""
        self._errors: deque[tuple[float, bool]] = deque(maxlen=_MOST_OPEN)
        self._losses: deque[tuple[float, float]] = deque(maxlen=_MOST_OPEN)

    def proposed(self, proposal: Proposal) -> None:
        """One of ours went to the guardian."""
        if proposal.model != self.ref:
            return
        self._open[proposal.id] = False
        while len(self._open) > _MOST_OPEN:
            del self._open[next(iter(self._open))]

    def result(self, result: Result, now_s: float) -> None:
        """The guardian's answer; a repeated one counts once."""
        if self._open.get(result.id) is not False:
            return
        self._open[result.id] = True
        failed = result.outcome in _FAILED
        self.tally = Tally(
            answered=self.tally.answered + 1,
            intervened=self.tally.intervened + _stepped_in(result),
            failed=self.tally.failed + failed,
        )
        if result.outcome is not ActionOutcome.REJECTED:
            self._errors.append((now_s, failed))

    def outcome(self, outcome: Outcome, now_s: float) -> None:
        """What an applied action did; a disturbed or unknown one says nothing about the model."""
        if outcome.id not in self._open or outcome.disturbed is not None:
            return
        before, after = outcome.before.j_per_th, outcome.after.j_per_th
        if before is not None and after is not None and before > 0 and after > 0:
            self._losses.append((now_s, 1.0 - before / after))

    def worsened(self, now_s: float) -> str:
        """Why measured outcomes speak against the model, or nothing."""
        losses = [loss for at_s, loss in self._losses if now_s - at_s <= LOSS_WINDOW_S]
        if len(losses) >= LEAST_OUTCOMES:
            mean = math.fsum(losses) / len(losses)
            spread = math.sqrt(math.fsum((loss - mean) ** 2 for loss in losses) / (len(losses) - 1))
            if mean >= LOSS and mean - 2.0 * spread / math.sqrt(len(losses)) > 0.0:
                return f"hashrate per watt fell by {mean:.0%} in {len(losses)} actions of the last hour"
        return ""

    def failing(self, now_s: float) -> str:
        """Why failed writes speak against the model, or nothing."""
        failed = [was for at_s, was in self._errors if now_s - at_s <= ERROR_WINDOW_S]
        usual = max(
            ERRORS, (self.before.failed + 1) / (self.before.answered + 2) if self.before.answered else 0
        )
        share = sum(failed) / len(failed) if failed else 0.0
        if share > usual and binomial_tail(len(failed), sum(failed), usual) < _CHANCE:
            return f"{sum(failed)} of {len(failed)} actions of the last half hour failed"
        return ""

    def overruled(self) -> str:
        """Why the guardian's interventions speak against the model, or nothing."""
        now, before = self.tally, self.before
        if now.answered < LEAST_PROPOSALS:
            return ""
        usual = (before.intervened + 1) / (before.answered + 2)
        rate = now.intervened / now.answered
        if rate - usual < RISE or binomial_tail(now.answered, now.intervened, usual) >= _CHANCE_OF_A_LOOK:
            return ""
        if not before.answered:
            return f"the guardian stepped in at {now.intervened} of {now.answered} proposals"
        return (
            f"the guardian stepped in at {now.intervened} of {now.answered} proposals, "
            f"before at {before.intervened} of {before.answered}"
        )


def _stepped_in(result: Result) -> bool:
    """Refused by a limit, narrowed to a step, or something else was done than was asked."""
    narrowed = (
        result.outcome is ActionOutcome.APPLIED and bool(result.asked) and result.applied != result.asked
    )
    return (
        result.outcome is ActionOutcome.REJECTED or bool(result.violations or result.next_steps) or narrowed
    )
