"""Registers and objects as plant.md §6 lists them: place, table, type, scale and what is written.

One row per figure of the reference, so that a slip in a profile fails beside the number that it misses.
"""

import pytest

from firmware_adapters.site.codec import DataType, WordOrder
from firmware_adapters.site.profile import Point, load_profile, profile_names
from firmware_adapters.transport.modbus_plan import Table

INPUT, HOLDING, COIL, DISCRETE = Table.INPUT, Table.HOLDING, Table.COIL, Table.DISCRETE
FLOAT, S16, U16, S32, U32, S64, ACC = (
    DataType.FLOAT32,
    DataType.INT16,
    DataType.UINT16,
    DataType.INT32,
    DataType.UINT32,
    DataType.INT64,
    DataType.ACC32,
)
BOOL = DataType.BOOL
PCT = 100 / 0x4000

REGISTERS: dict[str, dict[str, tuple[Table, int, DataType, float]]] = {
    "eastron-sdm630": {
        **{f"voltage_v.{n}": (INPUT, 0x00 + 2 * n - 2, FLOAT, 1.0) for n in (1, 2, 3)},
        **{f"current_a.{n}": (INPUT, 0x06 + 2 * n - 2, FLOAT, 1.0) for n in (1, 2, 3)},
        **{f"line_power_w.{n}": (INPUT, 0x0C + 2 * n - 2, FLOAT, 1.0) for n in (1, 2, 3)},
        "power_w": (INPUT, 0x34, FLOAT, 1.0),
        "apparent_power_va": (INPUT, 0x38, FLOAT, 1.0),
        "reactive_power_var": (INPUT, 0x3C, FLOAT, 1.0),
        "power_factor": (INPUT, 0x3E, FLOAT, 1.0),
        "frequency_hz": (INPUT, 0x46, FLOAT, 1.0),
        "energy_kwh": (INPUT, 0x48, FLOAT, 1.0),
    },
    "schneider-pm5xxx": {
        **{f"current_a.{n}": (HOLDING, 2997 + 2 * n, FLOAT, 1.0) for n in (1, 2, 3)},
        **{f"voltage_v.{n}": (HOLDING, 3025 + 2 * n, FLOAT, 1.0) for n in (1, 2, 3)},
        **{f"line_power_w.{n}": (HOLDING, 3051 + 2 * n, FLOAT, 1000.0) for n in (1, 2, 3)},
        "power_w": (HOLDING, 3059, FLOAT, 1000.0),
        "reactive_power_var": (HOLDING, 3067, FLOAT, 1000.0),
        "apparent_power_va": (HOLDING, 3075, FLOAT, 1000.0),
        "frequency_hz": (HOLDING, 3109, FLOAT, 1.0),
        "energy_kwh": (HOLDING, 3203, S64, 0.001),
    },
    # SunSpec: from the register with the model's number, which is "+0" of the reference.
    "sunspec-203": {
        **{f"current_a.{n}": (HOLDING, 2 + n, S16, 1.0) for n in (1, 2, 3)},
        **{f"voltage_v.{n}": (HOLDING, 7 + n, S16, 1.0) for n in (1, 2, 3)},
        **{f"line_power_w.{n}": (HOLDING, 18 + n, S16, 1.0) for n in (1, 2, 3)},
        "frequency_hz": (HOLDING, 16, S16, 1.0),
        "power_w": (HOLDING, 18, S16, 1.0),
        "apparent_power_va": (HOLDING, 23, S16, 1.0),
        "reactive_power_var": (HOLDING, 28, S16, 1.0),
        "power_factor": (HOLDING, 33, S16, 0.01),
        "energy_kwh": (HOLDING, 46, ACC, 0.001),
    },
    "sunspec-213": {
        **{f"current_a.{n}": (HOLDING, 2 + 2 * n, FLOAT, 1.0) for n in (1, 2, 3)},
        **{f"voltage_v.{n}": (HOLDING, 10 + 2 * n, FLOAT, 1.0) for n in (1, 2, 3)},
        **{f"line_power_w.{n}": (HOLDING, 28 + 2 * n, FLOAT, 1.0) for n in (1, 2, 3)},
        "frequency_hz": (HOLDING, 26, FLOAT, 1.0),
        "power_w": (HOLDING, 28, FLOAT, 1.0),
        "apparent_power_va": (HOLDING, 36, FLOAT, 1.0),
        "reactive_power_var": (HOLDING, 44, FLOAT, 1.0),
        "power_factor": (HOLDING, 52, FLOAT, 1.0),
        "energy_kwh": (HOLDING, 68, FLOAT, 0.001),
    },
    "sunspec-704": {
        "power_limit_pct": (HOLDING, 15, U16, 1.0),
        "power_setpoint_w": (HOLDING, 24, S32, 1.0),
    },
    "xy-md02": {"air_temp_c": (INPUT, 1, S16, 0.1), "humidity_pct": (INPUT, 2, U16, 0.1)},
    "danfoss-fc102": {
        "speed_setpoint_pct": (HOLDING, 50009, S16, PCT),
        "speed_pct": (HOLDING, 50209, S16, PCT),
        "running": (HOLDING, 50199, BOOL, 1.0),
        "fault": (HOLDING, 50199, BOOL, 1.0),
        "frequency_hz": (HOLDING, 16129, U16, 0.1),
        "current_a": (HOLDING, 16139, U32, 0.01),
    },
    "abb-drives": {
        "speed_setpoint_pct": (HOLDING, 1, S16, 100 / 20000),
        "speed_pct": (HOLDING, 4, S16, 100 / 20000),
        "running": (HOLDING, 3, BOOL, 1.0),
        "fault": (HOLDING, 3, BOOL, 1.0),
        "frequency_hz": (HOLDING, 102, U16, 0.1),
        "current_a": (HOLDING, 103, U16, 0.1),
    },
    "carel-ir33": {
        "setpoint_c": (HOLDING, 404, S16, 0.1),
        "running": (COIL, 54, BOOL, 1.0),
        "air_temp_c.1": (INPUT, 403, S16, 0.1),
        "air_temp_c.2": (INPUT, 412, S16, 0.1),
        "fault": (COIL, 5, BOOL, 1.0),
        "low_temp_alarm": (COIL, 2, BOOL, 1.0),
    },
    "carel-uc2se": {
        "setpoint_c": (HOLDING, 439, S16, 0.1),
        "running": (COIL, 53, BOOL, 1.0),
        "water_temp_c.1": (INPUT, 506, S16, 0.1),
        "water_temp_c.2": (INPUT, 510, S16, 0.1),
        "fault": (DISCRETE, 42, BOOL, 1.0),
        "compressor_warning": (DISCRETE, 34, BOOL, 1.0),
        "fan_warning": (DISCRETE, 56, BOOL, 1.0),
    },
    "danfoss-ekc202d": {
        "setpoint_c": (HOLDING, 99, S16, 0.1),
        "running": (HOLDING, 116, S16, 1.0),
        "air_temp_c.1": (HOLDING, 2529, S16, 0.1),
        "air_temp_c.2": (HOLDING, 2530, S16, 0.1),
        "fault": (HOLDING, 2540, S16, 1.0),
        "high_temp_alarm": (HOLDING, 20004, S16, 1.0),
        "low_temp_alarm": (HOLDING, 20005, S16, 1.0),
    },
}
REGISTERS["schneider-iem3xxx"] = REGISTERS["schneider-pm5xxx"]
REGISTERS["danfoss-fc51"] = REGISTERS["danfoss-fc102"]

