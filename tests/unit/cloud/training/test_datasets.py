"""Data set files, windows, and the split by time."""

import random
import zlib
from pathlib import Path

import msgspec
import numpy as np
import pytest

from cloud.training.datasets import incidents, read, split, trainable, windows, write
from shared.errors import ArtifactError
from shared.features.compute import features
from shared.features.spec import miner_spec
from shared.ids import DeviceId
from shared.telemetry import MinerState, RollupRow
from shared.units import Algorithm
from support.training import T0_MS, row

SPEC = miner_spec(5)
NAMES = [f"m{i:02d}" for i in range(10)]


def site(steps: int, **changes: float) -> list[RollupRow]:
    return [row(name, step, **changes) for step in range(steps) for name in NAMES]


def test_a_file_brings_back_its_rows_and_hash(tmp_path: Path) -> None:
    rows = site(3)
    sha = write(rows, tmp_path / "a", models={DeviceId("m00"): "S21 Pro"})
    back = read(tmp_path / "a")
    assert back.rows == rows
    assert (back.sha256, back.step_s, back.models, back.devices) == (sha, 5, {"m00": "S21 Pro"}, NAMES)


def test_the_hash_is_of_the_content_not_of_its_order(tmp_path: Path) -> None:
    rows = site(3)
    shuffled = random.Random(1).sample(rows, len(rows))
    one = write(rows, tmp_path / "a", models={DeviceId("a"): "x", DeviceId("b"): "y"})
    two = write(shuffled, tmp_path / "b", models={DeviceId("b"): "y", DeviceId("a"): "x"})
    assert one == two
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert write([*rows[:-1], row("m09", 2, power_w_mean=1.0)], tmp_path / "c") != one
    assert write(rows, tmp_path / "d") != one


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    write(site(3), tmp_path / "good")
    good = (tmp_path / "good").read_bytes()
    other_columns = zlib.compress(
        msgspec.msgpack.encode({"format": 1, "columns": ("x",), "models": {}, "rows": []})
    )
    for name, data in {
        "cut": good[:-20],
        "noise": b"not zlib",
        "inner": zlib.compress(b"not msgpack"),
        "columns": other_columns,
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ArtifactError, match=name):
            read(tmp_path / name)
    with pytest.raises(ArtifactError, match="absent"):
        read(tmp_path / "absent")


@pytest.mark.parametrize("rows", [[], [row("a", 0), row("a", 1, step_s=60)]])
def test_a_file_needs_rows_of_one_step(tmp_path: Path, rows: list[RollupRow]) -> None:
    write(rows, tmp_path / "a")
    with pytest.raises(ArtifactError, match="one step"):
        read(tmp_path / "a")


def test_windows_are_what_the_edge_would_score() -> None:
    found = windows(SPEC, site(6))
    # from the third step on, because one gap is allowed
    assert len(found) == len(NAMES) * 4
    assert sorted(set(found.end_ms.tolist())) == [T0_MS + step * 5000 for step in (2, 3, 4, 5)]
    np.testing.assert_array_equal(found.x, features(SPEC, found.matrix))


def test_settling_machines_give_no_windows() -> None:
    rows = [row(name, step, state=MinerState.STARTING) for step in range(9) for name in NAMES]
    assert len(windows(SPEC, rows)) == 0


@pytest.mark.parametrize("steps", [8, 12, 16, 40])
def test_held_out_time_is_later_and_touches_no_training_window(steps: int) -> None:
    parts = split(SPEC, site(steps))
    reach = (SPEC.window - 1) * 5000
    for held in (parts.validate, parts.test):
        assert len(held) > 0
        assert (held.end_ms - reach).min() > parts.train.end_ms.max()
    if steps >= 16:
        assert parts.how == "three parts by time"
        assert (parts.test.end_ms - reach).min() > parts.validate.end_ms.max()
    else:
        assert not set(parts.test.devices) & set(parts.validate.devices)


def test_too_little_data_says_what_is_missing() -> None:
    with pytest.raises(ArtifactError, match="at least 8"):
        split(SPEC, site(6))
    with pytest.raises(ArtifactError, match="at least 8"):
        split(SPEC, [])


def test_too_few_machines_in_a_part_are_refused() -> None:
    rows = [r for r in site(20) if r.device in NAMES[:2] or r.at_ms < T0_MS + 50_000]
    with pytest.raises(ArtifactError, match="only 2 miners"):
        split(SPEC, rows)


def test_an_algorithm_with_one_machine_is_left_out(tmp_path: Path) -> None:
    rows = site(3) + [row("l9", step, algorithm=Algorithm.SCRYPT) for step in range(3)]
    write(rows, tmp_path / "a")
    kept, algorithms = trainable(read(tmp_path / "a"))
    assert algorithms == (Algorithm.SHA256D,)
    assert "l9" not in {r.device for r in kept}


def test_no_running_machines_is_refused(tmp_path: Path) -> None:
    write([row(name, 0, state=MinerState.STOPPED) for name in NAMES], tmp_path / "a")
    with pytest.raises(ArtifactError, match="no algorithm"):
        trainable(read(tmp_path / "a"))


def hot_at(steps: int, hot: range, names: list[str]) -> list[RollupRow]:
    return [
        row(name, step, **({"chip_temp_max_c_mean": 84.0} if step in hot and name in names else {}))
        for step in range(steps)
        for name in NAMES
    ]


def test_a_site_wide_incident_is_left_out_with_its_edges() -> None:
    found = windows(SPEC, hot_at(60, range(30, 36), NAMES))
    left_out = {(int(end) - T0_MS) // 5000 for end in found.end_ms[incidents(found)]}
    assert left_out == set(range(30 - SPEC.window, 36 + SPEC.window))


def test_one_ill_machine_or_another_way_of_running_is_no_incident() -> None:
    assert not incidents(windows(SPEC, hot_at(60, range(30, 36), NAMES[:2]))).any()
    assert not incidents(windows(SPEC, hot_at(60, range(20, 60), NAMES))).all()
    assert not incidents(windows(SPEC, [])).any()


def test_thinning_keeps_the_same_windows_every_time() -> None:
    found = windows(SPEC, site(20))
    few = found.thinned(7)
    assert len(few) == 7
    assert few.end_ms.tolist() == found.thinned(7).end_ms.tolist()
    assert found.thinned(10_000) is found
