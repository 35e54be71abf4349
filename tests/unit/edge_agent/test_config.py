"""The site file: loaded whole, or refused with file, line, key and what is expected."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent import config
from edge_agent.config import SiteFile, ZoneLimits
from shared.errors import ConfigError
from support.guardian import site_toml

GOOD = site_toml()
PATH = Path("/etc/minewarden/site.toml")


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        config.parse(text, PATH)
    return str(refused.value)


def line_of(text: str, start: str, nth: int = 1) -> int:
    """Number of the nth line that starts so."""
    found = [n for n, line in enumerate(text.splitlines(), start=1) if line.startswith(start)]
    return found[nth - 1]


def without(line: str, nth: int = 1) -> str:
    lines = GOOD.splitlines()
    del lines[line_of(GOOD, line, nth) - 1]
    return "\n".join(lines)


def instead(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new, 1)


_AIR_PROBE = """[[zones.sensors]]
role = "inlet_air_c"
device = "probe-1"
point = "air_temp_c"
"""
_WATER_PROBES = """[[zones.sensors]]
role = "water_c"
device = "probe-1"
point = "water_temp_c"

[[zones.sensors]]
role = "flow_m3h"
device = "probe-1"
point = "flow_m3h"
"""
HYDRO = (
    GOOD.replace('cooling = "air"', 'cooling = "hydro"', 1)
    .replace("[zones.limits.inlet_air_c]", "[zones.limits.water_c]", 1)
    .replace(_AIR_PROBE, _WATER_PROBES, 1)
)
FLOW = """
[zones.limits.flow_m3h]
trip = 70.0
shed = 80.0
warn = 90.0
release = 100.0
on_delay_s = 1.0
off_delay_s = 10.0

