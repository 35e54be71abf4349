"""The outbox is bounded: what goes first where room is short, and in what order (edge.md §5).

From 90 % of the limit on: raw windows, device history, scores, oldest first. Then telemetry of less than a
minute is thinned, oldest first, a bounded slice per commit so that no commit takes long. At the limit the
oldest telemetry goes. Events stay: they alone may use a reserve beyond the limit, and where that is full too
they are refused, so that they wait where they come from (the guardian's journal). Every drop is a tombstone.
"""

import itertools
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Final

import msgspec

from edge_agent.agent.store.outbox import ROWS_PER_BATCH, Outbox
from edge_agent.agent.store.rows import LOWER_STREAMS, priority_of
from edge_agent.agent.store.thinning import MINUTE_MS, thin
from edge_agent.agent.store.tombstones import DOOMED_COLUMNS, FULL, THINNED, TOO_OLD, Doomed, Graves
from shared.errors import StoreError, WireError
from shared.telemetry import RollupRow
from shared.wire import codec
from shared.wire.envelope import Batch
from shared.wire.topics import EVENT_STREAM, TELEMETRY_STREAM

RESERVE: Final = 0.25
"""Events may use this part of the limit beyond it."""
_SOFT: Final = 0.9
_CALM: Final = 0.5
_SCAN: Final = 256
_SLICE: Final = 64
"""Batches that one commit thins at most: at one batch per step it overtakes what comes in by far."""
_SLICE_BYTES: Final = 1024 * 1024
_EXPIRE: Final = 256


class Pressure(IntEnum):
    """How far the outbox had to go to stay within its bounds."""

    NONE = 0
    THINNING = 1
    """Raw windows, history and scores go, telemetry is thinned to minutes."""
    DROPPING = 2
    """Telemetry is lost."""
    EVENTS = 3
    """Events alone fill the outbox: nothing else is taken in."""


class OutboxFull(StoreError):
    """Events fill the limit and the reserve behind it; they must wait where they come from."""

    code = "outbox-full"


