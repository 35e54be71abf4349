"""What the simulator takes from a site file, and what it refuses."""

from pathlib import Path
from typing import Any

import pytest

from firmware_adapters.simulator.site_file import load_site, parse_site
from shared.errors import ConfigError
from support.site_devices import site_tables


def test_reads_devices_zones_and_settings_and_ignores_the_rest() -> None:
    raw = site_tables(miners=3) | {"timing": {"poll_s": 2}, "uplink": {"nonsense": True}}
    raw["zones"][0]["limits"] = {"chip_temp_c": {}}
    site = parse_site(raw, "site.toml")
    assert [entry.id for entry in site.miners] == ["m-01", "m-02", "m-03"]
    assert len(site.gear) == 6
    assert site.settings.retune_s == 8.0


def test_a_real_site_is_never_simulated() -> None:
    raw = site_tables()
    raw["site"]["simulated"] = False
    with pytest.raises(ConfigError, match="never simulated"):
        parse_site(raw, "site.toml")


@pytest.mark.parametrize("host", ["10.0.0.5", "0.0.0.0", "miner.example", "192.168.1.2"])
def test_only_loopback_hosts_are_served(host: str) -> None:
    raw = site_tables()
    raw["devices"][0]["host"] = host
    with pytest.raises(ConfigError, match="loopback"):
        parse_site(raw, "site.toml")


def _drop_miners(raw: dict[str, Any]) -> None:
    raw["devices"] = [entry for entry in raw["devices"] if entry["kind"] != "miner"]


def _same_place(raw: dict[str, Any]) -> None:
    raw["devices"][1]["host"] = raw["devices"][0]["host"]


def _no_zone(raw: dict[str, Any]) -> None:
    raw["devices"][0]["zone"] = "attic"


def _odd_key(raw: dict[str, Any]) -> None:
    raw["simulator"]["tempo"] = 3


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (_drop_miners, "no miner"),
        (_same_place, "those of another device"),
        (_no_zone, "no zone 'attic'"),
        (_odd_key, "tempo"),
    ],
)
def test_what_makes_no_sense_is_refused(damage: Any, text: str) -> None:
    raw = site_tables()
    damage(raw)
    with pytest.raises(ConfigError, match=text):
        parse_site(raw, "site.toml")


def test_a_file_that_is_not_there_or_not_toml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_site(tmp_path / "nothing.toml")
    broken = tmp_path / "site.toml"
    broken.write_text("[site")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_site(broken)
