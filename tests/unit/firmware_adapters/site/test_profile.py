"""Profiles: what ships is sound, and a mistake in one is refused with its key and what is expected."""

import contextlib
import re
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_adapters.site.codec import DataType
from firmware_adapters.site.modbus_words import spans_of
from firmware_adapters.site.profile import LEAVE, load_profile, parse_profile, profile_names
from firmware_adapters.transport.modbus_plan import Span, Table, merge_spans
from shared.errors import ConfigError
from shared.telemetry import METRICS, DeviceKind, metric_of

NAMED_BY_THE_ISSUE = {
    "eastron-sdm630": DeviceKind.METER,
    "danfoss-fc102": DeviceKind.DRIVE,
    "carel-ir33": DeviceKind.HVAC,
    "carel-uc2se": DeviceKind.HVAC,
    "xy-md02": DeviceKind.PROBE,
    "contacts": DeviceKind.CONTACTS,
    "apc-rpdu2": DeviceKind.PDU,
    "ups-mib": DeviceKind.UPS,
    "water-loop": DeviceKind.PROBE,
    "schneider-pm5xxx": DeviceKind.METER,
    "schneider-iem3xxx": DeviceKind.METER,
    "sunspec-203": DeviceKind.METER,
    "sunspec-213": DeviceKind.METER,
    "sunspec-704": DeviceKind.SOURCE,
    "danfoss-fc51": DeviceKind.DRIVE,
    "abb-drives": DeviceKind.DRIVE,
    "danfoss-ekc202d": DeviceKind.HVAC,
    "generic-airflow": DeviceKind.PROBE,
    "generic-differential-pressure": DeviceKind.PROBE,
    "generic-particulates": DeviceKind.PROBE,
    "generic-sound": DeviceKind.PROBE,
    "generic-vibration": DeviceKind.PROBE,
    "generic-weather-station": DeviceKind.PROBE,
}


def test_every_device_that_the_site_needs_has_a_profile() -> None:
    assert set(profile_names()) >= set(NAMED_BY_THE_ISSUE)
    for name, kind in NAMED_BY_THE_ISSUE.items():
        assert load_profile(name).kind is kind


@pytest.mark.parametrize("name", profile_names())
class TestShippedProfiles:
    def test_loads_and_names_its_source(self, name: str) -> None:
        profile = load_profile(name)
        assert len(profile.source) > 20
        assert profile.points or (profile.snmp is not None and profile.snmp.sensors is not None)

    def test_every_number_has_limits_that_its_type_can_exceed(self, name: str) -> None:
        """A limit that the register cannot reach would never catch anything."""
        for point in load_profile(name).points:
            low, high = point.bounds
            metric = metric_of(point.name)
            assert metric.low <= low < high <= metric.high
            if point.type is DataType.INT16 and not point.is_flag and point.scale_register is None:
                assert high < 32767 * abs(point.scale) + point.offset

    def test_a_sensor_says_how_often_it_is_read_and_how_long_kept_and_why(self, name: str) -> None:
        profile = load_profile(name)
        text = (resources.files("firmware_adapters.site") / "profiles" / f"{name}.toml").read_text("utf-8")
        told = re.findall(r"^(interval_s|retention_days) = .* # .{10,}$", text, re.MULTILINE)
        keys = [key for key in ("interval_s", "retention_days") if getattr(profile, key) is not None]
        assert told == keys
        if profile.kind is DeviceKind.PROBE:
            assert len(keys) == 2

    def test_what_moves_cooling_names_its_safe_side(self, name: str) -> None:
        profile = load_profile(name)
        if profile.kind in (DeviceKind.DRIVE, DeviceKind.HVAC):
            assert profile.writable
            for point in profile.writable:
                assert point.write is not None
                assert point.write.falls_to is not None
                assert point.write.settle_s > 0

    def test_what_is_left_as_it_is_says_why(self, name: str) -> None:
        for point in load_profile(name).writable:
            assert point.write is not None
            assert (point.write.falls_to is None) == (point.write.fail_safe == LEAVE)
            assert (point.write.falls_to is None) == (len(point.write.leave_because) > 20)

    def test_cooling_fails_on(self, name: str) -> None:
        for point in load_profile(name).writable:
            if point.name in ("speed_setpoint_pct", "running"):
                assert point.write is not None
                assert point.write.fail_safe == point.write.high

    def test_reads_take_few_requests(self, name: str) -> None:
        """edge.md §10: at most 0.15 requests a point for a meter; nobody needs one per point."""
        profile = load_profile(name)
        if profile.modbus is None or len(profile.points) < 3:
            return
        rules = profile.modbus
        reads = merge_spans(
            (span for point in profile.points for span in spans_of(point, rules)),
            gap=rules.gap,
            max_registers=rules.max_registers,
            max_bits=rules.max_bits,
        )
        assert len(reads) < len(profile.points)
        for read in reads:
            assert read.count <= (rules.max_bits if read.table.is_bits else rules.max_registers)


