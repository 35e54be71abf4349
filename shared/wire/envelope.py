"""What travels over MQTT between agent and cloud, version 1. Golden messages: tests/contract/wire/."""

import msgspec

from shared.ids import DeviceId, SiteId
from shared.telemetry import COLUMN_NAMES

PROTOCOL = 1


class Batch(msgspec.Struct, frozen=True, kw_only=True, tag="batch"):
    """One outbox row: rows or events under one batch number.

    `epoch` is new at each opening of the store, `seq` counts batches per (epoch, stream) from 1, so
    (site, epoch, stream, seq) names a batch for ever. `from_ms`/`to_ms` bound the rows' times.
    `columns` names the numbers in each row; `rows` is the msgpack of that stream's row type
    (`RollupRow` for `rollup`, `ScoreRow` for `score`, `Event` for `ev`).
    """

    epoch: str
    stream: str
    seq: int
    from_ms: int
    to_ms: int
    count: int
    rows: msgspec.Raw
    columns: tuple[str, ...] = ()


class Tombstone(msgspec.Struct, frozen=True, kw_only=True, tag="tombstone", omit_defaults=True):
    """Rows that had to be dropped on site, so that a gap in the cloud is always explained.

    `epoch` and `seq` are its own number. It fills the batch numbers `first_seq..last_seq` of the stream in
    the ledger of `of_epoch`, which is its own epoch unless given: a store never gives an earlier epoch a new
    number, because it cannot know which of them another copy of its file has used.
    """

    epoch: str
    stream: str
    seq: int
    first_seq: int
    last_seq: int
    from_ms: int
    to_ms: int
    count: int
    reason: str
    of_epoch: str | None = None


class Ack(msgspec.Struct, frozen=True, kw_only=True, tag="ack"):
    """What the cloud has committed of one (epoch, stream): all of 1..`upto`, and `ranges` above it."""

    epoch: str
    stream: str
    upto: int
    ranges: tuple[tuple[int, int], ...] = ()


class Birth(msgspec.Struct, frozen=True, kw_only=True, tag="birth"):
    """Retained: who this site is and in which words it speaks. Sent at every connect."""

    site: SiteId
    name: str
    boot: str
    epoch: str
    at_ms: int
    version: str
    protocol: int
    step_s: int
    inventory_sha256: str
    inventory: msgspec.Raw
    """msgpack of `tuple[DeviceEntry, ...]`."""
    columns: tuple[str, ...] = COLUMN_NAMES
    simulated: bool = False


class SiteState(msgspec.Struct, frozen=True, kw_only=True, tag="state"):
    """Retained, and the will: whether the agent is connected."""

    online: bool
    boot: str
    at_ms: int


class ChunkRequest(msgspec.Struct, frozen=True, kw_only=True, tag="get"):
    """Agent asks for parts of a blob; resumable because it names the parts it still lacks."""

    sha256: str
    chunks: tuple[int, ...]


class Chunk(msgspec.Struct, frozen=True, kw_only=True, tag="chunk"):
    """One part of a blob, at most `CHUNK_BYTES`, with its own hash."""

    sha256: str
    number: int
    total: int
    chunk_sha256: str
    data: bytes


class RawWanted(msgspec.Struct, frozen=True, kw_only=True, tag="want"):
    """The cloud asks for raw samples of `[from_ms, to_ms)`; they come on the stream `raw`, as far as the site
    still has them. `devices` empty: all. `max_bytes` bounds the deflated answer; the newest are left out."""

    id: str
    from_ms: int
    to_ms: int
    devices: tuple[DeviceId, ...] = ()
    max_bytes: int = 4 * 1024 * 1024


class CertificateRequest(msgspec.Struct, frozen=True, kw_only=True, tag="csr"):
    """A site asks for its next certificate over the connection that its present one opened.

    `proof` is the present key's signature (ECDSA, SHA-256, DER) over `minewarden/1/renew`, a zero byte and
    the request's text: the broker, who carries this message, cannot have a certificate made for a key of its
    own.
    """

    request_pem: str
    proof: bytes


class Certificate(msgspec.Struct, frozen=True, kw_only=True, tag="cert"):
    """The answer: the site's new certificate and those that it should trust a broker by."""

    certificate_pem: str
    ca_pem: str


CHUNK_BYTES = 128 * 1024
