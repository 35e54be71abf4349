"""`minewarden`: lists commands without importing them, and says which extra is missing."""

from importlib.metadata import EntryPoint

import pytest

from shared import cli


def _commands(*points: EntryPoint) -> object:
    return lambda group: list(points)


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("guardian", "agent", "cloud", "simulate", "demo", "check-config"))


def test_without_a_command_the_usage_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "usage: minewarden" in capsys.readouterr().out


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["gurdian"]) == 2
    assert "no command 'gurdian'" in capsys.readouterr().err


def test_a_missing_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    point = EntryPoint(name="cloud", value="not_there_at_all.cli:main [cloud]", group=cli.GROUP)
    monkeypatch.setattr(cli, "entry_points", _commands(point))
    assert cli.main(["cloud"]) == 2
    assert "'pip install minewarden[cloud]' brings it" in capsys.readouterr().err


def test_the_exit_code_is_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint(name="keys", value="shared.artifacts.cli:main", group=cli.GROUP)
    monkeypatch.setattr(cli, "entry_points", _commands(point))
    assert cli.main(["keys", "keyring", "owner=nowhere"]) == 2