def test_the_danfoss_addresses_follow_the_parameter_rule() -> None:
    """Parameter p-q lies at register (ppqq x 10) - 1 (plant.md §6)."""
    profile = load_profile("danfoss-fc102")
    by_name = {point.name: point for point in profile.points}
    assert by_name["frequency_hz"].address == 1613 * 10 - 1
    assert by_name["current_a"].address == 1614 * 10 - 1
    setpoint = by_name["speed_setpoint_pct"]
    assert setpoint.write is not None
    assert setpoint.scale * 0x4000 == 100.0
    assert [(step.address, step.value) for step in setpoint.write.then] == [(49999, 0x047C)]


def test_the_abb_reference_is_scaled_to_20000_and_starts_on_an_edge_only_where_the_drive_stands() -> None:
    setpoint = load_profile("abb-drives").point("speed_setpoint_pct")
    assert setpoint is not None
    assert setpoint.write is not None
    assert setpoint.scale * 20000 == 100.0
    assert [(step.address, step.value) for step in setpoint.write.first] == [(0, 0x047E)]
    assert setpoint.write.first_unless == "running"
    assert [(step.address, step.value) for step in setpoint.write.then] == [(0, 0x047F)]


@pytest.mark.parametrize("name", ["schneider-pm5xxx", "schneider-iem3xxx"])
def test_schneider_addresses_are_one_below_the_number_in_the_book(name: str) -> None:
    profile = load_profile(name)
    book = {
        "power_w": 3060,
        "frequency_hz": 3110,
        "energy_kwh": 3204,
        "voltage_v.1": 3028,
        "current_a.3": 3004,
    }
    for point, number in book.items():
        found = profile.point(point)
        assert found is not None
        assert found.address == number - 1


def test_a_profile_to_copy_says_so() -> None:
    for name in profile_names():
        if name.startswith("generic-"):
            assert load_profile(name).source.startswith("site-specific"), name


def test_the_drives_time_out_is_that_of_parameters_8_03_and_8_04() -> None:
    dog = load_profile("danfoss-fc102").watchdog
    assert dog is not None
    assert dog.span == Span(Table.HOLDING, 803 * 10 - 1, 2)
    assert dog.action is not None
    assert dog.action.address == 804 * 10 - 1
    assert [(step.address, step.value) for step in dog.keep_alive] == [(49999, 0x047C)]


@pytest.mark.parametrize("name", ["abb-drives", "danfoss-fc51"])
def test_a_drive_without_a_time_out_says_why(name: str) -> None:
    profile = load_profile(name)
    assert profile.watchdog is None
    assert "panel" in profile.no_watchdog_because


def test_contacts_are_wired_so_that_a_cut_wire_is_never_the_easy_side() -> None:
    """Input 0 = open loop. Danger reads as danger; the key reads as "no bypass"."""
    inverted = {point.name: point.invert for point in load_profile("contacts").points}
    assert inverted == {
        "estop_pressed": True,
        "door_open": True,
        "smoke": True,
        "water_leak": True,
        "bypass_key": False,
    }


def test_ups_answers_that_are_none_stay_unknown() -> None:
    """RFC 1628: output source other(1) and none(2), battery status unknown(1)."""
    ups = load_profile("ups-mib")
    source, status = ups.point("on_battery"), ups.point("battery_low")
    assert source is not None
    assert status is not None
    assert source.values == {"3": 0.0, "4": 0.0, "5": 1.0, "6": 0.0, "7": 0.0}
    assert status.values == {"2": 0.0, "3": 1.0, "4": 1.0}
    runtime = ups.point("runtime_s")
    assert runtime is not None
    assert runtime.scale == 60.0


def test_the_pdu_codes_are_inverse() -> None:
    outlet = load_profile("apc-rpdu2").point("outlet_on.24")
    assert outlet is not None
    assert outlet.write is not None
    assert outlet.values == {"1": 0.0, "2": 1.0}
    assert outlet.write.values == {"1": 1, "0": 2}
    assert outlet.oid == "1.3.6.1.4.1.318.1.1.26.9.2.3.1.5.24"
    assert outlet.write.oid == "1.3.6.1.4.1.318.1.1.26.9.2.4.1.5.24"


def test_counted_points_are_written_out() -> None:
    meter = load_profile("eastron-sdm630")
    assert [meter.point(f"voltage_v.{n}").span for n in (1, 2, 3)] == [  # type: ignore[union-attr]  # a missing point fails the test just so
        Span(Table.INPUT, address, 2) for address in (0, 2, 4)
    ]


