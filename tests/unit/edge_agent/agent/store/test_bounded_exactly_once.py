"""A bounded outbox against a cloud, under crashes, lost messages, restarts and expiry, in any order.

However little room there is: each row that was recorded is in the cloud, once, or counted in a tombstone;
minutes stand for what was thinned; no number stays unexplained, and no ack takes a batch that nobody has.
"""

import sqlite3
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edge_agent.agent.store.database import Store
from edge_agent.agent.store.quota import OutboxFull
from edge_agent.agent.store.rows import Commit
from shared.clock import ManualClock
from shared.ids import DeviceId
from shared.telemetry import HistoryRow
from shared.wire.envelope import Ack
from support.agent import T0, rollup_row, some_event
from support.outbox import Cloud, all_explained

LIMIT = 9_000
MINUTE = 60_000


class Crash(BaseException):
    """The process is gone; nothing in the store may catch it."""


class Fuse:
    """Blows before the n-th statement from now."""

    left: int | None = None


class Crashing(sqlite3.Connection):
    fuse: Fuse

    def execute(self, *args: object, **kwargs: object) -> sqlite3.Cursor:
        self._burn()
        return super().execute(*args, **kwargs)  # type: ignore[arg-type]  # passed on

    def executemany(self, *args: object, **kwargs: object) -> sqlite3.Cursor:
        self._burn()
        return super().executemany(*args, **kwargs)  # type: ignore[arg-type]  # passed on

    def _burn(self) -> None:
        if self.fuse.left is None:
            return
        self.fuse.left -= 1
        if self.fuse.left <= 0:
            self.fuse.left = None
            raise Crash


class Bounded(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name) / "agent.sqlite"
        self._fuse = Fuse()
        self._step = 0
        self._events = 0
        self._air: list[bytes] = []
        self.cloud = Cloud()
        self.store = self._open()

    def _open(self) -> Store:
        class Connection(Crashing):
            fuse = self._fuse

        def connect(path: Path) -> sqlite3.Connection:
            return sqlite3.connect(path, isolation_level=None, factory=Connection)

        return Store(self._path, ManualClock(), outbox_bytes=LIMIT, connect=connect)

    def _crash(self) -> None:
        self._fuse.left = None
        self.store.close()
        self.store = self._open()

    @rule(steps=st.integers(1, 30), miners=st.integers(1, 12), event=st.booleans())
    def record(self, steps: int, miners: int, event: bool) -> None:
        for _ in range(steps):
            self._step += 1
            at_ms = T0 + self._step * 5_000
            rows = tuple(rollup_row(f"m{n}", at_ms, power_w=self._step * 37 % 4_000) for n in range(miners))
            self._commit(Commit(rollups=rows, events=self._event() if event and self._step % 9 == 0 else ()))

    @rule(count=st.integers(1, 40))
    def remember(self, count: int) -> None:
        rows = tuple(HistoryRow(device=DeviceId("m1"), at_ms=T0 + n, power_w=n * 7.1) for n in range(count))
        self._commit(Commit(history=rows))

    def _event(self) -> tuple:  # type: ignore[type-arg]  # of one event
        self._events += 1
        return (some_event(self._events),)

    def _commit(self, commit: Commit) -> None:
        try:
            self.store.commit(commit)
        except Crash:
            self._crash()
        except OutboxFull:
            pass  # they wait in the guardian's journal

    @rule(statements=st.integers(1, 40))
    def arm(self, statements: int) -> None:
        self._fuse.left = statements

    @rule(
        newest=st.booleans(),
        fates=st.lists(st.sampled_from(["lost", "late", "no ack", "acked"]), min_size=1, max_size=8),
    )
    def publish(self, newest: bool, fates: list[str]) -> None:
        acks: list[Ack] = []
        try:
            rows = self.store.fetch(self.store.waiting(newest=newest)[: len(fates)])
            self.store.mark_published(rows)
            for row, fate in zip(rows, fates, strict=False):
                if fate == "late":
                    self._air.append(row.body)
                elif fate != "lost":
                    ack = self.cloud.take(row.body)
                    acks += [ack] if fate == "acked" else []
            assert not self.store.apply_acks(acks).refused
        except Crash:
            self._crash()

    @rule()
    def land(self) -> None:
        """What was on its way arrives, long after."""
        for body in self._air:
            self.cloud.take(body)
        self._air.clear()

    @rule(age=st.integers(0, 20))
    def expire(self, age: int) -> None:
        try:
            self.store.expire(T0 + (self._step - age * 12) * 5_000)
        except Crash:
            self._crash()

    @rule()
    def restart(self) -> None:
        self._crash()

    @invariant()
    def it_holds_what_it_says_and_no_more_than_it_may(self) -> None:
        if not hasattr(self, "store") or self._fuse.left is not None:
            return
        held, largest = self.store._db.execute(
            "SELECT coalesce(sum(length(body)), 0), coalesce(max(length(body)), 0) FROM outbox"
        ).fetchone()
        assert self.store.held_bytes == held
        tombstones = self.store._db.execute(
            "SELECT coalesce(sum(length(body)), 0) FROM outbox WHERE tombstone = 1 OR stream = 'ev'"
        ).fetchone()[0]
        assert held <= LIMIT + tombstones + largest

    @invariant()
    def nothing_is_in_the_cloud_twice(self) -> None:
        keys = Counter((row.device, row.at_ms) for row in self.cloud.rows())
        assert max(keys.values(), default=1) == 1, "the cloud knows a row by its device and time"
        told: Counter[tuple[str, int]] = Counter()
        for row in self.cloud.rows():
            told[row.device, row.at_ms // MINUTE] += row.samples
        assert max(told.values(), default=0) <= 12 * 2, "a minute never says more than was recorded in it"

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        self._fuse.left = None
        self.land()
        while waiting := self.store.waiting():
            rows = self.store.fetch(waiting[:100])
            self.store.mark_published(rows)
            assert not self.store.apply_acks([self.cloud.take(row.body) for row in rows]).refused
        all_explained(self.store, self.cloud, exactly=False)
        self.store.close()
        self._folder.cleanup()


TestBounded = Bounded.TestCase
TestBounded.settings = settings(
    max_examples=12,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
