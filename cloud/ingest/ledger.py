"""Which batches of a stream are committed: a set of numbers, so the order of arrival does not matter.

Received and tombstoned numbers are kept apart: a batch that comes after the tombstone which gave it up
is still stored once. What is acknowledged is the union of both.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.kit.upsert import insert_new
from cloud.tables import LedgerRow
from shared.ids import SiteId
from shared.wire.envelope import Ack, Tombstone
from shared.wire.intervals import MAX_RANGES_PER_ACK, IntervalSet

_LOOK_UP = 200
"""Keys in one statement."""


class StreamLedger:
    """One (site, epoch, stream) while a transaction works on it."""

    def __init__(self, row: LedgerRow) -> None:
        self._row = row
        self._received = IntervalSet((a, b) for a, b in row.received)
        self._tombstoned = IntervalSet((a, b) for a, b in row.tombstoned)
        self._touched: set[int] = set()

    def take_batch(self, seq: int, rows: int) -> bool:
        """Note a batch; False where it is in already, and then its rows must not be stored again."""
        if not self._take(seq):
            return False
        self._row.batches += 1
        self._row.rows += rows
        return True

    def take_unusable(self, seq: int) -> bool:
        """Note a batch whose bytes went to quarantine: the cloud has it, so the site may forget it."""
        if not self._take(seq):
            return False
        self._row.quarantined_batches += 1
        return True

    def redeem(self, rows: int) -> bool:
        """A batch that was taken as unusable can be used after all: its rows count as received now."""
        if self._row.quarantined_batches == 0:
            return False
        self._row.quarantined_batches -= 1
        self._row.batches += 1
        self._row.rows += rows
        return True

    def take_tombstone(self, tombstone: Tombstone, covered: "StreamLedger | None" = None) -> bool:
        """Note what a site had to give up; it fills numbers of `covered`, or of this epoch without one."""
        if not self._take(tombstone.seq):
            return False
        filled = covered or self
        filled.fill(tombstone)
        return True

    def fill(self, tombstone: Tombstone) -> None:
        """Take what the tombstone gives up out of the gaps."""
        self._tombstoned = self._tombstoned.add(tombstone.first_seq, tombstone.last_seq)
        self._row.tombstoned_rows += tombstone.count

    def _take(self, seq: int) -> bool:
        self._touched.add(seq)
        if seq in self._received:
            self._row.duplicate_batches += 1
            return False
        self._received = self._received.add(seq)
        return True

    def write_back(self) -> None:
        """Put the intervals into the row; the session writes it with everything else."""
        self._row.received = [list(pair) for pair in self._received]
        self._row.tombstoned = [list(pair) for pair in self._tombstoned]

    def acks(self) -> list[Ack]:
        """What to tell the site after the commit: always covers every number touched here."""
        covered = IntervalSet((*self._received, *self._tombstoned))
        upto = covered.upto
        above = [pair for pair in covered if pair[0] > upto]
        fresh = [pair for pair in above if any(pair[0] <= seq <= pair[1] for seq in self._touched)]
        # What was asked about now comes first; the rest fills up, so a lost ack is repaired by later ones.
        others = [pair for pair in reversed(above) if pair not in fresh]
        wanted = fresh + others[: max(0, MAX_RANGES_PER_ACK - len(fresh))]
        groups = [
            sorted(wanted[start : start + MAX_RANGES_PER_ACK])
            for start in range(0, len(wanted), MAX_RANGES_PER_ACK)
        ] or [[]]
        return [
            Ack(epoch=self._row.epoch, stream=self._row.stream, upto=upto, ranges=tuple(group))
            for group in groups
        ]


Key = tuple[SiteId, str, str]
"""(site, epoch, stream)."""


async def load(session: AsyncSession, keys: Iterable[Key], now_ms: int) -> dict[Key, StreamLedger]:
    """The ledgers of these (site, epoch, stream), made where they are new and locked until commit.

    Locked in one order, so two workers that hold batches of the same streams wait for each other in turn.
    """
    wanted = sorted(set(keys))
    found = await _locked(session, wanted)
    new = [key for key in wanted if key not in found]
    if new:
        await insert_new(session, LedgerRow.__table__, [_empty(key, now_ms) for key in new])  # type: ignore[arg-type]  # a Table at run time
        found |= await _locked(session, new)
    return found


async def _locked(session: AsyncSession, keys: Sequence[Key]) -> dict[Key, StreamLedger]:
    found: dict[Key, StreamLedger] = {}
    for start in range(0, len(keys), _LOOK_UP):
        rows = await session.scalars(
            select(LedgerRow)
            .where(
                tuple_(LedgerRow.site, LedgerRow.epoch, LedgerRow.stream).in_(keys[start : start + _LOOK_UP])
            )
            .order_by(LedgerRow.site, LedgerRow.epoch, LedgerRow.stream)
            .with_for_update()
        )
        for row in rows:
            found[SiteId(row.site), row.epoch, row.stream] = StreamLedger(row)
    return found


def _empty(key: Key, now_ms: int) -> dict[str, object]:
    return {
        **dict(zip(("site", "epoch", "stream"), key, strict=True)),
        "received": [],
        "tombstoned": [],
        "batches": 0,
        "rows": 0,
        "duplicate_batches": 0,
        "tombstoned_rows": 0,
        "quarantined_batches": 0,
        "first_ms": now_ms,
    }
