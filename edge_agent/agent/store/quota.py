"""The outbox is bounded: when it is full, the oldest telemetry goes first and each gap is explained.

A drop is itself a record: a tombstone with a number of its own that covers the dropped numbers and is
forwarded like any batch. Rows of one (epoch, stream) are dropped oldest first, so everything below the
newest dropped number is dropped, buried or already acked, and one tombstone may cover the whole span; it
takes earlier tombstones in. A week without WAN leaves a handful of them, not thousands. Events are dropped
only when nothing else is left.
"""

import sqlite3
from typing import Final

import msgspec

from shared.wire import codec
from shared.wire.envelope import Tombstone

_REASON: Final = "outbox full"
_SCAN: Final = 256


class _Row(msgspec.Struct, frozen=True, array_like=True):
    """One row that has to go; `first_seq..last_seq` is what it stands for."""

    id: int
    epoch: str
    stream: str
    seq: int
    priority: int
    tombstone: int
    first_seq: int
    last_seq: int
    from_ms: int
    to_ms: int
    count: int
    size: int


def enforce(db: sqlite3.Connection, *, held: int, limit: int) -> int:
    """Make room inside the running transaction; returns the change in held bytes (0 or negative).

    Frees down to 90 % of the limit, so that not every batch pays for a tombstone.
    """
    if held <= limit:
        return 0
    dropped = _oldest(db, held - limit * 9 // 10)
    if all(row.tombstone for row in dropped):
        return 0
    db.executemany("DELETE FROM outbox WHERE id = ?", [(row.id,) for row in dropped])
    groups: dict[tuple[str, str], list[_Row]] = {}
    for row in dropped:
        groups.setdefault((row.epoch, row.stream), []).append(row)
    return sum(_bury(db, rows) for rows in groups.values()) - sum(row.size for row in dropped)


def _oldest(db: sqlite3.Connection, need: int) -> list[_Row]:
    """The oldest rows of the least important streams, until `need` bytes of batches are found."""
    chosen: list[_Row] = []
    while need > 0:
        found = db.execute(
            "SELECT id, epoch, stream, seq, priority, tombstone, first_seq, last_seq, from_ms, to_ms, count, "
            "length(body) FROM outbox ORDER BY priority, id LIMIT ? OFFSET ?",
            (_SCAN, len(chosen)),
        ).fetchall()
        for row in (_Row(*columns) for columns in found):
            chosen.append(row)
            need -= 0 if row.tombstone else row.size
            if need <= 0:
                return chosen
        if len(found) < _SCAN:
            break
    return chosen


def _bury(db: sqlite3.Connection, rows: list[_Row]) -> int:
    """One tombstone for the dropped rows of one (epoch, stream); returns the bytes it takes."""
    epoch, stream = rows[0].epoch, rows[0].stream
    lost = sum(row.count for row in rows if not row.tombstone)
    (seq,) = db.execute(
        "UPDATE ledger SET batches = batches + 1, dropped_rows = dropped_rows + ? "
        "WHERE epoch = ? AND stream = ? RETURNING batches",
        (lost, epoch, stream),
    ).fetchone()
    stone = Tombstone(
        epoch=epoch,
        stream=stream,
        seq=seq,
        first_seq=min(row.first_seq for row in rows),
        last_seq=max(max(row.last_seq, row.seq) for row in rows),
        from_ms=min(row.from_ms for row in rows),
        to_ms=max(row.to_ms for row in rows),
        count=sum(row.count for row in rows),
        reason=_REASON,
    )
    body = codec.encode(stone)
    db.execute(
        "INSERT INTO outbox (epoch, stream, seq, priority, tombstone, first_seq, last_seq, from_ms, to_ms, "
        "count, body) VALUES (?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?)",
        (
            epoch,
            stream,
            seq,
            rows[0].priority,
            stone.first_seq,
            stone.last_seq,
            stone.from_ms,
            stone.to_ms,
            stone.count,
            body,
        ),
    )
    return len(body)
