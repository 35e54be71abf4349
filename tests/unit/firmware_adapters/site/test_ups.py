"""The UPS profile against real agents' answers, and over the wire against the emulated one.

The answers are excerpts of the walks in snmpsim-data 1.0.1 (`data/UPS/`, BSD-2-Clause).
"""

import pytest

from firmware_adapters.site.point_source import DictSource
from firmware_adapters.site.profile import load_profile
from firmware_adapters.site.snmp import SnmpDevice
from firmware_adapters.site.snmp_emulator import SnmpAgent
from firmware_adapters.transport.snmp import SnmpValue, open_link
from firmware_adapters.transport.snmp_memory import MemorySnmp
from shared.errors import AuthFailed, DeviceError, Unsupported
from shared.telemetry import Quality

UPS = "1.3.6.1.2.1.33.1."
STATUS, ON_FOR, MINUTES, CHARGE, BATTERY_C = (UPS + f"2.{n}.0" for n in (1, 2, 3, 4, 7))
IN_V, SOURCE = UPS + "3.3.1.3.1", UPS + "4.1.0"
OUT_V, OUT_A, OUT_W, OUT_PCT = (UPS + f"4.4.1.{n}.1" for n in (2, 3, 4, 5))

EATON_93E = {
    STATUS: 2,
    ON_FOR: 0,
    MINUTES: 1092,
    CHARGE: 100,
    BATTERY_C: 25,
    IN_V: 227,
    SOURCE: 3,
    OUT_V: 220,
    OUT_A: 270,
    OUT_W: 5100,
}
HUAWEI_GSE200M = {
    STATUS: 2,
    ON_FOR: 0,
    MINUTES: -1,
    CHARGE: -1,
    BATTERY_C: -1,
    IN_V: 2369,
    SOURCE: 3,
    OUT_V: 2199,
    OUT_A: 183,
    OUT_W: 34,
    OUT_PCT: 8,
}
PHOENIXTEC = {STATUS: 2, ON_FOR: 0, MINUTES: 0, CHARGE: 100, BATTERY_C: 31, IN_V: 238, SOURCE: 3, OUT_V: 231}


def ups(objects: dict[str, SnmpValue]) -> SnmpDevice:
    return SnmpDevice(load_profile("ups-mib"), MemorySnmp(objects), timeout_s=1, may_write=False)


async def test_an_eaton_as_it_answers() -> None:
    seen = (await ups(dict(EATON_93E)).read()).readings
    assert {name: reading.value for name, reading in seen.items()} == {
        "on_battery": 0.0,
        "battery_low": 0.0,
        "runtime_s": 1092 * 60.0,
        "battery_charge_pct": 100.0,
        "on_battery_s": 0.0,
        "battery_temp_c": 25.0,
        "input_voltage_v": 227.0,
        "voltage_v": 220.0,
        "current_a": 27.0,
        "power_w": 5100.0,
    }


async def test_a_huawei_that_does_not_know_and_counts_tenths_of_volts() -> None:
    """-1 is no runtime, and 2369 V is no voltage: neither becomes a number."""
    seen = (await ups(dict(HUAWEI_GSE200M)).read()).readings
    assert seen["on_battery"].value == 0.0
    for name in ("runtime_s", "battery_charge_pct", "battery_temp_c"):
        assert (seen[name].value, seen[name].quality) == (None, Quality.MISSING), name
    for name in ("input_voltage_v", "voltage_v"):
        assert (seen[name].value, seen[name].quality) == (None, Quality.OUT_OF_RANGE), name


async def test_a_phoenixtec_promises_nothing_while_mains_are_there() -> None:
    seen = (await ups(dict(PHOENIXTEC)).read()).readings
    assert (seen["on_battery"].value, seen["runtime_s"].value) == (0.0, 0.0)
    assert "load_pct" not in seen


@pytest.mark.parametrize(
    ("source", "on_battery"),
    [
        (1, None),
        (2, None),
        (3, 0.0),
        (4, 0.0),
        (5, 1.0),
        (6, 0.0),
        (7, 0.0),
        (8, None),
        (0, None),
        (-1, None),
    ],
)
async def test_only_battery_is_battery_and_no_answer_is_unknown(
    source: int, on_battery: float | None
) -> None:
    reading = (await ups(EATON_93E | {SOURCE: source}).read()).readings["on_battery"]
    assert reading.value == on_battery
    assert (reading.quality is Quality.SENSOR_ERROR) == (on_battery is None)


@pytest.mark.parametrize(("status", "low"), [(1, None), (2, 0.0), (3, 1.0), (4, 1.0), (5, None)])
async def test_a_battery_of_unknown_state_is_not_a_good_one(status: int, low: float | None) -> None:
    assert (await ups(EATON_93E | {STATUS: status}).read()).readings["battery_low"].value == low


async def test_an_agent_without_a_mandatory_object_leaves_it_unknown() -> None:
    objects = dict(EATON_93E)
    del objects[MINUTES]
    assert (await ups(objects).read()).readings["runtime_s"].quality is Quality.MISSING


@pytest.mark.parametrize("backend", ["gufo", "pysnmp"])
async def test_over_the_wire_and_back(backend: str) -> None:
    profile = load_profile("ups-mib")
    source = DictSource(
        {"on_battery": 1.0, "battery_low": 0.0, "runtime_s": 540.0, "battery_charge_pct": 61.0}
    )
    agent = SnmpAgent("127.0.0.1", 0, profile, source)
    await agent.start()
    link = open_link("127.0.0.1", agent.port, "public", max_oids=20, backend=backend)
    device = SnmpDevice(profile, link, timeout_s=0.4, may_write=False)
    try:
        seen = (await device.read()).readings
        assert {name: reading.value for name, reading in seen.items()} == source.values
        with pytest.raises((Unsupported, AuthFailed)):
            await device.switch_outlet(1, on=False)
        agent.dark = True
        with pytest.raises(DeviceError):
            await device.read()
    finally:
        await device.close()
        await agent.stop()
