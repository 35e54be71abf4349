"""`minewarden store`: what it prints, that it only reads, and its exit codes."""

import csv
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.agent.store.cli import main
from edge_agent.agent.store.database import Store
from edge_agent.agent.store.frames import RawStore
from edge_agent.agent.store.opening import FILE_NAME
from edge_agent.agent.store.rows import Commit
from shared.clock import ManualClock
from shared.telemetry import COLUMN_NAMES
from support.agent import T0, make_site, rollup_row, some_event, sweep
from support.outbox import Cloud, drain


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state folder with two steps, an event and raw samples; the agent still has it open."""
    folder = tmp_path / "agent"
    folder.mkdir()
    store = Store(folder / FILE_NAME, ManualClock(), outbox_bytes=2**30)
    for step in range(2):
        rows = tuple(rollup_row(f"m{n}", T0 + step * 5_000, power_w=n) for n in range(3))
        store.commit(Commit(rollups=rows, events=(some_event(step),)))
    RawStore(folder / "raw", keep_bytes=2**30).append(sweep(1, T0))
    yield folder
    store.close()


@pytest.mark.parametrize("word", ["inspect", "info"])
def test_inspect(word: str, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word, "--state", str(state)]) == 0
    out = capsys.readouterr().out
    assert "6 rows in 2 steps, 2026-05-28 20:26:40 UTC to 2026-05-28 20:26:45 UTC" in out
    assert "in 1 files, since 2026-05-28 20:26:40 UTC" in out
    assert "outbox       has room" in out
    assert re.search(r"rollup +2 batches, 6 rows, [\d.]+ \w+, oldest 2026-05-28 20:26:40 UTC \(.* ago\)", out)
    assert re.search(r"^rollup +6 +2 +0 +0 +1$", out, re.MULTILINE)
    assert out.index("  ev ") < out.index("  rollup "), "what leaves first stands first"


def test_inspect_of_an_outbox_that_had_to_give_up_and_of_one_that_is_empty(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / FILE_NAME, ManualClock(), outbox_bytes=60_000)
    for step in range(240):
        rows = tuple(rollup_row(f"m{n}", T0 + step * 5_000, power_w=step * n) for n in range(20))
        store.commit(Commit(rollups=rows))
    assert main(["inspect", "--state", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "nearly full: rows are thinned to minutes" in out
    assert re.search(r"1 tombstones$", out, re.MULTILINE)
    drain(store, Cloud())
    assert main(["inspect", "--state", str(tmp_path)]) == 0
    assert "the cloud has confirmed everything" in capsys.readouterr().out
    store.close()


def test_tables(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tables", "--state", str(state)]) == 0
    out = capsys.readouterr().out
    for table in ("meta", "rollup", "outbox", "ledger"):
        assert table in out


def test_integrity(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["integrity", "--state", str(state)]) == 0
    sound = "ok: the file is sound, 6 batches and steps decode, and 1 frames of raw samples\n"
    assert capsys.readouterr().out == sound


def test_integrity_names_a_batch_that_does_not_decode(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db = sqlite3.connect(state / FILE_NAME)
    db.execute("UPDATE outbox SET body = x'01ff' WHERE stream = 'rollup' AND seq = 1")
    db.execute("UPDATE outbox SET seq = 77 WHERE stream = 'ev' AND seq = 1")
    db.execute("UPDATE rollup SET count = 9 WHERE id = 1")
    db.commit()
    db.close()
    assert main(["integrity", "--state", str(state)]) == 1
    out = capsys.readouterr().out
    assert "outbox line 1: compressed body is cut short" in out
    assert "its body is another batch" in out
    assert "roll-up step 1: rows are missing" in out


def test_integrity_of_a_damaged_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"SQLite format 3\x00" + b"\x11" * 5_000)
    assert main(["integrity", "--state", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("minewarden store:")


def test_export_of_rollups(state: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    assert main(["export", "--csv", str(target), "--state", str(state), "--device", "m1"]) == 0
    with target.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["at_ms"] for line in lines] == [str(T0), str(T0 + 5_000)]
    assert lines[0]["power_w_mean"] == "1.0"
    assert lines[0]["chip_temp_max_c_max"] == "", "unknown is empty and not 0"
    assert set(COLUMN_NAMES) < set(lines[0])


def test_export_of_raw_samples_to_standard_output(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--csv", "-", "--raw", "--state", str(state), "--since-ms", str(T0)]) == 0
    lines = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [line["seq"] for line in lines] == ["1", "2", "3", "4"]
    assert '"power_w":[3000.0,0]' in lines[0]["readings"]


@pytest.mark.parametrize("raw", [[], ["--raw"]])
def test_an_export_of_no_store_says_so_and_leaves_the_file_that_is_there(
    raw: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "keep.csv"
    target.write_text("kept")
    assert main(["export", "--csv", str(target), "--state", str(tmp_path / "mistyped"), *raw]) == 1
    assert "there is no store here" in capsys.readouterr().err
    assert target.read_text() == "kept"


def test_an_export_that_breaks_off_replaces_nothing(state: Path, tmp_path: Path) -> None:
    target = tmp_path / "keep.csv"
    target.write_text("kept")
    with sqlite3.connect(state / FILE_NAME) as db:
        db.execute("UPDATE rollup SET body = x'00' WHERE id = (SELECT max(id) FROM rollup)")
    assert main(["export", "--csv", str(target), "--state", str(state)]) == 1
    assert target.read_text() == "kept"
    assert not list(tmp_path.glob("*.part"))


def test_an_export_into_a_folder_is_refused(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--csv", str(tmp_path), "--state", str(state)]) == 2
    assert "is no file" in capsys.readouterr().err


def test_export_as_parquet(state: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is an extra")
    target = tmp_path / "out.parquet"
    command = ["export", "--parquet", str(target), "--state", str(state)]
    assert main([*command, "--until-ms", str(T0 + 5_000)]) == 0
    lines = parquet.read_table(target).to_pylist()
    assert [(line["at_ms"], line["device"], line["power_w_mean"]) for line in lines] == [
        (T0, "m0", 0.0),
        (T0, "m1", 1.0),
        (T0, "m2", 2.0),
    ]
    assert lines[0]["chip_temp_max_c_max"] is None
    assert main([*command, "--raw"]) == 0
    assert parquet.read_table(target).column("seq").to_pylist() == [1, 2, 3, 4]


def test_parquet_without_pyarrow_says_what_brings_it(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["export", "--parquet", str(tmp_path / "x"), "--state", str(state)]) == 2
    assert "pip install 'minewarden[parquet]'" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_vacuum_refuses_while_an_agent_has_the_store_open(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["vacuum", "--state", str(state)]) == 1
    assert "stop the agent first" in capsys.readouterr().err


def test_vacuum_makes_the_file_small_and_the_store_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / FILE_NAME, ManualClock(), outbox_bytes=2**30)
    for step in range(100):
        rows = tuple(rollup_row(f"m{n}", T0 + step * 5_000, power_w=n * step) for n in range(100))
        store.commit(Commit(rollups=rows))
    drain(store, Cloud())
    store.forget_rollups_before(T0 + 10**9)
    store.close()
    before = (tmp_path / FILE_NAME).stat().st_size
    assert main(["vacuum", "--state", str(tmp_path)]) == 0
    assert (tmp_path / FILE_NAME).stat().st_size < before / 2
    assert " now" in capsys.readouterr().out
    again = Store(tmp_path / FILE_NAME, ManualClock(), outbox_bytes=2**30)
    assert (again._one("PRAGMA journal_mode"), again._one("PRAGMA auto_vacuum")) == ("wal", 2)
    again.commit(Commit(rollups=(rollup_row("m1", T0),)))
    again.close()


def test_salvage_into_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path / FILE_NAME, ManualClock(), outbox_bytes=2**30)
    store.commit(Commit(rollups=(rollup_row("m1", T0),), meta={"k": b"v"}))
    store.close()
    source, target = str(tmp_path / FILE_NAME), tmp_path / "saved"
    assert main(["salvage", source, "--into", str(target)]) == 0
    assert "1  batches that wait for the cloud" in capsys.readouterr().out
    assert main(["inspect", "--state", str(target)]) == 0
    assert main(["salvage", source, "--into", str(target)]) == 1
    assert "nothing is written over" in capsys.readouterr().err
    assert main(["salvage", str(tmp_path / "none"), "--into", str(tmp_path / "x")]) == 1
    (tmp_path / "junk").write_bytes(b"\x00" * 5_000)
    assert main(["salvage", str(tmp_path / "junk"), "--into", str(tmp_path / "y")]) == 1


def test_it_only_reads(state: Path) -> None:
    before = {path.name: path.read_bytes() for path in state.iterdir() if path.is_file()}
    for command in ("inspect", "tables", "integrity"):
        assert main([command, "--state", str(state)]) == 0
    assert before[FILE_NAME] == (state / FILE_NAME).read_bytes()


def test_the_folder_comes_from_the_site_file(
    tmp_path: Path, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_site(tmp_path)
    assert main(["inspect", "--site", str(tmp_path / "site.toml")]) == 0
    assert "2 steps" in capsys.readouterr().out
    assert state.parent == tmp_path


def test_no_store_and_no_site_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--state", str(tmp_path)]) == 1
    assert "no store here" in capsys.readouterr().err
    assert main(["info", "--site", str(tmp_path / "none.toml")]) == 2
    with pytest.raises(SystemExit):
        main(["info"])


def test_integrity_and_export_see_damage_in_raw_samples(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = RawStore(state / "raw", keep_bytes=2**30)
    raw.append(sweep(5, T0 + 2_000))
    assert main(["integrity", "--state", str(state)]) == 0
    assert "and 2 frames of raw samples" in capsys.readouterr().out
    [path] = raw.files()
    data = bytearray(path.read_bytes())
    data[20] ^= 0xFF
    path.write_bytes(data)
    assert main(["integrity", "--state", str(state)]) == 1
    assert f"{path}: damaged in 1 places; the frames there are lost" in capsys.readouterr().out
    target = tmp_path / "raw.csv"
    assert main(["export", "--state", str(state), "--raw", "--csv", str(target)]) == 1
    assert "damaged in 1 places, what was there is not in the export" in capsys.readouterr().err
    assert [line["seq"] for line in csv.DictReader(target.read_text().splitlines())] == ["5", "6", "7", "8"]


@pytest.mark.parametrize("word", ["inspect", "integrity", "export"])
def test_a_damaged_file_is_said_to_be_and_what_to_do(
    word: str, state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / FILE_NAME).write_bytes(b"SQLite format 3\0" + b"\xff" * 8192)
    more = ["--csv", str(tmp_path / "out.csv")] if word == "export" else []
    assert main([word, "--state", str(tmp_path / "broken"), *more]) == 1
    assert "start the agent anew, it sets the file aside and saves what opens" in capsys.readouterr().err


def test_whoever_has_read_enough_hears_no_complaint(state: Path) -> None:
    program = (
        "import sys; from edge_agent.agent.store.cli import main; "
        f"sys.exit(main(['export', '--state', {str(state)!r}, '--raw', '--csv', '-']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.close()
        assert child.stderr is not None
        assert child.stderr.read() == b""
        assert child.wait(30) == 0
