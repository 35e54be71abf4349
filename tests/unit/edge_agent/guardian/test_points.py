"""Cooling points are checked against the profiles before a guardian starts."""

import re
from pathlib import Path

import pytest

from edge_agent.cli import check_config
from edge_agent.guardian.app import Guardian
from edge_agent.guardian.points import check_points
from shared.errors import ConfigError
from support import zones
from support.guardian import make_site


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('point = "speed_setpoint_pct"', 'point = "speed_setpont_pct"', "no writable point"),
        ('point = "speed_setpoint_pct"', 'point = "speed_pct"', "no writable point 'speed_pct'"),
        ("high = 100.0", "high = 150.0", "high of speed_setpoint_pct is 150"),
        ("low = 0.0", "low = -1.0", "low of speed_setpoint_pct is -1, .* takes 0 to 100"),
        (
            "fail_safe = 100.0\nlow = 0.0\nhigh = 100.0",
            "fail_safe = 150.0\nlow = 0.0\nhigh = 150.0",
            "fail_safe of speed_setpoint_pct is 150",
        ),
        ("high = 100.0", "high = 100.0\noff = -5.0", "off of speed_setpoint_pct is -5"),
        ('point = "air_temp_c"', 'point = "air_temp_c.2"', "sensors: inlet_air_c: .* has no point"),
        ('point = "speed_pct"', 'point = "flow_m3h"', "has no point 'flow_m3h'"),
    ],
)
def test_a_fail_safe_that_could_not_be_written_stops_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, words: str
) -> None:
    site = make_site(tmp_path, edit=lambda text: text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=words):
        Guardian(site, config_sha256="0" * 64)
    assert check_config(["--site", str(tmp_path / "site.toml")]) == 2
    assert re.search(words, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (zones.replaced('"water_leak"', '"water_leak.2"'), "contacts: leak: .* has no point 'water_leak.2'"),
        (zones.replaced('"bypass_key" }', '"bypass_key.2" }'), "bypass_key: .* has no point 'bypass_key.2'"),
        (
            zones.replaced(
                "lost_below", 'others = [{ device = "wall-1", point = "speed_pct.2" }]\nlost_below'
            ),
            "cooling_proof: others: .* has no point 'speed_pct.2'",
        ),
    ],
)
def test_every_point_that_an_interlock_reads_is_looked_up(
    tmp_path: Path, edit: zones.Edit, words: str
) -> None:
    site = make_site(tmp_path, edit=zones.edits(zones.CONTACTED, zones.KEY, edit))
    with pytest.raises(ConfigError, match=words):
        check_points(site)


def test_the_air_beside_a_humidity_is_looked_up(tmp_path: Path) -> None:
    edit = zones.replaced(
        'device = "probe-1"\npoint = "humidity_pct"', 'device = "loop-1"\npoint = "humidity_pct"'
    )
    site = make_site(tmp_path, edit=zones.edits(zones.hydro, edit))
    with pytest.raises(ConfigError) as refused:
        check_points(site)
    assert "has no point 'humidity_pct'" in str(refused.value)
    assert "has no point 'air_temp_c'" in str(refused.value)


_POWER = """
[[power_caps]]
id = "feed"
zones = ["hall-1"]
w_per_unit = 1.0
ramp_w_per_min = 5000.0
points = [{ device = "meter-1", point = "power_w.9" }]

[power_caps.limits]
release = 8000.0
warn = 9000.0
shed = 10000.0
trip = 12000.0
on_delay_s = 2.0
off_delay_s = 10.0

[curtailment]
meter = [{ device = "meter-1", point = "power_w.9" }]
within_pct = 2.0
within_w = 500.0
confirm_for_s = 10.0
restore_jitter_s = 0.0

[mains]
device = "meter-1"
on_battery_point = "on_battery"
runtime_point = "runtime_s"
on_delay_s = 1.0
restore_after_s = 10.0
stages = [{ runtime_below_s = 60.0, stop = true }]

[[devices]]
id = "meter-1"
kind = "meter"
adapter = "modbus"
profile = "eastron-sdm630"
host = "127.0.0.1"
port = 15500
zone = "hall-1"
"""


def test_power_tables_are_looked_up_too(tmp_path: Path) -> None:
    site = make_site(tmp_path, edit=lambda text: text + _POWER)
    with pytest.raises(ConfigError) as refused:
        check_points(site)
    lines = str(refused.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["power cap feed", "mains", "mains", "curtailment"]


def test_a_good_file_passes(tmp_path: Path) -> None:
    make_site(tmp_path)
    assert check_config(["--site", str(tmp_path / "site.toml")]) == 0


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            'adapter = "vnish"',
            'adapter = "vnisch"',
            "device m-1: no adapter named 'vnisch'; did you mean 'vnish'",
        ),
        (
            'adapter = "vnish"',
            'adapter = "zzz"',
            "no adapter named 'zzz'; known are antminer, avalon, ",
        ),
        (
            '"danfoss-fc102"',
            '"danfos-fc102"',
            "device wall-1: profile: no device profile 'danfos-fc102'; did you ",
        ),
        ('"danfoss-fc102"', '"danfos-fc102"', "did you mean 'danfoss-fc102'"),
        ('"danfoss-fc102"', '"./own.toml"', "device wall-1: profile: .*own.toml: cannot be read"),
        ('"xy-md02"', '"danfoss-fc51"', "device probe-1: profile danfoss-fc51 is of kind drive, not probe"),
        ('"apc-rpdu2"', '"xy-md02"', "device pdu-1: profile xy-md02 is not for adapter 'snmp'"),
        ('"apc-rpdu2"', '"geist"\nunit_id = 2', "device pdu-1: unit_id is 2, .* knows no chain"),
        ('"apc-rpdu2"', '"apc-rpdu2"\nunit_id = 0', "device pdu-1: unit_id is 0, expected 1 or more"),
        ('"apc-rpdu2"', '"apc-rpdu2"\nunit_id = 2', "outlet: APC rPDU2 pdu-1 has no switched outlet 1"),
        ("outlet = 1", "outlet = 77", "outlet: APC rPDU2 pdu-1 has no switched outlet 77"),
        ('"xy-md02"', '"xy-md02"\nunit_id = 256', "device probe-1: unit_id is 256, expected 0 to 255"),
        (
            'adapter = "vnish"',
            'adapter = "bacnet"\nprofile = "bacnet-hvac"',
            "is for site equipment, kind is miner",
        ),
        (
            'kind = "drive"\nadapter = "modbus"',
            'kind = "drive"\nadapter = "luxos"',
            "is a miner's firmware, kind is drive",
        ),
    ],
)
def test_names_that_nothing_stands_behind_are_refused_with_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, words: str
) -> None:
    site = make_site(tmp_path, edit=lambda text: text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=words):
        Guardian(site, config_sha256="0" * 64)
    assert check_config(["--site", str(tmp_path / "site.toml")]) == 2
    assert re.search(words, capsys.readouterr().err)
