"""Whatever bytes arrive on whatever topic: a usable message, or a refusal with a reason."""

import zlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.ingest import decoding
from cloud.ingest.decoding import (
    Answer,
    Born,
    Events,
    GivenUp,
    Presence,
    Refused,
    Rollups,
    Scores,
    Upward,
    Wanted,
    decode,
)
from cloud.ingest.records import records
from cloud.timeseries.rows import from_record, to_record
from shared.alarms import EventKind
from shared.commands import CommandState, CommandStatus
from shared.errors import MinewardenError
from shared.ids import CommandId
from shared.telemetry import COLUMN_NAMES, DeviceKind, MinerState, Quality, RollupRow
from shared.units import Algorithm
from shared.wire import codec, topics
from shared.wire.envelope import Batch, ChunkRequest
from support.cloud import NOW_MS, SITE, batch, birth, device, event, row, said, score, state, told, tombstone

STATUS = codec.encode(
    CommandStatus(id=CommandId("c-1"), state=CommandState.DONE, detail="done", at_ms=NOW_MS)
)


@pytest.mark.parametrize(
    ("rest", "payload", "kind"),
    [
        ("t/rollup", batch([row()]), Rollups),
        ("t/score", batch([score()]), Scores),
        ("ev", batch([event(1)]), Events),
        ("t/rollup", tombstone(9, 1, 8), GivenUp),
        ("birth", birth(), Born),
        ("state", state(), Presence),
        ("res/c-1", STATUS, Answer),
        ("get", codec.encode(ChunkRequest(sha256="00", chunks=(0, 1))), Wanted),
    ],
)
def test_each_kind_of_message(rest: str, payload: bytes, kind: type[Upward]) -> None:
    found = told(f"mw/1/north/up/{rest}", payload)
    assert isinstance(found, kind), found
    assert found.site == SITE


def rows_raw(**changes: Any) -> bytes:
    """A sound roll-up batch with some envelope fields changed."""
    body = msgspec.msgpack.decode(zlib.decompress(batch([row()])[1:]))
    return b"\x00" + msgspec.msgpack.encode({**body, **changes})


def with_row(**changes: Any) -> bytes:
    fields = msgspec.to_builtins(row()) | changes
    return rows_raw(rows=[fields])


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        ("mw/2/north/up/t/rollup", b"", "is not mw/1/"),
        ("mw/1/North Hall/up/t/rollup", b"", "not a valid name"),
        ("mw/1/north/up/t/rollup", b"", "empty message"),
        ("mw/1/north/up/nowhere", b"\x00\xc0", "nothing is expected"),
        ("mw/1/north/dn/cmd", b"\x00\xc0", "nothing is expected on up/cmd"),
        ("mw/1/north/up/t/rollup", b"\x01" + zlib.compress(b"\xc0" * (5 << 20)), "inflates to more"),
        ("mw/1/north/up/t/rollup", b"\x00" + b"\x91" * 3000, ""),
        ("mw/1/north/up/t/score", rows_raw(), "came on the topic of 'score'"),
        ("mw/1/north/up/t/rollup", rows_raw(seq=0), "batch number 0"),
        ("mw/1/north/up/t/rollup", rows_raw(seq=2**63), "batch number"),
        ("mw/1/north/up/t/rollup", rows_raw(epoch=""), "epoch"),
        ("mw/1/north/up/t/rollup", tombstone(9, 8, 2), "tombstone covers 8..2"),
        ("mw/1/south/up/birth", birth(), "birth of 'north'"),
        ("mw/1/north/up/birth", birth([device(), device()]), "listed twice"),
        ("mw/1/north/up/birth", birth([device("Bad Name")]), "not a valid name"),
        ("mw/1/north/up/res/c-2", STATUS, "status of 'c-1'"),
    ],
)
def test_a_refusal_says_why(topic: str, payload: bytes, reason: str) -> None:
    found = told(topic, payload)
    assert isinstance(found, Refused)
    assert reason in found.reason
    assert found.batch is None, "only a sound envelope may fill the ledger"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (rows_raw(rows=[]), "0 rows, but count says 1"),
        (rows_raw(rows=5), "rollup batch 1"),
        (rows_raw(columns=["no_such_column"]), "upgrade the cloud first"),
        (rows_raw(columns=[COLUMN_NAMES[0], COLUMN_NAMES[0]]), "named twice"),
        (with_row(values=[1.0]), "1 numbers for 36 columns"),
        (with_row(values=[float("inf"), *[None] * 35]), "not finite"),
        (with_row(at_ms=1), "before 2020"),
        (with_row(at_ms=NOW_MS + 86_400_001), "a day ahead"),
        (with_row(at_ms=2**64 - 1), "a day ahead"),
        (
            with_row(at_ms=NOW_MS - 1),
            f"time {NOW_MS - 1} of m-01 is no start of a step: not a multiple of 60 s",
        ),
        (with_row(at_ms=NOW_MS - 60_000, step_s=7), "not a multiple of 7 s"),
        (with_row(device="../etc"), "not a valid name"),
        (with_row(step_s=0), "step 0 s"),
        (with_row(samples=-1), "sample counts"),
        (with_row(preset="a\0b"), "NUL"),
        (with_row(quality=99), "rollup batch 1"),
    ],
)
def test_rows_that_are_not_fit_name_their_batch(payload: bytes, reason: str) -> None:
    found = said(payload)
    assert isinstance(found, Refused)
    assert reason in found.reason
    assert found.batch is not None
    assert (found.batch.epoch, found.batch.stream, found.batch.seq) == ("e1", "rollup", 1)


