"""The columns of the roll-up table, and a row's way in and out of them. Shared by both engines."""

from collections.abc import Sequence
from typing import Any

from shared.ids import DeviceId, SiteId
from shared.telemetry import COLUMN_NAMES, DeviceKind, MinerState, Quality, RollupRow
from shared.units import Algorithm

HEAD = (
    "site",
    "device",
    "at_ms",
    "step_s",
    "kind",
    "algorithm",
    "samples",
    "failed",
    "quality",
    "state",
    "preset",
)
COLUMNS = (*HEAD, *COLUMN_NAMES)
"""All columns in table order."""
_KNOWN = frozenset(COLUMN_NAMES)


def to_record(site: SiteId, row: RollupRow) -> tuple[Any, ...]:
    """A row as the table has it."""
    return (
        site,
        row.device,
        row.at_ms,
        row.step_s,
        row.kind.value,
        row.algorithm.value if row.algorithm is not None else None,
        row.samples,
        row.failed,
        int(row.quality),
        row.state.value if row.state is not None else None,
        row.preset,
        *row.values,
    )


def from_record(record: Sequence[Any]) -> RollupRow:
    """A row of the table (all `COLUMNS`) as a struct."""
    _, device, at_ms, step_s, kind, algorithm, samples, failed, quality, state, preset, *values = record
    return RollupRow(
        device=DeviceId(device),
        at_ms=at_ms,
        step_s=step_s,
        samples=samples,
        failed=failed,
        quality=Quality(quality),
        values=tuple(values),
        kind=DeviceKind(kind),
        algorithm=Algorithm(algorithm) if algorithm is not None else None,
        state=MinerState(state) if state is not None else None,
        preset=preset,
    )


def checked_columns(names: Sequence[str]) -> str:
    """The names as an SQL list; KeyError for one that is no number of a roll-up row.

    Names go into SQL text, so only those of `ROLLUP_COLUMNS` may pass.
    """
    for name in names:
        if name not in _KNOWN:
            raise KeyError(name)
    return ", ".join(names)
