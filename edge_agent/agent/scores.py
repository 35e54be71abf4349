"""Which scores are worth sending: those that moved, and every one now and then."""

import msgspec

from edge_agent.agent.inference.model import Score
from shared.commands import ModelRef
from shared.ids import DeviceId
from shared.telemetry import ScoreRow

CHANGE = 0.05
EVERY = 12


class _Last(msgspec.Struct, frozen=True):
    score: float
    alarming: bool
    version: int
    cycle: int


class ScoreLog:
    """Thins scores to those that changed by more than 5 %, crossed the threshold, or are 12 cycles old."""

    def __init__(self) -> None:
        self._last: dict[DeviceId, _Last] = {}
        self._cycle = 0

    def rows(self, scores: tuple[Score, ...], model: ModelRef) -> tuple[ScoreRow, ...]:
        """The rows of this cycle that should leave the site."""
        self._cycle += 1
        chosen = tuple(score for score in scores if self._news(score, model))
        for score in chosen:
            self._last[score.device] = _Last(score.score, score.alarming, model.version, self._cycle)
        return tuple(
            ScoreRow(
                device=score.device,
                at_ms=score.at_ms,
                model=model.name,
                version=model.version,
                score=score.score,
                threshold=score.threshold,
                top_feature=score.top_feature,
            )
            for score in chosen
        )

    def _news(self, score: Score, model: ModelRef) -> bool:
        last = self._last.get(score.device)
        return (
            last is None
            or last.version != model.version
            or last.alarming is not score.alarming
            or self._cycle - last.cycle >= EVERY
            or abs(score.score - last.score) > CHANGE * max(abs(last.score), 1e-9)
        )