APC, OLD, PX = "1.3.6.1.4.1.318.1.1.26.", "1.3.6.1.4.1.318.1.1.12.", "1.3.6.1.4.1.13742.6."
SENTRY, GEIST = "1.3.6.1.4.1.1718.4.1.8.", "1.3.6.1.4.1.21239.5.2.3."
EPDU, UPS = "1.3.6.1.4.1.534.6.6.7.6.6.1.", "1.3.6.1.2.1.33.1."

OBJECTS: dict[str, dict[str, tuple[str, float]]] = {
    "apc-rpdu2": {
        "power_w": (APC + "4.3.1.5.1", 10.0),
        "energy_kwh": (APC + "4.3.1.9.1", 0.1),
        "apparent_power_va": (APC + "4.3.1.16.1", 10.0),
        "power_factor": (APC + "4.3.1.17.1", 0.01),
        "current_a.2": (APC + "6.3.1.5.2", 0.1),
        "voltage_v.2": (APC + "6.3.1.6.2", 1.0),
        "line_power_w.2": (APC + "6.3.1.7.2", 10.0),
        "outlet_current_a.7": (APC + "9.4.3.1.6.7", 0.1),
        "outlet_power_w.7": (APC + "9.4.3.1.7.7", 1.0),
        "outlet_on.7": (APC + "9.2.3.1.5.7", 1.0),
        "air_temp_c.1": (APC + "10.2.2.1.8.1", 0.1),
        "humidity_pct.1": (APC + "10.2.2.1.10.1", 1.0),
    },
    "apc-rpdu": {
        "power_w": (OLD + "1.16.0", 1.0),
        "current_a.1": (OLD + "2.3.1.1.2.1", 0.1),
        "current_a.3": (OLD + "2.3.1.1.2.3", 0.1),
    },
    "raritan-px": {
        "current_a": (PX + "5.2.3.1.4.1.1.1", 1.0),
        "voltage_v": (PX + "5.2.3.1.4.1.1.4", 1.0),
        "power_w": (PX + "5.2.3.1.4.1.1.5", 1.0),
        "apparent_power_va": (PX + "5.2.3.1.4.1.1.6", 1.0),
        "power_factor": (PX + "5.2.3.1.4.1.1.7", 1.0),
        "energy_kwh": (PX + "5.2.3.1.4.1.1.8", 0.001),
        "outlet_power_w.7": (PX + "5.4.3.1.4.1.7.5", 1.0),
        "outlet_on.7": (PX + "4.1.2.1.3.1.7", 1.0),
    },
    "sentry4": {
        "outlet_current_a.7": (SENTRY + "3.1.3.1.1.7", 0.01),
        "outlet_power_w.7": (SENTRY + "3.1.9.1.1.7", 1.0),
        "outlet_power_w.107": (SENTRY + "3.1.9.1.2.7", 1.0),
        "outlet_on.7": (SENTRY + "3.1.1.1.1.7", 1.0),
    },
    "geist": {
        "outlet_power_w.7": (GEIST + "6.1.12.7", 1.0),
        "outlet_on.7": (GEIST + "5.1.4.7", 1.0),
    },
    "eaton-epdu-g3": {"outlet_on.7": (EPDU + "2.0.7", 1.0)},
    "ups-mib": {
        "battery_low": (UPS + "2.1.0", 1.0),
        "on_battery_s": (UPS + "2.2.0", 1.0),
        "runtime_s": (UPS + "2.3.0", 60.0),
        "battery_charge_pct": (UPS + "2.4.0", 1.0),
        "battery_voltage_v": (UPS + "2.5.0", 0.1),
        "battery_temp_c": (UPS + "2.7.0", 1.0),
        "on_battery": (UPS + "4.1.0", 1.0),
        "frequency_hz.3": (UPS + "3.3.1.2.3", 0.1),
        "input_voltage_v.3": (UPS + "3.3.1.3.3", 1.0),
        "input_current_a.3": (UPS + "3.3.1.4.3", 0.1),
        "input_power_w.3": (UPS + "3.3.1.5.3", 1.0),
        "voltage_v.3": (UPS + "4.4.1.2.3", 1.0),
        "current_a.3": (UPS + "4.4.1.3.3", 0.1),
        "line_power_w.3": (UPS + "4.4.1.4.3", 1.0),
        "load_pct.3": (UPS + "4.4.1.5.3", 1.0),
    },
}

