"""What still opens of a damaged store goes into the fresh one; what does not is told.

Rows are read by their ids: upwards until a page is broken, downwards from the other end, and one by one in
between, because a lookup that comes down another branch may pass the damage by. Every batch is decoded before
it is believed. Batches keep their epoch and number. Numbers of which neither a batch nor an ack is known are
given up with a tombstone: the cloud keeps what it has received of them, and waits for nothing any more.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec

from edge_agent.agent.store.database import Store
from edge_agent.agent.store.tables import BATCH_COLUMNS, LEDGER_COLUMNS, META_COLUMNS, ROLLUP_COLUMNS
from edge_agent.agent.store.tombstones import DAMAGED
from shared.errors import WireError
from shared.telemetry import RollupRow
from shared.wire import codec
from shared.wire.envelope import Batch, Tombstone
from shared.wire.intervals import IntervalSet

_PROBES: Final = 50_000
"""Ids that are looked up one by one where both ends are broken off."""
_RUNS: Final = 64
"""Tombstones per stream of an epoch at most."""
_CHUNK: Final = 200

_Row = tuple[Any, ...]


class Salvaged(msgspec.Struct, frozen=True, kw_only=True):
    """What came over, and what is known to be missing."""

    batches: int = 0
    rollups: int = 0
    values: int = 0
    broken: int = 0
    """Lines that were found and could not be believed."""
    lost_rows: int = 0
    """Rows in them, as far as their lines still said so."""
    unknown_numbers: int = 0
    """Batch numbers of which neither a batch nor an ack is known."""


def salvage(source: Path, store: Store) -> Salvaged:
    """Copy what opens of the damaged file into a store; never raises for what the file holds.

    Raises `StoreError` where the fresh store cannot be written. The source is only read.
    """
    finds = _Finds(store)
    try:
        with closing(_open(source)) as db:
            finds.take(db)
    except sqlite3.Error:
        pass  # nothing, or nothing more, can be read: what was found counts
    return finds.settle()


def _open(path: Path) -> sqlite3.Connection:
    """Read-only; without its WAL where that cannot be read."""
    for mode in ("mode=ro", "immutable=1"):
        db = sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True, isolation_level=None)
        try:
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error:
            db.close()
        else:
            return db
    raise sqlite3.DatabaseError(f"{path} does not open")


class _Finds:
    """One salvage while it runs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ledger: list[_Row] = []
        self._known: dict[tuple[str, str], list[tuple[int, int]]] = {}
        """Numbers that are here, or that a tombstone that is here tells of."""
        self._lost: list[Tombstone] = []
        self._counts = {"batches": 0, "rollups": 0, "values": 0, "broken": 0}

    def take(self, db: sqlite3.Connection) -> None:
        """Small tables first: they say what else to expect."""
        asked = _columns(db, "ledger", LEDGER_COLUMNS)
        self._ledger = [row for row in _rows(db, "ledger", asked) if _is_ledger(row)]
        values = [row for row in _rows(db, "meta", META_COLUMNS) if _typed(row, (str, bytes))]
        self._store.take_over("ledger", LEDGER_COLUMNS, self._ledger)
        self._store.take_over("meta", META_COLUMNS, values)
        self._counts["values"] = len(values)
        asked = _columns(db, "outbox", BATCH_COLUMNS)
        for chunk in _chunks(row for row in _rows(db, "outbox", asked) if self._is_batch(row)):
            self._store.take_over("outbox", BATCH_COLUMNS, chunk)
        for chunk in _chunks(row for row in _rows(db, "rollup", ROLLUP_COLUMNS) if self._is_rollup(row)):
            self._store.take_over("rollup", ROLLUP_COLUMNS, chunk)

    def settle(self) -> Salvaged:
        """Streams whose line in the ledger is gone get one; what is missing gets its tombstones."""
        known = {(row[0], row[1]) for row in self._ledger}
        found = [
            (epoch, stream, 0, 0, *[max(last for _, last in numbers)] * 2, 0, 0, b"")
            for (epoch, stream), numbers in self._known.items()
            if (epoch, stream) not in known
        ]
        self._store.take_over("ledger", LEDGER_COLUMNS, found)
        unknown = [stone for line in (*self._ledger, *found) for stone in self._missing(line)]
        self._store.explain((*self._lost, *unknown))
        return Salvaged(
            **self._counts,
            lost_rows=sum(stone.count for stone in self._lost),
            unknown_numbers=sum(stone.last_seq - stone.first_seq + 1 for stone in unknown),
        )

    def _is_batch(self, row: _Row) -> bool:
        if not _typed(row, (int, str, str, int, int, int, str, int, int, int, int, int, bytes, int)):
            self._counts["broken"] += 1
            return False
        _, epoch, stream, seq, _, tombstone, of_epoch, first, last, from_ms, to_ms, count, body, _ = row
        self._known.setdefault((epoch, stream), []).append((seq, seq))
        if tombstone:
            self._known.setdefault((of_epoch, stream), []).append((first, last))
        try:
            message: Batch | Tombstone = codec.decode(body, Batch | Tombstone)  # type: ignore[arg-type]  # msgspec takes unions
            good = (message.epoch, message.stream, message.seq) == (epoch, stream, seq)
        except WireError:
            good = False
        self._counts["batches" if good else "broken"] += 1
        if not good:
            stone = _stone(of_epoch, stream, first, last)
            self._lost.append(msgspec.structs.replace(stone, from_ms=from_ms, to_ms=to_ms, count=count))
            if tombstone:  # its own number as well
                self._lost.append(_stone(epoch, stream, seq, seq))
        return good

    def _is_rollup(self, row: _Row) -> bool:
        good = _typed(row, (int, int, int, int, bytes))
        try:
            good = good and len(codec.decode(row[4], list[RollupRow])) == row[3]
        except WireError:
            good = False
        self._counts["rollups" if good else "broken"] += 1
        return good

    def _missing(self, line: _Row) -> list[Tombstone]:
        """Numbers of a stream of which nothing is known, in at most `_RUNS` runs."""
        epoch, stream, _, _, batches, _, acked, dropped_rows, _ = line
        known = IntervalSet(
            (first, min(last, batches))
            for first, last in self._known.get((epoch, stream), ())
            if 1 <= first <= min(last, batches)
        )
        if not dropped_rows and batches - len(known) <= acked:
            return []  # all that is missing was acked; where something was dropped, that cannot be told
        ends = [(0, 0), *known.ranges, (batches + 1, batches + 1)]
        runs = [(low + 1, high - 1) for (_, low), (high, _) in pairwise(ends) if high - low > 1]
        longest = sorted(runs, key=lambda run: run[0] - run[1])[:_RUNS]
        return [_stone(epoch, stream, first, last) for first, last in sorted(longest)]


