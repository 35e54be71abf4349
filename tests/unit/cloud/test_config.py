"""The configuration file is loaded whole or refused with a sentence that says what to do."""

from pathlib import Path

import pytest

from cloud.cli import main
from cloud.config import load
from cloud.kit.keys import Keys
from shared.errors import ConfigError
from support.cloud import configure


def edited(folder: Path, old: str, new: str) -> Path:
    path = configure(folder)
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))
    return path


def test_a_whole_file(tmp_path: Path) -> None:
    found = load(configure(tmp_path))
    assert found.database_url == f"sqlite+aiosqlite:///{tmp_path}/data/cloud.db"
    assert found.token_file == tmp_path / "token"
    assert found.http_host == "127.0.0.1"
    assert Keys.load(found.keys).release is not None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("http_port = 0", "http_prt = 0", "unknown field `http_prt`"),
        ("http_port = 0", "http_port = 70000", "not a port"),
        ("http_port = 0", 'http_port = "80"', "Expected `int`"),
        ("http_port = 0", 'http_host = "0.0.0.0"', "not a loopback address"),
        ('token_file = "token"', "", "missing required field `token_file`"),
        ('host = "127.0.0.1"\nport = 1', 'host = "broker.example"\nport = 8883', "ca_file is needed"),
        ("online_blessing = true", "", "release key belongs offline"),
        ('release_key = "release"', "", "needs keys.release_key"),
        ("http_port = 0", 'database_url = "mysql://x"', "must start with postgresql://"),
        ("http_port = 0", 'database_url = "sqlite+aiosqlite:///:memory:"', "must start with"),
        ("http_port = 0", "http_port = [", "not TOML"),
        ("[broker]", "[training]\nthreads = 0\n[broker]", "training.threads"),
    ],
)
def test_a_wrong_file_says_what_is_expected(
    tmp_path: Path, old: str, new: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = edited(tmp_path, old, new)
    with pytest.raises(ConfigError, match=r"cloud\.toml") as caught:
        load(path)
    assert said in str(caught.value)
    assert main(["run", "--config", str(path)]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("token", ["", "short"])
def test_no_start_without_a_token(tmp_path: Path, token: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = configure(tmp_path)
    (tmp_path / "token").write_text(token)
    assert main(["run", "--config", str(path)]) == 2
    assert "token" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["token", "command", "assignment", "release"])
def test_no_start_without_its_secrets(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = configure(tmp_path)
    (tmp_path / name).unlink()
    assert main(["run", "--config", str(path)]) == 2
    assert str(tmp_path / name) in capsys.readouterr().err


def test_urls_are_brought_to_our_drivers(tmp_path: Path) -> None:
    def url(text: str) -> str:
        return load(configure(tmp_path, extra=f'database_url = "{text}"')).database_url

    assert url("postgresql://u@127.0.0.1/db") == "postgresql+asyncpg://u@127.0.0.1/db"
    assert url("sqlite+aiosqlite:///x.db") == f"sqlite+aiosqlite:///{tmp_path}/x.db"
    assert url("sqlite+aiosqlite:////var/x.db") == "sqlite+aiosqlite:////var/x.db"


def test_migrations_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(configure(tmp_path))
    assert main(["migrate", "check", "--config", path]) == 1
    assert "revision is None" in capsys.readouterr().out
    assert main(["migrate", "up", "--config", path]) == 0
    assert main(["migrate", "check", "--config", path]) == 0
    assert main(["migrate", "down", "--config", path]) == 0
    assert main(["migrate", "check", "--config", path]) == 1


def test_a_database_that_is_not_there_is_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = configure(tmp_path, extra='database_url = "postgresql://secretuser:hunter2@127.0.0.1:1/db"')
    assert main(["run", "--config", str(path)]) == 1
    assert "hunter2" not in capsys.readouterr().err
