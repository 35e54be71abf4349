"""The generated configuration as text; what it keeps out is tested with mosquitto itself."""

import shlex
from pathlib import Path

import msgspec
import pytest

from cloud import cli
from cloud.config import load
from cloud.identity.authority import Authority, read_key, write_key
from cloud.identity.broker_config import BrokerPlan, mosquitto_conf
from cloud.identity.broker_rules import acl
from edge_agent.agent.identity import cli as enroll
from shared.errors import ConfigError
from support.cloud import NOW_MS, configure
from support.identity import new_key


def test_every_listener_wants_certificates_and_only_the_clouds_takes_client_ids() -> None:
    sites, cloud = mosquitto_conf(BrokerPlan()).split("\nlistener ")[1:]
    for listener in (sites, cloud):
        for line in (
            "require_certificate true",
            "use_identity_as_username true",
            "tls_version tlsv1.2",
            "crlfile ",
        ):
            assert line in listener
    assert sites.startswith("8883\n")
    assert cloud.startswith("8884 127.0.0.1\n")
    assert "use_username_as_clientid true" in sites
    assert "use_username_as_clientid" not in cloud


@pytest.mark.parametrize(
    "changes",
    [
        {"cloud_port": 8883},
        {"keys": Path("relative")},
        {"rules": Path("/with blank")},
        {"keys": Path("/a\nb")},
    ],
)
def test_a_plan_that_cannot_work_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        mosquitto_conf(msgspec.structs.replace(BrokerPlan(), **changes))


def test_rules_are_stable_so_that_the_broker_is_told_only_of_changes() -> None:
    assert acl(["b", "a"], {"y": ["2", "1"], "x": ["*"]}) == acl(
        ["a", "b", "a"][:2], {"x": ["*"], "y": ["1", "2"]}
    )


def _config(folder: Path, extra: str = "") -> Path:
    path = configure(folder)
    path.write_text(
        path.read_text()
        + f'[identity]\nca_cert = "ca/ca.crt"\nca_key = "ca/ca.key"\nbroker_dir = "rules"\n{extra}'
    )
    return path


def test_the_command_line_makes_an_authority_once_and_certificates_for_roles(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(_config(tmp_path))
    assert cli.main(["ca", "init", "--config", config]) == 0
    assert cli.main(["ca", "init", "--config", config]) == 2
    assert "never overwritten" in capsys.readouterr().err
    out = str(tmp_path / "keys")
    assert cli.main(["ca", "issue", "broker", "--out", out, "--config", config]) == 2
    assert cli.main(["ca", "issue", "ingest", "--out", out, "--host", "x", "--config", config]) == 2
    assert (
        cli.main(["ca", "issue", "broker", "--host", "broker.example.com", "--out", out, "--config", config])
        == 0
    )
    key = (tmp_path / "keys" / "broker.key").read_bytes()
    assert (
        cli.main(["ca", "issue", "broker", "--host", "broker.example.com", "--out", out, "--config", config])
        == 0
    )
    assert (tmp_path / "keys" / "broker.key").read_bytes() == key, "a renewed role keeps its key file"
    assert cli.main(["broker-config", "--out", str(tmp_path / "conf"), "--config", config]) == 0
    assert (tmp_path / "rules" / "crl.pem").read_text().startswith("-----BEGIN X509 CRL")
    assert str(tmp_path / "rules" / "acl") in (tmp_path / "conf" / "minewarden.conf").read_text()


def test_broker_config_says_that_its_file_is_a_whole_one_and_where_the_unit_looks_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In conf.d, beside Debian's own main file, mosquitto refuses it."""
    config = str(_config(tmp_path))
    assert cli.main(["ca", "init", "--config", config]) == 0
    assert cli.main(["broker-config", "--out", str(tmp_path / "conf"), "--config", config]) == 0
    said = capsys.readouterr().out
    assert "whole configuration, for /etc/mosquitto/minewarden/minewarden.conf; not for conf.d" in said


def test_without_an_authority_the_commands_say_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(configure(tmp_path))
    assert cli.main(["ca", "init", "--config", config]) == 2
    assert "there is no [identity]" in capsys.readouterr().err
    assert cli.main(["enrolments", "list", "--config", config]) == 1
    assert "is 'minewarden cloud run' running?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        ("site_days = 0", "1 to 825"),
        ("role_days = 1000", "1 to 825"),
        ('broker_pid_file = "a"\nbroker_reload = ["b"]', "set one of them"),
        ("surprise = 1", "surprise"),
    ],
)
def test_a_configuration_that_means_nothing_is_refused(tmp_path: Path, extra: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        load(_config(tmp_path, extra))


def test_a_key_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    made = Authority.create("Test CA", NOW_MS)
    made.save(tmp_path / "ca.crt", tmp_path / "ca.key")
    (tmp_path / "ca.key").chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        Authority.load(tmp_path / "ca.crt", tmp_path / "ca.key")
    write_key(tmp_path / "other.key", new_key())
    with pytest.raises(ConfigError, match="not the key of"):
        Authority.load(tmp_path / "ca.crt", tmp_path / "other.key")
    (tmp_path / "junk.key").write_text("junk")
    (tmp_path / "junk.key").chmod(0o600)
    with pytest.raises(ConfigError, match="not a private key") as refusal:
        read_key(tmp_path / "junk.key")
    assert "junk\n" not in str(refusal.value)


def test_the_commands_of_the_documentation_are_understood() -> None:
    text = (Path(__file__).resolve().parents[4] / "docs" / "install.md").read_text()
    lines = [
        line.split("minewarden ", 1)[1]
        for line in text.splitlines()
        if line.startswith(("as_cloud minewarden cloud ", "sudo runuser -u minewarden-agent"))
    ]
    assert len(lines) >= 10
    for line in lines:
        words = shlex.split(line.removeprefix("enroll "))
        parser = enroll._parser() if line.startswith("enroll ") else cli._parser()
        assert parser.parse_args(words[1:] if words[0] == "cloud" else words)