def test_total_power_is_never_beside_phase_powers() -> None:
    """`Sample.values("power_w")` would count the same watts twice.

    The poles of a Raritan inlet stand beside the inlet's own figure, which a single-phase one has alone: of
    volts and amperes the mean and the most are taken, and no sum.
    """
    for name in profile_names():
        names = [point.name for point in load_profile(name).points]
        for metric in METRICS.keys() - ({"current_a", "voltage_v"} if name == "raritan-px" else set()):
            indexed = [text for text in names if text.startswith(metric + ".")]
            assert not (metric in names and indexed), f"{name}: {metric}"


def test_an_unknown_profile_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="eastron-sdm630"):
        load_profile("eastron-sdm72")


# ---------------------------------------------------------------- mistakes

GOOD = """
schema = 1
model = "Test probe"
kind = "probe"
about = "one temperature"
source = "a manual, page 7"
interval_s = 5.0
retention_days = 30.0

[modbus]
word_order = "high-first"
max_registers = 10
max_bits = 0
gap = 0
single_connection = false

[[points]]
name = "air_temp_c"
unit = "°C"
table = "input"
address = 1
type = "int16"
scale = 0.1
low = -39.0
high = 80.0
"""

BARE_WRITE = "\n[points.write]\nlow = 0.0\nhigh = 50.0\nsettle_s = 1.0\n"
WRITE = BARE_WRITE + "fail_safe = 10.0\n"
WRITABLE = GOOD.replace('"input"', '"holding"')


def test_the_example_is_good() -> None:
    assert parse_profile(GOOD, "x.toml").points[0].name == "air_temp_c"


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("schema = 1", "schema = 2", "this version reads 1"),
        ('kind = "probe"', 'kind = "thermometer"', "thermometer"),
        ('source = "a manual, page 7"', 'source = " "', "source"),
        ('source = "a manual, page 7"', "", "source"),
        ('unit = "°C"', 'unit = "°F"', "'°C'"),
        ('name = "air_temp_c"', 'name = "airtemp"', "unknown metric"),
        ("low = -39.0", "", "plausibility limits are mandatory"),
        ("low = -39.0", "low = 90.0", "low < high"),
        ("high = 80.0", "high = 800.0", "120"),
        ("scale = 0.1", "scale = 0.0", "must not be 0"),
        ("scale = 0.1", "scal = 0.1", "scal"),
        ("address = 1", "address = 70000", "0 to 65535"),
        ("address = 1", "", "table, address and type"),
        ('type = "int16"', 'type = "int24"', "int24"),
        ('type = "int16"', 'type = "bool"', "belong together"),
        ('table = "input"', 'table = "coil"', "coils and discrete inputs are bool"),
        ('table = "input"', 'table = "input"\nbit = 3', "bit"),
        ("gap = 0", "gap = 0\nbaud = 9600", "baud"),
        ("gap = 0", "gap = -1", "gap: expected 0 or more"),
        ("max_registers = 10", "max_registers = 126", "one request holds at most 125"),
        ("max_bits = 0", "max_bits = 2001", "one request holds at most 2000"),
        ("max_registers = 10", "max_registers = 0", "takes 1, and one request may ask for 0"),
        ("address = 1", "address = 65536", "0 to 65535"),
        ('type = "int16"', 'type = "int16"\nstride = 2', "stride: needs count"),
        ("scale = 0.1", "scale = nan", "must be finite"),
        ('type = "int16"', 'type = "int16"\nscale_register = 70000', "scale_register: expected 0 to 65535"),
        ('type = "int16"', 'type = "float32"\nscale_register = 7', "scale_register: is for whole numbers"),
        (
            "single_connection = false",
            "single_connection = false\n[modbus.sunspec]\nmodels = []",
            "at least one",
        ),
        (
            "single_connection = false",
            "single_connection = false\n[modbus.sunspec]\nmodels = [1]",
            "2 to 65534",
        ),
        (
            "single_connection = false",
            "single_connection = false\n[modbus.sunspec]\nmodels = [203]\nbases = []",
            "bases",
        ),
        ("retention_days = 30.0", "retention_days = 0.0", "retention_days: expected above 0"),
        ("interval_s = 5.0", "interval_s = inf", "interval_s: expected above 0"),
        ("interval_s = 5.0", "", "interval_s: is missing; a sensor's profile says how often"),
        ("retention_days = 30.0", "", "retention_days: is missing; a sensor's profile says for how many"),
        ("[modbus]", '[snmp]\nmax_oids = 9\nidentity_oid = "1.3.6"\n[modbus]', "exactly one"),
        ("high = 80.0", "high = 80.0" + WRITE, "only coils and holding"),
        ('table = "input"', 'table = "holding"\ncount = 2', "{n}"),
        ('name = "air_temp_c"', 'name = "air_temp_c.{n}"\ncount = 2000', "at most 1000"),
        (
            'name = "air_temp_c"',
            'name = "air_temp_c.{n}"\ncount = 3\nstride = 40000',
            "registers 1 to 80001, and there are only 0 to 65535",
        ),
    ],
)
def test_a_mistake_names_itself(old: str, new: str, text: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError, match=re.escape(text)) as caught:
        parse_profile(GOOD.replace(old, new, 1), "x.toml")
    assert re.match(r"x\.toml(:\d+)?: ", str(caught.value))


