"""The command line: what it stores, what it refuses, and with which exit code."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.cli import check_config
from edge_agent.guardian.cli import main
from edge_agent.guardian.storage.credentials import CredentialStore, read_key
from edge_agent.guardian.storage.journal import Journal, segments
from firmware_adapters.capabilities import Credential
from shared.alarms import Event, EventKind, Severity
from shared.clock import ManualClock
from support.guardian import make_site

Said = Callable[[str], None]


@pytest.fixture
def site_path(tmp_path: Path) -> str:
    make_site(tmp_path)
    return str(tmp_path / "site.toml")


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Said:
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_a_credential_is_read_from_stdin_and_never_shown(
    tmp_path: Path, site_path: str, stdin: Said, capsys: pytest.CaptureFixture[str]
) -> None:
    stdin("hunter2\n")
    assert main(["credential", "set", "miners", "--site", site_path, "--user", "root"]) == 0
    assert main(["credential", "list", "--site", site_path]) == 0
    said = capsys.readouterr()
    assert "hunter2" not in said.out + said.err
    assert "miners (user root)" in said.out
    store = CredentialStore(tmp_path / "guardian", read_key(tmp_path / "master.key"))
    assert store.all() == {"miners": Credential(user="root", secret="hunter2")}


def test_an_empty_secret_is_refused(site_path: str, stdin: Said) -> None:
    stdin("\n")
    assert main(["credential", "set", "miners", "--site", site_path]) == 2


def test_without_a_guardian_the_tools_say_so(site_path: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["status"], ["reset", "--zone", "hall-1", "--reason", "r"], ["safe-stop", "--reason", "r"]):
        assert main([*words, "--site", site_path]) == 1
        assert "no answer from a guardian" in capsys.readouterr().err


def test_a_reset_needs_its_reason(site_path: str) -> None:
    with pytest.raises(SystemExit) as left:
        main(["reset", "--zone", "hall-1", "--site", site_path])
    assert left.value.code == 2


def test_verify_journal(tmp_path: Path, site_path: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "guardian" / "journal"
    folder.parent.mkdir()
    book = Journal(folder, ManualClock(), "boot-0001")
    for _ in range(3):
        book.append(
            Event(id="", kind=EventKind.ACTION, severity=Severity.LOW, key="k", at_ms=0, title="stop m-1")
        )
    book.close()
    assert main(["verify-journal", "--site", site_path]) == 0
    assert "3 entries hold, 0 do not" in capsys.readouterr().out
    [path] = segments(folder)
    path.write_bytes(path.read_bytes().replace(b"stop m-1", b"stop m-9", 1))
    assert main(["verify-journal", "--site", site_path]) == 1
    assert "entry 1 was changed" in capsys.readouterr().err


def test_run_refuses_a_bad_site_file_with_the_words_of_check_config(
    tmp_path: Path, site_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(site_path)
    path.write_text(path.read_text().replace("trip = 88.0", "trip = 80.0"))
    assert check_config(["--site", site_path]) == 2
    told = capsys.readouterr().err
    assert main(["run", "--site", site_path]) == 2
    assert capsys.readouterr().err == told
    assert "limits out of order" in told


def test_check_config_sums_up_a_good_file(site_path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_config(["--site", site_path]) == 0
    assert (
        "OK: site pit, 1 zones, 4 miners (12.0 kW nominal), 3 other devices, simulated"
        in capsys.readouterr().out
    )


# ---------------------------------------------------------------- a person's tools need no good site file


def test_a_safe_stop_goes_out_although_the_site_file_was_just_spoilt(
    tmp_path: Path, site_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(site_path)
    path.write_text(path.read_text() + "\nbogus = 3\n")
    assert main(["safe-stop", "--reason", "fire", "--site", site_path]) == 1
    said = capsys.readouterr().err
    assert "unknown key" in said
    assert f"asking the guardian at {tmp_path / 'o.sock'} all the same" in said
    assert "no answer from a guardian" in said


def test_without_a_readable_file_the_usual_socket_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--site", str(tmp_path / "none.toml")]) == 1
    assert "asking the guardian at /run/minewarden/operator.sock" in capsys.readouterr().err


def test_the_socket_can_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--socket", str(tmp_path / "s.sock")]) == 1
    assert str(tmp_path / "s.sock") in capsys.readouterr().err
