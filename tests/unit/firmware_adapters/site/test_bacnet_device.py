"""The BACnet driver's decisions, in memory: quality, units, priorities, what a device lacks."""

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.capabilities import PointControl, ReleaseControl, Telemetry
from firmware_adapters.registry import misfit, open_device
from firmware_adapters.site.bacnet import BacnetDevice
from firmware_adapters.site.profile import Profile, load_profile, parse_profile
from firmware_adapters.transport.bacnet import Asked, BacnetValue
from firmware_adapters.transport.bacnet_memory import MemoryBacnet
from shared.capabilities import Ability
from shared.errors import ConfigError, DeviceError, DeviceTimeout, Unsupported
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind, Quality

ROOT = Path(__file__).parents[4]
HVAC = load_profile("bacnet-hvac")
CELSIUS, FAHRENHEIT, KELVIN, PERCENT, NO_UNITS, WATTS = 62, 64, 63, 98, 95, 47
FINE = (False, False, False, False)
SETPOINT, RUN, SPEED, SUPPLY, FAULT = (
    "analog-value,1",
    "binary-output,1",
    "analog-output,1",
    "analog-input,1",
    "binary-input,1",
)


def properties(**changes: BacnetValue | None) -> dict[Asked, BacnetValue]:
    """A small air handler; `supply`, `flags` and the like change the supply temperature."""
    held: dict[Asked, BacnetValue] = {
        (SETPOINT, "present-value"): 24.0,
        (RUN, "present-value"): 1,
        (SPEED, "present-value"): 60.0,
        (SUPPLY, "present-value"): 21.5,
        (FAULT, "present-value"): 0,
        (SETPOINT, "units"): CELSIUS,
        (SPEED, "units"): PERCENT,
        (SUPPLY, "units"): CELSIUS,
    }
    held |= {(target, "status-flags"): FINE for target in (SETPOINT, RUN, SPEED, SUPPLY, FAULT)}
    held |= {(target, "reliability"): 0 for target in (SETPOINT, RUN, SPEED, SUPPLY, FAULT)}
    names = {"supply": "present-value", "flags": "status-flags"}
    for name, value in changes.items():
        key = (SUPPLY, names.get(name, name))
        held.pop(key, None)
        if value is not None:
            held[key] = value
    return held


def device(
    held: dict[Asked, BacnetValue], profile: Profile | None = None
) -> tuple[BacnetDevice, MemoryBacnet]:
    link = MemoryBacnet(held)
    return BacnetDevice(profile or HVAC, link, timeout_s=1), link


async def test_reads_what_there_is_and_leaves_out_what_there_is_not() -> None:
    hvac, _ = device(properties())
    assert {name: reading.value for name, reading in (await hvac.read()).readings.items()} == {
        "setpoint_c": 24.0,
        "running": 1.0,
        "speed_setpoint_pct": 60.0,
        "air_temp_c.1": 21.5,
        "fault": 0.0,
    }


async def test_what_was_learnt_is_asked_for_and_nothing_else() -> None:
    hvac, link = device(properties())
    await hvac.read()
    await hvac.read()
    assert len(link.reads[0]) > 20
    assert link.reads[1] == link.reads[2]
    assert {name for _, name in link.reads[1]} == {"present-value", "status-flags"}
    assert len(link.reads[1]) == 10


@pytest.mark.parametrize(
    ("changes", "value", "quality"),
    [
        ({}, 21.5, Quality.GOOD),
        ({"flags": (True, False, False, False)}, 21.5, Quality.GOOD),
        ({"flags": (False, True, False, False)}, None, Quality.SENSOR_ERROR),
        ({"flags": (False, False, True, False)}, None, Quality.SENSOR_ERROR),
        ({"flags": (False, False, False, True)}, None, Quality.SENSOR_ERROR),
        ({"flags": (False, False)}, None, Quality.SENSOR_ERROR),
        ({"flags": 0}, None, Quality.SENSOR_ERROR),
        ({"flags": None}, 21.5, Quality.GOOD),
        ({"flags": None, "reliability": 7}, None, Quality.SENSOR_ERROR),
        ({"flags": None, "reliability": None}, 21.5, Quality.GOOD),
        ({"supply": None}, None, Quality.MISSING),
        ({"supply": 400.0}, None, Quality.OUT_OF_RANGE),
        ({"supply": "warm"}, None, Quality.SENSOR_ERROR),
        ({"supply": float("nan")}, None, Quality.SENSOR_ERROR),
        ({"supply": 70.7, "units": FAHRENHEIT}, 21.5, Quality.GOOD),
        ({"supply": 294.65, "units": KELVIN}, 21.5, Quality.GOOD),
        ({"units": NO_UNITS}, 21.5, Quality.GOOD),
        ({"units": None}, 21.5, Quality.GOOD),
        ({"units": WATTS}, None, Quality.SENSOR_ERROR),
    ],
)
async def test_a_value_counts_while_its_device_vouches_for_it(
    changes: dict[str, BacnetValue | None], value: float | None, quality: Quality
) -> None:
    hvac, _ = device(properties(**changes))
    reading = (await hvac.read()).readings["air_temp_c.1"]
    assert (reading.value, reading.quality) == (pytest.approx(value) if value else value, quality)


