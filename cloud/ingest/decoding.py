"""A message from a site, taken apart and checked. Pure: bytes in, `Upward` or `Refused` out.

Whatever passes here is fit for the database; whatever does not goes to quarantine with the reason. If
the envelope of a batch is sound and only its rows are not, `Refused.batch` names it, so that the ledger
can mark it as taken over (the bytes are kept, the site may forget them).
"""

import math
from collections.abc import Iterable
from typing import TypeVar

import msgspec

from cloud.ingest.records import AHEAD_MS, EARLIEST_MS, Record, records
from cloud.timeseries.rows import to_record
from shared.alarms import Event
from shared.commands import CommandStatus
from shared.errors import ConfigError, WireError
from shared.frames import Frame
from shared.ids import SiteId, checked_id
from shared.inventory import DeviceEntry
from shared.telemetry import COLUMN_INDEX, COLUMN_NAMES, HistoryRow, RollupRow, ScoreRow
from shared.wire import codec, topics
from shared.wire.envelope import (
    PROTOCOL,
    Batch,
    Birth,
    CertificateRequest,
    ChunkRequest,
    SiteState,
    Tombstone,
)

LARGEST = 2**63 - 1
MAX_KEY = 255
MAX_ID = 127
MAX_DEVICES = 20_000
PLAIN = b"\x00"
"""Format byte of a message that is not deflated (`shared.wire.codec`)."""
T = TypeVar("T")


class Upward(msgspec.Struct, frozen=True, kw_only=True):
    """What a site said; one subclass per kind of message."""

    site: SiteId
    retained: bool = False
    """The broker kept it for us: it may be as old as it likes."""


class Rollups(Upward, frozen=True, kw_only=True):
    batch: Batch
    records: list[Record]
    """As the table has them, our columns in our order."""


class Scores(Upward, frozen=True, kw_only=True):
    batch: Batch
    rows: tuple[ScoreRow, ...]


class Remembered(Upward, frozen=True, kw_only=True):
    batch: Batch
    rows: tuple[HistoryRow, ...]


class Windows(Upward, frozen=True, kw_only=True):
    batch: Batch
    frames: tuple[Frame, ...]


class Events(Upward, frozen=True, kw_only=True):
    batch: Batch
    events: tuple[Event, ...]


class GivenUp(Upward, frozen=True, kw_only=True):
    tombstone: Tombstone


class Born(Upward, frozen=True, kw_only=True):
    birth: Birth
    devices: tuple[DeviceEntry, ...]


class Presence(Upward, frozen=True, kw_only=True):
    state: SiteState


class Answer(Upward, frozen=True, kw_only=True):
    status: CommandStatus


class Wanted(Upward, frozen=True, kw_only=True):
    request: ChunkRequest


