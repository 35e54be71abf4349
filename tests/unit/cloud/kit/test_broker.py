"""Who the cloud's two clients are to the broker."""

from pathlib import Path

import pytest

from cloud.config import BrokerSettings
from cloud.kit.broker import Link, Login, command_login, ingest_login
from cloud.kit.problems import Unavailable
from shared.errors import ConfigError

PLAIN = BrokerSettings(host="127.0.0.1", port=1883)


def test_nobody_on_loopback() -> None:
    assert ingest_login(PLAIN) == Login(role="ingest")
    assert command_login(PLAIN) == Login(role="command")


def test_a_role_each_by_certificate() -> None:
    settings = BrokerSettings(
        host="broker",
        port=8883,
        ca_file="ca",
        cert_file="i.crt",
        key_file="i.key",
        command_cert_file="c.crt",
        command_key_file="c.key",
    )
    assert (ingest_login(settings).cert_file, ingest_login(settings).key_file) == ("i.crt", "i.key")
    assert (command_login(settings).cert_file, command_login(settings).key_file) == ("c.crt", "c.key")


def test_a_role_each_by_password(tmp_path: Path) -> None:
    (tmp_path / "i").write_text("ingest's\n")
    (tmp_path / "c").write_text("command's\n")
    settings = BrokerSettings(
        host="127.0.0.1",
        port=1883,
        username="in",
        password_file=str(tmp_path / "i"),
        command_username="co",
        command_password_file=str(tmp_path / "c"),
    )
    assert (ingest_login(settings).username, ingest_login(settings).password) == ("in", "ingest's")
    assert (command_login(settings).username, command_login(settings).password) == ("co", "command's")


def test_a_missing_password_file_is_named() -> None:
    settings = BrokerSettings(host="127.0.0.1", port=1883, username="in", password_file="/no/such/file")
    with pytest.raises(ConfigError, match=r"/no/such/file: broker\.password_file"):
        ingest_login(settings)


def test_unusable_certificates_are_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("not a certificate")
    settings = BrokerSettings(host="broker", port=8883, ca_file=str(tmp_path / "ca"))
    with pytest.raises(ConfigError, match="ca_file"):
        Link(settings, ingest_login(settings))


async def test_nothing_is_sent_without_a_connection() -> None:
    link = Link(PLAIN, ingest_login(PLAIN))
    assert not link.is_up
    link.post("t", b"x")
    link.acknowledge(1, 1, 0)
    with pytest.raises(Unavailable, match="not connected"):
        await link.send("t", b"x")
