"""How fast the inlet of each zone rises: no wave comes back while it does (plant.md §5). Pure.

The zone's probes vote as they do for its limits. Means over the ends of a minute are compared, because one
reading of a probe scatters by some 0.2 K (plant.md §2.2).
"""

from collections import deque
from collections.abc import Mapping, Sequence

from edge_agent.config import SensorRole
from edge_agent.guardian.interlocks.inputs import SensorInput
from edge_agent.guardian.interlocks.voting import vote

MOST_K_PER_MIN = 1.0
OVER_S = 60.0
END_S = 15.0
"""Each end of the minute is averaged over so long."""
INLETS = (SensorRole.INLET_AIR, SensorRole.WATER)
Probes = Mapping[str, Sequence[SensorInput]]


class Inlet:
    """One zone's inlet over the last minute (s on the monotonic clock, °C)."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[tuple[float, float]]] = {role: deque() for role in INLETS}
        self._probed: set[str] = set()

    def note(self, probes: Probes, now_s: float) -> None:
        """Take what the probes say now; an unknown value or a gap begins the minute anew."""
        self._probed = {role for role in INLETS if probes.get(role)}
        for role, seen in self._seen.items():
            value = vote((probe.value for probe in probes.get(role, ())), high_is_worse=True).value
            if value is None or (seen and now_s - seen[-1][0] > END_S):
                seen.clear()
            if value is not None:
                seen.append((now_s, value))
            while len(seen) > 1 and now_s - seen[1][0] >= OVER_S:
                seen.popleft()

    def rises(self, now_s: float) -> bool:
        """Whether more load must wait: an inlet rises by more than 1 K/min, or a probed one is not known."""
        rates = [self._rate(self._seen[role], now_s) for role in self._probed]
        return any(rate is None or rate > MOST_K_PER_MIN for rate in rates)

    def _rate(self, seen: deque[tuple[float, float]], now_s: float) -> float | None:
        """K per minute, None while less than a minute is known."""
        if not seen or now_s - seen[0][0] < OVER_S or now_s - seen[-1][0] > END_S:
            return None
        begin_s = seen[0][0]
        first = [value for at_s, value in seen if at_s < begin_s + END_S]
        last = [value for at_s, value in seen if at_s > now_s - END_S]
        apart_s = (now_s - begin_s) - END_S
        return (sum(last) / len(last) - sum(first) / len(first)) / apart_s * 60.0
