"""`minewarden keys root-sign`: from two key files to a message that a site takes over."""

from pathlib import Path

import pytest

from shared.artifacts.cli import main
from shared.artifacts.keyring_update import TrustedKeys
from shared.artifacts.signing import Signed
from shared.clock import SystemClock
from shared.ids import SiteId
from shared.wire import codec


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Two roots and a command key, and the keyring that the site file names."""
    for name in ("root-1", "root-2", "command-1"):
        assert main(["new", str(tmp_path / name), "--id", name]) == 0
    capsys.readouterr()
    keyring(tmp_path, capsys, "base.toml", "root=root-1", "command=command-1")
    return tmp_path


def keyring(folder: Path, capsys: pytest.CaptureFixture[str], name: str, *pairs: str) -> Path:
    given = [f"{pair.partition('=')[0]}={folder / pair.partition('=')[2]}" for pair in pairs]
    assert main(["keyring", *given]) == 0
    (folder / name).write_text(capsys.readouterr().out)
    return folder / name


def sign(folder: Path, keys: Path, *more: str, roots: tuple[str, ...] = ("root-1",)) -> int:
    named = [word for root in roots for word in ("--root", str(folder / root))]
    return main(["root-sign", str(keys), *named, "--out", str(folder / "signed"), *more])


def test_a_site_takes_it_over(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fresh = keyring(folder, capsys, "new.toml", "root=root-2")
    assert sign(folder, fresh, "--version", "3", roots=("root-1", "root-2")) == 0
    assert "version 3 with 1 keys" in capsys.readouterr().out
    signed = codec.decode((folder / "signed").read_bytes(), Signed)
    site = TrustedKeys(folder / "base.toml", folder / "keyring.bin", SiteId("anywhere"))
    taken = site.take(signed, now_ms=SystemClock().utc_ms())
    assert taken is not None
    assert [key.id for key in taken.keys] == ["root-2"]


def test_a_keyring_that_no_site_would_take_is_not_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh = keyring(folder, capsys, "new.toml", "root=root-2")
    assert sign(folder, fresh, "--version", "1") == 2
    assert "no site would take it over" in capsys.readouterr().err
    assert not (folder / "signed").exists()


@pytest.mark.parametrize("wrong", [("--version", "0"), ("--version", "1", "--days", "0")])
def test_wrong_numbers(folder: Path, capsys: pytest.CaptureFixture[str], wrong: tuple[str, ...]) -> None:
    assert sign(folder, folder / "base.toml", *wrong) == 2
    assert "counts from 1" in capsys.readouterr().err
