"""The store itself: one SQLite file, one connection, one transaction per batch.

WAL with `synchronous=FULL`, because a commit that an ack may delete elsewhere must survive a power cut
(edge.md §5: 50 rows per commit cost 2.8 bytes of flash per byte, single rows 34). A row of telemetry and its
outbox batch are written in one transaction; so are journal events and the journal cursor. Used from the
writer thread only (`writer.py`).
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from edge_agent.agent.service import log
from edge_agent.agent.store import told
from edge_agent.agent.store.outbox import Outbox, step_of
from edge_agent.agent.store.quota import OutboxFull, Pressure, Quota
from edge_agent.agent.store.rows import (
    AckOutcome,
    Commit,
    EpochTotals,
    OutboxRow,
    Receipt,
    Refusal,
    StreamTotals,
)
from edge_agent.agent.store.schema import migrate
from edge_agent.agent.store.tombstones import Graves
from shared.alarms import Event
from shared.clock import Clock
from shared.errors import StoreError, WireError
from shared.telemetry import RollupRow
from shared.wire import codec
from shared.wire.envelope import Ack, Tombstone
from shared.wire.topics import EVENT_STREAM, HISTORY_STREAM, SCORE_STREAM, TELEMETRY_STREAM

Connect = Callable[[Path], sqlite3.Connection]

LEVEL_KEY: Final = "outbox.level"
"""How far the outbox had to go, as last told to people."""
ORDER_KEY: Final = "event.order"
"""The order that the last event was given."""
_MOST_ORDER: Final = 2**62
"""Half of what the field holds, for the wall clock to count on in."""
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
_BROKEN: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
"""What a statement says that meets damage in a file that opened well."""
_READING: Final = frozenset({sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ})
_FRAME = list[RollupRow]
_WAL_BYTES: Final = 4 * 1024 * 1024
_KEEP_FREE: Final = 256
"""Pages (1 MB) that stay in the file when it shrinks."""


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
        self._clock = clock
        try:
            self._db = connect(path)
            self._prepare()
            self._outbox = Outbox(self._db, clock, limit=outbox_bytes)
        except sqlite3.Error as error:
            kind = StoreDamaged if _is_damage(error) else StoreError
            raise kind(f"{path}: cannot be opened: {error}") from error
        self.epoch = self._outbox.epoch
        self._graves = Graves(self._outbox)
        self._quota = Quota(self._outbox, self._graves)
        self.pressure = Pressure(int(self.meta(LEVEL_KEY) or 0))
        """How far the outbox has to go to stay within its bounds."""

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
        before = (self._outbox.held, self.pressure)
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back(*before)
            kind = StoreDamaged if getattr(error, "sqlite_errorcode", 0) & 0xFF in _BROKEN else StoreError
            raise kind(f"{self.path}: {error}") from error
        except BaseException:
            self._roll_back(*before)
            raise

    def _roll_back(self, held: int, pressure: Pressure) -> None:
        self._outbox.held, self.pressure = held, pressure
        self._outbox.forget()
        self._graves.forget()
        self._quota.forget()
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    # ------------------------------------------------------------ writing

    def commit(self, commit: Commit) -> Receipt:
        """Rows, their outbox batches and the cursors that go with them, in one transaction.

        Raises `StoreError`, then nothing of it was written; `OutboxFull` where events have filled even their
        reserve. Keeps the outbox within its bounds on the way, and says so in events of its own.
        """
        with self._transaction() as db:
            raw_bytes = self._add(db, commit)
            events = self._relieve(db)
            if commit.events and self._outbox.held > self._quota.hard_limit:
                raise OutboxFull(f"{self.path}: events fill the outbox and its reserve")
        return Receipt(events=events, raw_bytes=raw_bytes)

    def _add(self, db: sqlite3.Connection, commit: Commit) -> int:
        """Everything of a commit; returns the bytes of its raw batch."""
        outbox = self._outbox
        if commit.rollups:
            self._add_rollups(db, commit.rollups)
        outbox.add(SCORE_STREAM, commit.scores, [row.at_ms for row in commit.scores])
        outbox.add(HISTORY_STREAM, commit.history, [row.at_ms for row in commit.history])
        raw_bytes = outbox.add_raw(commit.raw) if commit.raw else 0
        self._add_events(db, commit.events)
        self._set(db, commit.meta)
        return raw_bytes

    def _add_events(self, db: sqlite3.Connection, events: Sequence[Event]) -> None:
        """Events in the order in which they happened here, whatever the wall clock does in between.

        The last order is read anew each time: a salvage brings the one of the damaged file.
        """
        if not events:
            return
        first = max(self._clock.utc_ms(), _order(self.meta(ORDER_KEY)) + 1)
        placed = [msgspec.structs.replace(event, order=order) for order, event in enumerate(events, first)]
        self._outbox.add(EVENT_STREAM, placed, [event.at_ms for event in placed])
        self._set(db, {ORDER_KEY: b"%d" % placed[-1].order})

    def _set(self, db: sqlite3.Connection, values: Mapping[str, bytes]) -> None:
        db.executemany(
            "INSERT INTO meta (key, value) VALUES (?, ?) "
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            list(values.items()),
        )

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
        self._outbox.add(TELEMETRY_STREAM, rows, [row.at_ms for row in rows], step_s=step_of(rows))

    def _relieve(self, db: sqlite3.Connection) -> tuple[Event, ...]:
        """Bounds of the outbox; an event where people should hear of it, in the same transaction."""
        before, self.pressure = self.pressure, self._quota.relieve(self.pressure)
        if self.pressure is before:
            return ()
        event = told.pressure(self.pressure, self._clock.utc_ms(), self._outbox.limit)
        self._add_events(db, [event])
        self._set(db, {LEVEL_KEY: b"%d" % self.pressure})
        return (event,)

    def explain(self, stones: Iterable[Tombstone]) -> None:
        """Write tombstones for what another file lost; their own numbers are given here."""
        self._outbox.count()
        with self._transaction():
            self._outbox.recall()  # what the other file had sent stays what may be on its way
            for stone in stones:
                self._graves.explain(stone)

    def take_over(self, table: str, columns: Sequence[str], lines: Sequence[tuple[object, ...]]) -> None:
        """Lines of another file's table, as they are; those whose key is here already stay out."""
        marks = ", ".join("?" * len(columns))
        with self._transaction() as db:
            db.executemany(
                f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})",  # noqa: S608 - names of our own
                lines,
            )

    def expire(self, before_ms: int) -> int:
        """Give up what waits in the outbox since before then, events excepted; a bounded number per call."""
        with self._transaction():
            return self._quota.expire(before_ms)

    def limit_outbox(self, limit: int) -> None:
        """From the next commit on the outbox holds so many bytes at most."""
        self._outbox.limit = limit

    # ------------------------------------------------------------ outbox

    def waiting(self, *, above: int = 0, newest: bool = False) -> list[int]:
        """Ids of unconfirmed batches above an id: urgent streams first, then by age as asked."""
        return self._outbox.waiting(above=above, newest=newest)

    def fetch(self, ids: Sequence[int]) -> list[OutboxRow]:
        """Those of the named batches that are still unconfirmed, in the asked order.

        They count as handed out from now on: they are not thinned, and go last where room is short. One that
        does not decode any more is given up here, with a tombstone: the cloud could never acknowledge it.
        """
        rows, damaged = self._outbox.fetch(ids)
        if damaged:
            with self._transaction():
                explained = [self._graves.bury_damaged(row_id) for row_id in damaged]
            log.error(
                "%s: %d batches are damaged and cannot be sent: %d have tombstones, of the others nothing is "
                "readable; look at the disk",
                self.path,
                len(explained),
                sum(explained),
            )
        return rows

    def mark_published(self, rows: Iterable[OutboxRow]) -> None:
        """Remember, before sending, the highest number that may be out; acks above it are refused."""
        with self._transaction():
            self._outbox.mark_published(rows)

    def apply_acks(self, acks: Iterable[Ack]) -> AckOutcome:
        """Delete what the cloud has committed, and nothing above what was ever published to it.

        An ack of this opening's epoch that claims more is refused whole; of an earlier epoch, the part that
        this file published is taken.
        """
        deleted: list[int] = []
        refused: list[Refusal] = []
        with self._transaction():
            for ack in acks:
                try:
                    deleted += self._outbox.apply(ack)
                except WireError as error:
                    refused.append(Refusal(ack=ack, why=str(error)))
        self._outbox.handed.difference_update(deleted)
        return AckOutcome(deleted=tuple(deleted), refused=tuple(refused))

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
            return db.execute(
                "DELETE FROM rollup WHERE id IN (SELECT id FROM rollup WHERE at_ms < ? LIMIT ?)",
                (at_ms, steps),
            ).rowcount

    def forget_oldest_rollups(self, steps: int) -> int:
        """Drop the oldest steps whatever their age, for a disk that is full; returns how many went."""
        with self._transaction() as db:
            return db.execute(
                "DELETE FROM rollup WHERE id IN (SELECT id FROM rollup ORDER BY id LIMIT ?)", (steps,)
            ).rowcount

    def empty_log(self) -> None:
        """Bring the write-ahead log into the file and give its room back, as far as that can be done now."""
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def shrink(self, pages: int) -> int:
        """Give up to `pages` free pages back to the file system; returns how many are left to give.

        A part of the file stays free for what comes next: moving pages wears the flash as writing them does.
        """
        free, total = int(self._one("PRAGMA freelist_count")), int(self._one("PRAGMA page_count"))
        spare = free - max(_KEEP_FREE, total // 10)
        if spare <= 0:
            return 0
        try:
            # Not `execute`: it steps once, and this statement gives back one page per step.
            self._db.executescript(f"PRAGMA incremental_vacuum({min(spare, pages)})")
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {error}") from error
        return max(spare - pages, 0)

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
        return self._outbox.held

    def _one(self, query: str) -> int | str:
        (value,) = self._db.execute(query).fetchone()
        assert isinstance(value, int | str)  # noqa: S101 - narrows sqlite's untyped value for mypy
        return value


def _order(value: bytes | None) -> int:
    """The last order given; 0 where none was, and where a salvaged value is no number that can be meant."""
    try:
        order = int(value or b"0")
    except ValueError:
        return 0
    return order if 0 <= order < _MOST_ORDER else 0


def _is_damage(error: sqlite3.Error) -> bool:
    """Whether an opening failed because of what is in the file. Writes that fail (no room) are not that."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return False
    primary = code & 0xFF
    return code in _READING if primary == sqlite3.SQLITE_IOERR else primary not in _PASSING
