"""Samples → roll-up rows: one row per device and step.

Values of indexed points (`fan_rpm.1` … `fan_rpm.4`) are pooled, so `fan_rpm_min` is the slowest fan at its
slowest moment. Readings that control may not use do not count, they only worsen the row's `quality`.
"""

import math
from collections.abc import Iterable
from itertools import pairwise

from shared.ids import DeviceId
from shared.telemetry import ROLLUP_COLUMNS, DeviceKind, MinerState, Quality, RollupRow, Sample
from shared.units import Algorithm

GRACE_MS = 1_000
"""A step stays open this long after its end, because polls finish out of order."""
MAX_OPEN_STEPS = 256
"""Per device; far more than the guardian's ring can bring at once (contracts: at least 120 s)."""
CLOCK_STEP_MS = 600_000
"""A sample older than the last closed step by more than this means that the wall clock was set back."""

CounterValue = tuple[DeviceId, str, int, float]
"""Device, point, time (ms) and value of one counter reading."""

_COUNTERS = frozenset(column.metric for column in ROLLUP_COLUMNS if column.how == "delta")
_METRICS = frozenset(column.metric for column in ROLLUP_COLUMNS)


class _Moments:
    """Running count, mean, spread, extremes and newest value (Welford's update)."""

    __slots__ = ("high", "last", "last_ms", "low", "mean", "n", "square")

    def __init__(self) -> None:
        self.n = 0
        self.mean = 0.0
        self.square = 0.0
        self.low = math.inf
        self.high = -math.inf
        self.last = 0.0
        self.last_ms = -1

    def add(self, value: float, at_ms: int) -> None:
        self.n += 1
        delta = value - self.mean
        self.mean += delta / self.n
        self.square += delta * (value - self.mean)
        self.low = min(self.low, value)
        self.high = max(self.high, value)
        if at_ms >= self.last_ms:
            self.last, self.last_ms = value, at_ms

    def get(self, how: str) -> float:
        match how:
            case "mean":
                return self.mean
            case "min":
                return self.low
            case "max":
                return self.high
            case "last":
                return self.last
            case "std":
                return math.sqrt(max(self.square, 0.0) / self.n)
            case _:
                raise ValueError(f"a roll-up column cannot be made by {how!r}")


class _Step:
    """One device's step while open. Counters keep every (time, value): they are few and must be ordered."""

    __slots__ = (
        "algorithm",
        "counters",
        "failed",
        "kind",
        "moments",
        "newest_ms",
        "preset",
        "quality",
        "samples",
        "state",
    )

    def __init__(self, kind: DeviceKind) -> None:
        self.kind = kind
        self.algorithm: Algorithm | None = None
        self.state: MinerState | None = None
        self.preset: str | None = None
        self.newest_ms = -1
        self.samples = 0
        self.failed = 0
        self.quality = Quality.GOOD
        self.moments: dict[str, _Moments] = {}
        self.counters: dict[str, list[tuple[int, float]]] = {}

    def add(self, sample: Sample) -> None:
        if sample.algorithm is not None:
            self.algorithm = sample.algorithm
        if sample.failure is not None:
            self.failed += 1
            return
        self.samples += 1
        if sample.at_ms >= self.newest_ms:
            self.newest_ms, self.state = sample.at_ms, sample.state
            # Adapters ask for the preset less often than for the rest; the newest word in the step counts.
            self.preset = sample.preset if sample.preset is not None else self.preset
        for point, reading in sample.readings.items():
            metric = point.split(".", 1)[0]
            if metric not in _METRICS:
                continue
            value = reading.usable
            if value is None or not math.isfinite(value):
                self.quality = max(self.quality, reading.quality, Quality.OUT_OF_RANGE)
                continue
            self.quality = max(self.quality, reading.quality)
            if metric in _COUNTERS:
                self.counters.setdefault(point, []).append((sample.at_ms, value))
            moments = self.moments.get(metric)
            if moments is None:
                moments = self.moments[metric] = _Moments()
            moments.add(float(value), sample.at_ms)


