"""The Modbus connection against real sockets: every broken reply is a typed failure, and none lives on."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from firmware_adapters.site.modbus_emulator import Misbehaviour, ModbusEmulator, ModbusFault
from firmware_adapters.site.modbus_unit import ModbusUnit
from firmware_adapters.site.profile import load_profile
from firmware_adapters.transport.modbus import ModbusConnection
from firmware_adapters.transport.modbus_plan import Span, Table
from firmware_adapters.transport.modbus_reply import exception_error, reply_problem
from firmware_adapters.transport.modbus_shared import SharedModbus
from shared.clock import ManualClock
from shared.errors import Busy, DeviceError, DeviceTimeout, MalformedReply, Unreachable, Unsupported
from support.site_devices import HOST, full_source, served_unit

TEMPERATURE = Span(Table.INPUT, 1, 2)

# ---------------------------------------------------------------- the check before pymodbus (pure)

READ_TWO = bytes.fromhex("0009 0000 0006 01 04 0001 0002")
GOOD = bytes.fromhex("0009 0000 0007 01 04 04 00DC 01F4")


def test_a_good_reply_has_no_problem() -> None:
    assert reply_problem(READ_TWO, GOOD) is None


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("0008 0000 0007 01 04 04 00DC 01F4", "transaction"),
        ("0009 0001 0007 01 04 04 00DC 01F4", "header"),
        ("0009 0000 0007 02 04 04 00DC 01F4", "unit 2"),
        ("0009 0000 0007 01 03 04 00DC 01F4", "function"),
        ("0009 0000 0005 01 04 02 00DC", "byte count"),
        ("0009 0000 0007 01 04 02 00DC 01F4", "byte count"),
        ("0009 0000 0007 01 04 04 00DC 01F4 00", "more bytes"),
        ("0009 0000 0004 01 84 02 00", "odd length"),
    ],
)
def test_each_lie_in_a_reply_is_named(reply: str, text: str) -> None:
    problem = reply_problem(READ_TWO, bytes.fromhex(reply))
    assert problem is not None
    assert text in problem


@given(st.integers(0, len(GOOD) - 1))
def test_a_part_of_a_good_reply_is_waited_for(length: int) -> None:
    assert reply_problem(READ_TWO, GOOD[:length]) is None


@given(st.integers(0, 8), st.integers(0, 7))
def test_a_flipped_bit_before_the_data_never_passes(place: int, bit: int) -> None:
    broken = bytearray(GOOD)
    broken[place] ^= 1 << bit
    # A length that grew is a frame not yet whole: it ends in the deadline, not in a value.
    longer = (
        place in (4, 5)
        and int.from_bytes(broken[4:6], "big") > 7
        and int.from_bytes(broken[4:6], "big") <= 254
    )
    exception = place == 7 and bit == 7
    if not longer and not exception:
        assert reply_problem(READ_TWO, bytes(broken)) is not None
    if exception:
        assert reply_problem(READ_TWO, bytes(broken)) is not None  # an exception reply has two bytes


def test_a_write_must_be_echoed() -> None:
    write = bytes.fromhex("0001 0000 0006 01 06 C34F 047C")
    assert reply_problem(write, write) is None
    assert reply_problem(write, write[:-1] + b"\x00") == "write echo differs from the request"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1, Unsupported),
        (2, Unsupported),
        (3, Unsupported),
        (4, Busy),
        (5, Busy),
        (6, Busy),
        (10, Unreachable),
        (11, DeviceTimeout),
        (99, MalformedReply),
    ],
)
def test_exception_codes_map_to_the_error_tree(code: int, kind: type[DeviceError]) -> None:
    assert type(exception_error(code, "unit 1")) is kind


# ---------------------------------------------------------------- over sockets

EXPECTED = {
    Misbehaviour.SILENT: DeviceTimeout,
    Misbehaviour.HALF_REPLY: DeviceTimeout,
    Misbehaviour.LATE: DeviceTimeout,
    Misbehaviour.IN_PIECES: DeviceTimeout,
    Misbehaviour.WRONG_TRANSACTION: MalformedReply,
    Misbehaviour.WRONG_UNIT: MalformedReply,
    Misbehaviour.WRONG_LENGTH: MalformedReply,
    Misbehaviour.GARBAGE: MalformedReply,
    Misbehaviour.TWICE: MalformedReply,
    Misbehaviour.RESET: Unreachable,
    Misbehaviour.EXCEPTION: Busy,
}


SPOILED = {kind for kind, error in EXPECTED.items() if error in (MalformedReply, Unreachable)}
"""What a second question over a fresh connection may heal; silence and a refusal are answers."""


@pytest.mark.parametrize("kind", list(Misbehaviour))
async def test_misbehaviour_is_a_typed_failure_and_the_next_read_is_right(kind: Misbehaviour) -> None:
    async with served_unit("xy-md02") as served:
        truth = await served.connection.read(1, TEMPERATURE, timeout_s=5)
        times = 2 if kind in SPOILED else 1
        served.emulator.faults[1] = ModbusFault(kind, times=times, delay_s=1.0)
        with pytest.raises(EXPECTED[kind]):
            await served.connection.read(
                1, TEMPERATURE, timeout_s=0.1 if EXPECTED[kind] is DeviceTimeout else 5.0
            )
        assert await served.connection.read(1, TEMPERATURE, timeout_s=5) == truth


@pytest.mark.parametrize("kind", sorted(SPOILED))
async def test_one_spoiled_reply_costs_no_read_and_its_connection_is_never_used_again(
    kind: Misbehaviour,
) -> None:
    """F14: late and doubled replies put nothing out of step; on a mismatch the socket is closed."""
    async with served_unit("xy-md02") as served:
        truth = await served.connection.read(1, TEMPERATURE, timeout_s=1)
        served.emulator.faults[1] = ModbusFault(kind, times=1)
        for _ in range(5):
            assert await served.connection.read(1, TEMPERATURE, timeout_s=1) == truth
        assert served.emulator.accepted == 2
        assert served.emulator.requests == 1 + 2 + 4


@pytest.mark.parametrize("kind", sorted(SPOILED))
async def test_a_spoiled_write_is_not_sent_again(kind: Misbehaviour) -> None:
    async with served_unit("danfoss-fc102") as served:
        await served.connection.read(1, Span(Table.HOLDING, 50009, 1), timeout_s=1)
        served.emulator.faults[1] = ModbusFault(kind, times=1)
        with pytest.raises(EXPECTED[kind]):
            await served.connection.write_register(1, 50009, 0x2000, timeout_s=1)
        assert len(served.source.writes) <= 1
        assert served.emulator.requests == 2


async def test_a_unit_that_always_lies_leaves_its_neighbours_alone() -> None:
    async with served_unit("xy-md02") as served:
        served.emulator.units[2] = served.emulator.units[1]
        truth = await served.connection.read(2, TEMPERATURE, timeout_s=1)
        served.emulator.faults[1] = ModbusFault(Misbehaviour.GARBAGE)
        for _ in range(10):
            with pytest.raises(MalformedReply):
                await served.connection.read(1, TEMPERATURE, timeout_s=1)
            assert await served.connection.read(2, TEMPERATURE, timeout_s=1) == truth


async def test_a_late_reply_never_answers_the_next_question() -> None:
    """Ask for one register, let the answer come late, ask for another: the second answer is the second's."""
    async with served_unit("xy-md02") as served:
        humidity = await served.connection.read(1, Span(Table.INPUT, 2, 1), timeout_s=1)
        temperature = await served.connection.read(1, Span(Table.INPUT, 1, 1), timeout_s=1)
        assert humidity != temperature
        served.emulator.faults[1] = ModbusFault(Misbehaviour.LATE, times=1, delay_s=0.06)
        with pytest.raises(DeviceTimeout):
            await served.connection.read(1, Span(Table.INPUT, 1, 1), timeout_s=0.05)
        for _ in range(5):
            assert await served.connection.read(1, Span(Table.INPUT, 2, 1), timeout_s=1) == humidity