_INSTEAD: Final = {"of_epoch": "epoch", "step_s": "0", "sent": "x''"}
"""Columns that files of earlier versions do not have."""


def _columns(db: sqlite3.Connection, table: str, names: Sequence[str]) -> list[str]:
    """What to ask of a table for these columns."""
    has = {column[1] for column in db.execute(f"PRAGMA table_info({table})")}
    return [name if name in has else _INSTEAD[name] for name in names]


def _stone(epoch: str, stream: str, first: int, last: int) -> Tombstone:
    return Tombstone(
        epoch=epoch,
        stream=stream,
        seq=0,
        first_seq=first,
        last_seq=last,
        from_ms=0,
        to_ms=0,
        count=0,
        reason=DAMAGED,
        of_epoch=epoch,
    )


def _is_ledger(row: _Row) -> bool:
    return _typed(row, (str, str, int, int, int, int, int, int, bytes)) and min(row[3:8]) >= 0


def _typed(row: _Row, kinds: Sequence[type]) -> bool:
    return len(row) == len(kinds) and all(type(value) is kind for value, kind in zip(row, kinds, strict=True))


def _chunks(rows: Iterator[_Row]) -> Iterator[list[_Row]]:
    chunk: list[_Row] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _rows(db: sqlite3.Connection, table: str, columns: Sequence[str]) -> Iterator[_Row]:
    """Every row that a lookup still reaches, each once."""
    select = f"SELECT rowid, {', '.join(columns)} FROM {table}"  # noqa: S608 - names of our own
    top = 0
    for row in _until_broken(db, f"{select} WHERE rowid > ? ORDER BY rowid", 0):
        top = row[0]
        yield row[1:]
    low = None
    for row in _until_broken(db, f"{select} WHERE rowid > ? ORDER BY rowid DESC", top):
        low = row[0]
        yield row[1:]
    end = top + _PROBES if low is None else min(low, top + _PROBES)
    for rowid in range(top + 1, end):
        for row in _until_broken(db, f"{select} WHERE rowid = ?", rowid):
            yield row[1:]


def _until_broken(db: sqlite3.Connection, query: str, value: int) -> Iterator[_Row]:
    try:
        yield from db.execute(query, (value,))
    except sqlite3.Error:
        return
