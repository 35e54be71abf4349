"""Every SNMP profile against an emulated agent: what it shows is what is read; switching hits one outlet."""

import pytest

from firmware_adapters.registry import misfit, open_device
from firmware_adapters.site.point_source import DictSource
from firmware_adapters.site.profile import Profile, load_profile, profile_names
from firmware_adapters.site.snmp import OUTLET, SnmpDevice
from firmware_adapters.site.snmp_emulator import SnmpAgent
from firmware_adapters.site.snmp_emulator_objects import objects_of
from firmware_adapters.transport.snmp import SnmpValue, open_link
from firmware_adapters.transport.snmp_memory import MemorySnmp
from shared.capabilities import Ability
from shared.errors import ConfigError, DeviceError, Unsupported
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import MISSING, Quality
from support.site_devices import HOST, full_source

SNMP = [name for name in profile_names() if load_profile(name).snmp is not None]
SWITCHED = [name for name in SNMP if any(p.name.startswith(OUTLET) for p in load_profile(name).writable)]
CHAINED = ("apc-rpdu2", "eaton-epdu-g3", "raritan-px", "sentry4")
"""Whose agent tells the units of a chain apart."""
SECOND_SWITCHED = ("eaton-epdu-g3", "raritan-px", "sentry4")
"""Of those, the ones whose outlets are known beyond the first unit."""
UNITS = [(name, 1) for name in SNMP] + [(name, 2) for name in CHAINED]
OUTLETS = [(name, 1) for name in SWITCHED] + [(name, 2) for name in SECOND_SWITCHED]


def source_of(profile: Profile) -> DictSource:
    """Every point; a table of sensors gets one row of each metric."""
    source = full_source(profile)
    if profile.snmp is not None and profile.snmp.sensors is not None:
        for index, found in enumerate(profile.snmp.sensors.metrics, start=1001):
            source.values[f"{found.metric}.{index}"] = round(found.low + 60.0, 1)
    return source


class Served:
    """An agent for the profile, and a driver on it."""

    def __init__(self, name: str, *, unit: int = 1) -> None:
        self.profile = load_profile(name)
        self.source = source_of(self.profile.for_unit(unit))
        self.agent = SnmpAgent(HOST, 0, self.profile, self.source, unit=unit, largest=8000)
        self._unit = unit

    async def __aenter__(self) -> SnmpDevice:
        await self.agent.start()
        assert self.profile.snmp is not None
        link = open_link(HOST, self.agent.port, "private", max_oids=self.profile.snmp.max_oids)
        self.device = SnmpDevice(self.profile, link, timeout_s=1, may_write=True, unit=self._unit)
        return self.device

    async def __aexit__(self, *_: object) -> None:
        await self.device.close()
        await self.agent.stop()


@pytest.mark.parametrize(("name", "unit"), UNITS)
async def test_what_the_agent_has_is_what_is_read(name: str, unit: int) -> None:
    served = Served(name, unit=unit)
    async with served as device:
        for _ in range(2):
            seen = (await device.read()).readings
            assert set(seen) == set(served.source.values)
            for point, expected in served.source.values.items():
                assert seen[point].value == pytest.approx(expected, abs=0.011), point
                assert seen[point].quality is Quality.GOOD


@pytest.mark.parametrize(("name", "unit"), OUTLETS)
async def test_switching_hits_the_outlet_and_no_other(name: str, unit: int) -> None:
    served = Served(name, unit=unit)
    outlets = [point for point in served.source.values if point.startswith(OUTLET)]
    for point in outlets:
        served.source.values[point] = 1.0
    async with served as device:
        facts = await device.facts()
        (declared,) = (c for c in facts.capabilities if c.ability is Ability.OUTLETS)
        assert set(declared.points) == set(outlets)
        for point in (outlets[0], outlets[-1]):
            number = int(point.removeprefix(OUTLET))
            for on in (False, True):
                await device.switch_outlet(number, on=on)
                assert served.source.writes[-1] == (point, float(on))
                seen = (await device.read()).readings
                assert seen[point].value == float(on)
                assert all(seen[other].value == 1.0 for other in outlets if other != point)
        assert len(served.source.writes) == 4


def device_of(name: str, objects: dict[str, SnmpValue], *, unit: int) -> tuple[SnmpDevice, MemorySnmp]:
    link = MemorySnmp(objects)
    return SnmpDevice(load_profile(name), link, timeout_s=1, may_write=True, unit=unit), link