class Quota:
    """Keeps one outbox within its bounds, inside the running transaction."""

    def __init__(self, outbox: Outbox, graves: Graves) -> None:
        self._outbox = outbox
        self._graves = graves
        self._thinned_id = 0
        """Whatever has a lower id was thinned, or may be on its way: no need to look there again."""

    @property
    def hard_limit(self) -> int:
        """Bytes beyond which events are refused."""
        return int(self._outbox.limit * (1 + RESERVE))

    def relieve(self, level: Pressure) -> Pressure:
        """Make room where it is short; `level` is where it stood before, the result where it stands now."""
        outbox = self._outbox
        soft = int(outbox.limit * _SOFT)
        if outbox.held <= soft:
            return Pressure.NONE if outbox.held <= outbox.limit * _CALM else level
        self._drop(LOWER_STREAMS, soft, FULL)
        reached = Pressure.THINNING
        while outbox.held > soft and self._thin_slice(outbox.held - soft) and outbox.held > outbox.limit:
            pass  # one slice per commit is enough, unless this commit alone is more than fits
        if outbox.held > outbox.limit:
            reached = Pressure.DROPPING
            self._drop((TELEMETRY_STREAM,), soft, FULL)
        if outbox.held > outbox.limit:  # what may be on its way goes last
            self._drop((*LOWER_STREAMS, TELEMETRY_STREAM), soft, FULL, handed=True)
        if outbox.held > outbox.limit:
            reached = Pressure.EVENTS
        return max(reached, level)

    def expire(self, before_ms: int) -> int:
        """Give up batches whose rows are all older, events excepted; returns how many, a bounded number."""
        doomed = list(itertools.islice(self._older(before_ms), _EXPIRE))
        self._graves.bury(doomed, TOO_OLD)
        return len(doomed)

    def _older(self, before_ms: int) -> Iterator[Doomed]:
        """Batches whose rows are all older, events and what may be on its way excepted."""
        after = (-1, 0)
        while True:
            found = self._outbox.db.execute(
                f"SELECT priority, {DOOMED_COLUMNS} FROM outbox WHERE priority < ? AND tombstone = 0 "  # noqa: S608 - columns of our own
                "AND to_ms < ? AND (priority, id) > (?, ?) ORDER BY priority, id LIMIT ?",
                (priority_of(EVENT_STREAM), before_ms, *after, _SCAN),
            ).fetchall()
            for priority, *columns in found:
                row = Doomed(*columns)
                after = (priority, row.id)
                if row.id not in self._outbox.handed:
                    yield row
            if len(found) < _SCAN:
                return

    def _drop(self, streams: Sequence[str], target: int, reason: str, *, handed: bool = False) -> None:
        """Give up the oldest batches of these streams, one stream after the other, down to `target` bytes."""
        for stream in streams:
            need = self._outbox.held - target
            if need <= 0:
                return
            doomed: list[Doomed] = []
            for row in self._pending(stream, handed=handed):
                doomed.append(row)
                need -= row.size
                if need <= 0:
                    break
            self._graves.bury(doomed, reason)

    def _pending(
        self, stream: str, *, handed: bool = False, above: int = 0, where: str = ""
    ) -> Iterator[Doomed]:
        """Batches of a stream, oldest first; those that may be on their way only with `handed`."""
        while True:
            found = self._outbox.db.execute(
                f"SELECT {DOOMED_COLUMNS} FROM outbox WHERE priority = ? AND id > ? AND tombstone = 0 "  # noqa: S608 - our own words
                f"{where} ORDER BY priority, id LIMIT ?",
                (priority_of(stream), above, _SCAN),
            ).fetchall()
            for row in (Doomed(*columns) for columns in found):
                above = row.id
                if row.stream == stream and (handed or row.id not in self._outbox.handed):
                    yield row
            if len(found) < _SCAN:
                return

    # ------------------------------------------------------------ thinning

    def _thin_slice(self, need: int) -> bool:
        """Replace the oldest fine telemetry by one-minute rows, whole minutes at a time; False: none.

        A minute of which anything was sent stays as it is: the cloud has a row of that time already.
        """
        while True:
            found, rest_ms = self._fine(min(2 * need, _SLICE_BYTES))
            closed = [row for row in found if row.to_ms // MINUTE_MS < rest_ms // MINUTE_MS]
            if not closed:
                return False
            self._thinned_id = max(row.id for row in closed)
            doomed = self._outbox.minutes.untouched(closed)
            if doomed:
                self._thin(doomed)
                return True

    def forget(self) -> None:
        """The transaction was rolled back: what was thinned in it was not."""
        self._thinned_id = 0

    def _fine(self, enough: int) -> tuple[list[Doomed], int]:
        """The oldest batches of less than a minute per row, and from when on such rows stay as they are.

        At least a minute of them, then no more than `_SLICE` or `enough` bytes.
        """
        found: list[Doomed] = []
        size = 0
        where = f"AND step_s BETWEEN 1 AND {MINUTE_MS // 1000 - 1}"
        for row in self._pending(TELEMETRY_STREAM, above=self._thinned_id, where=where):
            full = len(found) >= _SLICE or size >= enough
            if full and row.from_ms // MINUTE_MS > found[0].to_ms // MINUTE_MS:
                return found, row.from_ms
            found.append(row)
            size += row.size
        # The end of what there is: its last minute may still get rows.
        return found, max((row.from_ms for row in found), default=0)

    def _thin(self, doomed: Sequence[Doomed]) -> None:
        """In the place of these batches: a tombstone per epoch, and minutes under the oldest ids.

        Of all epochs at once: a minute in which the agent started has rows of two, and becomes one row.
        """
        outbox = self._outbox
        rows = [row for batch in doomed for row in self._rows(batch)]
        minutes = thin(rows)
        self._graves.bury(doomed, THINNED)
        outbox.minutes.save((row.from_ms, row.to_ms) for row in doomed)
        row_id: int | None = doomed[0].id
        for start in range(0, len(minutes), ROWS_PER_BATCH):
            chunk = minutes[start : start + ROWS_PER_BATCH]
            entry = outbox.batch(
                outbox.thin_epoch,
                TELEMETRY_STREAM,
                chunk,
                [row.at_ms for row in chunk],
                step_s=MINUTE_MS // 1000,
            )
            outbox.put(entry, row_id=row_id)
            row_id = next((row.id for row in doomed[1 + start // ROWS_PER_BATCH :]), None)

    def _rows(self, doomed: Doomed) -> list[RollupRow]:
        (body,) = self._outbox.db.execute("SELECT body FROM outbox WHERE id = ?", (doomed.id,)).fetchone()
        try:
            return msgspec.msgpack.decode(codec.decode(body, Batch).rows, type=list[RollupRow])
        except (WireError, msgspec.DecodeError, UnicodeDecodeError):
            return []  # it could not have been read in the cloud either; its tombstone tells of its rows
