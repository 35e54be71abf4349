"""Roll-up rows from the wire straight to records of the table, without a struct of ours in between.

Nine messages in ten are roll-up batches and nearly all of them are sound, so those are checked while they
are decoded: types, ranges and finiteness by msgspec in C, names against the names already seen. Whatever does
not pass here says nothing about why; `cloud.ingest.decoding` then looks at each row and finds the words.
"""

import functools
from typing import Annotated, Any, Literal

import msgspec

from shared.errors import ConfigError
from shared.ids import SiteId, checked_id
from shared.telemetry import COLUMN_INDEX, COLUMN_NAMES

EARLIEST_MS = 1_577_836_800_000
"""2020-01-01: an older time is a clock that was never set."""
AHEAD_MS = 86_400_000
"""How far a site's clock may run ahead of ours before its rows are refused."""
_LARGEST_FLOAT = 1.7976931348623157e308
_Number = Annotated[float, msgspec.Meta(ge=-_LARGEST_FLOAT, le=_LARGEST_FLOAT)]
"""Neither NaN nor infinite: no comparison with a NaN holds."""
_Count = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]

Record = tuple[Any, ...]
"""One row as the table has it, in the order of `cloud.timeseries.rows.COLUMNS`."""


class _Row(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """`RollupRow` with enumerations as the plain words that the table holds (a test compares the two)."""

    device: str
    at_ms: Annotated[int, msgspec.Meta(ge=EARLIEST_MS)]
    step_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)]
    samples: _Count
    failed: _Count
    quality: Literal[0, 1, 2, 3, 4, 5, 6]
    values: tuple[_Number | None, ...]
    kind: Literal["miner", "meter", "drive", "hvac", "probe", "contacts", "pdu", "ups", "source"] = "miner"
    algorithm: Literal["sha256d", "scrypt", "unknown"] | None = None
    state: (
        Literal[
            "mining",
            "auto-tuning",
            "initializing",
            "starting",
            "restarting",
            "shutting-down",
            "stopped",
            "failure",
            "unknown",
        ]
        | None
    ) = None
    preset: str | None = None


_decoder = msgspec.msgpack.Decoder(tuple[_Row, ...])
"""Not shared between threads at once: msgspec decoders keep no state between calls and hold the GIL."""


@functools.lru_cache(maxsize=200_000)
def _known(device: str) -> str:
    """The name itself, one object for all its rows; raises `ConfigError`, which is not remembered."""
    return checked_id(device, "device")


@functools.lru_cache(maxsize=256)
def _places(columns: tuple[str, ...]) -> tuple[int, ...] | None:
    """Where each of their columns stands among ours; None where one is unknown or named twice."""
    if len(set(columns)) != len(columns) or any(name not in COLUMN_INDEX for name in columns):
        return None
    return tuple(COLUMN_INDEX[name] for name in columns)


def records(
    raw: msgspec.Raw, site: SiteId, columns: tuple[str, ...], count: int, *, now_ms: int
) -> list[Record] | None:
    """The rows of a sound batch as records, None where anything at all is not as it should be.

    Times may be up to a day ahead of `now_ms` (UTC).
    """
    places = _places(columns)
    if places is None:
        return None
    try:
        rows = _decoder.decode(raw)
        for row in rows:
            if row.at_ms % (row.step_s * 1000) or (row.preset is not None and "\0" in row.preset):
                return None
        found: list[Record] = [
            (
                site,
                _known(row.device),
                row.at_ms,
                row.step_s,
                row.kind,
                row.algorithm,
                row.samples,
                row.failed,
                row.quality,
                row.state,
                row.preset,
                *row.values,
            )
            for row in rows
        ]
    except (msgspec.DecodeError, ConfigError, UnicodeDecodeError):
        return None
    width = 11 + len(columns)
    if (
        len(found) != count
        or any(len(record) != width for record in found)
        or max((record[2] for record in found), default=0) > now_ms + AHEAD_MS
    ):
        return None
    return found if columns == COLUMN_NAMES else [_in_order(record, places) for record in found]


def _in_order(record: Record, places: tuple[int, ...]) -> Record:
    numbers: list[float | None] = [None] * len(COLUMN_NAMES)
    for place, number in zip(places, record[11:], strict=True):
        numbers[place] = number
    return (*record[:11], *numbers)