@pytest.mark.parametrize("told_by", ["status-flags", "reliability"])
async def test_an_object_that_stops_vouching_for_its_value_has_none(told_by: str) -> None:
    """It had flags when it was learnt; without them nothing says that the value still follows the machine."""
    hvac, link = device(properties() if told_by == "status-flags" else properties(flags=None))
    assert (await hvac.read()).readings["air_temp_c.1"].value == 21.5
    del link.properties[SUPPLY, told_by]
    reading = (await hvac.read()).readings["air_temp_c.1"]
    assert (reading.value, reading.quality) == (None, Quality.SENSOR_ERROR)


@given(
    st.one_of(st.floats(), st.integers(), st.text(max_size=5), st.lists(st.booleans(), max_size=5).map(tuple))
)
async def test_any_value_is_a_number_in_range_or_none(value: BacnetValue) -> None:
    for target, name in ((SUPPLY, "air_temp_c.1"), (RUN, "running"), (FAULT, "fault")):
        held = properties()
        held[target, "present-value"] = value
        reading = (await device(held)[0].read()).readings[name]
        assert (reading.value is None) == (not reading.quality.usable)
        if reading.value is not None:
            assert reading.value == pytest.approx(value, abs=1e-9)


async def test_an_object_that_vanishes_is_missing_and_not_its_last_value() -> None:
    hvac, link = device(properties())
    await hvac.read()
    del link.properties[SUPPLY, "present-value"]
    assert (await hvac.read()).readings["air_temp_c.1"].quality is Quality.MISSING


async def test_a_device_of_something_else_is_unsupported() -> None:
    hvac, _ = device({("analog-input,77", "present-value"): 1.0})
    with pytest.raises(Unsupported, match="another model"):
        await hvac.read()


async def test_a_failed_read_raises() -> None:
    hvac, link = device(properties())
    link.failures.append(DeviceTimeout("silent"))
    with pytest.raises(DeviceTimeout):
        await hvac.read()


# ---------------------------------------------------------------- commands


async def test_a_write_goes_out_at_the_profiles_priority_and_is_given_back() -> None:
    hvac, link = device(properties())
    await hvac.write_point("setpoint_c", 30.0)
    await hvac.write_point("running", 0.0)
    assert (await hvac.read()).readings["setpoint_c"].value == 30.0
    await hvac.release_point("setpoint_c")
    assert (await hvac.read()).readings["setpoint_c"].value == 24.0
    assert link.writes == [(SETPOINT, 30.0, 9), (RUN, 0.0, 9), (SETPOINT, None, 9)]


async def test_a_device_in_fahrenheit_is_told_in_fahrenheit() -> None:
    held = properties()
    held |= {(SETPOINT, "present-value"): 75.2, (SETPOINT, "units"): FAHRENHEIT}
    hvac, link = device(held)
    await hvac.write_point("setpoint_c", 30.0)
    ((target, told, priority),) = link.writes
    assert (target, priority) == (SETPOINT, 9)
    assert told == pytest.approx(86.0)
    assert (await hvac.read()).readings["setpoint_c"].value == pytest.approx(30.0)


@pytest.mark.parametrize(
    ("point", "value"),
    [
        ("setpoint_c", 9.9),
        ("setpoint_c", 46.0),
        ("setpoint_c", float("nan")),
        ("air_temp_c.1", 20.0),
        ("fault", 0.0),
        ("nonsense", 1.0),
    ],
)
async def test_what_the_profile_does_not_allow_is_refused_and_nothing_is_told(
    point: str, value: float
) -> None:
    hvac, link = device(properties())
    with pytest.raises(Unsupported):
        await hvac.write_point(point, value)
    assert link.writes == []


async def test_an_object_in_another_quantity_is_not_written() -> None:
    held = properties()
    held[SETPOINT, "units"] = WATTS
    hvac, link = device(held)
    with pytest.raises(Unsupported, match="another unit"):
        await hvac.write_point("setpoint_c", 30.0)
    assert link.writes == []


async def test_a_point_that_this_device_lacks_is_not_writable_and_not_declared() -> None:
    held = {key: value for key, value in properties().items() if key[0] != SPEED}
    hvac, link = device(held)
    facts = await hvac.facts()
    declared = {name for capability in facts.capabilities for name in capability.points}
    assert declared == {"setpoint_c", "running"}
    for attempt in (hvac.write_point("speed_setpoint_pct", 50.0), hvac.release_point("speed_setpoint_pct")):
        with pytest.raises(Unsupported):
            await attempt
    assert link.writes == []


async def test_it_does_what_it_declares() -> None:
    hvac, link = device(
        properties()
        | {("device,4194303", "model-name"): "AHU-7", ("device,4194303", "firmware-revision"): "2.1"}
    )
    facts = await hvac.facts()
    assert facts.firmware == "2.1 AHU-7"
    assert {c.ability for c in facts.capabilities} == {Ability.TELEMETRY, Ability.SETPOINT, Ability.RELEASE}
    assert isinstance(hvac, Telemetry)
    assert isinstance(hvac, PointControl)
    assert isinstance(hvac, ReleaseControl)
    await hvac.close()
    assert link.closed


