"""Tombstones: what had to be given up is itself a record that is forwarded, so no gap is unexplained.

A tombstone covers numbers of one (epoch, stream) between which nothing is pending any more: an ack for a
number that is still here would take a batch away that nobody has. It has a number of its own, always of this
opening's epoch. While it was never handed out it grows in place, so that a week without WAN leaves a handful.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from edge_agent.agent.store.outbox import Entry, Outbox
from shared.wire import codec
from shared.wire.envelope import Tombstone

THINNED: Final = "thinned"
FULL: Final = "outbox full"
TOO_OLD: Final = "too old"
DAMAGED: Final = "store damaged"
MOST_ROWS: Final = 5_000_000
"""A tombstone tells of so many rows at most; clouds refuse numbers that nobody can have meant."""


class Doomed(msgspec.Struct, frozen=True, array_like=True):
    """One batch that has to go."""

    id: int
    epoch: str
    stream: str
    seq: int
    from_ms: int
    to_ms: int
    count: int
    size: int


DOOMED_COLUMNS: Final = "id, epoch, stream, seq, from_ms, to_ms, count, length(body)"


class Graves:
    """Deletes batches and writes the tombstones for them, inside the running transaction."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._growing: dict[tuple[str, str, str], tuple[int, Tombstone]] = {}

    def forget(self) -> None:
        """The transaction was rolled back: what was written in it does not exist."""
        self._growing.clear()

    def bury(self, rows: Sequence[Doomed], reason: str) -> None:
        """Delete these batches and explain them."""
        outbox = self._outbox
        outbox.db.executemany("DELETE FROM outbox WHERE id = ?", [(row.id,) for row in rows])
        outbox.held -= sum(row.size for row in rows)
        groups: dict[tuple[str, str], list[Doomed]] = {}
        for row in rows:
            groups.setdefault((row.epoch, row.stream), []).append(row)
        for (epoch, stream), group in groups.items():
            outbox.db.execute(
                "UPDATE ledger SET dropped_rows = dropped_rows + ? WHERE epoch = ? AND stream = ?",
                (sum(row.count for row in group), epoch, stream),
            )
            for run in self._runs(epoch, stream, sorted(group, key=lambda row: row.seq)):
                self._explain(epoch, stream, run, reason)

    def bury_damaged(self, row_id: int) -> bool:
        """Delete a batch that nobody can read, and explain it and what it stood for.

        False where its line is damaged too, and says no number that can have been given out.
        """
        line = self._outbox.db.execute(
            f"SELECT {DOOMED_COLUMNS}, tombstone, of_epoch, first_seq, last_seq FROM outbox WHERE id = ?",  # noqa: S608 - columns of our own
            (row_id,),
        ).fetchone()
        *columns, tombstone, of_epoch, first, last = line
        row = Doomed(*columns)
        outbox = self._outbox
        outbox.handed.discard(row_id)
        if not self._was_given(row.epoch, row.stream, row.seq, row.seq):
            outbox.db.execute("DELETE FROM outbox WHERE id = ?", (row_id,))
            outbox.held -= row.size
            return False
        count, from_ms, to_ms = _credible(row.count, MOST_ROWS), _credible(row.from_ms), _credible(row.to_ms)
        row = msgspec.structs.replace(row, count=count, from_ms=from_ms, to_ms=to_ms)
        self.bury([msgspec.structs.replace(row, count=0) if tombstone else row], DAMAGED)
        if tombstone and self._was_given(of_epoch, row.stream, first, last):
            self._explain(of_epoch, row.stream, [row], DAMAGED, numbers=(first, last))
        return True

    def _was_given(self, epoch: object, stream: object, first: object, last: object) -> bool:
        """Whether the ledger knows these numbers of a stream."""
        known = self._outbox.db.execute(
            "SELECT batches FROM ledger WHERE epoch = ? AND stream = ?", (epoch, stream)
        ).fetchone()
        numbers = type(first) is int and type(last) is int
        return known is not None and numbers and 1 <= first <= last <= known[0]  # type: ignore[operator]  # both are int

    def explain(self, stone: Tombstone) -> None:
        """Write or grow a tombstone; `stone.epoch` and `stone.seq` are given here."""
        of_epoch = stone.of_epoch or stone.epoch
        key = (of_epoch, stone.stream, stone.reason)
        grown = self._grown(key, stone)
        if grown is not None:
            row_id, stone = grown
            self._rewrite(row_id, stone)
        else:
            seq = self._outbox.next_seq(self._outbox.epoch, stone.stream, 0)
            of = None if of_epoch == self._outbox.epoch else of_epoch
            stone = msgspec.structs.replace(stone, epoch=self._outbox.epoch, seq=seq, of_epoch=of)
            row_id = self._outbox.put(_entry(stone))
        self._growing[key] = (row_id, stone)

    def _explain(
        self,
        epoch: str,
        stream: str,
        run: Sequence[Doomed],
        reason: str,
        *,
        numbers: tuple[int, int] | None = None,
    ) -> None:
        first_seq, last_seq = numbers or (run[0].seq, run[-1].seq)
        self.explain(
            Tombstone(
                epoch=self._outbox.epoch,
                stream=stream,
                seq=0,
                first_seq=first_seq,
                last_seq=last_seq,
                from_ms=min(row.from_ms for row in run),
                to_ms=max(row.to_ms for row in run),
                count=sum(row.count for row in run),
                reason=reason,
                of_epoch=epoch,
            )
        )

    def _runs(self, epoch: str, stream: str, rows: Sequence[Doomed]) -> list[list[Doomed]]:
        """The rows in groups between which nothing is pending."""
        fences = [
            seq
            for (seq,) in self._outbox.db.execute(
                "SELECT seq FROM outbox WHERE epoch = ? AND stream = ? AND seq BETWEEN ? AND ? "
                "ORDER BY seq DESC",
                (epoch, stream, rows[0].seq, rows[-1].seq),
            )
        ]
        runs = [[rows[0]]]
        for row in rows[1:]:
            passed = False
            while fences and fences[-1] < row.seq:
                fence = fences.pop()
                passed = passed or fence > runs[-1][-1].seq
            if passed:
                runs.append([])
            runs[-1].append(row)
        return runs

    def _grown(self, key: tuple[str, str, str], stone: Tombstone) -> tuple[int, Tombstone] | None:
        """The tombstone that can take this one in, as it is then; None where there is none."""
        if key not in self._growing:
            return None
        row_id, before = self._growing[key]
        first, last = min(before.first_seq, stone.first_seq), max(before.last_seq, stone.last_seq)
        pending = self._outbox.db.execute(
            "SELECT 1 FROM outbox WHERE epoch = ? AND stream = ? AND seq BETWEEN ? AND ? AND id <> ? LIMIT 1",
            (key[0], key[1], first, last, row_id),
        ).fetchone()
        here = self._outbox.db.execute("SELECT 1 FROM outbox WHERE id = ?", (row_id,)).fetchone()
        if here is None or row_id in self._outbox.handed or pending is not None:
            return None  # acked meanwhile, on its way, or it would cover what still waits
        if before.count + stone.count > MOST_ROWS:
            return None
        return row_id, msgspec.structs.replace(
            before,
            first_seq=first,
            last_seq=last,
            from_ms=min(before.from_ms, stone.from_ms),
            to_ms=max(before.to_ms, stone.to_ms),
            count=before.count + stone.count,
        )

    def _rewrite(self, row_id: int, stone: Tombstone) -> None:
        body = codec.encode(stone)
        (size,) = self._outbox.db.execute(
            "SELECT length(body) FROM outbox WHERE id = ?", (row_id,)
        ).fetchone()
        self._outbox.db.execute(
            "UPDATE outbox SET first_seq = ?, last_seq = ?, from_ms = ?, to_ms = ?, count = ?, body = ? "
            "WHERE id = ?",
            (stone.first_seq, stone.last_seq, stone.from_ms, stone.to_ms, stone.count, body, row_id),
        )
        self._outbox.held += len(body) - size


def _credible(value: object, most: int = 2**62) -> int:
    """A number of a damaged line; 0 where it can be none."""
    return value if isinstance(value, int) and 0 <= value <= most else 0


def _entry(stone: Tombstone) -> Entry:
    return Entry(
        epoch=stone.epoch,
        stream=stone.stream,
        seq=stone.seq,
        tombstone=True,
        of_epoch=stone.of_epoch or stone.epoch,
        first_seq=stone.first_seq,
        last_seq=stone.last_seq,
        from_ms=stone.from_ms,
        to_ms=stone.to_ms,
        count=stone.count,
        body=codec.encode(stone),
    )
