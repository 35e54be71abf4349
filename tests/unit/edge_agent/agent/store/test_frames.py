"""Raw frames: nothing changes on the way through a file, a torn tail costs one frame, bytes are bounded."""

import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.agent.store.frames import RawStore, read_frames
from shared.errors import StoreError
from shared.frames import pack, unpack
from shared.ids import DeviceId
from shared.telemetry import METRICS, DeviceKind, MinerState, Quality, Reading, Sample
from shared.units import Algorithm
from support.agent import T0, miner_sample, sweep

_readings = st.dictionaries(
    st.sampled_from(sorted(METRICS)),
    st.builds(
        Reading, st.none() | st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(list(Quality))
    ),
    max_size=6,
)
_samples = st.lists(
    st.builds(
        Sample,
        device=st.sampled_from([DeviceId("a"), DeviceId("b")]),
        kind=st.just(DeviceKind.MINER),
        at_s=st.floats(0, 1e9),
        at_ms=st.integers(0, 2**45),
        boot=st.just("boot"),
        seq=st.integers(1, 2**40),
        state=st.none() | st.sampled_from(list(MinerState)),
        algorithm=st.none() | st.sampled_from(list(Algorithm)),
        readings=_readings,
        preset=st.none() | st.text(max_size=5),
        failure=st.none() | st.text(max_size=5),
    ),
    min_size=1,
    max_size=8,
)


@given(_samples)
def test_a_frame_gives_back_what_was_put_in(samples: list[Sample]) -> None:
    assert list(unpack(pack(samples))) == samples


def everything(store: RawStore) -> list[Sample]:
    return [s for path in store.files() for frame in read_frames(path) for s in unpack(frame)]


def test_files_hold_each_sample_once_even_when_the_guardian_replays(tmp_path: Path) -> None:
    store = RawStore(tmp_path, keep_bytes=10**9)
    first, second = sweep(1, T0), sweep(5, T0 + 2_000)
    store.append(first)
    again = RawStore(tmp_path, keep_bytes=10**9)
    again.append(first + second)
    assert everything(again) == first + second
    after_reboot = sweep(1, T0 + 4_000, boot="boot-2")
    again.append(after_reboot)
    assert everything(again) == first + second + after_reboot


@pytest.mark.parametrize("cut", [1, 4, 9, 40])
def test_a_torn_tail_is_cut_off_and_what_follows_is_readable(tmp_path: Path, cut: int) -> None:
    store = RawStore(tmp_path, keep_bytes=10**9)
    store.append(sweep(1, T0))
    store.append(sweep(5, T0 + 2_000))
    [path] = store.files()
    path.write_bytes(path.read_bytes()[:-cut])
    again = RawStore(tmp_path, keep_bytes=10**9)
    again.append(sweep(5, T0 + 2_000) + sweep(9, T0 + 4_000))
    assert [sample.seq for sample in everything(again)] == list(range(1, 13))


def test_a_write_that_fails_half_way_hides_nothing_that_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RawStore(tmp_path, keep_bytes=10**9)
    store.append(sweep(1, T0))

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(StoreError):
            store.append(sweep(5, T0 + 2_000))
    store.append(sweep(5, T0 + 2_000))
    assert [sample.seq for sample in everything(store)] == list(range(1, 9))


def test_a_last_frame_of_another_version_does_not_stop_the_start(tmp_path: Path) -> None:
    body = zlib.compress(b"\x81\xa3new\x01")
    path = tmp_path / f"miner-{T0:015d}.frames"
    path.write_bytes(struct.pack(">II", len(body), zlib.crc32(body)) + body)
    RawStore(tmp_path, keep_bytes=10**9).append(sweep(1, T0))
    assert path.stat().st_size > len(body) + 8


def test_a_flipped_bit_ends_the_reading_and_is_no_sample(tmp_path: Path) -> None:
    store = RawStore(tmp_path, keep_bytes=10**9)
    store.append(sweep(1, T0))
    store.append(sweep(5, T0 + 2_000))
    [path] = store.files()
    data = bytearray(path.read_bytes())
    data[-10] ^= 0x40
    path.write_bytes(data)
    assert [sample.seq for sample in everything(store)] == [1, 2, 3, 4]


def test_a_frame_with_a_true_checksum_and_false_content_is_an_error(tmp_path: Path) -> None:
    body = zlib.compress(b"\x93\x01\x02\x03")
    path = tmp_path / "miner-1.frames"
    path.write_bytes(struct.pack(">II", len(body), zlib.crc32(body)) + body)
    with pytest.raises(StoreError, match="damaged"):
        list(read_frames(path))


def test_the_oldest_files_go_when_the_folder_is_full(tmp_path: Path) -> None:
    store = RawStore(tmp_path, keep_bytes=6_000, segment_bytes=1_000)
    for poll in range(60):
        store.append(sweep(1 + poll * 4, T0 + poll * 2_000))
    assert sum(path.stat().st_size for path in store.files()) <= 6_000
    kept = [sample.seq for sample in everything(store)]
    assert kept == list(range(kept[0], 241)), "a gap only at the old end"
    assert kept[0] > 1


def test_a_clock_set_back_does_not_break_the_order_of_files(tmp_path: Path) -> None:
    store = RawStore(tmp_path, keep_bytes=10**9, segment_bytes=1)
    for seq, at_ms in ((1, T0), (2, T0 - 10**7), (3, T0 - 10**7 + 1)):
        store.append([miner_sample("m01", seq, at_ms)])
    assert [sample.seq for sample in everything(store)] == [1, 2, 3]


def test_each_kind_of_device_has_its_own_files(tmp_path: Path) -> None:
    store = RawStore(tmp_path, keep_bytes=10**9)
    meter = Sample(
        device=DeviceId("meter"),
        kind=DeviceKind.METER,
        at_s=0,
        at_ms=T0,
        boot="boot-1",
        seq=5,
        failure="timeout",
    )
    store.append([*sweep(1, T0), meter])
    assert [path.name.split("-")[0] for path in store.files(DeviceKind.METER)] == ["meter"]
    assert len(store.files()) == 2
