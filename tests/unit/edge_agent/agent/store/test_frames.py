"""Raw frames: nothing changes on the way through a file, a torn tail costs one frame, bytes are bounded."""

import random
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.agent.store.frame_file import scan
from edge_agent.agent.store.frames import ASIDE, Damage, RawStore, read_frames
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


def test_a_flipped_bit_in_the_last_frame_is_no_sample(tmp_path: Path) -> None:
    store = RawStore(tmp_path, keep_bytes=10**9)
    store.append(sweep(1, T0))
    store.append(sweep(5, T0 + 2_000))
    [path] = store.files()
    data = bytearray(path.read_bytes())
    data[-10] ^= 0x40
    path.write_bytes(data)
    assert [sample.seq for sample in everything(store)] == [1, 2, 3, 4]


def test_a_frame_with_a_true_checksum_and_false_content_costs_itself_alone(tmp_path: Path) -> None:
    store = RawStore(tmp_path, keep_bytes=10**9)
    store.append(sweep(1, T0))
    [path] = store.files()
    lie = zlib.compress(b"\x93\x01\x02\x03")
    path.write_bytes(struct.pack(">II", len(lie), zlib.crc32(lie)) + lie + path.read_bytes())
    places: list[int] = []
    assert [s.seq for frame in read_frames(path, places.append) for s in unpack(frame)] == [1, 2, 3, 4]
    assert places == [1]


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


# ---------------------------------------------------------------- damage


def ten_frames(folder: Path) -> tuple[Path, list[int]]:
    """A file of ten frames of four samples, and where each begins; the last place is its end."""
    store = RawStore(folder, keep_bytes=10**9)
    places = [0]
    for number in range(10):
        store.append(sweep(1 + 4 * number, T0 + 2_000 * number))
        [path] = store.files()
        places.append(path.stat().st_size)
    return path, places


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize("frame", [0, 4, 9])
@pytest.mark.parametrize("offset", [0, 3, 5, 8, 20, -1])
def test_f07_one_flipped_byte_costs_the_frame_that_it_lies_in(
    tmp_path: Path, frame: int, offset: int
) -> None:
    """In the length, the checksum, the body's head, its middle and its end; also through a start."""
    path, places = ten_frames(tmp_path)
    flip(path, places[frame] + offset if offset >= 0 else places[frame + 1] - 1)
    left = [seq for seq in range(1, 41) if (seq - 1) // 4 != frame]
    told: list[int] = []
    assert [s.seq for f in read_frames(path, told.append) for s in unpack(f)] == left
    again = RawStore(tmp_path, keep_bytes=10**9)
    assert [sample.seq for sample in everything(again)] == left
    again.append(sweep(41, T0 + 60_000))
    assert [sample.seq for sample in everything(again)] == [*left, 41, 42, 43, 44]
    if told:  # a low byte of the last frame's length cannot be told from a torn tail
        aside = path.with_name(path.name + ASIDE)
        assert again.damage == [Damage(file=path.name, places=1, saved=9, aside=aside.name)]
        assert aside.read_bytes()[: len(path.read_bytes())] != path.read_bytes(), "as it was found"
        assert RawStore(tmp_path, keep_bytes=10**9).damage == [], "once"
    else:
        assert (frame, offset) == (9, 3)


def test_the_folder_keeps_one_damaged_file_and_not_one_per_start(tmp_path: Path) -> None:
    for number in range(3):
        store = RawStore(tmp_path, keep_bytes=10**9, segment_bytes=1)
        store.append(sweep(1 + 8 * number, T0 + 100_000 * number))
        path = store.files()[-1]
        with path.open("ab") as file:
            file.write(path.read_bytes())
        flip(path, 20)
        RawStore(tmp_path, keep_bytes=10**9)
    assert len(list(tmp_path.glob(f"*{ASIDE}"))) == 1


def test_a_block_that_was_promised_and_never_written_is_a_torn_tail(tmp_path: Path) -> None:
    path, places = ten_frames(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: places[9] + 10] + bytes(len(data) - places[9] - 10))
    store = RawStore(tmp_path, keep_bytes=10**9)
    assert store.damage == []
    assert path.stat().st_size == places[9]


def test_a_disk_without_room_for_the_copy_leaves_the_file_to_its_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, places = ten_frames(tmp_path)
    flip(path, places[4] + 20)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    store = RawStore(tmp_path, keep_bytes=10**9)
    assert len(everything(store)) == 36
    assert store.damage == [Damage(file=path.name, places=1, saved=9)]
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_the_last_frames_turned_to_noise_are_damage_and_no_torn_tail(tmp_path: Path) -> None:
    path, places = ten_frames(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: places[8]] + random.Random(3).randbytes(len(data) - places[8]))
    store = RawStore(tmp_path, keep_bytes=10**9)
    assert [(one.places, one.saved) for one in store.damage] == [(1, 8)]


def test_however_a_file_is_damaged_the_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pattern that promises a frame at every place."""
    looked = [0]
    real = zlib.crc32

    def counting(body: bytes) -> int:
        looked[0] += len(body)
        return real(body)

    monkeypatch.setattr("edge_agent.agent.store.frame_file.zlib.crc32", counting)
    hostile = struct.pack(">II", 400_000, 1) + b"\x78" * 24
    data = hostile * (1 << 15)
    assert scan(data).bodies == []
    assert looked[0] <= 12 * len(data)


@settings(deadline=None, max_examples=60)
@given(start=st.integers(0, 10_000), size=st.integers(1, 3_000), noise=st.randoms(use_true_random=False))
def test_damage_anywhere_costs_the_frames_that_it_touches(
    tmp_path_factory: pytest.TempPathFactory, start: int, size: int, noise: random.Random
) -> None:
    path, places = ten_frames(tmp_path_factory.mktemp("raw"))
    data = bytearray(path.read_bytes())
    begin = start % len(data)
    end = min(begin + size, len(data))
    data[begin:end] = noise.randbytes(end - begin)
    path.write_bytes(data)
    touched = {n for n in range(10) if places[n] < end and begin < places[n + 1]}
    left = {(s.seq - 1) // 4 for f in read_frames(path) for s in unpack(f)}
    assert left >= set(range(10)) - touched
    assert left <= set(range(10))
