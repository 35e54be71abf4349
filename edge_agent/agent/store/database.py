"""The store itself: one SQLite file, one connection, one transaction per batch.

WAL with `synchronous=FULL`, because a commit that an ack may delete elsewhere must survive a power cut
(edge.md §5: 50 rows per commit cost 2.8 bytes of flash per byte, single rows 34). A row of telemetry and its
outbox batch are written in one transaction; so are journal events and the journal cursor. Used from the
writer thread only (`writer.py`).
"""

import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from edge_agent.agent.store import quota
from edge_agent.agent.store.rows import (
    AckOutcome,
    Commit,
    EpochTotals,
    OutboxRow,
    Refusal,
    StreamTotals,
    encode_rows,
    priority_of,
)
from edge_agent.agent.store.schema import migrate
from shared.clock import Clock
from shared.errors import StoreError, WireError
from shared.telemetry import COLUMN_NAMES, RollupRow
from shared.wire import codec
from shared.wire.envelope import Ack, Batch
from shared.wire.topics import EVENT_STREAM, SCORE_STREAM, TELEMETRY_STREAM

Connect = Callable[[Path], sqlite3.Connection]

ROWS_PER_BATCH: Final = 2_000
"""A batch of this many roll-up rows is about 0.7 MB plain, far below the 4 MiB body limit."""
_PASSING: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_NOMEM,
    }
)
"""Why a sound file cannot be opened now: somebody holds it, no room, no rights."""
_READING: Final = frozenset({sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ})
_FRAME = list[RollupRow]
_WAL_BYTES: Final = 4 * 1024 * 1024


