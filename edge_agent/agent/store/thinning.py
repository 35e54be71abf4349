"""Thinning: several rows of a device become one row per minute. Pure.

It happens only where the outbox has no room left for every row: a charted week in minutes says more than two
days in seconds and five days of nothing. What cannot be told from the rows any more is unknown, not guessed.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from shared.ids import DeviceId
from shared.telemetry import COLUMN_INDEX, ROLLUP_COLUMNS, Quality, RollupRow

T = TypeVar("T")

MINUTE_MS: Final = 60_000
_Known = Sequence[tuple[float, int]]
"""Values with the samples behind each (at least 1), oldest first."""


def thin(rows: Iterable[RollupRow]) -> list[RollupRow]:
    """One row per device and minute of UTC, by time and then device; rows of a minute or more stay.

    Means and spreads are weighted by the samples behind them. A counter's increase is known only where it
    is known in every row.
    """
    kept: list[RollupRow] = []
    groups: dict[tuple[int, DeviceId], list[RollupRow]] = {}
    for row in rows:
        if row.step_s >= MINUTE_MS // 1000:
            kept.append(row)
        else:
            groups.setdefault((row.at_ms - row.at_ms % MINUTE_MS, row.device), []).append(row)
    minutes = [_minute(start, sorted(group, key=_time)) for (start, _), group in groups.items()]
    return sorted((*kept, *minutes), key=lambda row: (row.at_ms, row.device))


def _time(row: RollupRow) -> int:
    return row.at_ms


def _minute(start: int, rows: Sequence[RollupRow]) -> RollupRow:
    """One device's minute out of its rows, oldest first."""
    newest = rows[-1]
    return RollupRow(
        device=newest.device,
        at_ms=start,
        step_s=MINUTE_MS // 1000,
        samples=sum(row.samples for row in rows),
        failed=sum(row.failed for row in rows),
        quality=max((row.quality for row in rows if row.samples), default=Quality.MISSING),
        values=tuple(_column(index, rows) for index in range(len(ROLLUP_COLUMNS))),
        kind=newest.kind,
        algorithm=_last(row.algorithm for row in rows),
        state=_last(row.state for row in rows),
        preset=_last(row.preset for row in rows),
    )


def _last(values: Iterable[T | None]) -> T | None:
    found = None
    for value in values:
        found = value if value is not None else found
    return found


def _column(index: int, rows: Sequence[RollupRow]) -> float | None:
    column = ROLLUP_COLUMNS[index]
    known = [(value, max(row.samples, 1)) for row in rows if (value := row.values[index]) is not None]
    if not known or (column.how == "delta" and len(known) < len(rows)):
        return None
    if column.how == "std":
        return _spread(column.metric, index, rows)
    return _ways[column.how](known)


def _mean(known: _Known) -> float:
    return sum(value * weight for value, weight in known) / sum(weight for _, weight in known)


def _spread(metric: str, index: int, rows: Sequence[RollupRow]) -> float | None:
    """The deviation over all samples: within the rows, and between their means."""
    mean_index = COLUMN_INDEX.get(f"{metric}_mean")
    both = [
        (deviation, mean, max(row.samples, 1))
        for row in rows
        if (deviation := row.values[index]) is not None
        and mean_index is not None
        and (mean := row.values[mean_index]) is not None
    ]
    if not both:
        return None
    middle = _mean([(mean, weight) for _, mean, weight in both])
    square = _mean([(deviation**2 + (mean - middle) ** 2, weight) for deviation, mean, weight in both])
    return math.sqrt(square)


_ways: dict[str, Callable[[_Known], float]] = {
    "mean": _mean,
    "min": lambda known: min(value for value, _ in known),
    "max": lambda known: max(value for value, _ in known),
    "last": lambda known: known[-1][0],
    "delta": lambda known: sum(value for value, _ in known),
}