class RollupAggregator:
    """Collects samples and gives back the rows of the steps that are over. Not thread-safe.

    Steps begin at multiples of `step_s` of UTC. A sample for a step whose row was already given is dropped
    and counted in `late`; one for an older step without a row (the guardian's ring after a reconnect) is not.
    """

    def __init__(self, step_s: int, *, grace_ms: int = GRACE_MS) -> None:
        """Raises `ValueError` for a step under one second or a negative grace."""
        if step_s < 1 or grace_ms < 0:
            raise ValueError("a roll-up step takes at least 1 s, and grace is not negative")
        self.step_s = step_s
        self.late = 0
        self._step_ms = step_s * 1000
        self._grace_ms = grace_ms
        self._open: dict[DeviceId, dict[int, _Step]] = {}
        self._closed: dict[DeviceId, int] = {}
        self._before: dict[tuple[DeviceId, str], tuple[int, float]] = {}

    def counters(self) -> list[CounterValue]:
        """The newest counter values inside given rows that a next row still builds on (see `resume`)."""
        return [
            (device, point, at_ms, value)
            for (device, point), (at_ms, value) in self._before.items()
            if at_ms >= self._closed.get(device, 0)
        ]

    def resume(self, counters: Iterable[CounterValue]) -> None:
        """Take up what `counters` gave in an earlier life: the first row's increases then begin there."""
        for device, point, at_ms, value in counters:
            self._before[device, point] = (at_ms, value)

    def add(self, sample: Sample) -> None:
        """Take one sample, good or failed, in any order within the grace."""
        start = sample.at_ms - sample.at_ms % self._step_ms
        closed = self._closed.get(sample.device)
        if closed is not None and start <= closed:
            if closed - start <= CLOCK_STEP_MS:
                self.late += 1
                return
            del self._closed[sample.device]
        steps = self._open.setdefault(sample.device, {})
        step = steps.get(start)
        if step is None:
            if len(steps) >= MAX_OPEN_STEPS:
                self.late += 1
                return
            step = steps[start] = _Step(sample.kind)
        step.add(sample)

    def close_before(self, now_ms: int) -> list[RollupRow]:
        """Rows of all steps that ended at least the grace before `now_ms`, by time and then device."""
        limit = now_ms - self._grace_ms - self._step_ms
        due = sorted(
            (start, device) for device, steps in self._open.items() for start in steps if start <= limit
        )
        return [self._close(device, start) for start, device in due]

    def _close(self, device: DeviceId, start: int) -> RollupRow:
        step = self._open[device].pop(start)
        if not self._open[device]:
            del self._open[device]
        self._closed[device] = start
        deltas = self._deltas(device, start, step)
        values = tuple(
            deltas.get(column.metric)
            if column.how == "delta"
            else (step.moments[column.metric].get(column.how) if column.metric in step.moments else None)
            for column in ROLLUP_COLUMNS
        )
        return RollupRow(
            device=device,
            at_ms=start,
            step_s=self.step_s,
            samples=step.samples,
            failed=step.failed,
            quality=step.quality if step.samples else Quality.MISSING,
            values=values,
            kind=step.kind,
            algorithm=step.algorithm,
            state=step.state,
            preset=step.preset,
        )

    def _deltas(self, device: DeviceId, start: int, step: _Step) -> dict[str, float | None]:
        """Increase per counter since the step before; None after a reset and where there is no earlier value.

        The value before may be one step old at most, else the increase would cover more than this step.
        """
        sums: dict[str, float | None] = {}
        for point, seen in step.counters.items():
            metric = point.split(".", 1)[0]
            seen.sort()
            before = self._before.get((device, point))
            known = [value for _, value in seen]
            if before is not None and start - self._step_ms <= before[0] < start:
                known.insert(0, before[1])
            self._before[device, point] = seen[-1]
            reset = any(later < earlier for earlier, later in pairwise(known))
            total = sums.get(metric, 0.0)
            if total is None or reset or len(known) < 2:
                sums[metric] = None
            else:
                sums[metric] = total + known[-1] - known[0]
        return sums
