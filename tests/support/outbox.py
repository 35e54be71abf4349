"""What an outbox sent, and whether every number and every row of it is explained."""

from collections import Counter
from collections.abc import Iterable

import msgspec

from cloud.ingest.decoding import Refused, decode
from edge_agent.agent.store.database import Store
from shared.alarms import Event
from shared.telemetry import RollupRow
from shared.wire import codec, topics
from shared.wire.envelope import Ack, Batch, Tombstone
from shared.wire.intervals import IntervalSet
from support.agent import SITE

Key = tuple[str, str]


class Cloud:
    """A cloud that keeps what it got: batches once, tombstones, and acks for both."""

    def __init__(self) -> None:
        self.received: dict[Key, IntervalSet] = {}
        self.buried: dict[Key, IntervalSet] = {}
        self.batches: list[Batch] = []
        self.stones: list[Tombstone] = []

    def take(self, body: bytes) -> Ack:
        """Commit one message and acknowledge it."""
        message = _usable(body)
        key = (message.epoch, message.stream)
        if message.seq not in self.received.get(key, IntervalSet()):
            self.received[key] = self.received.get(key, IntervalSet()).add(message.seq)
            if isinstance(message, Batch):
                self.batches.append(message)
            else:
                self.stones.append(message)
                of = (message.of_epoch or message.epoch, message.stream)
                self.buried[of] = self.buried.get(of, IntervalSet()).add(message.first_seq, message.last_seq)
        return self.ack(key)

    def ack(self, key: Key) -> Ack:
        """Everything known of a stream: what came, and what was given up."""
        covered = self.covered(key)
        above = tuple(pair for pair in covered if pair[0] > covered.upto)
        return Ack(epoch=key[0], stream=key[1], upto=covered.upto, ranges=above)

    def covered(self, key: Key) -> IntervalSet:
        return IntervalSet((*self.received.get(key, ()), *self.buried.get(key, ())))

    def rows(self, stream: str = "rollup") -> list[RollupRow]:
        return [
            row
            for batch in self.batches
            if batch.stream == stream
            for row in msgspec.msgpack.decode(batch.rows, type=list[RollupRow])
        ]

    def events(self) -> list[Event]:
        return [
            event
            for batch in self.batches
            if batch.stream == "ev"
            for event in msgspec.msgpack.decode(batch.rows, type=list[Event])
        ]

    def explained(self, stream: str) -> int:
        """Rows that tombstones tell of."""
        return sum(stone.count for stone in self.stones if stone.stream == stream)


def _usable(body: bytes) -> Batch | Tombstone:
    """One message, which the real cloud's decoder takes too."""
    message: Batch | Tombstone = codec.decode(body, Batch | Tombstone)  # type: ignore[arg-type]  # msgspec takes unions
    events = message.stream == topics.EVENT_STREAM
    topic = topics.events(SITE) if events else topics.telemetry(SITE, message.stream)
    judged = decode(topic, body, now_ms=message.to_ms)
    assert not isinstance(judged, Refused), judged.reason
    return message


def drain(store: Store, cloud: Cloud, *, ids: Iterable[int] | None = None) -> None:
    """Send what waits (or these) and apply the acks, until nothing waits."""
    while waiting := (list(ids) if ids is not None else store.waiting()):
        rows = store.fetch(waiting[:200])
        store.mark_published(rows)
        assert not store.apply_acks([cloud.take(row.body) for row in rows]).refused
        if ids is not None:
            return


def all_explained(store: Store, cloud: Cloud, *, exactly: bool = True) -> None:
    """Every number came or was given up; every row recorded came or is counted in a tombstone.

    Not `exactly`: some may be both, where what was on its way had to be given up and arrived after all.
    """
    ledger = store._db.execute("SELECT epoch, stream, batches, rows FROM ledger").fetchall()
    recorded: Counter[str] = Counter()
    for epoch, stream, batches, rows in ledger:
        recorded[stream] += rows
        assert cloud.covered((epoch, stream)).ranges == ((1, batches),), (epoch, stream)
    for stream, rows in recorded.items():
        came = sum(batch.count for batch in cloud.batches if batch.stream == stream)
        told = came + cloud.explained(stream)
        assert rows == told or (rows < told and not exactly), stream