class Renewal(Upward, frozen=True, kw_only=True):
    request: CertificateRequest


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A message that cannot be used."""

    topic: str
    payload: bytes
    reason: str
    site: SiteId | None = None
    batch: Batch | None = None
    retained: bool = False


Batched = Rollups | Scores | Events | Remembered | Windows
"""Numbered: the ledger knows each."""
Decoded = Batched | GivenUp | Born | Presence | Answer | Wanted | Renewal | Refused


def plain_bytes(message: Decoded, payload: bytes) -> int:
    """Size of a message before it was deflated; never too small.

    What a decoded message costs in memory follows its plain size (measured: 3 to 8 times as much), and not
    its size on the wire: 7 kB of equal numbers inflate to 3 MB.
    """
    match message:
        case (
            Rollups(batch=batch)
            | Scores(batch=batch)
            | Events(batch=batch)
            | Remembered(batch=batch)
            | Windows(batch=batch)
        ):
            return len(payload) + len(batch.rows)
        case Born(birth=birth):
            return len(payload) + len(birth.inventory)
        case Refused(batch=batch):
            return len(payload) + (len(batch.rows) if batch is not None else 0)
        case _:
            # Small words that nobody deflates; who does it all the same is taken for as large as may be.
            return len(payload) if payload[:1] == PLAIN else codec.MAX_BODY_BYTES


class _RowsUnusable(WireError):
    """The envelope is sound, its rows are not."""

    def __init__(self, batch: Batch, reason: str) -> None:
        super().__init__(reason)
        self.batch = batch


def decode(topic: str, payload: bytes, *, now_ms: int, retained: bool = False) -> Decoded:
    """Take one message apart; never raises."""
    found = _decode_or_refuse(topic, payload, now_ms)
    return msgspec.structs.replace(found, retained=True) if retained else found


def _decode_or_refuse(topic: str, payload: bytes, now_ms: int) -> Decoded:
    site = None
    try:
        where = topics.parse(topic)
        site = SiteId(checked_id(where.site, "site"))
        return _decode(site, where.rest, payload, now_ms)
    except _RowsUnusable as error:
        return Refused(topic=topic, payload=payload, reason=str(error), site=site, batch=error.batch)
    except (WireError, ConfigError) as error:
        return Refused(topic=topic, payload=payload, reason=str(error), site=site)
    except RecursionError:
        return Refused(topic=topic, payload=payload, reason="nested too deeply", site=site)


def _decode(site: SiteId, rest: tuple[str, ...], payload: bytes, now_ms: int) -> Decoded:
    match rest:
        case ("t", stream):
            return _telemetry(site, stream, payload, now_ms)
        case ("ev",):
            return _telemetry(site, topics.EVENT_STREAM, payload, now_ms)
        case ("birth",):
            return _birth(site, payload)
        case ("state",):
            return _presence(site, payload)
        case ("res", command):
            return _answer(site, command, payload)
        case ("get" | "csr" as what,):
            return _request(site, what, payload)
        case _:
            raise WireError(f"nothing is expected on up/{'/'.join(rest)}")


def _request(site: SiteId, what: str, payload: bytes) -> Wanted | Renewal:
    if what == "get":
        return Wanted(site=site, request=codec.decode(payload, ChunkRequest))
    return Renewal(site=site, request=codec.decode(payload, CertificateRequest))


def _telemetry(site: SiteId, stream: str, payload: bytes, now_ms: int) -> Decoded:
    message: Batch | Tombstone = codec.decode(payload, Batch | Tombstone)  # type: ignore[arg-type]  # msgspec takes unions
    _check(message.stream == stream, f"stream {message.stream!r} came on the topic of {stream!r}")
    _check(0 < len(message.epoch) <= MAX_ID and "\0" not in message.epoch, "epoch is not a short word")
    _check(1 <= message.seq <= LARGEST, f"batch number {message.seq} is not in 1..2^63-1")
    _check(0 <= message.count <= 10_000_000, f"count {message.count} is impossible")
    if isinstance(message, Tombstone):
        other = message.of_epoch
        _check(
            other is None or (0 < len(other) <= MAX_ID and "\0" not in other), "of_epoch is not a short word"
        )
        _check(
            1 <= message.first_seq <= message.last_seq <= LARGEST,
            f"tombstone covers {message.first_seq}..{message.last_seq}",
        )
        return GivenUp(site=site, tombstone=message)
    try:
        return _rows(site, message, now_ms)
    except _RowsUnusable:
        raise
    except (WireError, ConfigError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _RowsUnusable(message, f"{stream} batch {message.seq}: {error}") from error


def _rows(site: SiteId, batch: Batch, now_ms: int) -> Decoded:
    if batch.stream == topics.TELEMETRY_STREAM:
        return Rollups(site=site, batch=batch, records=_rollups(site, batch, now_ms))
    if batch.stream == topics.SCORE_STREAM:
        scores = _inner(batch, ScoreRow)
        for score in scores:
            _check_score(score, now_ms)
        return Scores(site=site, batch=batch, rows=scores)
    if batch.stream == topics.EVENT_STREAM:
        events = _inner(batch, Event)
        for event in events:
            _check_event(event, now_ms)
        return Events(site=site, batch=batch, events=events)
    if batch.stream == topics.HISTORY_STREAM:
        remembered = _inner(batch, HistoryRow)
        for moment in remembered:
            _check_moment(moment, now_ms)
        return Remembered(site=site, batch=batch, rows=remembered)
    if batch.stream == topics.RAW_STREAM:
        frames = _decoded(batch, Frame)
        for frame in frames:
            _check_frame(frame, now_ms)
        samples = sum(len(frame.device) for frame in frames)
        _check(samples == batch.count, f"{samples} samples, but count says {batch.count}")
        return Windows(site=site, batch=batch, frames=frames)
    raise WireError(f"stream {batch.stream!r} is unknown to this version of the cloud")


def _inner(batch: Batch, kind: type[T]) -> tuple[T, ...]:
    rows = _decoded(batch, kind)
    _check(len(rows) == batch.count, f"{len(rows)} rows, but count says {batch.count}")
    return rows


def _decoded(batch: Batch, kind: type[T]) -> tuple[T, ...]:
    return msgspec.msgpack.decode(batch.rows, type=tuple[kind, ...])  # type: ignore[valid-type]  # built at run time


def _rollups(site: SiteId, batch: Batch, now_ms: int) -> list[Record]:
    found = records(batch.rows, site, batch.columns, batch.count, now_ms=now_ms)
    if found is not None:
        return found
    rows = _in_our_columns(batch.columns, _inner(batch, RollupRow), now_ms)
    return [to_record(site, row) for row in rows]


def _in_our_columns(
    columns: tuple[str, ...], rows: tuple[RollupRow, ...], now_ms: int
) -> tuple[RollupRow, ...]:
    unknown = [name for name in columns if name not in COLUMN_INDEX]
    _check(
        not unknown, f"columns {unknown} are unknown to this version of the cloud; upgrade the cloud first"
    )
    _check(len(set(columns)) == len(columns), "a column is named twice")
    same = columns == COLUMN_NAMES
    places = [COLUMN_INDEX[name] for name in columns]
    return tuple(_row(row, places, same=same, now_ms=now_ms) for row in rows)


def _row(row: RollupRow, places: list[int], *, same: bool, now_ms: int) -> RollupRow:
    checked_id(row.device, "device")
    _check_time(row.at_ms, now_ms)
    _check(1 <= row.step_s <= 86_400, f"step {row.step_s} s is not in 1..86400")
    _check(
        row.at_ms % (row.step_s * 1000) == 0,
        f"time {row.at_ms} of {row.device} is no start of a step: not a multiple of {row.step_s} s",
    )
    _check(0 <= row.samples < 2**31 and 0 <= row.failed < 2**31, "sample counts are impossible")
    _check(len(row.values) == len(places), f"{len(row.values)} numbers for {len(places)} columns")
    _check_words((row.preset,))
    _check(
        all(value is None or math.isfinite(value) for value in row.values),
        f"{row.device} has a number that is not finite; unknown is null",
    )
    if same:
        return row
    values: list[float | None] = [None] * len(COLUMN_NAMES)
    for place, value in zip(places, row.values, strict=True):
        values[place] = value
    return msgspec.structs.replace(row, values=tuple(values))


def _check_score(row: ScoreRow, now_ms: int) -> None:
    checked_id(row.device, "device")
    checked_id(row.model, "model")
    _check_time(row.at_ms, now_ms)
    _check(0 <= row.version <= LARGEST, f"version {row.version} is impossible")
    _check(math.isfinite(row.score) and math.isfinite(row.threshold), "a score is not finite")
    _check_words((row.top_feature,))


def _check_moment(row: HistoryRow, now_ms: int) -> None:
    checked_id(row.device, "device")
    _check_time(row.at_ms, now_ms)
    _check(row.mark is None or 0 < len(row.mark) <= 63, "a mark is not a short word")
    _check_words((row.mark,))
    numbers = (row.hashrate_ths, row.power_w, row.chip_temp_max_c, row.board_temp_max_c, row.fan_duty_pct)
    _check(
        all(number is None or math.isfinite(number) for number in numbers),
        f"{row.device} remembers a number that is not finite; unknown is null",
    )


def _check_frame(frame: Frame, now_ms: int) -> None:
    size = len(frame.device)
    columns = (
        *(frame.seq, frame.at_s, frame.at_ms, frame.state, frame.preset, frame.failure, frame.algorithm),
        *frame.values.values(),
        *frame.quality.values(),
    )
    _check(size > 0, "a frame without samples")
    _check(all(len(column) == size for column in columns), f"columns of a frame are not all {size} long")
    _check(frame.values.keys() == frame.quality.keys(), "a point has values or quality, and not both")
    for device in set(frame.device):
        checked_id(device, "device")
    _check_time(min(frame.at_ms), now_ms)
    _check_time(max(frame.at_ms), now_ms)
    _check_words((frame.boot,))
    _check(len(frame.boot) <= MAX_ID, "boot is not a short word")
    _check(
        all(value is None or math.isfinite(value) for column in frame.values.values() for value in column),
        "a frame has a number that is not finite; unknown is null",
    )


def _check_event(event: Event, now_ms: int) -> None:
    _check(0 < len(event.id) <= MAX_ID, f"event id of {len(event.id)} characters")
    _check(0 < len(event.key) <= MAX_KEY, f"event key of {len(event.key)} characters")
    _check_time(event.at_ms, now_ms)
    for name in (event.zone, event.device):
        if name is not None:
            checked_id(name, "name")
    _check_words((event.id, event.key, event.title, event.advice, *event.data))
    _check_words(value for value in event.data.values() if isinstance(value, str))
    for key, value in event.data.items():
        _check(not isinstance(value, float) or math.isfinite(value), f"data.{key} is not finite")
        _check(not isinstance(value, int) or abs(value) <= LARGEST, f"data.{key} is too large")


def _presence(site: SiteId, payload: bytes) -> Presence:
    state = codec.decode(payload, SiteState)
    _check_words((state.boot,))
    return Presence(site=site, state=state)


def _birth(site: SiteId, payload: bytes) -> Born:
    birth = codec.decode(payload, Birth)
    _check(birth.site == site, f"birth of {birth.site!r} came on the topic of {site!r}")
    _check(birth.protocol == PROTOCOL, f"protocol {birth.protocol} is not {PROTOCOL}")
    _check(
        0 <= birth.at_ms <= LARGEST and 1 <= birth.step_s <= 86_400, "birth has an impossible time or step"
    )
    _check_words((birth.name, birth.boot, birth.epoch, birth.version, birth.inventory_sha256))
    try:
        devices = msgspec.msgpack.decode(birth.inventory, type=tuple[DeviceEntry, ...])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WireError(f"inventory does not decode: {error}") from error
    _check(len(devices) <= MAX_DEVICES, f"{len(devices)} devices are more than {MAX_DEVICES}")
    _check(len({device.id for device in devices}) == len(devices), "a device is listed twice")
    for device in devices:
        checked_id(device.id, "device")
        checked_id(device.zone, "zone")
        _check_words((device.adapter, device.host, device.model, device.profile, device.rack))
        _check(len(device.adapter) <= 63, "adapter name is too long")
        _check(device.slot is None or abs(device.slot) <= LARGEST, "slot is impossible")
        _check(device.nominal_w is None or math.isfinite(device.nominal_w), "nominal_w is not finite")
    return Born(site=site, birth=birth, devices=devices)


def _answer(site: SiteId, command: str, payload: bytes) -> Answer:
    status = codec.decode(payload, CommandStatus)
    _check(status.id == command, f"status of {status.id!r} came on the topic of {command!r}")
    _check(0 <= status.at_ms <= LARGEST, "status has an impossible time")
    _check_words((status.id, status.detail))
    return Answer(site=site, status=status)


def _check_time(at_ms: int, now_ms: int) -> None:
    _check(
        EARLIEST_MS <= at_ms <= now_ms + AHEAD_MS,
        f"time {at_ms} is before 2020 or more than a day ahead of the cloud's clock",
    )


def _check_words(words: Iterable[str | None]) -> None:
    # PostgreSQL's text cannot hold NUL.
    _check(not any(word is not None and "\0" in word for word in words), "a text holds a NUL character")


def _check(good: bool, reason: str) -> None:  # noqa: FBT001 - reads as a sentence at each call
    if not good:
        raise WireError(reason)
