"""`minewarden enroll` with a cloud that says what it is told: output, files, refusals, exit codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloud.identity.authority import Authority
from edge_agent.agent.identity import cli
from edge_agent.agent.identity.cloud_desk import CloudAway, CloudDesk, Decision
from edge_agent.agent.identity.enrolment import check_owner
from edge_agent.agent.identity.files import ENROL_KEY, IdentityFiles
from shared.clock import ManualClock
from shared.errors import ConfigError, SecurityError
from shared.identity import fingerprint, read_request, spoken
from support.agent import KEYS, SITE, site_text
from support.identity import DAY_MS, new_key, pair_for

NOW_MS = 1_780_000_000_000
AUTHORITY = Authority.create("Test CA", NOW_MS - DAY_MS)


class Waiting(ManualClock):
    """A clock that whoever waits moves."""

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)


class Gateway:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        (folder / "site.toml").write_text(site_text())
        (folder / "keyring.toml").write_text(KEYS.text)
        (folder / "agent").mkdir()
        self.files = IdentityFiles(folder / "agent")
        self.clock = Waiting(utc_ms=NOW_MS)
        self.asked: list[dict[str, Any]] = []
        self.looks: list[Callable[[], Decision]] = []
        monkeypatch.setattr(CloudDesk, "ask", self._ask)
        monkeypatch.setattr(CloudDesk, "look", lambda _desk, _id: self.looks.pop(0)())
        self.answer: Callable[[], Decision] = self.waits

    def _ask(self, request_pem: str, made_ms: int, *, replace: bool) -> Decision:
        self.asked.append({"request_pem": request_pem, "made_ms": made_ms, "replace": replace})
        return self.answer()

    def decision(self, state: str, **changes: Any) -> Decision:
        facts: dict[str, Any] = {
            "id": "e1",
            "state": state,
            "reason": "",
            "now_ms": self.clock.utc_ms(),
            "ca_pem": AUTHORITY.pem,
            "ca_fingerprint": AUTHORITY.fingerprint,
        }
        return Decision(**{**facts, **changes})

    def waits(self) -> Decision:
        return self.decision("waiting")

    def issues(self, authority: Authority = AUTHORITY) -> Decision:
        name, key = read_request(self.asked[-1]["request_pem"])
        made = authority.issue(name, key, self.clock.utc_ms(), days=90)
        return self.decision("issued", certificate_pem=made.pem)

    def run(self, *words: str) -> int:
        given = (
            words
            if any(word in ("--offline", "--accept") for word in words)
            else ("--cloud", "https://c", *words)
        )
        return cli.main(["--site", str(self.folder / "site.toml"), *given], self.clock)


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    return Gateway(tmp_path, monkeypatch)


def test_a_fingerprint_is_read_out_and_the_certificate_is_stored(
    gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.looks = [gateway.waits, gateway.issues]
    assert gateway.run() == 0
    out = capsys.readouterr().out
    pair = gateway.files.pair()
    assert pair is not None
    print_ = fingerprint(SITE, pair.key.public_key())
    assert f"fingerprint  {print_}" in out
    assert spoken(print_) in out
    assert f'cert_file = "{gateway.files.pair_file}"' in out
    assert AUTHORITY.fingerprint in out
    assert gateway.files.folder.stat().st_mode & 0o777 == 0o700
    assert gateway.files.pair_file.stat().st_mode & 0o777 == 0o600
    assert gateway.files.key(ENROL_KEY) is None


def test_nothing_but_the_request_leaves_the_gateway(gateway: Gateway) -> None:
    gateway.looks = [gateway.issues]
    assert gateway.run() == 0
    assert set(gateway.asked[0]) == {"request_pem", "made_ms", "replace"}
    assert "PRIVATE" not in json.dumps(gateway.asked)


def test_who_has_not_decided_yet_is_asked_again_with_the_same_key(
    gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.looks = [gateway.waits] * 100
    assert gateway.run("--wait", "60") == cli.STILL_WAITING
    assert "run the same command again" in capsys.readouterr().err
    gateway.looks = [gateway.issues]
    assert gateway.run() == 0
    first, second = (read_request(body["request_pem"])[1].public_numbers() for body in gateway.asked)
    assert first == second


def test_a_cloud_that_goes_away_meanwhile_is_waited_for(gateway: Gateway) -> None:
    def away() -> Decision:
        raise CloudAway("no answer")

    gateway.looks = [away, away, gateway.issues]
    assert gateway.run() == 0
    gateway.answer = away
    assert gateway.run("--replace") == 1


def test_a_refusal_is_told_and_the_key_is_forgotten(
    gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.looks = [lambda: gateway.decision("refused", reason="not ours")]
    assert gateway.run() == 1
    assert "not ours" in capsys.readouterr().err
    assert gateway.files.key(ENROL_KEY) is None


@pytest.mark.parametrize(("off_min", "side"), [(200, "behind"), (-200, "ahead of")])
def test_a_wrong_clock_is_named_before_anything_is_trusted(
    gateway: Gateway, capsys: pytest.CaptureFixture[str], off_min: int, side: str
) -> None:
    gateway.answer = lambda: gateway.decision("waiting", now_ms=gateway.clock.utc_ms() + off_min * 60_000)
    assert gateway.run() == 1
    complaint = capsys.readouterr().err
    assert f"200 minutes {side} the cloud's" in complaint
    assert "timedatectl" in complaint


def test_a_certificate_that_is_not_for_this_key_is_not_stored(
    gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger = Authority.create("Somebody else", NOW_MS - DAY_MS)
    wrong = pair_for(AUTHORITY, SITE, NOW_MS).pem().decode()
    for decision, why in (
        (lambda: gateway.issues(stranger), "not signed by the authority"),
        (lambda: gateway.decision("issued", certificate_pem=wrong), "belongs to another key"),
        (lambda: gateway.decision("issued", certificate_pem="?"), "not a certificate"),
    ):
        gateway.looks = [decision]
        assert gateway.run() == 1
        assert why in capsys.readouterr().err
        assert gateway.files.pair() is None


def test_an_enrolled_gateway_keeps_its_key_unless_told(
    gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.looks = [gateway.issues]
    assert gateway.run() == 0
    first = gateway.files.pair()
    assert gateway.run() == 1
    assert "enrolled already" in capsys.readouterr().err
    gateway.looks = [gateway.issues]
    assert gateway.run("--replace") == 0
    second = gateway.files.pair()
    assert first is not None
    assert second is not None
    assert first.key.private_numbers() != second.key.private_numbers()
    assert gateway.asked[-1]["replace"] is True


def test_an_expired_certificate_needs_no_replace_and_another_name_does(
    gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.files.adopt(pair_for(AUTHORITY, "old-name", NOW_MS), AUTHORITY.pem)
    assert gateway.run() == 1
    assert "enrolled as 'old-name'" in capsys.readouterr().err
    gateway.clock.step_wall(91 * DAY_MS)
    gateway.looks = [gateway.issues]
    assert gateway.run() == 0


def test_a_damaged_certificate_is_named(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    gateway.files.write("site.pem", b"-----BEGIN PRIVATE KEY-----\nsecret\n")
    assert gateway.run() == 1
    complaint = capsys.readouterr().err
    assert "move it away, or say --replace" in complaint
    assert "secret" not in complaint


def test_an_offline_request_and_its_answer(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    request, answer = gateway.folder / "request.json", gateway.folder / "answer.json"
    assert gateway.run("--accept", str(gateway.folder / "site.toml")) == 1
    assert "not the file" in capsys.readouterr().err
    assert gateway.run("--offline", str(request)) == 0
    asked = json.loads(request.read_text())
    assert set(asked) == {"request_pem", "made_ms", "replace"}
    name, key = read_request(asked["request_pem"])
    made = AUTHORITY.issue(name, key, NOW_MS, days=90)
    answer.write_text(json.dumps({"certificate_pem": made.pem, "ca_pem": AUTHORITY.pem}))
    assert gateway.run("--accept", str(answer)) == 0
    assert gateway.run("--accept", str(answer)) == 1
    assert "no enrolment is open" in capsys.readouterr().err
    assert gateway.run("--accept", str(gateway.folder / "nothing")) == 2


def test_a_site_id_of_the_clouds_own_is_refused(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    text = site_text().replace(f'id = "{SITE}"', 'id = "minewarden-command"')
    (gateway.folder / "site.toml").write_text(text)
    assert gateway.run() == 1
    assert "reserved" in capsys.readouterr().err


def test_another_user_is_told_as_whom_to_run_it(tmp_path: Path) -> None:
    owner = tmp_path.stat().st_uid
    check_owner(tmp_path, owner)
    check_owner(tmp_path / "not" / "there" / "yet", owner + 1)
    with pytest.raises(ConfigError, match="runuser -u minewarden-agent"):
        check_owner(tmp_path, owner + 1)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://cloud.example.com", "use https"),
        ("ftp://cloud.example.com", "not a URL"),
        ("cloud.example.com", "not a URL"),
    ],
)
def test_a_cloud_that_anybody_could_play_is_refused(url: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=why):
        CloudDesk(url)
    with pytest.raises(ConfigError, match="--cloud-ca"):
        CloudDesk("https://cloud.example.com", tmp_path / "none")


def test_a_cloud_that_is_not_there_is_named() -> None:
    desk = CloudDesk("http://127.0.0.1:9")
    with pytest.raises(CloudAway, match="cannot be asked"):
        desk._call("/api/v1/enrolments/x", None)


def test_files_of_another_kind_in_the_way_are_named(tmp_path: Path) -> None:
    files = IdentityFiles(tmp_path)
    (tmp_path / "identity" / "site.pem").mkdir(parents=True)
    with pytest.raises(ConfigError, match="cannot be read"):
        files.pair()
    with pytest.raises(ConfigError, match="cannot be written"):
        files.write("site.pem", b"x")
    files.keep_key("next.key", new_key())
    files.write("next.key", b"junk")
    with pytest.raises(SecurityError, match="no usable private key"):
        files.key("next.key")
