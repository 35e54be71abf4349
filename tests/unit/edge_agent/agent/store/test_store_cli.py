"""`minewarden store`: what it prints, that it only reads, and its exit codes."""

import csv
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


def test_info(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--state", str(state)]) == 0
    out = capsys.readouterr().out
    assert "2 steps, 6 rows" in out
    assert "rollup: 6 rows in 2 batches over 1 epochs, 0 acked, 0 rows dropped" in out
    assert "in 1 files" in out


def test_tables(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tables", "--state", str(state)]) == 0
    out = capsys.readouterr().out
    for table in ("meta", "rollup", "outbox", "ledger"):
        assert table in out


def test_integrity(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["integrity", "--state", str(state)]) == 0
    assert capsys.readouterr().out == "ok\n"


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


def test_it_only_reads(state: Path) -> None:
    before = {path.name: path.read_bytes() for path in state.iterdir() if path.is_file()}
    for command in ("info", "tables", "integrity"):
        assert main([command, "--state", str(state)]) == 0
    assert before[FILE_NAME] == (state / FILE_NAME).read_bytes()


def test_the_folder_comes_from_the_site_file(
    tmp_path: Path, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_site(tmp_path)
    assert main(["info", "--site", str(tmp_path / "site.toml")]) == 0
    assert "2 steps" in capsys.readouterr().out
    assert state.parent == tmp_path


def test_no_store_and_no_site_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--state", str(tmp_path)]) == 1
    assert "no store here" in capsys.readouterr().err
    assert main(["info", "--site", str(tmp_path / "none.toml")]) == 2
    with pytest.raises(SystemExit):
        main(["info"])