def pdu(name: str, unit_id: int) -> DeviceEntry:
    kind = load_profile(name).kind
    return DeviceEntry(
        id=DeviceId("pdu-2"),
        kind=kind,
        adapter="snmp",
        host="127.0.0.1",
        port=161,
        zone=ZoneId("hall"),
        profile=name,
        unit_id=unit_id,
    )


@pytest.mark.parametrize("name", sorted({*SNMP} - {*CHAINED}))
@pytest.mark.parametrize("unit", [2, 9])
def test_a_second_unit_of_what_knows_no_chain_is_refused_and_not_taken_for_the_first(
    name: str, unit: int
) -> None:
    """It would read the first unit, switch the first unit, and the first unit's outlet would confirm it."""
    with pytest.raises(ConfigError, match=f"pdu-2: unit_id is {unit}, and the profile of .* knows no chain"):
        open_device(pdu(name, unit), None, timeout_s=1)
    with pytest.raises(ConfigError, match="knows no chain"):
        device_of(name, {}, unit=unit)
    assert "knows no chain" in (misfit(pdu(name, unit), load_profile(name)) or "")


@pytest.mark.parametrize("name", SNMP)
@pytest.mark.parametrize("unit", [0, -3])
def test_the_units_of_a_chain_count_from_one(name: str, unit: int) -> None:
    with pytest.raises(ConfigError, match=f"unit_id is {unit}, expected 1 or more"):
        open_device(pdu(name, unit), None, timeout_s=1)
    with pytest.raises(ConfigError, match="expected 1 or more"):
        device_of(name, {}, unit=unit)
    assert "expected 1 or more" in (misfit(pdu(name, unit), load_profile(name)) or "")


@pytest.mark.parametrize(("name", "unit"), UNITS)
def test_every_unit_that_a_profile_knows_may_be_named(name: str, unit: int) -> None:
    assert misfit(pdu(name, unit), load_profile(name)) is None


RPDU2 = "1.3.6.1.4.1.318.1.1.26."


async def test_a_chained_apc_has_its_own_power_and_none_of_the_first_units_phases_and_outlets() -> None:
    objects: dict[str, SnmpValue] = {
        RPDU2 + "4.3.1.5.1": 121,
        RPDU2 + "4.3.1.5.2": 777,
        RPDU2 + "6.3.1.5.1": 30,
        RPDU2 + "9.2.3.1.5.5": 2,
        RPDU2 + "9.2.4.1.5.5": 1,
    }
    first, _ = device_of("apc-rpdu2", dict(objects), unit=1)
    second, link = device_of("apc-rpdu2", dict(objects), unit=2)
    seen = (await first.read()).readings
    assert (seen["power_w"].value, seen["current_a.1"].value, seen["outlet_on.5"].value) == (1210.0, 3.0, 1.0)
    assert {name: one.value for name, one in (await second.read()).readings.items()} == {"power_w": 7770.0}
    assert {c.ability for c in (await second.facts()).capabilities} == {Ability.TELEMETRY}
    with pytest.raises(Unsupported, match="unit 2 of a chain has no outlet 5"):
        await second.switch_outlet(5, on=False)
    assert link.sets == []


SENTRY = "1.3.6.1.4.1.1718.4.1."


@pytest.mark.parametrize("unit", [1, 2])
async def test_a_sentry_of_two_cords_draws_what_both_draw(unit: int) -> None:
    """`Sample.values` takes the mean of what has one name: of two cords' `power_w` that would be half."""
    objects: dict[str, SnmpValue] = {
        f"{SENTRY}3.3.1.3.{unit}.1": 1200,
        f"{SENTRY}3.3.1.3.{unit}.2": 800,
        f"{SENTRY}4.3.1.3.{unit}.1.3": 512,
        f"{SENTRY}4.3.1.3.{unit}.2.1": 344,
        f"{SENTRY}5.3.1.3.{unit}.1.2": 2301,
    }
    device, _ = device_of("sentry4", objects, unit=unit)
    assert {name: one.value for name, one in (await device.read()).readings.items()} == {
        "line_power_w.1": 1200.0,
        "line_power_w.2": 800.0,
        "power_w": 2000.0,
        "current_a.3": 5.12,
        "current_a.101": 3.44,
        "voltage_v.2": 230.1,
    }