def test_two_points_of_one_name_are_refused() -> None:
    twice = GOOD + GOOD[GOOD.index("[[points]]") :]
    with pytest.raises(ConfigError, match="listed twice"):
        parse_profile(twice, "x.toml")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("", "write.fail_safe: is missing; say which value is the safe side"),
        ("fail_safe = 60.0", "write.fail_safe: lies outside what may be written"),
        ("fail_safe = nan", "write.fail_safe: lies outside what may be written"),
        ('fail_safe = "off"', "write.fail_safe: is 'off'; expected a value in °C or \"leave\""),
        ('fail_safe = "leave"', "write.leave_because: say why"),
        ('fail_safe = "leave"\nleave_because = "yes"', "write.leave_because: say why"),
        ('fail_safe = 10.0\nleave_because = "it is a heater"', "is only for"),
        ("fail_safe = true", "fail_safe"),
    ],
)
def test_a_writable_point_without_a_safe_side_is_refused(line: str, text: str) -> None:
    """S11: the sentence says what to do, for the one who writes the profile."""
    with pytest.raises(ConfigError, match=re.escape(text)) as caught:
        parse_profile(f"{WRITABLE}{BARE_WRITE}{line}\n", "x.toml")
    assert "air_temp_c" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "falls_to"),
    [
        ("fail_safe = 10.0", 10.0),
        ("fail_safe = 10", 10.0),
        ('fail_safe = "leave"\nleave_because = "a person sets it by hand"', None),
    ],
)
def test_the_safe_side_is_a_value_or_a_reason(line: str, falls_to: float | None) -> None:
    point = parse_profile(f"{WRITABLE}{BARE_WRITE}{line}\n", "x.toml").points[0]
    assert point.write is not None
    assert point.write.falls_to == falls_to


DOG = """
[watchdog]
about = "colder when nobody speaks"
point = "air_temp_c"
address = 100
type = "uint16"
low = 1.0
high = 600.0
action = { address = 101, value = 2 }
"""


def _with_dog(dog: str = DOG) -> str:
    return WRITABLE.replace("[[points]]", dog + "\n[[points]]") + WRITE


def test_a_time_out_of_the_device_itself() -> None:
    dog = parse_profile(_with_dog(), "x.toml").watchdog
    assert dog is not None
    assert dog.span == Span(Table.HOLDING, 100, 1)
    assert dog.keep_alive == ()


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('point = "air_temp_c"', 'point = "speed_pct"', "must be a writable point with a fail-safe value"),
        ("low = 1.0", "low = 0.0", "0 < low < high"),
        ("high = 600.0", "high = inf", "0 < low < high"),
        ("high = 600.0", "high = 0.5", "0 < low < high"),
        ("address = 100", "address = -1", "0 to 65535"),
        ("address = 101", "address = 65536", "0 to 65535"),
        ('type = "uint16"', 'type = "bool"', "number type"),
        ("high = 600.0", "high = 600.0\nscale = 0.0", "above 0"),
        ("low = 1.0", "", "low"),
        ('about = "colder when nobody speaks"', "", "about"),
    ],
)
def test_a_mistake_in_a_time_out_names_itself(old: str, new: str, text: str) -> None:
    assert old in DOG
    with pytest.raises(ConfigError, match=re.escape(text)):
        parse_profile(_with_dog(DOG.replace(old, new, 1)), "x.toml")


def test_a_time_out_that_drives_what_must_be_left_protects_nobody() -> None:
    text = _with_dog().replace("fail_safe = 10.0", 'fail_safe = "leave"\nleave_because = "set by hand"')
    with pytest.raises(ConfigError, match="protects nobody"):
        parse_profile(text, "x.toml")


SUMMED = """
schema = 1
model = "Two lines"
kind = "pdu"
about = "a sum"
source = "a manual, page 7"

[snmp]
max_oids = 9
identity_oid = "1.3.6.1.2.1.1.1.0"

[[points]]
name = "line_power_w.{n}"
count = 2
unit = "W"
oid = "1.3.6.1.4.1.1.1.{n}"
where_oid = "1.3.6.1.4.1.1.2.{n}"
where = [0]
low = 0.0
high = 9.0
optional = true

[[points]]
name = "power_w"
unit = "W"
sum_of = "line_power_w"
low = 0.0
high = 18.0
"""