[zones.cooling_proof]"""


def hydro(flow: str = FLOW) -> str:
    return HYDRO.replace("\n[zones.cooling_proof]", flow, 1)


def test_a_hydro_zone_needs_low_limits_of_its_flow() -> None:
    assert config.parse(hydro(), PATH).zones[0].limits.flow_m3h is not None
    assert (
        "zones[0].limits.flow_m3h: is missing: a zone cooled by hydro needs these limits, in m³/h"
        in refusal(HYDRO)
    )


def test_low_limits_run_the_other_way() -> None:
    said = refusal(hydro(FLOW.replace("shed = 80.0", "shed = 95.0")))
    line = line_of(hydro(), "[zones.limits.flow_m3h]")
    assert said.startswith(
        f"{PATH}:{line}: zones[0].limits.flow_m3h: limits out of order: expected trip < shed"
    )
    assert "trip = 70, shed = 95, warn = 90, release = 100" in said


def test_a_flow_in_litres_is_not_taken_for_cubic_metres() -> None:
    assert "expected 0.1 to 2000 m³/h" in refusal(
        hydro(FLOW.replace("release = 100.0", "release = 100000.0"))
    )


def test_a_good_file_loads_with_paths_beside_it() -> None:
    site = config.parse(GOOD, PATH)
    assert site.site.id == "pit"
    assert site.paths.guardian_state == "/etc/minewarden/guardian"
    assert len(site.miners) == 4


LIMITS = [
    (name, nth)
    for nth in (1, 2, 3)
    for name in ("release", "warn", "shed", "trip", "on_delay_s", "off_delay_s")
]


@pytest.mark.parametrize(("name", "nth"), LIMITS)
def test_every_safety_limit_is_needed(name: str, nth: int) -> None:
    said = refusal(without(f"{name} =", nth))
    table = ("chip_temp_c", "board_temp_c", "inlet_air_c")[nth - 1]
    line = line_of(GOOD, f"[zones.limits.{table}]")
    assert said.startswith(f"{PATH}:{line}: zones[0].limits.{table}.{name}: is missing") or re.match(
        rf"{re.escape(str(PATH))}:{line}: zones.*{table}\.{name}: is missing", said
    ), said


@pytest.mark.parametrize(
    "key",
    [
        "ml_may_raise",
        "remote_reset",
        "poll_s",
        "stale_after_s",
        "lease_safe_s",
        "restart_power_pct",
        "lost_below",
        "fail_safe",
    ],
)
def test_what_decides_on_safety_has_no_default(key: str) -> None:
    said = refusal(without(f"{key} ="))
    assert f"{key}: is missing" in said
    assert re.match(r"/etc/minewarden/site\.toml:\d+: ", said)


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        (instead("trip = 88.0", "trip = 80.0"), "[zones.limits.chip_temp_c]", "limits out of order"),
        (instead("shed = 70.0", "shed = 65.0"), "[zones.limits.board_temp_c]", "limits out of order"),
        (instead("release = 74.0", "release = 165.0"), "release = 165.0", "is it in °F?"),
        (instead("trip = 88.0", "trip = 190.4"), "trip = 190.4", "expected 15 to 120 °C (is it in °F?)"),
        (instead("on_delay_s = 4.0", "on_delay_s = -1.0"), "on_delay_s = -1.0", "between 0 and 3600 s"),
        (instead("poll_s = 2.0", "poll_s = 0.0"), "poll_s = 0.0", "must be above 0 s"),
        (
            instead("lost_after_s = 12.0", "lost_after_s = 5.0"),
            "lost_after_s = 5.0",
            "larger than timing.stale_after_s",
        ),
        (
            instead("restart_power_pct = 50.0", "restart_power_pct = 500.0"),
            "restart_power_pct",
            "at most 100",
        ),
        (
            instead("lost_below = 20.0", "lost_below = 90.0"),
            "lost_below = 90.0",
            "must be below proven_above",
        ),
        (
            instead("lease_safe_s = 120.0", "lease_safe_s = inf"),
            "lease_safe_s = inf",
            "must be a finite number",
        ),
        (
            instead("lost_after_s = 4.0", "lost_after_s = inf"),
            "lost_after_s = inf",
            "must be a finite number",
        ),
        (instead("lost_below = 20.0", "lost_below = -inf"), "lost_below = -inf", "must be a finite number"),
        (instead("fail_safe = 100.0", "fail_safe = nan"), "fail_safe = nan", "must be a finite number"),
        (
            instead("lost_below = 20.0", "lost_below = 0.0"),
            "lost_below = 0.0",
            "speed_pct can never be below 0",
        ),
        (
            instead("proven_above = 40.0", "proven_above = 400.0"),
            "proven_above = 400.0",
            "speed_pct can never be above 110",
        ),
        (
            instead('point = "speed_pct"', 'point = "speed_setpoint_pct"'),
            'point = "speed_setpoint_pct"',
            "is what the device was told",
        ),
        (instead('device = "wall-1"', 'device = "wall-9"'), 'device = "wall-9"', "no device 'wall-9'"),
        (instead('point = "speed_pct"', 'point = "rpm"'), 'point = "rpm"', "unknown point 'rpm'"),
        (instead('cooling = "air"', 'cooling = "hydro"'), "[[zones]]", "needs these limits"),
        (instead('cooling = "air"', 'cooling = "ice"'), 'cooling = "ice"', "expected 'air' or 'hydro'"),
        (instead('id = "m-1"', 'id = "M 1"'), 'id = "M 1"', "not a valid name"),
        (instead('id = "m-2"', 'id = "m-1"'), 'id = "m-1"', "used twice"),
        (instead("port = 18080", "port = 99999"), "port = 99999", "expected 1 to 65535"),
        (instead('safe_preset = "2300"\n', ""), "[[devices]]", "a miner needs safe_preset"),
        (instead("schema = 1", "schema = 2"), "schema = 2", "this version reads 1"),
    ],
)
def test_what_contradicts_itself_is_refused_at_its_line(text: str, where: str, words: str) -> None:
    said = refusal(text)
    assert words in said
    numbers = {int(found) for found in re.findall(r"site\.toml:(\d+): ", said)}
    near = [n for n, line in enumerate(text.splitlines(), start=1) if line.startswith(where)]
    assert numbers & set(near), f"{said!r} does not point at one of the lines {near}"


@pytest.mark.parametrize(
    ("first", "second", "key"),
    [
        ('mac = "AA-BB-CC-00-00-01"', 'mac = "aa:bb:cc:00:00:01"', "mac"),
        ('serial_number = "SN1"', 'serial_number = "SN1"', "serial_number"),
    ],
)
def test_a_machine_stands_in_the_file_once(first: str, second: str, key: str) -> None:
    """It would be counted twice and ordered about by two names; a re-scan proposes a moved one like that."""
    text = GOOD.replace('id = "m-1"\n', f'id = "m-1"\n{first}\n').replace(
        'id = "m-2"\n', f'id = "m-2"\n{second}\n'
    )
    assert re.search(rf"devices\[\d+\]\.{key}: .* is m-1's already", refusal(text))


def test_an_address_belongs_to_one_machine() -> None:
    assert "127.9.1.1:18080 is m-1's already" in refusal(instead('host = "127.9.1.2"', 'host = "127.9.1.1"'))


@pytest.mark.parametrize(
    ("line", "typo", "hint"),
    [
        ("poll_s = 2.0", "pol_s = 2.0", "did you mean 'poll_s'?"),
        ("stale_after_s = 6.0", "stale_after_ms = 6000", "did you mean 'stale_after_s'?"),
        ("trip = 88.0", "trip_f = 190.4", "unknown key"),
        ("ml_may_raise = false", "ml_may_rise = false", "did you mean 'ml_may_raise'?"),
        ('name = "Pit"', 'name = "Pit"\nwheather = 1', "remove it, or see docs/site-file.md"),
    ],
)
def test_unknown_keys_are_refused_with_a_hint(line: str, typo: str, hint: str) -> None:
    said = refusal(instead(line, typo))
    assert "unknown key" in said
    assert hint in said


@pytest.mark.parametrize(
    ("old", "new"),
    [("poll_s = 2.0", 'poll_s = "2 s"'), ("trip = 88.0", 'trip = "88 C"'), ("port = 15020", "port = 1.5")],
)
def test_wrong_types_are_refused_at_their_line(old: str, new: str) -> None:
    text = instead(old, new)
    assert f"site.toml:{line_of(text, new)}: " in refusal(text)


def test_several_problems_are_all_told() -> None:
    text = instead("trip = 88.0", "trip = 80.0").replace("port = 15020", "port = 0")
    assert len(refusal(text).splitlines()) == 2


@pytest.mark.parametrize("data", [b"", b"= 1", b"\xff\xfe\x00", b"schema = 1", b"[[zones]]\n[zones]\n"])
def test_what_is_no_site_file_at_all(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "site.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=re.escape(str(path))):
        config.load(path)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(tmp_path / "none.toml")


@given(st.integers(0, len(GOOD) - 1), st.text(max_size=4))
def test_whatever_is_typed_into_it_the_answer_is_a_site_or_a_config_error(at: int, typed: str) -> None:
    text = GOOD[:at] + typed + GOOD[at + 1 :]
    site = parsed_or_said(text)
    if isinstance(site, str):
        assert str(PATH) in site
    else:
        limits: ZoneLimits = site.zones[0].limits
        assert limits.chip_temp_c.release < limits.chip_temp_c.trip


def parsed_or_said(text: str) -> SiteFile | str:
    try:
        return config.parse(text, PATH)
    except ConfigError as error:
        return str(error)


# ---------------------------------------------------------------- counted once, and a number

_SENSOR = """[[zones.sensors]]
role = "inlet_air_c"
device = "probe-1"
point = "air_temp_c"
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (instead("nominal_w = 3000.0", "nominal_w = nan"), "nominal_w: is nan, expected 50 to 50000 W"),
        (instead("nominal_w = 3000.0", "nominal_w = 3.0"), "(is it in kW?)"),
        (instead("nominal_w = 3000.0", "nominal_w = -3000.0"), "nominal_w: is -3000"),
        (instead('safe_preset = "2300"', 'safe_preset = "2300"\npoll_s = nan'), "poll_s: is nan"),
        (
            instead('safe_preset = "2300"', 'safe_preset = "2300"\npoll_s = 7.0'),
            "poll_s: is 7, expected above 0",
        ),
        (instead(_SENSOR, _SENSOR + "\n" + _SENSOR), "air_temp_c of probe-1 is named twice: it has one vote"),
        (
            instead(
                "proven_for_s = 10.0",
                'proven_for_s = 10.0\nothers = [{ device = "wall-1", point = "speed_pct" }]',
            ),
            "names a feedback twice",
        ),
        (
            instead(
                "\n[[zones.sensors]]",
                '\n[[zones.cooling_actuators]]\ndevice = "wall-1"\npoint = "speed_setpoint_pct"\n'
                "fail_safe = 50.0\nlow = 0.0\nhigh = 100.0\n\n[[zones.sensors]]",
            ),
            "'speed_setpoint_pct' of 'wall-1' is named twice",
        ),
    ],
)
def test_what_would_count_twice_or_for_nothing_is_refused(text: str, said: str) -> None:
    assert said in refusal(text)