async def test_a_raritan_of_three_phases_tells_its_poles() -> None:
    poles: dict[str, SnmpValue] = {}
    for n, (tenths, volts) in enumerate(((31, 229), (42, 230), (53, 231)), start=1):
        poles |= {f"{RARITAN}5.2.4.1.4.1.1.{n}.1": tenths, f"{RARITAN}3.3.6.1.7.1.1.{n}.1": 1}
        poles |= {f"{RARITAN}5.2.4.1.4.1.1.{n}.4": volts, f"{RARITAN}3.3.6.1.7.1.1.{n}.4": 0}
    device, _ = device_of("raritan-px", {VALUE: 2800, DIGITS: 0, **poles}, unit=1)
    seen = (await device.read()).readings
    assert {name: one.value for name, one in seen.items()} == {
        "power_w": 2800.0,
        **{f"current_a.{n}": amperes for n, amperes in enumerate((3.1, 4.2, 5.3), start=1)},
        **{f"voltage_v.{n}": volts for n, volts in enumerate((229.0, 230.0, 231.0), start=1)},
    }


@pytest.mark.parametrize("name", SWITCHED)
async def test_a_metered_tier_has_no_outlets_and_no_zeros(name: str) -> None:
    profile = load_profile(name)
    served = Served(name)
    served.source.values = {
        point: value for point, value in served.source.values.items() if not point.startswith(OUTLET)
    }
    async with served as device:
        assert not any(point.startswith(OUTLET) for point in (await device.read()).readings)
        assert {c.ability for c in (await device.facts()).capabilities} == {Ability.TELEMETRY}
        with pytest.raises(Unsupported, match="no outlet 1"):
            await device.switch_outlet(1, on=False)
    assert served.source.writes == []
    assert profile.kind == "pdu"


@pytest.mark.parametrize("name", SWITCHED)
async def test_state_without_a_command_object_is_not_declared(name: str) -> None:
    """A view that shows states and hides commands: what cannot be written is not promised."""
    profile = load_profile(name).for_unit(1)
    objects = objects_of(profile, source_of(profile).values)
    for point in profile.writable:
        assert point.write is not None
        for oid in (point.write.oid, *point.write.oids.values()):
            if oid is not None:
                objects.pop(oid)
    held = {oid: value for oid, value in objects.items() if value is not None}
    device = SnmpDevice(profile, MemorySnmp(held), timeout_s=1, may_write=True)
    assert {c.ability for c in (await device.facts()).capabilities} == {Ability.TELEMETRY}


# ---------------------------------------------------------------- decimal digits


RARITAN = "1.3.6.1.4.1.13742.6."
VALUE, DIGITS = RARITAN + "5.2.3.1.4.1.1.5", RARITAN + "3.3.4.1.7.1.1.5"


async def power_of(objects: dict[str, SnmpValue]) -> object:
    device = SnmpDevice(load_profile("raritan-px"), MemorySnmp(objects), timeout_s=1, may_write=False)
    return (await device.read()).readings["power_w"]


@pytest.mark.parametrize(("digits", "watts"), [(0, 1234.0), (1, 123.4), (3, 1.234)])
async def test_a_number_is_divided_by_its_digits(digits: int, watts: float) -> None:
    reading = await power_of({VALUE: 1234, DIGITS: digits})
    assert getattr(reading, "value", None) == watts


@pytest.mark.parametrize("digits", [None, -1, 40, "two", b"\x01", 0.5])
async def test_without_digits_that_make_sense_the_number_is_unknown(digits: SnmpValue | None) -> None:
    objects: dict[str, SnmpValue] = {VALUE: 1234}
    if digits is not None:
        objects[DIGITS] = digits
    reading = await power_of(objects)
    assert (getattr(reading, "value", 0), getattr(reading, "quality", None)) == (None, Quality.SENSOR_ERROR)


@pytest.mark.parametrize("state", [0, 1, 9, 10, 13, 14, -1])
async def test_a_state_between_on_and_off_is_neither(state: int) -> None:
    objects: dict[str, SnmpValue] = {VALUE: 1, DIGITS: 0, RARITAN + "4.1.2.1.3.1.1": state}
    device = SnmpDevice(load_profile("raritan-px"), MemorySnmp(objects), timeout_s=1, may_write=False)
    assert (await device.read()).readings["outlet_on.1"].value is None


# ---------------------------------------------------------------- sensor tables


TABLE = "1.3.6.1.2.1.99.1.1.1."