def test_a_sum_of_rows_that_say_what_they_are_is_sound() -> None:
    profile = parse_profile(SUMMED, "x.toml")
    assert [point.where_oid for point in profile.points] == ["1.3.6.1.4.1.1.2.1", "1.3.6.1.4.1.1.2.2", None]
    assert not profile.for_unit(2).points, "neither knows units"


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('"line_power_w"', '"line_power"', "sum_of: unknown metric 'line_power'"),
        ('"line_power_w"', '"current_a"', "sum_of: current_a is in 'A', not in 'W'"),
        ('"line_power_w"', '"outlet_power_w"', "sum_of: the profile has no outlet_power_w"),
        ('"line_power_w"', '"power_w"', "sum_of: is a part of itself"),
        ('"line_power_w"', '"line_power_w"\noid = "1.3.6.1.4.1.9"', "sum_of: is added up here"),
        ("where = [0]\n", "", "where_oid: needs where"),
        ("optional = true", "optional = false", "where_oid: needs where, the numbers that it may hold, and"),
        ('where_oid = "1.3.6.1.4.1.1.2.{n}"', 'where_oid = "1.3.6.1.4.1.1.2"', "where_oid: {n} and count"),
    ],
)
def test_a_sum_and_a_condition_that_cannot_be_meant_name_themselves(old: str, new: str, text: str) -> None:
    assert old in SUMMED
    with pytest.raises(ConfigError, match=re.escape(text)):
        parse_profile(SUMMED.replace(old, new, 1), "x.toml")


@pytest.mark.parametrize("line", ['sum_of = "power_w"', 'where_oid = "1.3.6"'])
def test_a_register_knows_neither(line: str) -> None:
    with pytest.raises(ConfigError, match="a Modbus point needs table, address and type"):
        parse_profile(GOOD.replace("address = 1", f"address = 1\n{line}"), "x.toml")


DRIVE = WRITABLE.replace('kind = "probe"', 'kind = "drive"') + WRITE


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("", "no_watchdog_because: is missing; a drive has a [watchdog], or this says why not"),
        ('no_watchdog_because = "none"', "no_watchdog_because: is missing"),
    ],
)
def test_a_drive_without_a_time_out_needs_a_reason(line: str, text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(text)):
        parse_profile(DRIVE.replace("[modbus]", f"{line}\n[modbus]"), "x.toml")


def test_a_drive_with_a_reason_or_a_time_out_is_sound_and_with_both_is_not() -> None:
    reason = 'no_watchdog_because = "it has no such register"\n[modbus]'
    assert parse_profile(DRIVE.replace("[modbus]", reason), "x.toml").watchdog is None
    dog = _with_dog().replace('kind = "probe"', 'kind = "drive"')
    assert parse_profile(dog, "x.toml").watchdog is not None
    with pytest.raises(ConfigError, match="no_watchdog_because: there is a"):
        parse_profile(dog.replace("[modbus]", reason), "x.toml")


SECOND = (
    GOOD[GOOD.index("[[points]]") :]
    .replace('"air_temp_c"', '"humidity_pct"')
    .replace('"°C"', '"%"')
    .replace("low = -39.0", "low = 0.0")
)


@pytest.mark.parametrize(
    ("old", "new", "line", "text"),
    [
        ('unit = "°C"', 'unit = "°F"', 19, "air_temp_c: unit: is '°F'"),
        ("scale = 0.1", "scal = 0.1", 23, "air_temp_c: scal: unknown key"),
        ("address = 1\n", "", 17, "air_temp_c: a Modbus point needs"),
        ("max_registers = 10", "max_registers = 300", 12, "modbus.max_registers"),
        ("schema = 1", "schema = 3", 2, "schema"),
        ('kind = "probe"', 'kind = "lamp"', 4, "kind"),
        ("high = 80.0", 'high = "hot"', 25, "high"),
        ("high = 80.0", "high = 80.0" + BARE_WRITE, 26, "write.fail_safe: is missing"),
    ],
)
def test_each_mistake_names_its_line(old: str, new: str, line: int, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_profile(WRITABLE.replace(old, new, 1) + SECOND.replace("address = 1", "address = 2"), "x.toml")
    first = str(caught.value).splitlines()[0]
    assert first.startswith(f"x.toml:{line}: "), first
    assert text in first


def test_every_mistake_is_told_at_once() -> None:
    text = GOOD.replace('"°C"', '"°F"').replace("scale = 0.1", "scale = 0.0")
    with pytest.raises(ConfigError) as caught:
        parse_profile(text, "x.toml")
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("address", "kind", "sound"),
    [(1, "int16", False), (0, "int32", False), (0, "int16", True), (2, "int16", True), (2, "float32", True)],
)
def test_numbers_never_share_a_register(address: int, kind: str, sound: bool) -> None:
    second = SECOND.replace("address = 1", f"address = {address}").replace('"int16"', f'"{kind}"')
    if sound:
        assert len(parse_profile(GOOD + second, "x.toml").points) == 2
        return
    with pytest.raises(ConfigError, match="overlaps air_temp_c at input 1") as caught:
        parse_profile(GOOD + second, "x.toml")
    assert str(caught.value).startswith("x.toml:30: humidity_pct: address: ")


