"""The Modbus driver: in memory for its decisions, over sockets against the emulator for everything else."""

import asyncio
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_adapters.capabilities import PROTOCOL_OF, PointControl, Telemetry
from firmware_adapters.registry import open_device
from firmware_adapters.site.modbus import ModbusDevice
from firmware_adapters.site.modbus_emulator import Misbehaviour, ModbusFault
from firmware_adapters.site.point_source import DictSource
from firmware_adapters.site.profile import load_profile, profile_names
from firmware_adapters.transport.modbus import ModbusLink
from firmware_adapters.transport.modbus_memory import MemoryModbus
from firmware_adapters.transport.modbus_plan import Span, Table
from shared.capabilities import Ability
from shared.errors import (
    Busy,
    ConfigError,
    DeviceError,
    DeviceTimeout,
    MalformedReply,
    Unreachable,
    Unsupported,
)
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind, Quality
from support.site_devices import full_source, served_unit

MODBUS = [name for name in profile_names() if load_profile(name).modbus is not None]


def driver(name: str, link: ModbusLink) -> ModbusDevice:
    return ModbusDevice(load_profile(name), link, unit=1, timeout_s=1)


def filled(name: str) -> MemoryModbus:
    """A unit on which every register of every table is there and reads 0."""
    link = MemoryModbus()
    for point in load_profile(name).points:
        link.put(1, point.span.table, max(0, point.span.address - 20), *([0] * 60))
    return link


@pytest.mark.parametrize("name", MODBUS)
@pytest.mark.parametrize("holes", [False, True])
async def test_reads_back_every_point_of_the_profile(name: str, holes: bool) -> None:
    async with served_unit(name, holes=holes) as served:
        device = served.driver()
        for _ in range(2):
            seen = (await device.read()).readings
            assert set(seen) == set(served.source.values)
            for point, value in served.source.values.items():
                assert seen[point].quality is Quality.GOOD
                scaled = served.profile.point(point).scale_register is not None  # type: ignore[union-attr]  # a missing point fails the test just so
                exact = 1e-3 if scaled else 1e-5  # 16 bits and a power of ten hold four digits
                assert seen[point].value == pytest.approx(value, rel=exact, abs=1e-3 if scaled else 1e-6)


@pytest.mark.parametrize("name", MODBUS)
async def test_every_writable_point_takes_its_bounds_and_shows_them(name: str) -> None:
    async with served_unit(name) as served:
        device = served.driver()
        for point in served.profile.writable:
            assert point.write is not None
            for value in (point.write.low, point.write.high):
                await device.write_point(point.name, value)
                read = (await device.read()).readings[point.name].value
                assert read == pytest.approx(value, abs=abs(point.scale))


async def test_a_range_with_a_hole_is_split_once_and_for_all() -> None:
    async with served_unit("danfoss-fc102", holes=True) as served:
        device = served.driver()
        await device.read()
        first = served.emulator.requests
        await device.read()
        second = served.emulator.requests - first
        await device.read()
        assert served.emulator.requests - first - second == second < first


async def test_a_speed_command_starts_the_drive() -> None:
    async with served_unit("danfoss-fc102") as served:
        await served.driver().write_point("speed_setpoint_pct", 62.5)
        assert served.source.writes == [("speed_setpoint_pct", 62.5)]
        assert served.source.registers == {49999: 0x047C}


@pytest.mark.parametrize("runs", [False, True])
async def test_an_abb_drive_gets_its_starting_edge_only_where_it_does_not_run(runs: bool) -> None:
    """0x047E ramps a running drive down; one that stands does not start without it (plant.md §6)."""
    link = filled("abb-drives")
    link.put(1, Table.HOLDING, 3, 0x0004 if runs else 0)
    await driver("abb-drives", link).write_point("speed_setpoint_pct", 50.0)
    told = [(address, value) for _, _, address, value in link.writes]
    edge = [] if runs else [(0, 0x047E)]
    assert told == [*edge, (1, 10_000), (0, 0x047F)]