def row(index: int, *fields: SnmpValue) -> dict[str, SnmpValue]:
    return {f"{TABLE}{column}.{index}": value for column, value in enumerate(fields, start=1)}


def sensors(*rows: dict[str, SnmpValue], uptime: int = 1000) -> tuple[SnmpDevice, MemorySnmp]:
    objects: dict[str, SnmpValue] = {"1.3.6.1.2.1.1.3.0": uptime}
    for fields in rows:
        objects |= fields
    link = MemorySnmp(objects)
    return SnmpDevice(load_profile("entity-sensor"), link, timeout_s=1, may_write=False), link


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ((8, 9, 1, 234, 1), "air_temp_c.7", 23.4),
        ((8, 8, 0, 23400, 1), "air_temp_c.7", 23.4),
        ((8, 9, 0, -12, 1), "air_temp_c.7", -12.0),
        ((9, 9, 0, 45, 1), "humidity_pct.7", 45.0),
        ((6, 10, 2, 121, 1), "power_w.7", 1210.0),
        ((5, 8, 0, 1790, 1), "current_a.7", 1.79),
        ((3, 8, -3, 229_900, 1), "voltage_v.7", 229.9),
        ((10, 9, 0, 5880, 1), "fan_rpm.7", 5880.0),
        ((11, 9, 1, 125, 1), "airflow_m3h.7", 750.0),
    ],
)
async def test_a_row_says_what_it_measures(fields: tuple[int, ...], name: str, value: float) -> None:
    device, _ = sensors(row(7, *fields))
    assert {found: reading.value for found, reading in (await device.read()).readings.items()} == {
        name: pytest.approx(value)
    }


@pytest.mark.parametrize(
    ("value", "status", "quality"),
    [
        (234, 2, Quality.MISSING),
        (234, 3, Quality.SENSOR_ERROR),
        (234, 9, Quality.SENSOR_ERROR),
        (1_000_000_000, 1, Quality.MISSING),
        (-1_000_000_000, 1, Quality.MISSING),
        (99_999, 1, Quality.OUT_OF_RANGE),
        (b"hot", 1, Quality.SENSOR_ERROR),
    ],
)
async def test_a_row_that_does_not_work_has_no_number(
    value: SnmpValue, status: int, quality: Quality
) -> None:
    device, _ = sensors(row(7, 8, 9, 1, value, status))
    reading = (await device.read()).readings["air_temp_c.7"]
    assert (reading.value, reading.quality) == (None, quality)


async def test_rows_of_other_kinds_and_broken_rows_are_left_out() -> None:
    device, _ = sensors(
        row(1, 12, 9, 0, 1, 1),
        row(2, 8, 99, 0, 20, 1),
        row(3, 8, 9, b"x", 20, 1),
        row(4, b"x", 9, 0, 20, 1),
        row(5, 8, 9, 0, 20, 1),
    )
    assert set((await device.read()).readings) == {"air_temp_c.5"}


async def test_a_device_without_any_row_is_unsupported() -> None:
    device, _ = sensors()
    with pytest.raises(Unsupported):
        await device.read()


async def test_a_row_that_vanishes_is_missing() -> None:
    device, link = sensors(row(7, 8, 9, 1, 234, 1), row(8, 8, 9, 1, 111, 1))
    await device.read()
    del link.objects[f"{TABLE}4.7"]
    assert (await device.read()).readings["air_temp_c.7"] == MISSING


async def test_an_agent_that_starts_anew_may_number_its_rows_in_another_way() -> None:
    device, link = sensors(row(7, 8, 9, 1, 234, 1), row(8, 9, 9, 0, 45, 1), uptime=9000)
    assert (await device.read()).readings["air_temp_c.7"].value == 23.4
    walks = len(link.walks)
    await device.read()
    assert len(link.walks) == walks, "what was learnt is kept"
    link.objects |= row(7, 9, 9, 0, 46, 1) | row(8, 8, 9, 1, 235, 1)
    link.objects["1.3.6.1.2.1.1.3.0"] = 5
    seen = (await device.read()).readings
    assert {name: reading.value for name, reading in seen.items()} == {
        "humidity_pct.7": 46.0,
        "air_temp_c.8": 23.5,
    }


async def test_more_rows_than_the_profile_takes_is_a_failure_and_not_a_part_of_them() -> None:
    device, _ = sensors(*(row(n, 8, 9, 1, 200, 1) for n in range(1, 502)))
    with pytest.raises(DeviceError):
        await device.read()
