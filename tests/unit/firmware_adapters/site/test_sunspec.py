"""SunSpec: the chain is walked and not trusted, values follow their scale factors, nothing is made up."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_adapters.site.modbus import ModbusDevice
from firmware_adapters.site.modbus_emulator import ModbusEmulator
from firmware_adapters.site.modbus_unit import ModbusUnit
from firmware_adapters.site.modbus_watchdog import ModbusWatchdogDevice
from firmware_adapters.site.point_source import DictSource
from firmware_adapters.site.profile import load_profile
from firmware_adapters.site.sunspec import MARK, Chain, find_chain, read_maker
from firmware_adapters.transport.modbus import ModbusConnection
from firmware_adapters.transport.modbus_memory import MemoryModbus
from firmware_adapters.transport.modbus_plan import Span, Table
from shared.clock import ManualClock
from shared.errors import DeviceError, MalformedReply, Unreachable, Unsupported
from shared.telemetry import MISSING
from support.site_devices import HOST

METER = load_profile("sunspec-203")
SOURCE = load_profile("sunspec-704")
BASE = 40000
BLOCK = 40002


def meter(link: MemoryModbus) -> ModbusDevice:
    return ModbusDevice(METER, link, unit=1, timeout_s=1)


def chain_of(link: MemoryModbus, *blocks: tuple[int, int], base: int = BASE) -> None:
    """Put a chain of (number, length) with zeros in it."""
    link.put(1, Table.HOLDING, base, *MARK)
    register = base + 2
    for number, length in blocks:
        link.put(1, Table.HOLDING, register, number, length, *([0] * length))
        register += 2 + length
    link.put(1, Table.HOLDING, register, 0xFFFF, 0)


def golden() -> MemoryModbus:
    """Model 203 as a meter shows 12,340 W at 50.01 Hz: registers by hand from the model's definition."""
    link = MemoryModbus()
    chain_of(link, (203, 105))
    at = {
        3: 179, 4: 181, 5: 180, 6: 0xFFFF,  # 17.9, 18.1, 18.0 A; scale factor -1
        8: 2301, 9: 2299, 10: 2305, 15: 0xFFFF,
        16: 5001, 17: 0xFFFE,
        18: 1234, 19: 411, 20: 412, 21: 411, 22: 1,
        23: 1300, 27: 1,
        28: 0xFFCE, 32: 1,  # -50 x 10
        33: 950, 37: 0xFFFF,  # 95.0 %
        46: 0x0001, 47: 0x86A0, 54: 0,  # 100,000 Wh
    }  # fmt: skip
    for offset, word in at.items():
        link.put(1, Table.HOLDING, BLOCK + offset, word)
    return link


async def test_a_meter_is_read_as_its_scale_factors_say() -> None:
    seen = (await meter(golden()).read()).readings
    assert {name: reading.value for name, reading in seen.items()} == pytest.approx(
        {
            "current_a.1": 17.9,
            "current_a.2": 18.1,
            "current_a.3": 18.0,
            "voltage_v.1": 230.1,
            "voltage_v.2": 229.9,
            "voltage_v.3": 230.5,
            "frequency_hz": 50.01,
            "power_w": 12340.0,
            "line_power_w.1": 4110.0,
            "line_power_w.2": 4120.0,
            "line_power_w.3": 4110.0,
            "apparent_power_va": 13000.0,
            "reactive_power_var": -500.0,
            "power_factor": 0.95,
            "energy_kwh": 100.0,
        }
    )


LINES = ("line_power_w.1", "line_power_w.2", "line_power_w.3")


async def test_one_request_reads_the_whole_meter_once_it_is_found() -> None:
    link = golden()
    device = meter(link)
    await device.read()
    link.requests.clear()
    await device.read()
    assert link.requests == [(1, Span(Table.HOLDING, BLOCK, 55))]


@pytest.mark.parametrize(
    ("offset", "words", "gone"),
    [
        (18, (0x8000,), {"power_w"}),
        (21, (0x8000,), {"line_power_w.3"}),
        (22, (0x8000,), {"power_w", *LINES}),
        (22, (11,), {"power_w", *LINES}),
        (46, (0, 0), {"energy_kwh"}),
        (6, (0x8000,), {"current_a.1", "current_a.2", "current_a.3"}),
        (9, (0x8000,), {"voltage_v.2"}),
    ],
)
async def test_what_is_not_implemented_is_missing_and_nothing_else_is(
    offset: int, words: tuple[int, ...], gone: set[str]
) -> None:
    link = golden()
    link.put(1, Table.HOLDING, BLOCK + offset, *words)
    seen = (await meter(link).read()).readings
    assert {name for name, reading in seen.items() if reading == MISSING} == gone


async def test_an_energy_that_a_scale_factor_blows_up_is_out_of_range_and_no_number() -> None:
    link = golden()
    link.put(1, Table.HOLDING, BLOCK + 54, 10)
    assert (await meter(link).read()).readings["energy_kwh"].value is None


# ---------------------------------------------------------------- where it stands