async def test_cancelling_a_read_spoils_nothing() -> None:
    async with served_unit("xy-md02") as served:
        truth = await served.connection.read(1, TEMPERATURE, timeout_s=1)
        served.emulator.faults[1] = ModbusFault(Misbehaviour.SILENT, times=1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(served.connection.read(1, TEMPERATURE, timeout_s=5), 0.05)
        assert await served.connection.read(1, TEMPERATURE, timeout_s=1) == truth


async def test_a_callers_own_deadline_counts_against_a_silent_unit_but_not_against_the_queue() -> None:
    """A poller whose deadline is as short as ours must not keep the breaker from opening."""
    async with served_unit("xy-md02") as served:
        served.emulator.units[2] = served.emulator.units[1]
        served.emulator.faults[1] = ModbusFault(Misbehaviour.SILENT)
        connection = ModbusConnection(HOST, served.emulator.port, clock=ManualClock())
        for _ in range(3):
            reads = [
                asyncio.wait_for(connection.read(unit, TEMPERATURE, timeout_s=5), 0.05) for unit in (1, 2)
            ]
            both = await asyncio.gather(*reads, return_exceptions=True)
            assert all(isinstance(one, TimeoutError) for one in both)
        with pytest.raises(DeviceTimeout, match="next probe"):
            await connection.read(1, TEMPERATURE, timeout_s=5)
        await connection.read(2, TEMPERATURE, timeout_s=5)
        await connection.close()


async def test_nobody_listening_is_unreachable() -> None:
    connection = ModbusConnection(HOST, 9)
    with pytest.raises(Unreachable):
        await connection.read(1, TEMPERATURE, timeout_s=0.5)
    await connection.close()


async def test_an_endpoint_that_resets_gets_a_handful_of_connects_per_minute() -> None:
    """pymodbus alone makes ten connects a second here (edge.md §4.1)."""
    clock = ManualClock()
    emulator = ModbusEmulator(HOST, 0, {})
    emulator.reset_on_accept = True
    await emulator.start()
    connection = ModbusConnection(HOST, emulator.port, clock=clock)
    for _ in range(300):  # five reads a second for a minute
        with pytest.raises(DeviceError):
            await connection.read(1, TEMPERATURE, timeout_s=0.5)
        clock.advance(0.2)
    await connection.close()
    await emulator.stop()
    assert 4 <= connection.connects <= 10


async def test_a_silent_unit_leaves_its_neighbours_alone() -> None:
    """One of ten units behind a gateway is dead: after three time-outs it costs nothing between probes."""
    clock = ManualClock()
    profile = load_profile("xy-md02")
    units = {unit: ModbusUnit(profile, full_source(profile, seed=unit)) for unit in range(1, 11)}
    emulator = ModbusEmulator(HOST, 0, units)
    await emulator.start()
    emulator.faults[5] = ModbusFault(Misbehaviour.SILENT)
    connection = ModbusConnection(HOST, emulator.port, clock=clock)
    good = 0
    for _ in range(20):
        for unit in units:
            try:
                await connection.read(unit, TEMPERATURE, timeout_s=0.1 if unit == 5 else 5.0)
                good += 1
            except DeviceTimeout:
                assert unit == 5
        clock.advance(0.01)
    await connection.close()
    await emulator.stop()
    assert good == 20 * 9
    assert emulator.requests == good + 3


async def test_a_silent_unit_is_probed_and_comes_back() -> None:
    clock = ManualClock()
    async with served_unit("xy-md02") as served:
        connection = ModbusConnection(HOST, served.emulator.port, clock=clock)
        served.emulator.faults[1] = ModbusFault(Misbehaviour.SILENT)
        for _ in range(4):
            with pytest.raises(DeviceTimeout):
                await connection.read(1, TEMPERATURE, timeout_s=0.2)
        served.emulator.faults.clear()
        with pytest.raises(DeviceTimeout, match="next probe"):
            await connection.read(1, TEMPERATURE, timeout_s=5)
        clock.advance(2.0)
        await connection.read(1, TEMPERATURE, timeout_s=5)
        await connection.read(1, TEMPERATURE, timeout_s=5)
        await connection.close()


async def test_a_write_is_tried_even_while_the_breakers_are_open() -> None:
    """The safe direction must not wait for a probe."""
    async with served_unit("danfoss-fc102") as served:
        connection = ModbusConnection(HOST, served.emulator.port, clock=ManualClock())
        served.emulator.faults[1] = ModbusFault(Misbehaviour.RESET, times=1)
        with pytest.raises(Unreachable):
            await connection.read(1, Span(Table.HOLDING, 50009, 1), timeout_s=0.3)
        with pytest.raises(Unreachable, match="next attempt"):
            await connection.read(1, Span(Table.HOLDING, 50009, 1), timeout_s=0.3)
        await connection.write_register(1, 50009, 0x4000, timeout_s=0.3)
        assert served.source.writes == [("speed_setpoint_pct", 100.0)]
        await connection.close()


async def test_a_forced_read_is_asked_even_while_the_breakers_are_open_and_closes_them() -> None:
    """What decides how a write goes out must be what the device says now."""
    async with served_unit("xy-md02") as served:
        connection = ModbusConnection(HOST, served.emulator.port, clock=ManualClock())
        served.emulator.dark.add(1)
        for _ in range(3):
            with pytest.raises(DeviceTimeout):
                await connection.read(1, TEMPERATURE, timeout_s=0.3)
        with pytest.raises(DeviceTimeout, match="no whole reply"):
            await connection.read(1, TEMPERATURE, timeout_s=0.3, forced=True)
        served.emulator.dark.clear()
        with pytest.raises(DeviceTimeout, match="next probe"):
            await connection.read(1, TEMPERATURE, timeout_s=5)
        forced = await connection.read(1, TEMPERATURE, timeout_s=5, forced=True)
        assert await connection.read(1, TEMPERATURE, timeout_s=5) == forced
        await connection.close()


async def test_a_forced_read_that_is_spoiled_is_asked_once_more() -> None:
    async with served_unit("xy-md02") as served:
        connection = ModbusConnection(HOST, served.emulator.port)
        truth = await connection.read(1, TEMPERATURE, timeout_s=5)
        served.emulator.faults[1] = ModbusFault(Misbehaviour.RESET, times=1)
        assert await connection.read(1, TEMPERATURE, timeout_s=5, forced=True) == truth
        await connection.close()


async def test_of_units_that_fall_silent_together_only_the_first_gets_three_tries() -> None:
    """A cable to a third of the units breaks: each of them costs its healthy neighbours one time-out."""
    clock = ManualClock()
    profile = load_profile("xy-md02")
    units = {unit: ModbusUnit(profile, full_source(profile, seed=unit)) for unit in range(1, 7)}
    emulator = ModbusEmulator(HOST, 0, units)
    await emulator.start()
    emulator.dark |= {2, 4, 6}
    connection = ModbusConnection(HOST, emulator.port, clock=clock)
    for unit in (2, 4, 6):
        with pytest.raises(DeviceTimeout, match="no whole reply"):
            await connection.read(unit, TEMPERATURE, timeout_s=0.3)
    for unit in (4, 6):
        with pytest.raises(DeviceTimeout, match="next probe"):
            await connection.read(unit, TEMPERATURE, timeout_s=0.3)
    assert connection.requests == 3
    emulator.dark.clear()
    clock.advance(1.3)  # the longest first pause
    for unit in units:
        await connection.read(unit, TEMPERATURE, timeout_s=10)
    await connection.close()
    await emulator.stop()


async def test_one_connection_serves_all_users_of_an_endpoint() -> None:
    async with served_unit("xy-md02", single=True) as served:
        first, second = SharedModbus(HOST, served.emulator.port), SharedModbus(HOST, served.emulator.port)
        results = await asyncio.gather(
            *(link.read(1, TEMPERATURE, timeout_s=1) for link in (first, second) for _ in range(5))
        )
        assert len(set(results)) == 1
        assert served.emulator.accepted == 1
        await first.close()
        await second.read(1, TEMPERATURE, timeout_s=1)
        old = second.connection
        await second.close()
        third = SharedModbus(HOST, served.emulator.port)
        assert third.connection is not old
        await third.close()


async def test_speaks_with_pymodbus_own_server() -> None:
    """A second implementation of the other side: registers, bits and writes."""
    device = SimDevice(
        1,
        simdata=(
            [
                SimData(
                    0,
                    values=[True, False, True, True, False, False, False, False] * 2,
                    datatype=DataType.BITS,
                )
            ],
            [
                SimData(
                    0,
                    values=[False, True, True, False, False, False, False, False] * 2,
                    datatype=DataType.BITS,
                )
            ],
            [SimData(0, values=[11, 22, 33], datatype=DataType.REGISTERS)],
            [SimData(0, values=[7, 8, 9], datatype=DataType.REGISTERS)],
        ),
    )
    server = ModbusTcpServer(device, address=(HOST, 0))
    await server.serve_forever(background=True)
    port = server.transport.sockets[0].getsockname()[1]
    connection = ModbusConnection(HOST, port)
    try:
        assert await connection.read(1, Span(Table.HOLDING, 0, 3), timeout_s=1) == (11, 22, 33)
        assert await connection.read(1, Span(Table.INPUT, 1, 2), timeout_s=1) == (8, 9)
        await connection.write_register(1, 1, 500, timeout_s=1)
        await connection.write_registers(1, 0, (1, 2), timeout_s=1)
        assert await connection.read(1, Span(Table.HOLDING, 0, 3), timeout_s=1) == (1, 2, 33)
        assert await connection.read(1, Span(Table.COIL, 0, 4), timeout_s=1) == (1, 0, 1, 1)
        assert await connection.read(1, Span(Table.DISCRETE, 0, 3), timeout_s=1) == (0, 1, 1)
        await connection.write_coil(1, 1, on=True, timeout_s=1)
        assert await connection.read(1, Span(Table.COIL, 0, 4), timeout_s=1) == (1, 1, 1, 1)
        with pytest.raises(Unsupported):
            await connection.read(1, Span(Table.HOLDING, 900, 1), timeout_s=1)
    finally:
        await connection.close()
        await server.shutdown()