COMMANDS = {
    "apc-rpdu2": (APC + "9.2.4.1.5.7", {"1": 1, "0": 2}),
    "apc-rpdu": (OLD + "3.3.1.1.4.7", {"1": 1, "0": 2}),
    "raritan-px": (PX + "4.1.2.1.2.1.7", {"1": 1, "0": 0}),
    "sentry4": (SENTRY + "5.1.2.1.1.7", {"1": 1, "0": 2}),
    "geist": (GEIST + "5.1.6.7", {"1": 2, "0": 4}),
    "eaton-epdu-g3": ({"1": EPDU + "4.0.7", "0": EPDU + "3.0.7"}, {"1": 0, "0": 0}),
}
"""Outlet 7: the object, or one for each value, and the integer that switches it on (1) and off (0)."""


def point_of(profile: str, name: str) -> Point:
    found = load_profile(profile).for_unit(1).point(name)
    assert found is not None, f"{profile} has no {name}"
    return found


@pytest.mark.parametrize("name", REGISTERS)
def test_each_register_is_where_the_reference_has_it(name: str) -> None:
    profile = load_profile(name)
    assert profile.modbus is not None
    assert profile.modbus.word_order is WordOrder.HIGH_FIRST
    found = {point.name: (point.table, point.address, point.type, point.scale) for point in profile.points}
    assert found == REGISTERS[name]