@pytest.mark.parametrize("base", [40000, 50000, 0])
@pytest.mark.parametrize("before", [(), ((1, 66),), ((1, 65), (120, 26), (64001, 300))])
async def test_the_model_is_found_wherever_the_chain_has_it(
    base: int, before: tuple[tuple[int, int], ...]
) -> None:
    link = MemoryModbus()
    chain_of(link, *before, (203, 105), (9, 4), base=base)
    at = base + 2 + sum(length + 2 for _, length in before)
    link.put(1, Table.HOLDING, at + 16, 5000, 0xFFFE)
    assert (await meter(link).read()).readings["frequency_hz"].value == 50.0


async def test_a_device_without_the_model_says_which_ones_it_has() -> None:
    link = MemoryModbus()
    chain_of(link, (1, 66), (101, 50))
    with pytest.raises(Unsupported, match="1, 101; wanted 203"):
        await meter(link).read()


async def test_a_device_that_speaks_no_sunspec_is_unsupported() -> None:
    link = MemoryModbus()
    link.put(1, Table.HOLDING, 40000, 1, 2)
    with pytest.raises(Unsupported, match="SunS"):
        await meter(link).read()


async def test_a_silent_device_is_looked_for_again_at_the_next_read() -> None:
    link = golden()
    link.failures.append(Unreachable("gone"))
    device = meter(link)
    with pytest.raises(Unreachable):
        await device.read()
    assert (await device.read()).readings["power_w"].value == 12340.0


@pytest.mark.parametrize("length", [0xFFFF, 60000])
async def test_a_chain_that_leads_nowhere_is_malformed(length: int) -> None:
    link = MemoryModbus()
    link.put(1, Table.HOLDING, BASE, *MARK, 7, length)
    with pytest.raises(MalformedReply, match="does not end"):
        await meter(link).read()


async def test_a_chain_of_empty_models_ends_the_search() -> None:
    link = MemoryModbus()
    link.put(1, Table.HOLDING, BASE, *MARK, *([7, 0] * 200))
    with pytest.raises(MalformedReply, match="64 models"):
        await meter(link).read()
    assert len(link.requests) == 65


async def test_registers_that_moved_are_never_read_as_the_old_ones() -> None:
    """Another firmware puts a model in front: the old place holds other numbers by then."""
    link = golden()
    device = meter(link)
    await device.read()
    link.cells.clear()
    chain_of(link, (1, 66), (203, 105))
    link.put(1, Table.HOLDING, BLOCK + 68 + 18, 777)
    with pytest.raises(MalformedReply, match="not where it was"):
        await device.read()
    assert (await device.read()).readings["power_w"].value == 777.0


async def test_what_was_learnt_of_one_device_is_not_held_against_the_next() -> None:
    """A device with holes in its model is read in pieces; the one that replaces it is read whole again."""
    link = golden()
    for offset in (12, 40):
        del link.cells[1, Table.HOLDING][BLOCK + offset]
    device = meter(link)
    assert (await device.read()).readings["power_w"].value == 12340.0
    link.cells.clear()
    chain_of(link, (1, 66), (203, 105))
    with pytest.raises(MalformedReply):
        await device.read()
    await device.read()
    link.requests.clear()
    await device.read()
    assert link.requests == [(1, Span(Table.HOLDING, BLOCK + 68, 55))]


async def test_a_float_that_is_not_a_number_is_missing_and_no_sensor_error() -> None:
    profile = load_profile("sunspec-213")
    link = MemoryModbus()
    chain_of(link, (213, 124))
    link.put(1, Table.HOLDING, BLOCK + 28, 0x4640, 0xE400)  # 12345.0
    link.put(1, Table.HOLDING, BLOCK + 26, 0x7FC0, 0x0000)
    seen = (await ModbusDevice(profile, link, unit=1, timeout_s=1).read()).readings
    assert seen["power_w"].value == 12345.0
    assert seen["frequency_hz"] == MISSING


@settings(max_examples=150)
@given(
    st.dictionaries(st.integers(0, 400), st.integers(0, 0xFFFF), max_size=60),
    st.booleans(),
)
async def test_any_registers_give_readings_or_a_typed_failure(cells: dict[int, int], marked: bool) -> None:
    """F20 for discovery: no chain, however odd, yields a number from registers that are not the model's."""
    link = MemoryModbus()
    link.put(1, Table.HOLDING, BASE, *([0] * 600))
    if marked:
        link.put(1, Table.HOLDING, BASE, *MARK)
    for offset, word in cells.items():
        link.put(1, Table.HOLDING, BLOCK + offset, word)
    try:
        seen = (await meter(link).read()).readings
    except DeviceError:
        return
    numbers = [word for offset, word in cells.items()]
    assert 203 in numbers or 204 in numbers or 202 in numbers or 201 in numbers
    for name, reading in seen.items():
        point = METER.point(name)
        assert point is not None
        low, high = point.bounds
        assert reading.value is None or low <= reading.value <= high


# ---------------------------------------------------------------- who made it