STAGES = """
schema = 1
model = "three stages"
kind = "hvac"
about = "a fan with three speeds"
source = "a test"
[bacnet]
max_objects = 5
priority = 10
[[points]]
name = "speed_pct"
unit = "%"
object = "multi-state-value,4"
low = 0.0
high = 100.0
values = { 1 = 0.0, 2 = 50.0, 3 = 100.0 }
[points.write]
low = 0.0
high = 100.0
settle_s = 5.0
fail_safe = 100.0
values = { 0 = 1, 50 = 2, 100 = 3 }
[[points]]
name = "fault"
unit = "0/1"
object = "binary-value,2"
invert = true
"""


async def test_stages_are_mapped_both_ways_and_a_flag_may_be_inverse() -> None:
    held: dict[Asked, BacnetValue] = {
        ("multi-state-value,4", "present-value"): 2,
        ("binary-value,2", "present-value"): 1,
    }
    hvac, link = device(held, parse_profile(STAGES, "x.toml"))
    seen = (await hvac.read()).readings
    assert (seen["speed_pct"].value, seen["fault"].value) == (50.0, 0.0)
    await hvac.write_point("speed_pct", 100.0)
    assert link.writes == [("multi-state-value,4", 3.0, 10)]
    with pytest.raises(Unsupported, match="no stage"):
        await hvac.write_point("speed_pct", 42.0)
    link.properties["multi-state-value,4", "present-value"] = 9
    assert (await hvac.read()).readings["speed_pct"].quality is Quality.SENSOR_ERROR


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("priority = 10", "priority = 7", "expected 8 to 10"),
        ("priority = 10", "priority = 16", "expected 8 to 10"),
        ("max_objects = 5", "max_objects = 0", "expected 1 to 100"),
        ("multi-state-value,4", "multi-state-value", "found 'multi-state-value'"),
        ("multi-state-value,4", "loop,4", "found 'loop,4'"),
        ("multi-state-value,4", "analog-input,4", "an input object cannot be written"),
        ("multi-state-value,4", "multi-state-value,4194303", "instances end at"),
        ("values = { 1 = 0.0, 2 = 50.0, 3 = 100.0 }", "", "which stage means"),
        ('object = "binary-value,2"', 'object = "analog-value,2"', "belong together"),
        ('object = "binary-value,2"', 'oid = "1.3.6"', "a BACnet point needs an object"),
        ('object = "binary-value,2"', 'sum_of = "running"', "a BACnet point needs an object"),
    ],
)
def test_a_mistake_in_a_bacnet_profile_names_itself(old: str, new: str, text: str) -> None:
    assert old in STAGES
    with pytest.raises(ConfigError, match=text):
        parse_profile(STAGES.replace(old, new, 1), "x.toml")


# ---------------------------------------------------------------- as the registry opens it


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"profile": None}, "needs a profile"),
        ({"kind": DeviceKind.UPS}, "is a hvac, not a ups"),
        ({"profile": "xy-md02", "kind": DeviceKind.PROBE}, "not for BACnet"),
        ({"unit_id": 2}, "ahu-1: unit_id is 2, and BACnet knows no units: .* Leave unit_id out"),
        ({"unit_id": 0}, "ahu-1: unit_id is 0, and BACnet knows no units"),
    ],
)
def test_a_wrong_entry_is_refused_at_once(changes: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        open_device(air_handler(**changes), None, timeout_s=1)


def test_check_config_refuses_a_unit_that_nothing_would_tell_apart() -> None:
    """Two entries with units 1 and 2 would both read, and command, the one device at the address."""
    assert "BACnet knows no units" in (misfit(air_handler(unit_id=2), HVAC) or "")
    assert misfit(air_handler(), HVAC) is None


def air_handler(**changes: object) -> DeviceEntry:
    fields: dict[str, object] = {
        "id": DeviceId("ahu-1"),
        "kind": DeviceKind.HVAC,
        "adapter": "bacnet",
        "host": "127.0.0.1",
        "port": 47808,
        "zone": ZoneId("hall"),
        "profile": "bacnet-hvac",
    }
    return DeviceEntry(**(fields | changes))  # type: ignore[arg-type]  # keyword pairs of a test


def test_bacpypes3_is_imported_by_the_child_and_the_emulator_only() -> None:
    """It must never be in the guardian's process."""
    found = set()
    for path in (ROOT / "firmware_adapters").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "bacpypes3" for name in names):
                found.add(path.name)
    assert found == {"bacnet_child.py", "bacnet_emulator.py"}


async def test_a_write_that_fails_is_typed() -> None:
    hvac, link = device(properties())
    await hvac.read()
    link.failures.append(DeviceTimeout("silent"))
    with pytest.raises(DeviceError):
        await hvac.release_point("running")
