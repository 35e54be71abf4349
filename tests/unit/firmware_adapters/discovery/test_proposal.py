"""The proposed fragment of a site file: what check-config takes once a person has filled it in."""

import re
import tomllib
from itertools import count
from pathlib import Path

import msgspec
import pytest

from edge_agent.cli import check_config
from firmware_adapters.discovery.machine import Machine, numbered
from firmware_adapters.discovery.proposal import fragment
from support.guardian import site_toml

FOUND = Machine(
    host="10.0.1.7",
    port=80,
    adapter="vnish",
    model="Antminer S21 Pro",
    firmware="1.3.4",
    mac="aa:bb:cc:00:00:01",
    serial="SN1",
    algorithm="sha256d",
    confidence=0.99,
    evidence='/api/v1/info: fw_name "Vnish", version 1.3.4',
    presets=("2550", "2800"),
)
BARE = Machine(host="10.0.1.8", port=80, adapter="antminer", confidence=0.85)
FILLED = {
    "mac": '"aa:bb:cc:00:00:02"',
    "serial_number": '"SN2"',
    "zone": '"hall-1"',
    "model": '"s21pro"',
    "algorithm": '"sha256d"',
    "nominal_w": "3510",
    "safe_preset": '"2550"',
    "credential": '"miners"',
    "rack": '"A1"',
}


def proposed(*machines: Machine) -> str:
    return fragment(numbered(machines, frozenset({"m-001"})), at="2026-11-22T10:00:00Z", asked="10.0.1.0/24")


def filled(text: str) -> str:
    """What a person makes of it."""
    slots = count(3)
    return re.sub(
        r'^# (\w+) = "?FILL-IN"?  # .*$',
        lambda found: f"{found[1]} = {next(slots) if found[1] == 'slot' else FILLED[found[1]]}",
        text,
        flags=re.MULTILINE,
    )


def with_devices(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "site.toml"
    path.write_text(site_toml() + "\n" + text)
    return ["--site", str(path)]


def test_what_is_known_stands_there_and_what_is_not_is_a_comment() -> None:
    text = proposed(FOUND, BARE)
    first, second = tomllib.loads(text)["devices"]
    assert first == {
        "id": "m-002",
        "kind": "miner",
        "adapter": "vnish",
        "host": "10.0.1.7",
        "port": 80,
        "mac": "aa:bb:cc:00:00:01",
        "serial_number": "SN1",
        "model": "Antminer S21 Pro",
        "algorithm": "sha256d",
    }
    assert set(second) == {"id", "kind", "adapter", "host", "port"}
    assert '# safe_preset = "FILL-IN"  # one of 2550, 2800' in text
    assert "# Only 85% certain: check what this machine is." in text
    assert '# /api/v1/info: fw_name "Vnish", version 1.3.4' in text
    assert text.startswith(
        "# Proposed by `minewarden scan` from 10.0.1.0/24 at 2026-11-22T10:00:00Z: 2 machines."
    )


def test_filled_in_it_is_a_site_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machines = (FOUND, msgspec.structs.replace(BARE, mac=""))
    assert check_config(with_devices(tmp_path, filled(proposed(*machines)))) == 0, capsys.readouterr().err
    assert filled(proposed(*machines)).count("FILL-IN") == 1, "only the advice at the top"


def test_not_filled_in_check_config_names_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check_config(with_devices(tmp_path, proposed(FOUND))) == 2
    assert "zone" in capsys.readouterr().err
    only_zone = proposed(FOUND).replace('# zone = "FILL-IN"', 'zone = "hall-1"')
    assert check_config(with_devices(tmp_path, only_zone)) == 2
    said = capsys.readouterr().err
    assert "a miner needs nominal_w" in said
    assert "a miner needs safe_preset" in said


def test_what_a_machine_says_stays_in_its_place() -> None:
    """A device's words are somebody else's: they may not end a string or a comment."""
    evil = msgspec.structs.replace(
        FOUND,
        model='x"\nadapter = "modbus',
        evidence='a\n[[devices]]\nid = "evil"',
        presets=('2550\nzone = "x"',),
        warnings=("firmware '1\r\n[site]' is new",),
    )
    (device,) = tomllib.loads(proposed(evil))["devices"]
    assert device["adapter"] == "vnish"
    assert device["model"] == 'x"\nadapter = "modbus'
    assert "zone" not in device


def test_a_warning_stands_above_its_machine() -> None:
    text = proposed(msgspec.structs.replace(FOUND, warnings=("firmware version '9' has never been seen",)))
    assert "# ! firmware version '9' has never been seen\n[[devices]]" in text
