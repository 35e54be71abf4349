"""Store and outbox against a cloud that commits, with crashes between any two SQL statements.

Whatever happens - lost publishes, lost acks, repeated publishes, a crash before or after any statement -
every row that was recorded is in the cloud exactly once, and nothing that was not recorded is.
"""

import sqlite3
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge_agent.agent.store.database import Store
from edge_agent.agent.store.rows import Commit
from shared.clock import ManualClock
from shared.telemetry import RollupRow
from shared.wire import codec
from shared.wire.envelope import Ack, Batch
from shared.wire.intervals import IntervalSet
from support.agent import T0, rollup_row, some_event


class Crash(BaseException):
    """The process is gone; nothing in the agent may catch it."""


class Fuse:
    """Blows before or after the n-th statement from now."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.after = False


class CrashingConnection(sqlite3.Connection):
    """Counts statements and dies at the armed one."""

    fuse: Fuse

    def execute(self, *args: Any, **kwargs: Any) -> sqlite3.Cursor:
        return self._guarded(super().execute, *args, **kwargs)

    def executemany(self, *args: Any, **kwargs: Any) -> sqlite3.Cursor:
        return self._guarded(super().executemany, *args, **kwargs)

    def _guarded(self, call: Any, *args: Any, **kwargs: Any) -> sqlite3.Cursor:
        fuse = self.fuse
        if fuse.left is None:
            return call(*args, **kwargs)  # type: ignore[no-any-return]  # sqlite3's own cursor
        fuse.left -= 1
        if fuse.left > 0:
            return call(*args, **kwargs)  # type: ignore[no-any-return]  # sqlite3's own cursor
        fuse.left = None
        if fuse.after:
            call(*args, **kwargs)
        raise Crash


class ExactlyOnce(RuleBasedStateMachine):
    """The outbox and the cloud's ledger, under any order of everything that can go wrong."""

    @initialize()
    def start(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name) / "agent.sqlite"
        self._clock = ManualClock()
        self._fuse = Fuse()
        self._number = 0
        self.sure: set[int] = set()
        self.maybe: set[int] = set()
        self.cloud: Counter[int] = Counter()
        self.ledger: dict[tuple[str, str], IntervalSet] = {}
        self.store = self._open()

    def _open(self) -> Store:
        class Connection(CrashingConnection):
            fuse = self._fuse

        def connect(path: Path) -> sqlite3.Connection:
            return sqlite3.connect(path, isolation_level=None, factory=Connection)

        return Store(self._path, self._clock, outbox_bytes=2**40, connect=connect)

    def _crash(self) -> None:
        """What a kill leaves: the connection is gone with its open transaction, the file stays."""
        self._fuse.left = None
        self.store.close()
        self.store = self._open()

    @rule(count=st.integers(1, 5), event=st.booleans())
    def record(self, count: int, event: bool) -> None:
        numbers = list(range(self._number, self._number + count))
        self._number += count
        rows = tuple(rollup_row(f"m{n}", T0, power_w=n) for n in numbers)
        try:
            self.store.commit(
                Commit(rollups=rows, events=(some_event(self._number),) if event else (), meta={"k": b"v"})
            )
        except Crash:
            self.maybe |= set(numbers)
            self._crash()
        else:
            self.sure |= set(numbers)

    @rule(statements=st.integers(1, 12), after=st.booleans())
    def arm(self, statements: int, after: bool) -> None:
        self._fuse.left, self._fuse.after = statements, after

    @rule(fates=st.lists(st.sampled_from(["lost", "no ack", "acked"]), min_size=1, max_size=4))
    def publish(self, fates: list[str]) -> None:
        """Send some batches; each may get lost, or be committed with the ack lost, or go all the way."""
        try:
            rows = self.store.fetch(self.store.waiting()[: len(fates)])
            self.store.mark_published(rows)
            acks = [
                ack
                for row, fate in zip(rows, fates, strict=False)
                if fate != "lost" and (ack := self._commit(row.body)) is not None and fate == "acked"
            ]
            assert not self.store.apply_acks(acks).refused
        except Crash:
            self._crash()

    @rule()
    def restart(self) -> None:
        self._crash()

    def _commit(self, body: bytes) -> Ack:
        """The cloud: rows and ledger in one transaction, duplicates found in the ledger."""
        batch = codec.decode(body, Batch)
        key = (batch.epoch, batch.stream)
        ledger = self.ledger.get(key, IntervalSet())
        if batch.seq not in ledger:
            self.ledger[key] = ledger = ledger.add(batch.seq)
            if batch.stream == "rollup":
                rows = msgspec.msgpack.decode(batch.rows, type=list[RollupRow])
                self.cloud.update(int(row.value("power_w_mean") or 0) for row in rows)
        above = tuple(r for r in ledger.ranges if r[0] > ledger.upto + 1)
        return Ack(epoch=batch.epoch, stream=batch.stream, upto=ledger.upto, ranges=above)

    @invariant()
    def nothing_counts_twice(self) -> None:
        assert all(count == 1 for count in self.cloud.values())

    @precondition(lambda self: self._number > 0)
    @invariant()
    def held_bytes_are_those_in_the_file(self) -> None:
        if self._fuse.left is None:
            ids = self.store.waiting()
            assert self.store.held_bytes == sum(len(row.body) for row in self.store.fetch(ids))

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        self._fuse.left = None
        rows = self.store.fetch(self.store.waiting())
        self.store.mark_published(rows)
        outcome = self.store.apply_acks([self._commit(row.body) for row in rows])
        assert not outcome.refused
        assert not self.store.waiting()
        arrived = set(self.cloud)
        assert all(count == 1 for count in self.cloud.values())
        assert self.sure <= arrived <= self.sure | self.maybe
        recorded = self.store.all_epochs()
        assert (recorded["rollup"].recorded_rows if "rollup" in recorded else 0) == len(arrived)
        stored = [row for frame in self.store.rollups_since(0) for row in frame]
        assert {int(row.value("power_w_mean") or 0) for row in stored} == arrived
        self.store.close()
        self._folder.cleanup()


TestExactlyOnce = ExactlyOnce.TestCase
TestExactlyOnce.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
