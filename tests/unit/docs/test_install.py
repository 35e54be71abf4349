"""docs/install.md names files, options and tests that exist."""

import re
import shlex
from pathlib import Path

import pytest

from cloud.config import BrokerSettings
from edge_agent.guardian import cli as guardian_cli
from shared.artifacts.signing import Role

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "install.md").read_text()
SCRIPT = (ROOT / "packaging" / "install.sh").read_text()
COMMANDS = [
    line.split("#")[0].removeprefix("sudo ").removeprefix("as_guardian ").strip()
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
]


@pytest.mark.parametrize("path", sorted(set(re.findall(r"(?:packaging|tests)/[\w./-]+\.\w+", TEXT))))
def test_every_file_named_here_exists(path: str) -> None:
    assert (ROOT / path).is_file()


@pytest.mark.parametrize("option", ["--wheels", "--rollback", "--purge"])
def test_options_are_those_of_the_script(option: str) -> None:
    assert option in TEXT
    assert f"{option})" in SCRIPT or f"{option} " in SCRIPT


@pytest.mark.parametrize(
    "path", ["/opt/minewarden", "/etc/minewarden", "/var/lib/minewarden", "credentials.key", "/usr/local/bin"]
)
def test_places_are_those_of_the_script(path: str) -> None:
    assert path in TEXT
    assert path in SCRIPT


def test_guardian_commands_are_understood() -> None:
    lines = [line for line in COMMANDS if line.startswith("minewarden guardian ")]
    assert len(lines) >= 5
    for line in lines:
        options = guardian_cli._parser().parse_args(shlex.split(line)[2:])
        assert options.site == Path("/etc/minewarden/site.toml")


def test_the_keyring_command_names_real_roles() -> None:
    (line,) = [line for line in COMMANDS if line.startswith("minewarden keys keyring")]
    roles = {pair.split("=")[0] for pair in line.split(">")[0].split()[3:]}
    assert roles < set(Role)


def test_units_and_users_are_those_that_ship() -> None:
    for service in ("guardian", "agent"):
        unit = (ROOT / "packaging" / "systemd" / f"minewarden-{service}.service").read_text()
        assert f"minewarden-{service}.service" in TEXT
        assert f"User=minewarden-{service}\n" in unit
        assert "IPAddressDeny=any" in unit
    assert "LoadCredential=broker:/etc/minewarden/broker\n" in unit


@pytest.mark.parametrize("key", ["cert_file", "key_file", "command_cert_file", "command_key_file"])
def test_the_clouds_keys_are_real(key: str) -> None:
    assert f"`{key}`" in TEXT
    assert key in BrokerSettings.__struct_fields__


def test_the_clouds_names_are_those_of_the_brokers_acl() -> None:
    acl = (ROOT / "packaging" / "broker" / "minewarden.acl").read_text()
    for name in ("minewarden-ingest", "minewarden-command"):
        assert f"`{name}`" in TEXT
        assert f"user {name}\n" in acl