@pytest.mark.parametrize(
    "failure",
    [Busy("not now"), Unsupported("no such register"), DeviceTimeout("silent"), Unreachable("gone")],
)
async def test_a_drive_whose_status_is_unknown_gets_the_reference_and_no_edge(failure: DeviceError) -> None:
    """It may be running, and a fan that runs must not be stopped by the command that is to speed it up."""
    link = filled("abb-drives")
    link.failures.append(failure)
    await driver("abb-drives", link).write_point("speed_setpoint_pct", 100.0)
    assert [(address, value) for _, _, address, value in link.writes] == [(1, 20_000), (0, 0x047F)]


class Words(DictSource):
    """A drive that keeps every register it is told, in order."""

    def __init__(self, values: dict[str, float]) -> None:
        super().__init__(values)
        self.told: list[tuple[int, int]] = []

    def write_register(self, address: int, value: int) -> None:
        self.told.append((address, value))
        super().write_register(address, value)


@pytest.mark.parametrize(("running", "edge"), [(1.0, []), (0.0, [(0, 0x047E)])])
async def test_a_drive_that_answers_again_is_asked_for_its_status_though_its_breaker_is_open(
    running: float, edge: list[tuple[int, int]]
) -> None:
    """The breaker refuses without asking: that once was taken for "does not run" and stopped the fan."""
    points = {"speed_setpoint_pct": 50.0, "speed_pct": 50.0, "running": running, "fault": 0.0}
    source = Words(points)
    async with served_unit("abb-drives", source=source) as served:
        device = served.driver()
        served.emulator.dark.add(1)
        for _ in range(3):
            with pytest.raises(DeviceTimeout):
                await device.read()
        served.emulator.dark.clear()
        with pytest.raises(DeviceTimeout, match="next probe"):
            await device.read()
        await served.driver(timeout_s=10.0).write_point("speed_setpoint_pct", 100.0)
        assert source.told == [*edge, (0, 0x047F)]
        assert source.writes == [("speed_setpoint_pct", 100.0)]


async def test_a_scale_that_a_write_needs_is_read_past_the_breaker_too() -> None:
    """A SunSpec limit is written in the steps that the device says; its safe side waits for no probe."""
    async with served_unit("sunspec-704") as served:
        device = served.driver()
        served.emulator.dark.add(1)
        for _ in range(3):
            with pytest.raises(DeviceTimeout):
                await device.read()
        served.emulator.dark.clear()
        await served.driver(timeout_s=10.0).write_point("power_limit_pct", 0.0)
        assert served.source.writes == [("power_limit_pct", 0.0)]


async def test_codes_are_written_as_codes_and_a_value_without_one_is_refused() -> None:
    async with served_unit("danfoss-ekc202d") as served:
        device = served.driver()
        for value in (0.0, 1.0):
            await device.write_point("running", value)
            assert (await device.read()).readings["running"].value == value
        with pytest.raises(Unsupported, match="none of 0, 1"):
            await device.write_point("running", 0.5)


async def test_a_code_that_the_profile_does_not_know_is_a_sensor_error() -> None:
    link = filled("danfoss-ekc202d")
    for code, value in ((0, 0.0), (1, 1.0), (0xFFFF, 0.0)):
        link.put(1, Table.HOLDING, 116, code)
        assert (await driver("danfoss-ekc202d", link).read()).readings["running"].value == value
    link.put(1, Table.HOLDING, 116, 7)
    seen = (await driver("danfoss-ekc202d", link).read()).readings["running"]
    assert (seen.value, seen.quality) == (None, Quality.SENSOR_ERROR)


async def test_a_64_bit_counter_and_a_kilowatt_come_out_in_our_units() -> None:
    link = filled("schneider-pm5xxx")
    link.put(1, Table.HOLDING, 3059, 0x41C8, 0x0000)  # 25.0 kW
    link.put(1, Table.HOLDING, 3203, 0, 0, 0x0001, 0x86A0)  # 100,000 Wh
    seen = (await driver("schneider-pm5xxx", link).read()).readings
    assert seen["power_w"].value == 25_000.0
    assert seen["energy_kwh"].value == 100.0
    link.put(1, Table.HOLDING, 3203, 0x8000, 0, 0, 0)
    assert (await driver("schneider-pm5xxx", link).read()).readings["energy_kwh"].quality is Quality.MISSING


