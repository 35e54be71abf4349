"""Minutes of UTC of which telemetry may be in the cloud already: they are not thinned any more.

The cloud knows a row by site, device and time, and a thinned minute has the time of the minute's first row.
Where that one was sent, the minute would be taken for the same row once more, and be lost.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final, Protocol, TypeVar

import msgspec

from edge_agent.agent.store.thinning import MINUTE_MS
from shared.errors import WireError
from shared.wire.intervals import IntervalSet

MINUTES_KEY: Final = "outbox.minutes"
_RANGES: Final = 256


class _Spanning(Protocol):
    """A batch, as far as time goes (UTC ms)."""

    @property
    def from_ms(self) -> int: ...

    @property
    def to_ms(self) -> int: ...


T = TypeVar("T", bound=_Spanning)


class Minutes:
    """Numbers of minutes since 1970, as a set that survives restarts and salvages."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._stored: IntervalSet | None = None
        """What the file says, read when it is asked for."""
        self._out = IntervalSet()
        """What was handed out since, and is not in the file yet."""

    def forget(self) -> None:
        """The file may say something else now: a transaction was rolled back, or another file came in."""
        self._stored = None

    def handed(self, spans: Iterable[tuple[int, int]]) -> None:
        """Telemetry from and to these times (UTC ms) may be on its way; `save` makes it durable."""
        self._out = IntervalSet((*self._out, *(_minutes(*span) for span in spans)))

    def save(self, spans: Iterable[tuple[int, int]] = ()) -> None:
        """Write what was handed out, and more spans of time (UTC ms), inside the running transaction."""
        before = self._known()
        after = few(IntervalSet((*before, *self._out, *(_minutes(*span) for span in spans))), _RANGES)
        if after != before:
            self._db.execute(
                "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (MINUTES_KEY, packed(after))
            )
            self._stored = after

    def untouched(self, rows: Sequence[T]) -> list[T]:
        """Those of whose minutes nothing was sent; a batch that stays keeps its other minutes here too."""
        taken = IntervalSet((*self._known(), *self._out))
        rows = list(rows)
        while kept := [row for row in rows if _overlaps(taken, row)]:
            taken = IntervalSet((*taken, *(_minutes(row.from_ms, row.to_ms) for row in kept)))
            rows = [row for row in rows if not _overlaps(taken, row)]
        return rows

    def _known(self) -> IntervalSet:
        if self._stored is None:
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (MINUTES_KEY,)).fetchone()
            self._stored = (unpacked(row[0]) if row else None) or IntervalSet()
        return self._stored


def packed(numbers: IntervalSet) -> bytes:
    """A set as bytes."""
    return msgspec.msgpack.encode(numbers.ranges)


def unpacked(data: bytes) -> IntervalSet | None:
    """The set that these bytes hold; None where they are damaged."""
    try:
        return IntervalSet(msgspec.msgpack.decode(data, type=list[tuple[int, int]]))
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError, WireError):
        return None


def few(numbers: IntervalSet, most: int) -> IntervalSet:
    """At most so many ranges: of more, the oldest are taken as one, which only means "may be out"."""
    over = len(numbers.ranges) - most
    if over <= 0:
        return numbers
    return IntervalSet(((numbers.ranges[0][0], numbers.ranges[over][1]), *numbers.ranges[over + 1 :]))


def _minutes(from_ms: int, to_ms: int) -> tuple[int, int]:
    first = max(1, from_ms // MINUTE_MS)
    return first, max(first, to_ms // MINUTE_MS)


def _overlaps(taken: IntervalSet, row: _Spanning) -> bool:
    first, last = _minutes(row.from_ms, row.to_ms)
    return any(low <= last and first <= high for low, high in taken)
