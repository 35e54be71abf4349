"""Which batches of a stream are committed: a set of numbers, so the order of arrival does not matter.

Received and tombstoned numbers are kept apart: a batch that comes after the tombstone which gave it up
is still stored once. What is acknowledged is the union of both.
"""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.kit.upsert import insert_new
from cloud.tables import LedgerRow
from shared.ids import SiteId
from shared.wire.envelope import Ack, Tombstone
from shared.wire.intervals import MAX_RANGES_PER_ACK, IntervalSet


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

    def take_tombstone(self, tombstone: Tombstone, covered: "StreamLedger | None" = None) -> bool:
        """Note what a site had to give up; it fills numbers of `covered`, of this epoch where that is None."""
        if not self._take(tombstone.seq):
            return False
        filled = covered or self
        filled._tombstoned = filled._tombstoned.add(tombstone.first_seq, tombstone.last_seq)
        filled._row.tombstoned_rows += tombstone.count
        return True

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


async def load(
    session: AsyncSession, keys: Iterable[tuple[SiteId, str, str]], now_ms: int
) -> dict[tuple[SiteId, str, str], StreamLedger]:
    """The ledgers of these (site, epoch, stream), made where they are new and locked until commit."""
    found = {}
    for site, epoch, stream in sorted(set(keys)):
        fresh = {
            "site": site,
            "epoch": epoch,
            "stream": stream,
            "received": [],
            "tombstoned": [],
            "batches": 0,
            "rows": 0,
            "duplicate_batches": 0,
            "tombstoned_rows": 0,
            "quarantined_batches": 0,
            "first_ms": now_ms,
        }
        await insert_new(session, LedgerRow.__table__, [fresh])  # type: ignore[arg-type]  # a Table at run time
        row = await session.scalar(
            select(LedgerRow)
            .where(LedgerRow.site == site, LedgerRow.epoch == epoch, LedgerRow.stream == stream)
            .with_for_update()
        )
        if row is not None:
            found[site, epoch, stream] = StreamLedger(row)
    return found