async def test_a_written_value_is_read_back_from_the_device_and_not_from_memory() -> None:
    """A device that takes a write and does something else shows it at the next read."""
    async with served_unit("carel-ir33") as served:
        device = served.driver()
        await device.write_point("setpoint_c", 25.0)
        assert (await device.read()).readings["setpoint_c"].value == 25.0
        served.source.values["setpoint_c"] = 31.0
        assert (await device.read()).readings["setpoint_c"].value == 31.0
        served.emulator.units[1].deaf = True
        await device.write_point("setpoint_c", 20.0)
        assert (await device.read()).readings["setpoint_c"].value == 31.0


@pytest.mark.parametrize(
    ("point", "value"),
    [
        ("speed_setpoint_pct", 100.5),
        ("speed_setpoint_pct", -1),
        ("speed_setpoint_pct", math.nan),
        ("speed_setpoint_pct", math.inf),
        ("speed_pct", 50),
        ("nonsense", 1),
    ],
)
async def test_what_the_profile_does_not_allow_is_never_sent(point: str, value: float) -> None:
    link = filled("danfoss-fc102")
    with pytest.raises(Unsupported):
        await driver("danfoss-fc102", link).write_point(point, value)
    assert link.writes == []


async def test_normally_closed_contacts_read_unsafe_when_open() -> None:
    """Input 0 = 0 is a pressed button, a cut wire or a dead supply: all of them must read as pressed."""
    link = MemoryModbus()
    link.put(1, Table.DISCRETE, 0, 0, 1)
    seen = (await driver("contacts", link).read()).readings
    assert seen["estop_pressed"].value == 1.0
    assert seen["door_open"].value == 0.0


async def test_a_probe_that_says_it_has_no_sensor_is_missing() -> None:
    link = filled("carel-ir33")
    link.put(1, Table.INPUT, 403, 32767)
    seen = (await driver("carel-ir33", link).read()).readings
    assert seen["air_temp_c.1"].value is None
    assert seen["air_temp_c.1"].quality is Quality.MISSING


async def test_an_impossible_value_is_out_of_range_and_carries_no_number() -> None:
    link = filled("xy-md02")
    link.put(1, Table.INPUT, 1, 2550, 500)  # 255.0 °C: a broken sensor's favourite
    seen = (await driver("xy-md02", link).read()).readings
    assert (seen["air_temp_c"].value, seen["air_temp_c"].quality) == (None, Quality.OUT_OF_RANGE)
    assert seen["humidity_pct"].value == 50.0


async def test_a_mandatory_point_that_the_device_lacks_is_missing_and_an_optional_one_is_left_out() -> None:
    values = dict(full_source(load_profile("danfoss-fc102")).values)
    del values["speed_pct"], values["frequency_hz"]
    async with served_unit("danfoss-fc102", source=DictSource(values)) as served:
        seen = (await served.driver().read()).readings
        assert seen["speed_pct"].value is None
        assert seen["speed_pct"].quality is Quality.MISSING
        assert "frequency_hz" not in seen
        assert seen["running"].value == values["running"]


async def test_a_device_of_another_model_is_unsupported() -> None:
    with pytest.raises(Unsupported):
        await driver("eastron-sdm630", MemoryModbus()).read()


@pytest.mark.parametrize("error", [Unreachable("x"), DeviceTimeout("x"), MalformedReply("x")])
async def test_a_failure_to_talk_fails_the_whole_read(error: DeviceError) -> None:
    link = filled("danfoss-fc102")
    link.failures.extend([None, error])
    with pytest.raises(type(error)):
        await driver("danfoss-fc102", link).read()


async def test_a_read_ends_in_time_though_each_of_its_requests_is_just_in_time() -> None:
    """Three ranges and their pieces, each at 0.6 of its deadline, would take longer than a read may."""

    class Slow(MemoryModbus):
        async def read(
            self, unit: int, span: Span, *, timeout_s: float, forced: bool = False
        ) -> tuple[int, ...]:
            await asyncio.sleep(0.6 * timeout_s)
            return await super().read(unit, span, timeout_s=timeout_s, forced=forced)

    link = Slow()
    link.put(1, Table.HOLDING, 50209, 0)  # the rest does not exist, so ranges are taken apart
    device = ModbusDevice(load_profile("danfoss-fc102"), link, unit=1, timeout_s=0.2)
    with pytest.raises(DeviceTimeout, match="no whole reading"):
        await device.read()
    assert (await device.read()).readings["speed_pct"].value == 0.0, "what it learnt it keeps"