def test_a_scale_factor_is_no_number_of_its_own() -> None:
    scaled = SECOND.replace("address = 1", "address = 2\nscale_register = 1")
    with pytest.raises(ConfigError, match="scale_register: 1 belongs to air_temp_c, input 1"):
        parse_profile(GOOD + scaled, "x.toml")


def test_a_slip_in_a_name_says_which_was_meant() -> None:
    with pytest.raises(ConfigError, match="unknown metric; did you mean 'humidity_pct'"):
        parse_profile(GOOD + SECOND.replace("humidity_pct", "humidty_pct"), "x.toml")


def test_an_overlap_is_told_beside_other_mistakes() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_profile(GOOD + SECOND.replace('"%"', '"per cent"'), "x.toml")
    told = str(caught.value).splitlines()
    assert len(told) == 2
    assert "overlaps air_temp_c" in told[1]


def test_counted_points_that_run_into_another_are_found() -> None:
    counted = SECOND.replace('"humidity_pct"', '"humidity_pct.{n}"\ncount = 3').replace(
        "address = 1", "address = 0"
    )
    with pytest.raises(ConfigError, match=r"humidity_pct\.2: address: input 1 overlaps air_temp_c"):
        parse_profile(GOOD + counted, "x.toml")


FLAG = """
[[points]]
name = "{name}"
unit = "0/1"
table = "input"
address = 5
type = "bool"
bit = {bit}
"""


def test_flags_share_a_status_word_but_not_a_bit() -> None:
    two = FLAG.format(name="running", bit=3) + FLAG.format(name="fault", bit=4)
    assert len(parse_profile(GOOD + two, "x.toml").points) == 3
    with pytest.raises(ConfigError, match="fault: address: input 5 overlaps running"):
        parse_profile(GOOD + two.replace("bit = 4", "bit = 3"), "x.toml")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('first_unless = "running"', "write.first_unless: is only for a write with"),
        ('first = [{ address = 9, value = 1 }]\nfirst_unless = "sleeping"', "no flag 'sleeping'"),
        ("then = [{ address = 70000, value = 1 }]", "must be 0 to 65535"),
        ("then = [{ address = 7, value = -1 }]", "must be 0 to 65535"),
        ("values = { 1 = 5 }", "write.values: say which number commands which value"),
        ('oid = "1.3.6.1"', "for SNMP"),
    ],
)
def test_a_mistake_in_how_it_is_written_names_itself(line: str, text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(text)):
        parse_profile(f"{WRITABLE}{WRITE}{line}\n", "x.toml")


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("high = 50.0\nsettle", "high = 120.0\nsettle", None),  # 1200 fits
        ("scale = 0.1", "scale = 0.001", "write.high: as a raw number, 50000 does not fit int16"),
        ("scale = 0.1", "scale = 0.0003", "write.fail_safe: as a raw number, 33333.3 does not fit int16"),
        ('"int16"', '"uint16"\noffset = 5.0', "write.low: as a raw number, -50 does not fit uint16"),
        ("scale = 0.1", "scale = 0.001\nscale_register = 40", None),  # only the device at hand can tell
    ],
)
def test_what_may_be_written_fits_the_register(old: str, new: str, text: str | None) -> None:
    """Else the fail-safe write is refused for the first time when a zone trips."""
    whole = (WRITABLE + WRITE).replace("high = 80.0", "high = 120.0")
    assert old in whole
    profile = whole.replace(old, new, 1)
    if text is None:
        assert parse_profile(profile, "x.toml").writable
        return
    with pytest.raises(ConfigError, match=re.escape(text)):
        parse_profile(profile, "x.toml")


SWITCH = (
    GOOD[: GOOD.index("[[points]]")]
    + """
[[points]]
name = "running"
unit = "0/1"
table = "holding"
address = 1
type = "int16"
values = { 0 = 0.0, 2 = 1.0 }

[points.write]
low = 0.0
high = 1.0
settle_s = 1.0
fail_safe = 1.0
values = { 0 = 0, 1 = 2 }
"""
)


