"""What devices remember and windows of raw samples: stored once, shown as what they are, asked for."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cloud.ingest.decoding import Decoded, Refused, Remembered, Windows
from shared.frames import Frame, pack
from shared.ids import DeviceId
from shared.telemetry import DeviceKind, HistoryRow, MinerState, Quality, Reading, Sample
from shared.wire import codec, topics
from shared.wire.envelope import Batch, RawWanted
from support.cloud import NOW_MS, SITE, Bench, Service, born, said, service


def remembered(at_ms: int = NOW_MS - 60_000, device: str = "m-01", **facts: Any) -> HistoryRow:
    return HistoryRow(device=DeviceId(device), at_ms=at_ms, **facts)


def frame(count: int = 3, *, at_ms: int = NOW_MS - 60_000) -> Frame:
    return pack(
        [
            Sample(
                device=DeviceId(f"m-{number % 2:02d}"),
                kind=DeviceKind.MINER,
                at_s=float(number),
                at_ms=at_ms + 1000 * number,
                boot="b1",
                seq=number,
                state=MinerState.MINING,
                readings={
                    "power_w": Reading(3000.0 + number, Quality.GOOD),
                    "fan_rpm.1": Reading(None, Quality.MISSING),
                },
            )
            for number in range(count)
        ]
    )


def batch_of(rows: list[Any], stream: str, seq: int = 1, *, count: int | None = None) -> bytes:
    body = Batch(
        epoch="e1",
        stream=stream,
        seq=seq,
        from_ms=NOW_MS,
        to_ms=NOW_MS,
        count=len(rows) if count is None else count,
        rows=msgspec.Raw(msgspec.msgpack.encode(rows)),
    )
    return codec.encode(body, compress=True)


def hist(*rows: HistoryRow, seq: int = 1) -> Decoded:
    return said(batch_of(list(rows), topics.HISTORY_STREAM, seq), stream=topics.HISTORY_STREAM)


def raw(*frames: Frame, seq: int = 1) -> Decoded:
    samples = sum(len(frame.device) for frame in frames)
    return said(batch_of(list(frames), topics.RAW_STREAM, seq, count=samples), stream=topics.RAW_STREAM)


async def test_moments_are_stored_once_and_marks_beside_numbers(bench: Bench) -> None:
    first = remembered(hashrate_ths=100.0)
    mark = remembered(mark="reboot")
    committed = await bench.commit(hist(first, mark))
    assert committed.acks[0][1].upto == 1
    await bench.commit(hist(remembered(hashrate_ths=999.0), seq=2))
    found = await bench.all("SELECT device, mark, hashrate_ths FROM device_history ORDER BY mark")
    assert found == [("m-01", "", 100.0), ("m-01", "reboot", None)]
    assert await bench.one("SELECT count(*) FROM rollup") == 0, "never a roll-up row"


async def test_a_frame_is_stored_once(bench: Bench) -> None:
    await bench.commit(raw(frame(), frame(2, at_ms=NOW_MS - 5_000)))
    await bench.commit(raw(frame(), seq=2))
    found = await bench.all("SELECT samples, from_ms, to_ms, kind FROM raw_windows ORDER BY from_ms")
    assert found == [
        (3, NOW_MS - 60_000, NOW_MS - 58_000, "miner"),
        (2, NOW_MS - 5_000, NOW_MS - 4_000, "miner"),
    ]


@pytest.mark.parametrize(
    "spoilt",
    [
        remembered(at_ms=5),
        remembered(device="No Such"),
        remembered(power_w=float("nan")),
        remembered(mark="a\0b"),
        remembered(mark=""),
    ],
)
def test_moments_that_are_not_fit(spoilt: HistoryRow) -> None:
    found = hist(spoilt)
    assert isinstance(found, Refused)
    assert found.batch is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"seq": (1,)},
        {"at_ms": (1, 2, 3)},
        {"device": (DeviceId("Bad One"),) * 3},
        {"boot": "b\0"},
        {"values": {}},
        {"values": {"power_w": (1.0, float("inf"), 2.0), "fan_rpm.1": (None, None, None)}},
        {"values": {"power_w": (1.0,), "fan_rpm.1": (None, None, None)}},
    ],
)
def test_frames_that_are_not_fit(changes: dict[str, Any]) -> None:
    found = raw(msgspec.structs.replace(frame(), **changes))
    assert isinstance(found, Refused), changes
    assert found.batch is not None


def test_a_window_counts_its_samples_and_not_its_frames() -> None:
    frames = [frame(3), frame(2)]
    for count in (2, 4, 6):
        found = said(batch_of(frames, topics.RAW_STREAM, count=count), stream=topics.RAW_STREAM)
        assert isinstance(found, Refused)
        assert "5 samples" in found.reason
    assert isinstance(raw(*frames), Windows)


def test_sound_ones_are_taken() -> None:
    assert isinstance(hist(remembered(mark="x" * 63)), Remembered)
    assert isinstance(raw(frame()), Windows)


# ---------------------------------------------------------------- API


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Service]:
    async with service(tmp_path) as running:
        await running.bench.commit(born())
        yield running


async def test_history_is_marked_as_the_firmwares(cloud: Service) -> None:
    rows = [remembered(NOW_MS - 60_000 * n, power_w=float(n)) for n in range(1, 5)]
    await cloud.bench.commit(hist(*rows, remembered(NOW_MS - 120_000, mark="overheat")))
    view = await cloud.get(f"/sites/{SITE}/devices/m-01/history?limit=3")
    assert view["source"] == "firmware"
    seen = view["items"]
    while view["next_from_ms"] is not None:
        view = await cloud.get(f"/sites/{SITE}/devices/m-01/history?limit=3&from_ms={view['next_from_ms']}")
        seen += view["items"]
    assert [(item["at_ms"], item["mark"]) for item in seen] == [
        (NOW_MS - 240_000, None),
        (NOW_MS - 180_000, None),
        (NOW_MS - 120_000, None),
        (NOW_MS - 120_000, "overheat"),
        (NOW_MS - 60_000, None),
    ]
    await cloud.get(f"/sites/{SITE}/devices/m-77/history", 404)


async def test_a_window_is_listed_and_read(cloud: Service) -> None:
    await cloud.bench.commit(raw(frame()))
    (window,) = (await cloud.get(f"/sites/{SITE}/raw-windows"))["items"]
    assert (window["samples"], window["devices"]) == (3, ["m-00", "m-01"])
    assert window["size"] > 0
    found = await cloud.get(f"/sites/{SITE}/raw-windows/{window['id']}")
    assert [sample["readings"]["power_w"] for sample in found["samples"]] == [
        [3000.0 + n, 0] for n in range(3)
    ]
    assert found["samples"][0]["readings"]["fan_rpm.1"] == [None, 6]
    later = await cloud.get(f"/sites/{SITE}/raw-windows?from_ms={NOW_MS}")
    assert later["items"] == []
    await cloud.get(f"/sites/{SITE}/raw-windows/999", 404)
    await cloud.get("/sites/nowhere/raw-windows", 404)


async def test_a_request_without_a_broker_says_so_and_is_noted(cloud: Service) -> None:
    body = {"from_ms": NOW_MS - 60_000, "to_ms": NOW_MS, "devices": ["m-01"], "actor": "ann"}
    await cloud.post(f"/sites/{SITE}/raw-requests", body, 503)
    (asked,) = (await cloud.get(f"/sites/{SITE}/raw-requests"))["items"]
    assert (asked["actor"], asked["devices"], asked["sent"]) == ("ann", ["m-01"], False)


async def test_a_request_goes_to_the_site(cloud: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, RawWanted]] = []

    async def send(topic: str, payload: bytes, *, retain: bool = False, expiry_s: int | None = None) -> None:
        assert not retain
        sent.append((topic, codec.decode(payload, RawWanted)))

    monkeypatch.setattr(cloud.context.command_link, "send", send)
    body = {"from_ms": NOW_MS - 60_000, "to_ms": NOW_MS, "devices": ["m-01"], "actor": "ann"}
    view = await cloud.post(f"/sites/{SITE}/raw-requests", body, 202)
    assert view["sent"] is True
    ((topic, wanted),) = sent
    assert topic == "mw/1/north/dn/want"
    assert (wanted.id, wanted.from_ms, wanted.to_ms, wanted.devices) == (
        view["id"],
        NOW_MS - 60_000,
        NOW_MS,
        ("m-01",),
    )


@pytest.mark.parametrize(
    "change",
    [
        {"to_ms": NOW_MS - 60_000},
        {"from_ms": 0},
        {"devices": ["../etc"]},
        {"actor": ""},
        {"max_bytes": 10**9},
    ],
)
async def test_requests_that_mean_nothing(cloud: Service, change: dict[str, Any]) -> None:
    body = {"from_ms": NOW_MS - 60_000, "to_ms": NOW_MS, "actor": "ann"} | change
    await cloud.post(f"/sites/{SITE}/raw-requests", body, 422)
    assert (await cloud.get(f"/sites/{SITE}/raw-requests"))["items"] == []


async def test_a_stranger_cannot_ask(cloud: Service) -> None:
    reply = await cloud.client.post(f"/api/v1/sites/{SITE}/raw-requests", json={})
    assert reply.status_code == 401
