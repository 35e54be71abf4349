"""The outbox: batches that the cloud has not confirmed, their numbers, and what acknowledgements take away.

Works on the store's connection inside the transactions that `database.py` opens. A batch that was handed out
to be sent is remembered until it is acked: what may be on its way is never thinned, and given up only when
nothing else is left.
"""

import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from edge_agent.agent.store.minutes import Minutes, few, packed, unpacked
from edge_agent.agent.store.rows import OutboxRow, encode_rows, priority_of
from shared.clock import Clock
from shared.errors import WireError
from shared.frames import Frame
from shared.telemetry import COLUMN_NAMES, HistoryRow, RollupRow
from shared.wire import codec
from shared.wire.envelope import Ack, Batch, Tombstone
from shared.wire.intervals import IntervalSet
from shared.wire.topics import RAW_STREAM, TELEMETRY_STREAM

ROWS_PER_BATCH: Final = 2_000
"""A batch of this many roll-up rows is about 0.7 MB plain, far below the 4 MiB body limit."""

_RANGES: Final = 64


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the outbox as it is written; it stands for `first_seq`..`last_seq` of `of_epoch`."""

    epoch: str
    stream: str
    seq: int
    tombstone: bool
    of_epoch: str
    first_seq: int
    last_seq: int
    from_ms: int
    to_ms: int
    count: int
    body: bytes
    step_s: int = 0


class Outbox:
    """Numbers, batches and acks. `epoch` is this opening's; thinned batches have one of their own.

    An epoch of their own keeps the numbers of thinned batches in the order of their age, so that one
    tombstone can cover many of them.
    """

    def __init__(self, db: sqlite3.Connection, clock: Clock, *, limit: int) -> None:
        self.db = db
        self.limit = limit
        self.epoch = secrets.token_hex(8)
        self.thin_epoch = secrets.token_hex(8)
        self.handed: set[int] = set()
        """Ids of batches that may be on their way."""
        self._sent: dict[tuple[str, str], IntervalSet] = {}
        self.held = 0
        """Bytes of batch bodies."""
        self.minutes = Minutes(db)
        self._clock = clock
        self.count()
        self.recall()

    def recall(self) -> None:
        """What earlier openings may have sent; where a file does not say which, all up to its mark."""
        self._sent.clear()
        self.minutes.forget()
        for epoch, stream, published, sent in self.db.execute(
            "SELECT epoch, stream, published, sent FROM ledger WHERE published > 0"
        ).fetchall():
            numbers = _numbers(sent, published)
            found = self.db.execute(
                "SELECT id, seq, from_ms, to_ms FROM outbox WHERE epoch = ? AND stream = ? AND seq <= ?",
                (epoch, stream, published),
            )
            out = [(row_id, span) for row_id, seq, *span in found if seq in numbers]
            self.handed.update(row_id for row_id, _ in out)
            if stream == TELEMETRY_STREAM:
                self.minutes.handed((first, last) for _, (first, last) in out)

    def forget(self) -> None:
        """The transaction was rolled back: what was noted as sent in it is read again."""
        self._sent.clear()
        self.minutes.forget()

    def count(self) -> None:
        """Look how much the outbox holds."""
        (held,) = self.db.execute("SELECT coalesce(sum(length(body)), 0) FROM outbox").fetchone()
        self.held = int(held)

    # ------------------------------------------------------------ in

    def add(
        self, stream: str, rows: Sequence[msgspec.Struct], times: Sequence[int], *, step_s: int = 0
    ) -> None:
        """Rows of one stream as one or several batches of this epoch."""
        for start in range(0, len(rows), ROWS_PER_BATCH):
            end = start + ROWS_PER_BATCH
            self.put(self.batch(self.epoch, stream, rows[start:end], times[start:end], step_s=step_s))

    def add_history(self, rows: Sequence[HistoryRow]) -> None:
        """What a device remembers."""
        self.add("hist", rows, [row.at_ms for row in rows])

    def add_raw(self, frames: Sequence[Frame]) -> int:
        """Frames as one batch that counts their samples; returns its deflated bytes."""
        times = [at_ms for frame in frames for at_ms in frame.at_ms]
        entry = self.batch(self.epoch, RAW_STREAM, frames, times, count=len(times))
        self.put(entry)
        return len(entry.body)

    def batch(
        self,
        epoch: str,
        stream: str,
        rows: Sequence[msgspec.Struct],
        times: Sequence[int],
        *,
        count: int | None = None,
        step_s: int = 0,
    ) -> Entry:
        """One batch with the next number of its epoch; `count` is the number of rows unless given."""
        made = Batch(
            epoch=epoch,
            stream=stream,
            seq=self.next_seq(epoch, stream, len(rows) if count is None else count),
            from_ms=min(times),
            to_ms=max(times),
            count=len(rows) if count is None else count,
            rows=encode_rows(rows),
            columns=COLUMN_NAMES if stream == TELEMETRY_STREAM else (),
        )
        return Entry(
            epoch=epoch,
            stream=stream,
            seq=made.seq,
            tombstone=False,
            of_epoch=epoch,
            first_seq=made.seq,
            last_seq=made.seq,
            from_ms=made.from_ms,
            to_ms=made.to_ms,
            count=made.count,
            body=codec.encode(made, compress=True),
            step_s=step_s,
        )

    def put(self, entry: Entry, *, row_id: int | None = None) -> int:
        """Write one line; returns its id. `row_id` keeps the place of a line that it replaces."""
        cursor = self.db.execute(
            "INSERT INTO outbox (id, epoch, stream, seq, priority, tombstone, of_epoch, first_seq, last_seq, "
            "from_ms, to_ms, count, body, step_s) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                row_id,
                entry.epoch,
                entry.stream,
                entry.seq,
                priority_of(entry.stream),
                entry.tombstone,
                entry.of_epoch,
                entry.first_seq,
                entry.last_seq,
                entry.from_ms,
                entry.to_ms,
                entry.count,
                entry.body,
                entry.step_s,
            ),
        )
        self.held += len(entry.body)
        return int(cursor.lastrowid or 0)

    def next_seq(self, epoch: str, stream: str, rows: int) -> int:
        """The next number of a stream of one of this opening's epochs, `rows` recorded under it."""
        (seq,) = self.db.execute(
            "INSERT INTO ledger (epoch, stream, opened_ms, rows, batches, published, acked, dropped_rows) "
            "VALUES (?, ?, ?, ?, 1, 0, 0, 0) ON CONFLICT (epoch, stream) "
            "DO UPDATE SET rows = rows + excluded.rows, batches = batches + 1 RETURNING batches",
            (epoch, stream, self._clock.utc_ms(), rows),
        ).fetchone()
        return int(seq)

    # ------------------------------------------------------------ out

    def waiting(self, *, above: int, newest: bool) -> list[int]:
        """Ids of unconfirmed batches above an id: urgent streams first, then by age as asked."""
        order = "DESC" if newest else "ASC"
        found = self.db.execute(
            f"SELECT id FROM outbox WHERE id > ? ORDER BY priority DESC, id {order}",  # noqa: S608 - one of two words
            (above,),
        )
        return [row[0] for row in found]

    def fetch(self, ids: Sequence[int]) -> tuple[list[OutboxRow], list[int]]:
        """Those of the named batches that are still there, in the asked order; they count as handed out.

        With them the ids of batches that are damaged: the cloud could not read them, and would never ack
        them. SQLite keeps no checksum of its own; a deflated body has one.
        """
        marks = ",".join("?" * len(ids))
        found = self.db.execute(
            "SELECT id, epoch, stream, seq, body, tombstone, of_epoch, first_seq, last_seq, count, "  # noqa: S608 - only "?" is inserted
            f"from_ms, to_ms FROM outbox WHERE id IN ({marks})",
            list(ids),
        )
        rows: dict[int, OutboxRow] = {}
        damaged: list[int] = []
        spans: list[tuple[int, int]] = []
        for row_id, epoch, stream, seq, body, tombstone, *stands_for, first_ms, last_ms in found:
            if not _is_sound(body, (epoch, stream, seq), tuple(stands_for) if tombstone else None):
                damaged.append(row_id)
                continue
            rows[row_id] = OutboxRow(id=row_id, epoch=epoch, stream=stream, seq=seq, body=body)
            if stream == TELEMETRY_STREAM and not tombstone:
                spans.append((first_ms, last_ms))
        self.handed.update(rows)
        self.minutes.handed(spans)
        return [rows[i] for i in ids if i in rows], damaged

    def mark_published(self, rows: Iterable[OutboxRow]) -> None:
        """Note which numbers may be out, and the highest of them, per epoch and stream."""
        groups: dict[tuple[str, str], list[int]] = {}
        rows = list(rows)
        self._mark_covered([row.id for row in rows])
        self.minutes.save()
        for row in rows:
            groups.setdefault((row.epoch, row.stream), []).append(row.seq)
        for key, numbers in groups.items():
            before = self._sent.get(key)
            if before is None:
                before = self._read_sent(key)
            after = few(IntervalSet((*before, *((seq, seq) for seq in numbers))), _RANGES)
            self._sent[key] = after
            if after != before:
                self.db.execute(
                    "UPDATE ledger SET published = max(published, ?), sent = ? "
                    "WHERE epoch = ? AND stream = ?",
                    (max(numbers), packed(after), *key),
                )

    def _mark_covered(self, ids: Sequence[int]) -> None:
        """An ack for what a tombstone covers may come once that is out, and be above its own number."""
        marks = ",".join("?" * len(ids))
        covered = self.db.execute(
            f"SELECT last_seq, of_epoch, stream, last_seq FROM outbox WHERE tombstone AND id IN ({marks})",  # noqa: S608 - only "?" is inserted
            list(ids),
        ).fetchall()
        self.db.executemany(
            "UPDATE ledger SET published = ?, "
            "sent = CASE WHEN published = 0 AND length(sent) = 0 THEN x'90' ELSE sent END "
            "WHERE epoch = ? AND stream = ? AND published < ?",
            covered,
        )

    def _read_sent(self, key: tuple[str, str]) -> IntervalSet:
        row = self.db.execute(
            "SELECT published, sent FROM ledger WHERE epoch = ? AND stream = ?", key
        ).fetchone()
        if row is None or not row[0]:
            return IntervalSet()
        return _numbers(row[1], row[0])

    def apply(self, ack: Ack) -> list[int]:
        """Delete what an ack covers; returns the ids. Raises `WireError` for an ack that cannot be true."""
        known = self.db.execute(
            "SELECT published FROM ledger WHERE epoch = ? AND stream = ?", (ack.epoch, ack.stream)
        ).fetchone()
        if known is None:
            raise WireError(f"ack for epoch {ack.epoch!r} stream {ack.stream!r}, which this store never had")
        ranges = [(1, ack.upto), *ack.ranges]
        if ack.epoch not in (self.epoch, self.thin_epoch):
            # A file that was restored from a copy knows less of its old epochs than the cloud does.
            ranges = [(first, min(last, known[0])) for first, last in ranges if first <= known[0]]
        top = max((last for _, last in ranges), default=0)
        if top > known[0]:
            raise WireError(f"ack up to {top} of {ack.stream!r}, but only {known[0]} was ever published")
        gone: list[tuple[int, int]] = []
        for first, last in ranges:
            gone += self.db.execute(
                "DELETE FROM outbox WHERE epoch = ? AND stream = ? AND seq BETWEEN ? AND ? "
                "RETURNING id, length(body)",
                (ack.epoch, ack.stream, first, last),
            ).fetchall()
        if not gone:
            return []
        self.held -= sum(size for _, size in gone)
        self.db.execute(
            "UPDATE ledger SET acked = acked + ? WHERE epoch = ? AND stream = ?",
            (len(gone), ack.epoch, ack.stream),
        )
        return [row_id for row_id, _ in gone]


def _numbers(sent: bytes, published: int) -> IntervalSet:
    """What may be out; all up to the mark where a file does not say, or cannot be read."""
    numbers = unpacked(sent) if sent else None
    return IntervalSet(((1, published),)) if numbers is None else numbers


def _is_sound(body: bytes, name: tuple[str, str, int], stands_for: tuple[object, ...] | None) -> bool:
    """Whether a body says what its line does; `stands_for` is that of a tombstone, None for a batch."""
    try:
        message: Batch | Tombstone = codec.decode(body, Batch | Tombstone)  # type: ignore[arg-type]  # msgspec takes unions
    except (WireError, TypeError):
        return False
    if (message.epoch, message.stream, message.seq) != name:
        return False
    if isinstance(message, Batch):
        return stands_for is None
    of_epoch = message.of_epoch or message.epoch
    return stands_for == (of_epoch, message.first_seq, message.last_seq, message.count)


def step_of(rows: Iterable[RollupRow]) -> int:
    """The shortest step among rows (s); 0 where there are none."""
    return min((row.step_s for row in rows), default=0)
