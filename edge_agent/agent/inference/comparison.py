"""How a candidate does beside the active model: verdicts, scores and their differences, per algorithm.

Scores of two models have scales of their own, so they are compared in units of each model's threshold:
1.0 is where it alarms.
"""

from collections.abc import Mapping, Sequence

from edge_agent.agent.events import Evidence
from edge_agent.agent.inference.figures import Correlation, Decimated, quantile
from edge_agent.agent.inference.model import Score
from shared.ids import DeviceId
from shared.inventory import DeviceEntry


class Pairs:
    """Miner-cycles that both models scored."""

    def __init__(self) -> None:
        self.compared = 0
        self.agreed = 0
        self.both = 0
        self.either = 0
        self.correlation = Correlation()
        self.differences = Decimated()

    def add(self, candidate: Score, active: Score) -> None:
        self.compared += 1
        self.agreed += candidate.alarming is active.alarming
        self.both += candidate.alarming and active.alarming
        self.either += candidate.alarming or active.alarming
        one, other = candidate.score / candidate.threshold, active.score / active.threshold
        self.correlation.add(one, other)
        self.differences.add(abs(one - other))

    @property
    def agreement(self) -> float | None:
        """Share of miner-cycles with the same verdict, 0..1; None while nothing could be compared."""
        return self.agreed / self.compared if self.compared else None

    @property
    def alarm_agreement(self) -> float | None:
        """Of what either calls ill, the share that both do, 0..1; None while neither alarmed."""
        return self.both / self.either if self.either else None

    def figures(self, suffix: str = "") -> Evidence:
        differences = self.differences.values
        data: Evidence = {
            "agreement": _rounded(self.agreement),
            "alarm_agreement": _rounded(self.alarm_agreement),
            "correlation": _rounded(self.correlation.value),
            "compared": self.compared,
        }
        data |= {
            f"difference_p{round(q * 100)}": _rounded(quantile(differences, q)) for q in (0.5, 0.9, 0.99)
        }
        return {f"{name}{suffix}": value for name, value in data.items()}


class Shadow:
    """Summed over a candidate's cycles in the shadow."""

    def __init__(self) -> None:
        self.cycles = 0
        self.alarms = 0
        self.active_alarms = 0
        self.scored = 0
        self.pairs = Pairs()
        self._by_algorithm: dict[str, Pairs] = {}

    @property
    def compared(self) -> int:
        return self.pairs.compared

    @property
    def agreement(self) -> float | None:
        """Share of miner-cycles with the same verdict, 0..1; None while nothing could be compared."""
        return self.pairs.agreement

    @property
    def alarm_rate(self) -> float | None:
        """Share of scored miner-cycles that the candidate calls ill; None before the first."""
        return self.alarms / self.scored if self.scored else None

    def add(
        self, candidate: Sequence[Score], active: Sequence[Score], entries: Mapping[DeviceId, DeviceEntry]
    ) -> None:
        """Count one cycle; a cycle in which the candidate scored nobody proves nothing."""
        if not candidate:
            return
        others = {score.device: score for score in active}
        self.cycles += 1
        self.scored += len(candidate)
        self.alarms += sum(score.alarming for score in candidate)
        self.active_alarms += sum(score.alarming for score in active)
        for score in candidate:
            if (other := others.get(score.device)) is not None:
                self.pairs.add(score, other)
                algorithm = entries[score.device].algorithm
                if algorithm is not None:
                    self._by_algorithm.setdefault(algorithm.value, Pairs()).add(score, other)

    def figures(self) -> Evidence:
        """For the report: totals, and the same per algorithm where a site has several."""
        data: Evidence = {
            "cycles": self.cycles,
            "shadow_cycles": self.cycles,
            "alarms": self.alarms,
            "scored": self.scored,
            "alarm_rate": _rounded(self.alarm_rate),
        }
        data |= self.pairs.figures()
        if len(self._by_algorithm) > 1:
            for algorithm, pairs in sorted(self._by_algorithm.items()):
                data |= pairs.figures(f".{algorithm}")
        return data


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