@pytest.mark.parametrize(
    ("profile", "name", "register"),
    [
        *(("sunspec-203", f"current_a.{n}", 6) for n in (1, 2, 3)),
        *(("sunspec-203", f"voltage_v.{n}", 15) for n in (1, 2, 3)),
        *(("sunspec-203", f"line_power_w.{n}", 22) for n in (1, 2, 3)),
        ("sunspec-203", "frequency_hz", 17),
        ("sunspec-203", "power_w", 22),
        ("sunspec-203", "energy_kwh", 54),
        ("sunspec-704", "power_limit_pct", 54),
        ("sunspec-704", "power_setpoint_w", 55),
    ],
)
def test_each_scale_factor_is_where_the_reference_has_it(profile: str, name: str, register: int) -> None:
    assert point_of(profile, name).scale_register == register


@pytest.mark.parametrize("profile", ["danfoss-fc102", "danfoss-fc51"])
def test_the_danfoss_status_word_trips_at_bit_3_and_runs_at_bit_11(profile: str) -> None:
    assert (point_of(profile, "fault").bit, point_of(profile, "running").bit) == (3, 11)


def test_standby_is_the_inverse_of_running() -> None:
    assert point_of("carel-uc2se", "running").invert
    assert not point_of("carel-ir33", "running").invert


@pytest.mark.parametrize("name", OBJECTS)
def test_each_object_is_where_the_reference_has_it_and_in_its_unit(name: str) -> None:
    points = {wanted: point_of(name, wanted) for wanted in OBJECTS[name]}
    assert {wanted: (point.oid, point.scale) for wanted, point in points.items()} == OBJECTS[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_outlet_is_commanded_as_the_reference_says(name: str) -> None:
    rule = point_of(name, "outlet_on.7").write
    assert rule is not None
    oids, codes = COMMANDS[name]
    assert (rule.oids or rule.oid, rule.values) == (oids, codes)


def test_every_profile_of_a_product_is_held_against_the_reference() -> None:
    conventions = {name for name in profile_names() if name.startswith("generic-")}
    conventions |= {"contacts", "water-loop", "bacnet-hvac", "entity-sensor"}
    assert {*REGISTERS, *OBJECTS} == {*profile_names()} - conventions
