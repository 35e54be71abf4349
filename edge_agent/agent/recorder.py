"""Samples in, roll-up rows out, with a cursor that makes a restart neither lose nor repeat a row.

The cursor is written in the same transaction as the rows. It names the last sample before which every
sample is inside a committed row, so after a crash the guardian's ring replays the open step and nothing else
is counted twice. A jump in the numbers is a loss, and a loss is an event.
"""

import zlib
from collections import deque
from collections.abc import Sequence

import msgspec

from shared.features.rollup import CLOCK_STEP_MS, GRACE_MS, CounterValue, RollupAggregator
from shared.telemetry import RollupRow, Sample

CURSOR_KEY = "guardian.cursor"


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """Resume after `seq` of `boot`; rows up to the step that starts at `step_ms` are committed.

    `counters` holds where the counters stood at the end of those rows (deflated msgpack), or the first row
    after a restart would miss what was counted between its first sample and the one before.
    """

    boot: str = ""
    seq: int = 0
    step_ms: int = -1
    counters: bytes = b""


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """Samples that the guardian took and the agent never saw."""

    boot: str
    first_seq: int
    last_seq: int
    at_ms: int

    @property
    def count(self) -> int:
        return self.last_seq - self.first_seq + 1


class SetBack(msgspec.Struct, frozen=True, kw_only=True):
    """The wall clock was set back: this sample is older than what came before it. Times are UTC, ms."""

    boot: str
    seq: int
    before_ms: int
    after_ms: int


class Recorder:
    """Pure bookkeeping between the guardian's stream and the store."""

    def __init__(self, step_s: int, cursor: Cursor | None) -> None:
        self._step_ms = step_s * 1000
        self._aggregator = RollupAggregator(step_s)
        self._cursor = cursor or Cursor()
        if self._cursor.counters:
            packed = zlib.decompress(self._cursor.counters)
            self._aggregator.resume(msgspec.msgpack.decode(packed, type=list[CounterValue]))
        self._known = cursor is not None
        self._seen = (self._cursor.boot, self._cursor.seq)
        self._open: deque[tuple[str, int, int]] = deque()
        self._restored_ms = self._cursor.step_ms
        self._over_rows: list[RollupRow] = []
        self._set_backs: list[SetBack] = []
        self.newest_ms = self._cursor.step_ms
        """Time of the newest sample, at first what the cursor knows of it; after the wall clock was set back,
        of the newest since."""
        self.repeated = 0
        """Replayed samples that are already inside a committed row."""

    @property
    def cursor(self) -> Cursor:
        """What to commit together with the rows of the last `close`."""
        packed = zlib.compress(msgspec.msgpack.encode(self._aggregator.counters()))
        return msgspec.structs.replace(self._cursor, counters=packed)

    @property
    def seen(self) -> tuple[str, int]:
        """(boot, seq) of the newest sample; where to resume while the process lives."""
        return self._seen

    @property
    def late(self) -> int:
        """Samples that came after their step's row."""
        return self._aggregator.late

    def add(self, samples: Sequence[Sample]) -> list[Loss]:
        """Take samples in order of `seq`; returns what is missing between them."""
        losses: list[Loss] = []
        for sample in samples:
            boot, seq = self._seen
            if sample.boot == boot and sample.seq <= seq:
                continue
            expected = seq + 1 if sample.boot == boot else 1
            if sample.seq > expected and self._known:
                losses.append(
                    Loss(boot=sample.boot, first_seq=expected, last_seq=sample.seq - 1, at_ms=sample.at_ms)
                )
            self._known = True
            if self.newest_ms - sample.at_ms > CLOCK_STEP_MS:
                self._end_all_steps(sample)
            self._seen = (sample.boot, sample.seq)
            self._open.append((sample.boot, sample.seq, sample.at_ms))
            self.newest_ms = max(self.newest_ms, sample.at_ms)
            if self._committed(sample.at_ms):
                self.repeated += 1
            else:
                self._aggregator.add(sample)
        return losses

    def set_backs(self) -> list[SetBack]:
        """How the wall clock was set back by more than `CLOCK_STEP_MS` since the last call, once per jump.

        After a crash the same jump may come again, with the same `boot` and `seq`.
        """
        found, self._set_backs = self._set_backs, []
        return found

    def close(self, now_ms: int) -> list[RollupRow]:
        """Rows of the steps that are over, and move the cursor past their samples."""
        over, self._over_rows = self._over_rows, []
        rows = self._aggregator.close_before(now_ms)
        if rows:
            last_ms = max(row.at_ms for row in rows)
            end_ms = last_ms + self._step_ms
            boot, seq = self._cursor.boot, self._cursor.seq
            while self._open and self._open[0][2] < end_ms:
                boot, seq, _ = self._open.popleft()
            self._cursor = Cursor(boot=boot, seq=seq, step_ms=last_ms)
        return over + rows

    def _end_all_steps(self, first: Sample) -> None:
        """The wall clock was set back: what is open lies in a time that no sample will come from any more.

        What comes from now on is new, although rows of those seconds may be committed: they are lived twice.
        """
        self._set_backs.append(
            SetBack(boot=first.boot, seq=first.seq, before_ms=self.newest_ms, after_ms=first.at_ms)
        )
        self._over_rows += self._aggregator.close_before(self.newest_ms + 2 * self._step_ms + GRACE_MS)
        if self._over_rows and self._open:
            boot, seq, _ = self._open[-1]
            self._cursor = Cursor(boot=boot, seq=seq, step_ms=self._over_rows[-1].at_ms)
        self._open.clear()
        self._restored_ms = -1
        self.newest_ms = first.at_ms

    def _committed(self, at_ms: int) -> bool:
        """Whether a row for this time was committed before the restart; a clock set back is not that."""
        behind = self._restored_ms - (at_ms - at_ms % self._step_ms)
        return self._restored_ms >= 0 and 0 <= behind <= CLOCK_STEP_MS
