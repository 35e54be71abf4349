"""What goes into the store and what comes out, as values."""

from collections.abc import Sequence
from typing import Final

import msgspec

from shared.alarms import Event
from shared.frames import Frame
from shared.telemetry import HistoryRow, RollupRow, ScoreRow
from shared.wire.envelope import Ack
from shared.wire.topics import (
    EVENT_STREAM,
    HISTORY_STREAM,
    RAW_STREAM,
    SCORE_STREAM,
    TELEMETRY_STREAM,
)

LOWER_STREAMS: Final = (RAW_STREAM, HISTORY_STREAM, SCORE_STREAM)
"""What goes first where room is short, in this order: raw samples stay in their files on site for a while,
devices were asked for the past once, scores can be computed again."""
_PRIORITY: Final = {
    stream: number for number, stream in enumerate((*LOWER_STREAMS, TELEMETRY_STREAM, EVENT_STREAM))
}
_encoder = msgspec.msgpack.Encoder()


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """What must become durable together. `raw` becomes one batch, its count that of the samples."""

    rollups: tuple[RollupRow, ...] = ()
    scores: tuple[ScoreRow, ...] = ()
    history: tuple[HistoryRow, ...] = ()
    raw: tuple[Frame, ...] = ()
    events: tuple[Event, ...] = ()
    meta: dict[str, bytes] = {}


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What a commit did beyond what was asked: events of the store's own, bytes of the raw batch."""

    events: tuple[Event, ...] = ()
    raw_bytes: int = 0


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
    """Events leave first and are never dropped; raw samples leave last and go first."""
    return _PRIORITY.get(stream, 0)


def encode_rows(rows: Sequence[msgspec.Struct]) -> msgspec.Raw:
    """Rows of one stream as the `rows` of a `Batch`."""
    return msgspec.Raw(_encoder.encode(list(rows)))