async def test_it_says_who_it_is() -> None:
    unit = ModbusUnit(METER, DictSource({"power_w": 1.0}))
    emulator = ModbusEmulator(HOST, 0, {1: unit})
    await emulator.start()
    link = ModbusConnection(HOST, emulator.port)
    device = ModbusDevice(METER, link, unit=1, timeout_s=1)
    facts = await device.facts()
    assert (facts.model, facts.firmware, facts.serial) == ("Minewarden emulator", "1.0", "EMULATED-1")
    await device.close()
    await emulator.stop()


async def test_its_abilities_are_known_though_it_does_not_answer() -> None:
    link = MemoryModbus()
    link.failures.append(Unreachable("gone"))
    facts = await ModbusDevice(SOURCE, link, unit=1, timeout_s=1).facts()
    assert (facts.model, facts.serial) == ("SunSpec source", "")
    assert {point for found in facts.capabilities for point in found.points} == {
        "power_limit_pct",
        "power_setpoint_w",
    }


@settings(deadline=None)  # a busy machine is no finding
@given(st.lists(st.integers(0, 0xFFFF), min_size=68, max_size=68), st.integers(0, 70))
async def test_any_common_model_gives_printable_texts(words: list[int], length: int) -> None:
    link = MemoryModbus()
    chain_of(link, (1, length))
    link.put(1, Table.HOLDING, BLOCK + 2, *words[: max(0, length)])

    async def ask(span: Span) -> tuple[int, ...]:
        return await link.read(1, span, timeout_s=1)

    maker = await read_maker(ask, Chain(blocks=((1, BLOCK, length),)))
    assert all(text.isprintable() for text in (maker.model, maker.version, maker.serial))
    with pytest.raises(Unsupported):
        (await find_chain(ask, (BASE,))).place((203,))


# ---------------------------------------------------------------- a source that takes a limit


class Rig:
    """A SunSpec source behind sockets, with a clock that only the test moves."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.source = DictSource({"power_limit_pct": 100.0, "power_setpoint_w": 0.0})
        self.unit = ModbusUnit(SOURCE, self.source, clock=self.clock)
        self.emulator = ModbusEmulator(HOST, 0, {1: self.unit})

    def driver(self) -> ModbusWatchdogDevice:
        link = ModbusConnection(HOST, self.emulator.port)
        return ModbusWatchdogDevice(SOURCE, link, unit=1, timeout_s=1)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    found = Rig()
    await found.emulator.start()
    yield found
    await found.emulator.stop()


async def test_a_limit_goes_out_as_the_device_scales_it_and_is_switched_on(rig: Rig) -> None:
    device = rig.driver()
    await device.write_point("power_limit_pct", 62.5)
    assert rig.source.writes == [("power_limit_pct", 62.5)]
    assert rig.source.registers == {14: 1}
    assert (await device.read()).readings["power_limit_pct"].value == 62.5
    await device.close()


async def test_a_set_point_says_first_that_it_is_in_watts(rig: Rig) -> None:
    device = rig.driver()
    await device.write_point("power_setpoint_w", -250_000.0)
    assert rig.source.writes == [("power_setpoint_w", -250_000.0)]
    assert list(rig.source.registers.items()) == [(23, 1), (22, 1)]
    await device.close()


@pytest.mark.parametrize("power", [0x8000, 2, 5, 0xFFF0])
async def test_a_limit_that_the_device_would_round_away_is_not_sent(power: int) -> None:
    link = MemoryModbus()
    chain_of(link, (704, 65))
    link.put(1, Table.HOLDING, BLOCK + 54, power)
    with pytest.raises(Unsupported):
        await ModbusDevice(SOURCE, link, unit=1, timeout_s=1).write_point("power_limit_pct", 40.0)
    assert link.writes == []


async def test_its_reversion_time_is_armed_fed_and_read_back(rig: Rig) -> None:
    device = rig.driver()
    assert await device.armed_s() is None
    await device.write_point("power_limit_pct", 80.0)
    await device.arm(60.0)
    assert await device.armed_s() == 60.0
    for _ in range(5):
        rig.clock.advance(50.0)
        await device.feed()
    assert rig.unit.watchdog is not None
    assert rig.unit.watchdog.expired == 0
    rig.clock.advance(61.0)
    await device.read()
    assert rig.source.fallen == {"power_limit_pct": 0.0}
    await device.feed()
    assert rig.source.fallen == {}
    await device.disarm()
    assert await device.armed_s() is None
    await device.close()


async def test_a_reversion_value_that_is_not_the_safe_one_counts_as_not_armed(rig: Rig) -> None:
    device = rig.driver()
    await device.arm(60.0)
    assert rig.unit.watchdog is not None
    for register, word in ((16, 70), (17, 0)):
        right = rig.unit.watchdog.cells[register]
        rig.unit.watchdog.cells[register] = word
        assert await device.armed_s() is None
        rig.unit.watchdog.cells[register] = right
        assert await device.armed_s() == 60.0
    await device.close()
