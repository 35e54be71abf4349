"""One scoring cycle: the active model for the record, the candidate beside it in the shadow.

Both see the same rows in the same batch. The engine reports what happened and decides nothing about slots;
`keeper.py` does. Blocking; runs on one thread of its own.
"""

from collections.abc import Sequence

import msgspec

from edge_agent.agent.inference.comparison import Shadow
from edge_agent.agent.inference.model import LoadedModel, Score
from shared.clock import Clock
from shared.commands import ModelRef
from shared.errors import ArtifactError
from shared.ids import DeviceId
from shared.inventory import DeviceEntry
from shared.telemetry import RollupRow

_NUMPY = (ValueError, ArithmeticError, LookupError, MemoryError)
"""What numpy raises on data it did not expect; a model that brings it to that is not to be trusted."""


class ModelRun(msgspec.Struct, frozen=True, kw_only=True):
    """One model in one cycle. `failure` is empty when its scores can be used."""

    ref: ModelRef
    scores: tuple[Score, ...] = ()
    took_ms: float = 0.0
    failure: str = ""


class CycleReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the cycle brought; None for a slot that is empty."""

    active: ModelRun | None
    candidate: ModelRun | None


class Engine:
    """The two loaded models."""

    def __init__(self, clock: Clock, *, deadline_s: float) -> None:
        self._clock = clock
        self._deadline_s = deadline_s
        self.active: LoadedModel | None = None
        self.candidate: LoadedModel | None = None
        self.shadow = Shadow()

    def push(self, rows: Sequence[RollupRow]) -> None:
        """New roll-up rows for both models."""
        for model in (self.active, self.candidate):
            if model is not None:
                model.push(rows)

    def cycle(self, entries: dict[DeviceId, DeviceEntry]) -> CycleReport:
        """Score everybody with both models; never raises for a bad model."""
        active = self._run(self.active, entries)
        candidate = self._run(self.candidate, entries)
        if candidate is not None and not candidate.failure:
            self.shadow.add(candidate.scores, active.scores if active is not None else (), entries)
        return CycleReport(active=active, candidate=candidate)

    def _run(self, model: LoadedModel | None, entries: dict[DeviceId, DeviceEntry]) -> ModelRun | None:
        if model is None:
            return None
        started = self._clock.monotonic()
        try:
            scores = tuple(model.score(entries, deadline_s=self._deadline_s))
        except (ArtifactError, *_NUMPY) as error:
            return ModelRun(ref=model.ref, failure=str(error))
        took_s = self._clock.monotonic() - started
        if scores:
            model.latencies.add(took_s * 1000)
        if took_s > self._deadline_s:
            return ModelRun(ref=model.ref, failure=f"took {took_s:.1f} s, allowed are {self._deadline_s:g} s")
        return ModelRun(ref=model.ref, scores=scores, took_ms=took_s * 1000)
