"""Profiles: what ships is sound, and a mistake in one is refused with its key and what is expected."""

import re

import pytest

from firmware_adapters.site.codec import DataType
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
        assert profile.points

    def test_every_number_has_limits_that_its_type_can_exceed(self, name: str) -> None:
        """A limit that the register cannot reach would never catch anything."""
        for point in load_profile(name).points:
            low, high = point.bounds
            metric = metric_of(point.name)
            assert metric.low <= low < high <= metric.high
            if point.type is DataType.INT16 and not point.is_flag:
                assert high < 32767 * abs(point.scale) + point.offset

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
            (point.span for point in profile.points),
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


def test_the_drives_time_out_is_that_of_parameters_8_03_and_8_04() -> None:
    dog = load_profile("danfoss-fc102").watchdog
    assert dog is not None
    assert dog.span == Span(Table.HOLDING, 803 * 10 - 1, 2)
    assert dog.action is not None
    assert dog.action.address == 804 * 10 - 1
    assert [(step.address, step.value) for step in dog.keep_alive] == [(49999, 0x047C)]


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
    """`Sample.values("power_w")` would count the same watts twice."""
    for name in profile_names():
        names = [point.name for point in load_profile(name).points]
        for metric in METRICS:
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
        ("[modbus]", '[snmp]\nmax_oids = 9\nidentity_oid = "1.3.6"\n[modbus]', "exactly one"),
        ("high = 80.0", "high = 80.0" + WRITE, "only coils and holding"),
        ('table = "input"', 'table = "holding"\ncount = 2', "{n}"),
    ],
)
def test_a_mistake_names_itself(old: str, new: str, text: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError, match=re.escape(text)) as caught:
        parse_profile(GOOD.replace(old, new, 1), "x.toml")
    assert str(caught.value).startswith("x.toml: ")


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