def test_a_switch_by_codes_is_good() -> None:
    assert parse_profile(SWITCH, "x.toml").writable


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("values = { 0 = 0, 1 = 2 }", "values = { 0 = 0 }", "write.values: has no code for 1, the fail-safe"),
        ("0 = 0, 1 = 2", '"0.0" = 0, "1.0" = 2', "write.values: '1.0' is never looked up; expected 1"),
        ("0 = 0, 1 = 2", "-0 = 0, 1 = 2", "write.values: '-0' is never looked up; expected 0"),
        ("0 = 0, 1 = 2", "off = 0, 1 = 2", "write.values: 'off' is never looked up; expected a number"),
        ("0 = 0, 1 = 2", "0 = 0, 1 = 2, 2 = 3", "write.values: 2 lies outside what may be written"),
        ("0 = 0, 1 = 2", "0 = 0, 1 = 70000", "write.values.1: as a raw number, 70000 does not fit int16"),
        ("0 = 0.0, 2 = 1.0", "0 = 0.0, 2 = 5.0", "values: 2 means 5, and a flag is 0 or 1"),
        ("0 = 0.0, 2 = 1.0", "0 = 0.0, on = 1.0", "values: 'on' is not the whole number"),
        ("0 = 0.0, 2 = 1.0", '0 = 0.0, "2.0" = 1.0', "values: '2.0' is not the whole number"),
        ("0 = 0.0, 2 = 1.0", "0 = 0.0, 02 = 1.0", "values: '02' is not the whole number"),
    ],
)
def test_a_code_that_is_never_looked_up_is_refused(old: str, new: str, text: str) -> None:
    """The driver asks for the code of `1`, and for the meaning of `2`; what it does not find it cannot do."""
    assert old in SWITCH
    with pytest.raises(ConfigError, match=re.escape(text)):
        parse_profile(SWITCH.replace(old, new, 1), "x.toml")


def test_what_a_code_means_lies_inside_the_limits_of_its_point() -> None:
    coded = GOOD.replace("scale = 0.1", "values = { 1 = 20.0, 2 = 90.0 }")
    with pytest.raises(ConfigError, match=r"air_temp_c: values: 2 means 90, outside low to high"):
        parse_profile(coded, "x.toml")


def test_a_step_never_writes_over_a_point() -> None:
    """`then` at the set-point's own register would take the command back; at a reading's it is a slip."""
    own = f"{WRITABLE}{WRITE}then = [{{ address = 1, value = 0 }}]\n"
    with pytest.raises(ConfigError, match=r"write\.then: register 1 belongs to air_temp_c, holding 1"):
        parse_profile(own, "x.toml")
    other = f"{WRITABLE}{WRITE}first = [{{ address = 3, value = 0 }}]\n" + SECOND.replace(
        '"input"\naddress = 1', '"holding"\naddress = 2'
    ).replace('"int16"', '"int32"')
    with pytest.raises(
        ConfigError, match=r"write\.first: register 3 belongs to humidity_pct, holding 2 to 3"
    ):
        parse_profile(other, "x.toml")


def test_a_flag_may_be_read_out_of_the_control_word_that_a_step_writes() -> None:
    enabled = FLAG.format(name="running", bit=0).replace('"input"', '"holding"')
    sound = f"{WRITABLE}{WRITE}then = [{{ address = 5, value = 1 }}]\n{enabled}"
    assert len(parse_profile(sound, "x.toml").points) == 2


def test_text_that_is_not_toml_is_refused() -> None:
    with pytest.raises(ConfigError, match="not valid TOML"):
        parse_profile("[[points", "x.toml")


SNMP = """
schema = 1
model = "Test PDU"
kind = "pdu"
about = "one outlet"
source = "a manual, page 7"

[snmp]
max_oids = 10
identity_oid = "1.3.6.1.2.1.1.1.0"

[[points]]
name = "outlet_on.1"
unit = "0/1"
oid = "1.3.6.1.4.1.99.1"
values = { 1 = 0.0, 2 = 1.0 }
"""


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('oid = "1.3.6.1.4.1.99.1"', 'oid = ".1.3.6.1.4.1.99.1"', "numeric OID"),
        ('oid = "1.3.6.1.4.1.99.1"', 'oid = "sysDescr.0"', "numeric OID"),
        ('oid = "1.3.6.1.4.1.99.1"', "address = 4", "needs an oid"),
        ("values = { 1 = 0.0, 2 = 1.0 }", "", "integers that mean 0 and 1"),
        (
            "values = { 1 = 0.0, 2 = 1.0 }",
            "values = { 1 = 0.0 }\nwrite = { low = 0.0, high = 1.0, settle_s = 1.0 }",
            "write.values",
        ),
    ],
)
def test_a_mistake_in_an_snmp_profile_names_itself(old: str, new: str, text: str) -> None:
    assert parse_profile(SNMP, "x.toml").snmp is not None
    with pytest.raises(ConfigError, match=re.escape(text)):
        parse_profile(SNMP.replace(old, new, 1), "x.toml")