def test_an_unknown_stream_is_refused_with_its_batch() -> None:
    found = told("mw/1/north/up/t/wind", batch([], stream="wind"))
    assert isinstance(found, Refused)
    assert found.batch is not None


@pytest.mark.parametrize(
    "change",
    [
        lambda: event(1, key="k" * 256),
        lambda: event(1, data={"x": float("nan")}),
        lambda: event(1, data={"x": 2**63}),
        lambda: event(1, data={"x": "a\0b"}),
        lambda: event(1, at_ms=5),
        lambda: event(1, device="No Such"),
    ],
)
def test_events_that_the_database_could_not_hold(change: Callable[[], Any]) -> None:
    assert isinstance(said(batch([change()]), stream="ev"), Refused)


def test_columns_of_another_version_are_put_in_our_order() -> None:
    columns = ("power_w_mean", "hashrate_ths_mean")
    body = Batch(
        epoch="e1",
        stream="rollup",
        seq=1,
        from_ms=1,
        to_ms=2,
        count=1,
        columns=columns,
        rows=msgspec.Raw(msgspec.msgpack.encode((msgspec.structs.replace(row(), values=(3000.0, None)),))),
    )
    found = said(codec.encode(body))
    assert isinstance(found, Rollups)
    (record,) = found.records
    only = from_record(record)
    assert (only.value("power_w_mean"), only.value("hashrate_ths_mean")) == (3000.0, None)
    assert len(only.values) == len(COLUMN_NAMES)


LEVELS = st.lists(st.text(max_size=8), max_size=4).map("/".join)
GOOD = [batch([row()]), batch([event(1, EventKind.ALARM)]), birth(), state(), STATUS, tombstone(9, 1, 8)]


@given(
    st.one_of(st.text(max_size=30), LEVELS.map(lambda rest: f"mw/1/north/up/{rest}")), st.binary(max_size=200)
)
def test_any_bytes_on_any_topic_never_raise(topic: str, payload: bytes) -> None:
    decode(topic, payload, now_ms=NOW_MS)


@given(
    st.sampled_from(GOOD),
    st.sampled_from(["t/rollup", "t/score", "ev", "birth", "state", "res/c-1", "get"]),
    st.data(),
)
def test_damaged_messages_never_raise(payload: bytes, rest: str, data: st.DataObject) -> None:
    spoilt = bytearray(payload)
    for _ in range(data.draw(st.integers(1, 4))):
        spoilt[data.draw(st.integers(0, len(spoilt) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(spoilt)))
    found = decode(f"mw/1/north/up/{rest}", bytes(spoilt[:cut]), now_ms=NOW_MS)
    assert isinstance(found, Upward | Refused)


def test_telemetry_topic_of_the_agent_is_ours() -> None:
    assert isinstance(told(topics.telemetry(SITE), batch([row()])), Rollups)


# ---------------------------------------------------------------- the quick way

WORDS = st.sampled_from(["m-01", "meter-1", "a", "x" * 63, "Bad", "", "x" * 64])
NUMBERS = st.lists(st.none() | st.floats() | st.integers(-(2**63), 2**64 - 1), min_size=35, max_size=37).map(
    tuple
)
ROWS = st.fixed_dictionaries(
    {
        "device": WORDS,
        "at_ms": st.sampled_from([NOW_MS, 0, NOW_MS + 86_400_000, NOW_MS + 86_400_001, 2**63]),
        "step_s": st.sampled_from([60, 1, 0, 86_400, 86_401]),
        "samples": st.sampled_from([6, 0, -1, 2**31 - 1, 2**31]),
        "failed": st.sampled_from([0, 2**31]),
        "quality": st.integers(-1, 7),
        "values": NUMBERS,
    },
    optional={
        "kind": st.sampled_from([*DeviceKind, "toaster"]),
        "algorithm": st.sampled_from([*Algorithm, "cuckoo", None]),
        "state": st.sampled_from([*MinerState, "asleep", None]),
        "preset": st.sampled_from([None, "2970", "a\0b"]),
        "stranger": st.none(),
    },
)


@given(ROWS)
def test_the_quick_way_takes_what_the_careful_way_takes(fields: dict[str, Any]) -> None:
    """Both agree on what is sound and on every number of it; only the careful one has words."""
    batch_of_one = msgspec.Raw(msgspec.msgpack.encode([fields]))
    quick = records(batch_of_one, SITE, COLUMN_NAMES, 1, now_ms=NOW_MS)
    try:
        row_ = msgspec.msgpack.decode(batch_of_one, type=tuple[RollupRow])[0]
        careful = decoding._row(row_, list(range(36)), same=True, now_ms=NOW_MS)
    except (msgspec.DecodeError, MinewardenError):
        assert quick is None
    else:
        assert quick == [to_record(SITE, careful)]


def test_the_quick_way_is_the_one_that_sound_batches_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every word of every enumeration; a new one that the quick way does not know would be slow, not lost."""
    monkeypatch.setattr(decoding, "_in_our_columns", None)
    rows = [
        msgspec.structs.replace(row(), kind=kind, state=state_, algorithm=algorithm, quality=quality)
        for kind in DeviceKind
        for state_ in (*MinerState, None)
        for algorithm in (*Algorithm, None)
        for quality in Quality
    ]
    found = said(batch(rows))
    assert isinstance(found, Rollups)
    assert [from_record(record) for record in found.records] == rows