async def test_a_busy_part_is_missing_and_the_rest_is_read() -> None:
    link = filled("danfoss-fc102")
    link.failures.extend([Busy("later")])
    seen = (await driver("danfoss-fc102", link).read()).readings
    assert "frequency_hz" not in seen
    assert seen["speed_pct"].value == 0.0


@settings(max_examples=200)
@given(
    st.lists(
        st.sampled_from(
            [
                None,
                None,
                Busy("b"),
                Unsupported("u"),
                Unreachable("x"),
                DeviceTimeout("t"),
                MalformedReply("m"),
            ]
        ),
        max_size=14,
    )
)
async def test_no_failed_request_ever_yields_a_number(failures: list[DeviceError | None]) -> None:
    """Registers that were really read hold 1234; whatever fails in between, no other number comes out."""
    name = "eastron-sdm630"
    link = MemoryModbus()
    for point in load_profile(name).points:
        link.put(1, point.span.table, point.span.address, 0x3F80, 0x0000)  # 1.0 as float32
    device = driver(name, link)
    for start in range(0, len(failures), 4):
        link.failures.clear()
        link.failures.extend(failures[start : start + 4])
        try:
            seen = (await device.read()).readings
        except DeviceError:
            continue
        for point_name, reading in seen.items():
            point = device._profile.point(point_name)
            assert point is not None
            low, high = point.bounds
            expected = 1.0 if low <= 1.0 <= high else None
            assert reading.value in (None, expected)
            assert (reading.value is None) == (not reading.quality.usable)


@pytest.mark.parametrize("kind", [kind for kind in Misbehaviour if kind is not Misbehaviour.TWICE])
async def test_no_misbehaviour_on_the_wire_yields_a_number(kind: Misbehaviour) -> None:
    async with served_unit("xy-md02") as served:
        served.emulator.faults[1] = ModbusFault(kind, delay_s=0.2)
        device = served.driver(timeout_s=0.05)
        for _ in range(3):
            with pytest.raises(DeviceError):
                await device.read()


# ---------------------------------------------------------------- as the registry opens it


def entry(**changes: object) -> DeviceEntry:
    fields: dict[str, object] = {
        "id": DeviceId("wall-1"),
        "kind": DeviceKind.DRIVE,
        "adapter": "modbus",
        "host": "127.0.0.1",
        "port": 15020,
        "zone": ZoneId("hall"),
        "profile": "danfoss-fc102",
    }
    return DeviceEntry(**(fields | changes))  # type: ignore[arg-type]  # keyword pairs of a test


async def test_the_registry_opens_it_and_it_does_what_it_declares() -> None:
    device = open_device(entry(), None, timeout_s=1)
    assert isinstance(device, Telemetry)
    assert device.kind is DeviceKind.DRIVE
    facts = await device.facts()
    abilities = {capability.ability for capability in facts.capabilities}
    assert abilities == {Ability.TELEMETRY, Ability.SETPOINT, Ability.WATCHDOG}
    for capability in facts.capabilities:
        assert isinstance(device, PROTOCOL_OF[capability.ability])
    (setpoint,) = [c for c in facts.capabilities if c.ability is Ability.SETPOINT]
    assert (setpoint.points, setpoint.low, setpoint.high) == (("speed_setpoint_pct",), 0.0, 100.0)
    assert isinstance(device, PointControl)
    await device.close()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"profile": None}, "needs a profile"),
        ({"unit_id": 300}, "0 to 255"),
        ({"host": "/dev/ttyUSB0"}, "needs adapter"),
        ({"host": "/dev/ttyUSB0", "adapter": "modbus-rtu"}, "serial = "),
        ({"host": "/dev/ttyUSB0", "adapter": "modbus-rtu", "serial": "fast"}, "wall-1: serial: 'fast'"),
        ({"profile": "./gone.toml"}, "cannot be read"),
        ({"profile": "nobody-knows"}, "no device profile"),
        ({"kind": DeviceKind.METER}, "is a drive, not a meter"),
        ({"profile": "apc-rpdu2", "kind": DeviceKind.PDU}, "not for Modbus"),
    ],
)
def test_a_wrong_entry_is_refused_at_once(changes: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        open_device(entry(**changes), None, timeout_s=1)
