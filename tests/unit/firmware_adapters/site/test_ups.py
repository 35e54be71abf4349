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
        "input_voltage_v.1": 227.0,
        "voltage_v.1": 220.0,
        "current_a.1": 27.0,
        "line_power_w.1": 5100.0,
        "power_w": 5100.0,
    }, "one line: the second and third are absent, not zero"


LINES: dict[str, tuple[int, int, int]] = {
    "3.3.1.2": (499, 500, 501),
    "3.3.1.3": (229, 230, 231),
    "3.3.1.4": (91, 92, 93),
    "3.3.1.5": (2000, 2100, 2200),
    "4.4.1.2": (220, 221, 222),
    "4.4.1.3": (80, 90, 100),
    "4.4.1.4": (1500, 1600, 1700),
    "4.4.1.5": (30, 32, 34),
    "5.3.1.2": (225, 226, 227),
}
"""A three-phase UPS as RFC 1628 has it: column of upsInput, upsOutput and upsBypass → its three rows."""


def three_phase() -> dict[str, SnmpValue]:
    rows = {f"{UPS}{at}.{n}": told for at, row in LINES.items() for n, told in enumerate(row, start=1)}
    return {STATUS: 2, ON_FOR: 0, MINUTES: 30, CHARGE: 100, SOURCE: 3} | rows


async def test_a_three_phase_ups_shows_every_line_and_the_sum_of_its_power() -> None:
    seen = (await ups(three_phase()).read()).readings

    def lines(metric: str) -> list[float | None]:
        return [seen[f"{metric}.{n}"].value for n in (1, 2, 3)]

    assert lines("frequency_hz") == [49.9, 50.0, 50.1]
    assert lines("input_voltage_v") == [229.0, 230.0, 231.0]
    assert lines("input_current_a") == [9.1, 9.2, 9.3]
    assert lines("input_power_w") == [2000.0, 2100.0, 2200.0]
    assert lines("voltage_v") == [220.0, 221.0, 222.0]
    assert lines("current_a") == [8.0, 9.0, 10.0]
    assert lines("line_power_w") == [1500.0, 1600.0, 1700.0]
    assert lines("load_pct") == [30.0, 32.0, 34.0]
    assert lines("bypass_voltage_v") == [225.0, 226.0, 227.0]
    assert seen["power_w"].value == 4800.0


async def test_the_total_is_unknown_while_one_line_is() -> None:
    seen = (await ups(three_phase() | {f"{UPS}4.4.1.4.2": -1}).read()).readings
    assert (seen["power_w"].value, seen["power_w"].quality) == (None, Quality.MISSING)
    assert seen["line_power_w.1"].value == 1500.0


async def test_the_total_is_unknown_once_a_line_vanishes() -> None:
    link = MemorySnmp(three_phase())
    device = SnmpDevice(load_profile("ups-mib"), link, timeout_s=1, may_write=False)
    assert (await device.read()).readings["power_w"].value == 4800.0
    del link.objects[f"{UPS}4.4.1.4.2"]
    assert (await device.read()).readings["power_w"].quality is Quality.MISSING


async def test_a_ups_that_tells_no_power_has_no_total() -> None:
    assert "power_w" not in (await ups(dict(PHOENIXTEC)).read()).readings


async def test_a_huawei_that_does_not_know_and_counts_tenths_of_volts() -> None:
    """-1 is no runtime, and 2369 V is no voltage: neither becomes a number."""
    seen = (await ups(dict(HUAWEI_GSE200M)).read()).readings
    assert seen["on_battery"].value == 0.0
    for name in ("runtime_s", "battery_charge_pct", "battery_temp_c"):
        assert (seen[name].value, seen[name].quality) == (None, Quality.MISSING), name
    for name in ("input_voltage_v.1", "voltage_v.1"):
        assert (seen[name].value, seen[name].quality) == (None, Quality.OUT_OF_RANGE), name


async def test_a_phoenixtec_promises_nothing_while_mains_are_there() -> None:
    seen = (await ups(dict(PHOENIXTEC)).read()).readings
    assert (seen["on_battery"].value, seen["runtime_s"].value) == (0.0, 0.0)
    assert "load_pct.1" not in seen


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