def test_an_actuator_of_another_zone_is_refused() -> None:
    """Two zones would drive it to two values, each against the other."""
    other = GOOD[GOOD.index("[[zones]]") : GOOD.index("[[devices]]")].replace(
        'id = "hall-1"', 'id = "hall-2"'
    )
    text = GOOD.replace("[[devices]]", other + "\n[[devices]]", 1)
    assert "'wall-1' stands in zone 'hall-1'; an actuator belongs to its own zone" in refusal(text)


_DOOR = """
[[zones.contacts]]
name = "NAME"
device = "probe-1"
point = "door_open"
effect = "inhibit"
on_unknown = "inhibit"
on_delay_s = 0.0
"""


def contacts(*names: str, key: str = "") -> str:
    doors = "".join(_DOOR.replace("NAME", name) for name in names)
    text = GOOD.replace('cooling = "air"', f'cooling = "air"{key}', 1)
    return text.replace("\n[[devices]]", doors + "\n[[devices]]", 1)


def test_two_contacts_on_one_input_are_refused() -> None:
    assert config.parse(contacts("door"), PATH).zones[0].contacts[0].name == "door"
    assert "door_open of probe-1 is named twice" in refusal(contacts("door", "gate"))


@pytest.mark.parametrize(
    ("point", "effect", "longest"),
    [("door_open", "inhibit", "3600"), ("smoke", "trip", "60"), ("estop_pressed", "trip", "2")],
)
def test_a_contact_may_not_wait_until_it_is_useless(point: str, effect: str, longest: str) -> None:
    fans = 'fans = "on"\n' if effect == "trip" else ""
    text = contacts("door").replace("door_open", point).replace('"inhibit"\non_u', f'"{effect}"\non_u')
    text = text.replace("on_delay_s = 0.0\n", f"on_delay_s = {longest}.0\n{fans}")
    assert config.parse(text, PATH).zones[0].contacts[0].on_delay_s == float(longest)
    later = text.replace(f"on_delay_s = {longest}.0", f"on_delay_s = {longest}.5")
    assert f"must be between 0 and {longest} s" in refusal(later)


def test_a_door_is_no_key_switch() -> None:
    """Else opening the door would be the second fact of a bypass."""
    key = '\nbypass_key = { device = "probe-1", point = "door_open" }'
    assert "is the bypass key too" in refusal(contacts("door", key=key))
