"""`verify-journal` in the hands of somebody who may not read it, and where there is nothing to verify."""

from pathlib import Path

import pytest

from edge_agent.guardian.cli import main
from support.guardian import make_site


@pytest.fixture
def site_path(tmp_path: Path) -> str:
    make_site(tmp_path)
    return str(tmp_path / "site.toml")


def test_another_user_is_told_whose_journal_it_is(
    site_path: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests may run as root, who may read everything: so the folder itself says no."""

    def denied(path: Path) -> list[Path]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", denied)
    assert main(["verify-journal", "--site", site_path]) == 1
    said = capsys.readouterr()
    assert "run it as the guardian's user, for example: sudo -u minewarden-guardian" in said.err
    assert "hold" not in said.out


@pytest.mark.parametrize("files", [None, (), ("journal.reserve",), ("journal-0000000000000001.jsonl",)])
def test_no_journal_is_not_a_good_journal(
    tmp_path: Path, site_path: str, capsys: pytest.CaptureFixture[str], files: tuple[str, ...] | None
) -> None:
    folder = tmp_path / "guardian" / "journal"
    if files is not None:
        folder.mkdir(parents=True)
        for name in files:
            (folder / name).touch()
    assert main(["verify-journal", "--site", site_path]) == 1
    said = capsys.readouterr()
    assert f"there is no journal at {folder}" in said.err
    assert "hold" not in said.out


def test_a_journal_that_was_deleted_is_told_as_missing(
    tmp_path: Path, site_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "guardian" / "journal"
    folder.mkdir(parents=True)
    (folder / "journal.head").write_text("17")
    assert main(["verify-journal", "--site", site_path]) == 1
    assert "entries up to 17 were written and are missing" in capsys.readouterr().err