SECOND_OUTLET = SNMP[SNMP.index("[[points]]") :].replace("outlet_on.1", "outlet_on.2")
COMMAND = """
[points.write]
low = 0.0
high = 1.0
settle_s = 1.0
fail_safe = "leave"
leave_because = "it feeds a machine"
oid = "1.3.6.1.4.1.99.{last}"
values = {{ 0 = 2, 1 = 1 }}
"""


def test_two_points_never_read_one_oid() -> None:
    """A line copied and not changed: both would show the first one's number."""
    with pytest.raises(ConfigError, match=r"outlet_on\.2: oid: is that of outlet_on\.1 too"):
        parse_profile(SNMP + SECOND_OUTLET, "x.toml")
    assert parse_profile(SNMP + SECOND_OUTLET.replace("99.1", "99.2"), "x.toml")
    by_unit = SNMP.replace("99.1", "99.{u}") + SECOND_OUTLET
    with pytest.raises(ConfigError, match="is that of"):
        parse_profile(by_unit, "x.toml")


def test_two_flags_come_out_of_one_state_by_enumerations_of_their_own() -> None:
    fault = SECOND_OUTLET.replace("outlet_on.2", "outlet_on.3").replace("2 = 1.0", "2 = 0.0, 3 = 1.0")
    assert len(parse_profile(SNMP + fault, "x.toml").points) == 2


def test_two_outlets_are_never_switched_by_one_command() -> None:
    first, second = SNMP + COMMAND.format(last=7), SECOND_OUTLET.replace("99.1", "99.2")
    assert len(parse_profile(first + second + COMMAND.format(last=8), "x.toml").writable) == 2
    with pytest.raises(ConfigError, match=r"outlet_on\.2: write: commands the same object as outlet_on\.1"):
        parse_profile(first + second + COMMAND.format(last=7), "x.toml")


def test_all_oids_of_a_point_belong_to_the_unit_or_none() -> None:
    """Else the second unit of a chain would show its own state and switch the first one's outlet."""
    mixed = SNMP.replace("99.1", "99.{u}.1") + COMMAND.format(last=7)
    with pytest.raises(ConfigError, match=r"write\.oid: \{u\} stands in all OIDs of a point or in none"):
        parse_profile(mixed, "x.toml")


BACNET = """
schema = 1
model = "Test fan"
kind = "hvac"
about = "one stage"
source = "a manual, page 7"

[bacnet]
max_objects = 10
priority = 8

[[points]]
name = "running"
unit = "0/1"
object = "multi-state-value,1"
values = { 1 = 0.0, 2 = 1.0 }

[points.write]
low = 0.0
high = 1.0
settle_s = 1.0
fail_safe = 1.0
values = { 0 = 1, 1 = 2 }
"""


def test_a_stage_is_written_by_codes_as_it_is_read() -> None:
    """Without them stage 1 would be commanded for "on", and stage 1 is off."""
    assert parse_profile(BACNET, "x.toml").writable
    with pytest.raises(ConfigError, match="say which number commands which value"):
        parse_profile(BACNET.replace("values = { 0 = 1, 1 = 2 }\n", ""), "x.toml")


def test_two_points_never_stand_for_one_bacnet_object() -> None:
    again = BACNET[BACNET.index("[[points]]") :].replace('"running"', '"fault"')
    with pytest.raises(ConfigError) as caught:
        parse_profile(BACNET + again, "x.toml")
    assert "object: is that of running too" in str(caught.value)
    assert "commands the same object as running" in str(caught.value)


# ---------------------------------------------------------------- a file of the site's own


def test_a_path_is_a_file_of_the_sites_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(GOOD, encoding="utf-8")
    assert load_profile(str(file)).model == "Test probe"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml: cannot be read: No such file"):
        load_profile(str(tmp_path / "gone.toml"))
    (tmp_path / "odd.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"odd\.toml: is not UTF-8"):
        load_profile(str(tmp_path / "odd.toml"))


@settings(max_examples=200)
@given(st.text(max_size=400) | st.text(alphabet='[]points"={}.0123456789abe\n ', max_size=200))
def test_any_text_is_a_profile_or_a_clear_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match=r"x\.toml"):
        parse_profile(text, "x.toml")


@settings(max_examples=200)
@given(st.integers(0, len(GOOD) - 1), st.sampled_from(["", "[", '"', "9", "-", "\n", "= 1"]))
def test_a_slip_of_the_finger_is_a_profile_or_a_clear_sentence(place: int, slip: str) -> None:
    with contextlib.suppress(ConfigError):
        assert parse_profile(GOOD[:place] + slip + GOOD[place + 1 :], "x.toml").points