def connect(path: Path) -> sqlite3.Connection:
    """A connection in autocommit mode: transactions are explicit here."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)


class StoreDamaged(StoreError):
    """What is in the file cannot be used, and trying again will not change it."""

    code = "store-damaged"
    permanent = True


class Store:
    """Roll-ups, outbox and cursors. `epoch` is new at each opening; rows of earlier openings keep theirs."""

    def __init__(self, path: Path, clock: Clock, *, outbox_bytes: int, connect: Connect = connect) -> None:
        """Open or create the file; raises `StoreDamaged`, or `StoreError` where it cannot be opened now."""
        self.path = path
        self.epoch = secrets.token_hex(8)
        self._clock = clock
        self._outbox_bytes = outbox_bytes
        try:
            self._db = connect(path)
            self._prepare()
        except sqlite3.Error as error:
            kind = StoreDamaged if _is_damage(error) else StoreError
            raise kind(f"{path}: cannot be opened: {error}") from error
        self._held = int(self._one("SELECT coalesce(sum(length(body)), 0) FROM outbox"))

    def _prepare(self) -> None:
        self._db.execute("PRAGMA auto_vacuum=INCREMENTAL")  # only takes effect before the first table
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute(f"PRAGMA journal_size_limit={_WAL_BYTES}")
        verdict = self._one("PRAGMA quick_check(1)")
        if verdict != "ok":
            self._db.close()
            raise StoreDamaged(f"{self.path}: damaged: {verdict}")
        migrate(self._db)

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing. On a crash in between, SQLite rolls back at the next opening."""
        held = self._held
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back(held)
            raise StoreError(f"{self.path}: {error}") from error
        except BaseException:
            self._roll_back(held)
            raise

    def _roll_back(self, held: int) -> None:
        self._held = held
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    # ------------------------------------------------------------ writing

    def commit(self, commit: Commit) -> None:
        """Rows, their outbox batches and the cursors that go with them, in one transaction.

        Raises `StoreError`, then nothing of it was written. Enforces the outbox quota on the way.
        """
        with self._transaction() as db:
            if commit.rollups:
                self._add_rollups(db, commit.rollups)
            self._add_batches(db, SCORE_STREAM, commit.scores, [row.at_ms for row in commit.scores])
            self._add_batches(db, EVENT_STREAM, commit.events, [event.at_ms for event in commit.events])
            db.executemany(
                "INSERT INTO meta (key, value) VALUES (?, ?) "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                list(commit.meta.items()),
            )
            self._held += quota.enforce(db, held=self._held, limit=self._outbox_bytes)

    def _add_rollups(self, db: sqlite3.Connection, rows: Sequence[RollupRow]) -> None:
        steps: dict[tuple[int, int], list[RollupRow]] = {}
        for row in rows:
            steps.setdefault((row.at_ms, row.step_s), []).append(row)
        db.executemany(
            "INSERT INTO rollup (at_ms, step_s, count, body) VALUES (?, ?, ?, ?)",
            [
                (at_ms, step_s, len(group), codec.encode(group, compress=True))
                for (at_ms, step_s), group in sorted(steps.items())
            ],
        )
        self._add_batches(db, TELEMETRY_STREAM, rows, [row.at_ms for row in rows])

    def _add_batches(
        self, db: sqlite3.Connection, stream: str, rows: Sequence[msgspec.Struct], times: Sequence[int]
    ) -> None:
        for start in range(0, len(rows), ROWS_PER_BATCH):
            chunk = rows[start : start + ROWS_PER_BATCH]
            span = times[start : start + ROWS_PER_BATCH]
            seq = self._next_seq(db, self.epoch, stream, len(chunk))
            batch = Batch(
                epoch=self.epoch,
                stream=stream,
                seq=seq,
                from_ms=min(span),
                to_ms=max(span),
                count=len(chunk),
                rows=encode_rows(chunk),
                columns=COLUMN_NAMES if stream == TELEMETRY_STREAM else (),
            )
            body = codec.encode(batch, compress=True)
            db.execute(
                "INSERT INTO outbox (epoch, stream, seq, priority, tombstone, first_seq, last_seq, from_ms, "
                "to_ms, count, body) VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?)",
                (
                    self.epoch,
                    stream,
                    seq,
                    priority_of(stream),
                    seq,
                    seq,
                    batch.from_ms,
                    batch.to_ms,
                    len(chunk),
                    body,
                ),
            )
            self._held += len(body)

    def _next_seq(self, db: sqlite3.Connection, epoch: str, stream: str, rows: int) -> int:
        (seq,) = db.execute(
            "INSERT INTO ledger (epoch, stream, opened_ms, rows, batches, published, acked, dropped_rows) "
            "VALUES (?, ?, ?, ?, 1, 0, 0, 0) ON CONFLICT (epoch, stream) "
            "DO UPDATE SET rows = rows + excluded.rows, batches = batches + 1 RETURNING batches",
            (epoch, stream, self._clock.utc_ms(), rows),
        ).fetchone()
        return int(seq)

    # ------------------------------------------------------------ outbox

    def waiting(self, *, above: int = 0, newest: bool = False) -> list[int]:
        """Ids of unconfirmed batches above an id: urgent streams first, then by age as asked."""
        order = "DESC" if newest else "ASC"
        found = self._db.execute(
            f"SELECT id FROM outbox WHERE id > ? ORDER BY priority DESC, id {order}",  # noqa: S608 - one of two words
            (above,),
        )
        return [row[0] for row in found]

    def fetch(self, ids: Sequence[int]) -> list[OutboxRow]:
        """Those of the named batches that are still unconfirmed, in the asked order."""
        marks = ",".join("?" * len(ids))
        found = self._db.execute(
            f"SELECT id, epoch, stream, seq, body FROM outbox WHERE id IN ({marks})",  # noqa: S608 - only "?" is inserted
            list(ids),
        )
        rows = {i: OutboxRow(id=i, epoch=e, stream=t, seq=s, body=b) for i, e, t, s, b in found}
        return [rows[i] for i in ids if i in rows]

    def mark_published(self, rows: Iterable[OutboxRow]) -> None:
        """Remember, before sending, the highest number that may be out; acks above it are refused."""
        highest: dict[tuple[str, str], int] = {}
        for row in rows:
            key = (row.epoch, row.stream)
            highest[key] = max(highest.get(key, 0), row.seq)
        with self._transaction() as db:
            db.executemany(
                "UPDATE ledger SET published = max(published, ?) WHERE epoch = ? AND stream = ?",
                [(seq, epoch, stream) for (epoch, stream), seq in highest.items()],
            )

    def apply_acks(self, acks: Iterable[Ack]) -> AckOutcome:
        """Delete what the cloud has committed, and nothing above what was ever published to it.

        An ack of this opening's epoch that claims more is refused whole; of an earlier epoch, the part that
        this file published is taken.
        """
        deleted: list[int] = []
        refused: list[Refusal] = []
        with self._transaction() as db:
            for ack in acks:
                try:
                    deleted += self._apply_ack(db, ack)
                except WireError as error:
                    refused.append(Refusal(ack=ack, why=str(error)))
            db.execute("PRAGMA incremental_vacuum(64)").fetchall()
        return AckOutcome(deleted=tuple(deleted), refused=tuple(refused))

    def _apply_ack(self, db: sqlite3.Connection, ack: Ack) -> list[int]:
        known = db.execute(
            "SELECT published FROM ledger WHERE epoch = ? AND stream = ?", (ack.epoch, ack.stream)
        ).fetchone()
        if known is None:
            raise WireError(f"ack for epoch {ack.epoch!r} stream {ack.stream!r}, which this store never had")
        ranges = [(1, ack.upto), *ack.ranges]
        if ack.epoch != self.epoch:
            # A file that was restored from a copy knows less of its old epochs than the cloud does.
            ranges = [(first, min(last, known[0])) for first, last in ranges if first <= known[0]]
        top = max((last for _, last in ranges), default=0)
        if top > known[0]:
            raise WireError(f"ack up to {top} of {ack.stream!r}, but only {known[0]} was ever published")
        gone: list[tuple[int, int]] = []
        for first, last in ranges:
            gone += db.execute(
                "DELETE FROM outbox WHERE epoch = ? AND stream = ? AND seq BETWEEN ? AND ? "
                "RETURNING id, length(body)",
                (ack.epoch, ack.stream, first, last),
            ).fetchall()
        self._held -= sum(size for _, size in gone)
        db.execute(
            "UPDATE ledger SET acked = acked + ? WHERE epoch = ? AND stream = ?",
            (len(gone), ack.epoch, ack.stream),
        )
        return [row_id for row_id, _ in gone]

    # ------------------------------------------------------------ reading

    def meta(self, key: str) -> bytes | None:
        """One small value, or None where it was never set."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def rollups_since(self, at_ms: int) -> Iterator[list[RollupRow]]:
        """Recorded steps from `at_ms` on, oldest first; raises `StoreError` for a damaged body."""
        found = self._db.execute("SELECT body FROM rollup WHERE at_ms >= ? ORDER BY at_ms, id", (at_ms,))
        for (body,) in found:
            try:
                yield codec.decode(body, _FRAME)
            except WireError as error:
                raise StoreError(f"{self.path}: a roll-up frame is damaged: {error}") from error

    def forget_rollups_before(self, at_ms: int, *, steps: int = 500) -> int:
        """Drop old steps, a few at a time so that no commit is long; returns how many went."""
        with self._transaction() as db:
            gone = db.execute(
                "DELETE FROM rollup WHERE id IN (SELECT id FROM rollup WHERE at_ms < ? LIMIT ?)",
                (at_ms, steps),
            ).rowcount
            db.execute("PRAGMA incremental_vacuum(256)").fetchall()
        return gone

    def totals(self) -> dict[str, StreamTotals]:
        """Per stream: what this epoch recorded and published, and what is still unconfirmed of all epochs."""
        pending = dict(self._db.execute("SELECT stream, count(*) FROM outbox GROUP BY stream").fetchall())
        found = self._db.execute(
            "SELECT stream, rows, batches, published, acked, dropped_rows FROM ledger WHERE epoch = ?",
            (self.epoch,),
        ).fetchall()
        totals = {
            stream: StreamTotals(
                recorded_rows=rows,
                batches=batches,
                published=published,
                acked=acked,
                dropped_rows=dropped,
                pending=pending.pop(stream, 0),
            )
            for stream, rows, batches, published, acked, dropped in found
        }
        return totals | {stream: StreamTotals(pending=count) for stream, count in pending.items()}

    def all_epochs(self) -> dict[str, EpochTotals]:
        """Per stream over every epoch of this file: rows ever recorded, and rows dropped for lack of room."""
        found = self._db.execute("SELECT stream, sum(rows), sum(dropped_rows) FROM ledger GROUP BY stream")
        return {
            stream: EpochTotals(recorded_rows=rows, dropped_rows=dropped) for stream, rows, dropped in found
        }

    @property
    def held_bytes(self) -> int:
        """Bytes of batch bodies in the outbox."""
        return self._held

    def _one(self, query: str) -> int | str:
        (value,) = self._db.execute(query).fetchone()
        assert isinstance(value, int | str)  # noqa: S101 - narrows sqlite's untyped value for mypy
        return value


def _is_damage(error: sqlite3.Error) -> bool:
    """Whether an opening failed because of what is in the file. Writes that fail (no room) are not that."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return False
    primary = code & 0xFF
    return code in _READING if primary == sqlite3.SQLITE_IOERR else primary not in _PASSING
