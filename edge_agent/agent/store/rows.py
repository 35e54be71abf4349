"""What goes into the store and what comes out, as values."""

from collections.abc import Sequence
from typing import Final

import msgspec

from shared.alarms import Event
from shared.telemetry import RollupRow, ScoreRow
from shared.wire.envelope import Ack
from shared.wire.topics import EVENT_STREAM, SCORE_STREAM, TELEMETRY_STREAM

_PRIORITY: Final = {SCORE_STREAM: 0, TELEMETRY_STREAM: 1, EVENT_STREAM: 2}
_encoder = msgspec.msgpack.Encoder()


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """What must become durable together."""

    rollups: tuple[RollupRow, ...] = ()
    scores: tuple[ScoreRow, ...] = ()
    events: tuple[Event, ...] = ()
    meta: dict[str, bytes] = {}


class OutboxRow(msgspec.Struct, frozen=True, kw_only=True):
    """One batch that the cloud has not confirmed; `body` is what goes on the wire."""

    id: int
    epoch: str
    stream: str
    seq: int
    body: bytes


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """An ack that was not believed, and why."""

    ack: Ack
    why: str


class AckOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What acks did: ids of the batches that left the outbox, and the acks that were not believed."""

    deleted: tuple[int, ...]
    refused: tuple[Refusal, ...]


class StreamTotals(msgspec.Struct, frozen=True, kw_only=True):
    """One stream: rows and batches of this epoch, highest number published, batches acked and waiting."""

    recorded_rows: int = 0
    batches: int = 0
    published: int = 0
    acked: int = 0
    dropped_rows: int = 0
    pending: int = 0


class EpochTotals(msgspec.Struct, frozen=True, kw_only=True):
    """One stream over all epochs of the file."""

    recorded_rows: int
    dropped_rows: int


def priority_of(stream: str) -> int:
    """Events leave first and are dropped last; scores can be computed again from roll-ups."""
    return _PRIORITY.get(stream, 0)


def encode_rows(rows: Sequence[msgspec.Struct]) -> msgspec.Raw:
    """Rows of one stream as the `rows` of a `Batch`."""
    return msgspec.Raw(_encoder.encode(list(rows)))
