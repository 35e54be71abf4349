"""The serial framing: through a pseudo-terminal, over TCP, and against pymodbus's own server."""

import asyncio
import fcntl
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerType
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from firmware_adapters.site.modbus_emulator import Misbehaviour, ModbusFault
from firmware_adapters.site.modbus_rtu_emulator import framed
from firmware_adapters.transport.modbus import ModbusConnection
from firmware_adapters.transport.modbus_plan import Span, Table
from firmware_adapters.transport.modbus_reply import crc16, rtu_reply_problem
from firmware_adapters.transport.modbus_serial import SerialLine, parse_line
from firmware_adapters.transport.modbus_session import Framing
from shared.errors import (
    Busy,
    ConfigError,
    DeviceError,
    DeviceTimeout,
    MalformedReply,
    Unreachable,
    Unsupported,
)
from support.serial_line import served_line
from support.site_devices import HOST

TEMPERATURE = Span(Table.INPUT, 1, 2)
ONE, OTHER = Span(Table.INPUT, 1, 1), Span(Table.INPUT, 2, 1)

# ---------------------------------------------------------------- pure


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("9600 8N1", SerialLine(baud=9600, bits=8, parity="N", stop=1)),
        ("19200 8E1", SerialLine(baud=19200, bits=8, parity="E", stop=1)),
        (" 115200,8o2 ", SerialLine(baud=115200, bits=8, parity="O", stop=2)),
    ],
)
def test_a_line_is_written_as_people_write_it(text: str, line: SerialLine) -> None:
    assert parse_line(text) == line


@pytest.mark.parametrize("text", ["", "9600", "8N1", "9601 8N1", "9600 9N1", "9600 8X1", "9600 8N3"])
def test_a_line_that_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match="9600 8N1"):
        parse_line(text)


def test_the_pause_between_frames_is_three_and_a_half_characters_and_never_below_1_75_ms() -> None:
    assert parse_line("9600 8N1").silence_s == pytest.approx(3.5 * 10 / 9600)
    assert parse_line("9600 8E1").silence_s == pytest.approx(3.5 * 11 / 9600)
    assert parse_line("115200 8N1").silence_s == 0.00175


def test_the_checksum_is_that_of_the_specification() -> None:
    """Modbus over serial line V1.02, §6.2.2: 02 07 gives 0x1241."""
    assert crc16(bytes((2, 7))) == 0x1241


ASKED = framed(1, bytes.fromhex("04 0001 0002"))
GOOD = framed(1, bytes.fromhex("04 04 00DC 01F4"))


def test_a_good_frame_has_no_problem() -> None:
    assert rtu_reply_problem(ASKED, GOOD) is None
    assert rtu_reply_problem(ASKED, framed(1, bytes((0x84, 2)))) is None


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (framed(2, GOOD[1:-2]), "unit 2"),
        (framed(1, b"\x03" + GOOD[2:-2]), "function 3"),
        (framed(1, bytes.fromhex("04 02 00DC")), "byte count"),
        (GOOD + b"\0", "more bytes"),
        (GOOD[:-1] + b"\0", "checksum"),
    ],
)
def test_each_lie_in_a_frame_is_named(frame: bytes, text: str) -> None:
    assert text in (rtu_reply_problem(ASKED, frame) or "")


def test_a_write_must_be_echoed() -> None:
    write = framed(1, bytes.fromhex("06 C34F 047C"))
    assert rtu_reply_problem(write, write) is None
    assert (
        rtu_reply_problem(write, framed(1, bytes.fromhex("06 C34F 0000")))
        == "write echo differs from the request"
    )


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 7))
def test_a_flipped_bit_never_passes(place: int, bit: int) -> None:
    broken = bytearray(GOOD)
    broken[place] ^= 1 << bit
    assert rtu_reply_problem(ASKED, bytes(broken)) is not None


@given(st.binary(max_size=300))
def test_any_bytes_are_judged_and_only_a_whole_right_frame_passes(data: bytes) -> None:
    if rtu_reply_problem(ASKED, data) is None and len(data) >= 5:
        whole = len(data) in (5, 9)
        assert not whole or crc16(data[:-2]) == int.from_bytes(data[-2:], "little")


# ---------------------------------------------------------------- a line of this computer


@pytest.mark.parametrize("over_tcp", [False, True])
async def test_reads_and_writes_through_a_line(over_tcp: bool) -> None:
    async with served_line("carel-ir33", over_tcp=over_tcp) as served:
        link = served.connection
        probe, setpoint = Span(Table.INPUT, 403, 1), Span(Table.HOLDING, 404, 1)
        served.source.values["air_temp_c.1"] = 23.4
        assert await link.read(1, probe, timeout_s=1) == (234,)
        await link.write_register(1, 404, 250, timeout_s=1)
        await link.write_registers(1, 404, (251,), timeout_s=1)
        await link.write_coil(1, 54, on=True, timeout_s=1)
        assert served.source.writes == [("setpoint_c", 25.0), ("setpoint_c", 25.1), ("running", 1.0)]
        assert await link.read(1, setpoint, timeout_s=1) == (251,)
        with pytest.raises(Unsupported):
            await link.read(1, Span(Table.HOLDING, 9000, 1), timeout_s=1)
        assert link.connects == 1


@pytest.mark.parametrize("line", ["9600 8N1", "19200 8E1", "38400 8O2"])
async def test_every_way_to_set_up_a_line_opens(line: str) -> None:
    async with served_line(line=line) as served:
        assert len(await served.connection.read(1, TEMPERATURE, timeout_s=1)) == 2


EXPECTED = {
    Misbehaviour.SILENT: DeviceTimeout,
    Misbehaviour.HALF_REPLY: DeviceTimeout,
    Misbehaviour.LATE: DeviceTimeout,
    Misbehaviour.WRONG_UNIT: MalformedReply,
    Misbehaviour.WRONG_LENGTH: MalformedReply,
    Misbehaviour.GARBAGE: MalformedReply,
    Misbehaviour.TWICE: MalformedReply,
    Misbehaviour.EXCEPTION: Busy,
}


@pytest.mark.parametrize("over_tcp", [False, True])
@pytest.mark.parametrize("kind", EXPECTED)
async def test_misbehaviour_on_a_line_is_a_typed_failure_and_the_next_read_is_right(
    kind: Misbehaviour, over_tcp: bool
) -> None:
    async with served_line(over_tcp=over_tcp) as served:
        link = served.connection
        truth = await link.read(1, TEMPERATURE, timeout_s=1)
        served.emulator.faults[1] = ModbusFault(
            kind, times=2 if EXPECTED[kind] is MalformedReply else 1, delay_s=0.12
        )
        with pytest.raises(EXPECTED[kind]):
            await link.read(1, TEMPERATURE, timeout_s=0.1)
        assert await link.read(1, TEMPERATURE, timeout_s=1) == truth


async def test_a_reply_that_meets_one_given_up_on_costs_no_read() -> None:
    """It came later than the line was kept quiet for, so two frames lie together."""
    async with served_line() as served:
        link = served.connection
        truth = await link.read(1, TEMPERATURE, timeout_s=1)
        served.emulator.faults[1] = ModbusFault(Misbehaviour.SILENT, times=1)
        with pytest.raises(DeviceTimeout):
            await link.read(1, TEMPERATURE, timeout_s=0.1)
        served.emulator.faults[1] = ModbusFault(Misbehaviour.TWICE, times=1)
        assert await link.read(1, TEMPERATURE, timeout_s=1) == truth


async def test_noise_on_the_line_costs_no_read() -> None:
    async with served_line() as served:
        truth = await served.connection.read(1, TEMPERATURE, timeout_s=1)
        for _ in range(3):
            served.emulator.faults[1] = ModbusFault(Misbehaviour.GARBAGE, times=1)
            assert await served.connection.read(1, TEMPERATURE, timeout_s=1) == truth


async def test_a_late_frame_never_answers_the_next_question() -> None:
    """There is no transaction id: what comes while the line is quiet is thrown away."""
    async with served_line() as served:
        link = served.connection
        first, second = [(await link.read(1, span, timeout_s=1))[0] for span in (ONE, OTHER)]
        assert first != second
        # The next reply is late as well, so that the first one would meet the second question.
        served.emulator.faults[1] = ModbusFault(Misbehaviour.LATE, times=2, delay_s=0.45)
        with pytest.raises(DeviceTimeout):
            await link.read(1, ONE, timeout_s=0.4)
        for _ in range(3):
            assert await link.read(1, OTHER, timeout_s=1) == (second,)


async def test_between_two_frames_the_line_is_quiet_for_three_and_a_half_characters() -> None:
    async with served_line(line="2400 8N1") as served:
        loop = asyncio.get_running_loop()
        await served.connection.read(1, TEMPERATURE, timeout_s=1)
        began_s = loop.time()
        for _ in range(4):
            await served.connection.read(1, TEMPERATURE, timeout_s=1)
        assert loop.time() - began_s >= 4 * parse_line("2400 8N1").silence_s


async def test_a_unit_that_is_not_there_is_silent_and_leaves_its_neighbours_alone() -> None:
    async with served_line() as served:
        for _ in range(5):
            with pytest.raises(DeviceTimeout):
                await served.connection.read(9, TEMPERATURE, timeout_s=0.05)
            await served.connection.read(1, TEMPERATURE, timeout_s=0.5)
        assert served.emulator.requests == 3 + 5, "after three silences it is only probed"


async def test_no_line_there_is_unreachable() -> None:
    for path in ("/dev/no-such-line", os.devnull):
        connection = ModbusConnection(path, framing=Framing.RTU, line=parse_line("9600 8N1"))
        with pytest.raises(Unreachable):
            await connection.read(1, TEMPERATURE, timeout_s=0.5)
        await connection.close()


async def test_a_line_that_another_program_holds_is_unreachable_and_comes_back() -> None:
    async with served_line() as served:
        handle = os.open(served.emulator.path, os.O_RDWR | os.O_NOCTTY)
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(Unreachable):
            await served.connection.read(1, TEMPERATURE, timeout_s=0.5)
        os.close(handle)
        other = ModbusConnection(served.emulator.path, framing=Framing.RTU, line=parse_line("9600 8N1"))
        assert len(await other.read(1, TEMPERATURE, timeout_s=1)) == 2
        await other.close()


async def test_an_adapter_that_is_pulled_out_is_a_typed_failure() -> None:
    async with served_line() as served:
        await served.connection.read(1, TEMPERATURE, timeout_s=1)
        await served.emulator.stop()
        with pytest.raises(DeviceError):
            await served.connection.read(1, TEMPERATURE, timeout_s=0.2)


async def test_many_units_take_turns_on_a_line() -> None:
    async with served_line() as served:
        served.emulator.units |= dict.fromkeys(range(2, 9), served.emulator.units[1])
        read = await asyncio.gather(
            *(served.connection.read(n, TEMPERATURE, timeout_s=1) for n in range(1, 9) for _ in range(2))
        )
        assert len(set(read)) == 1
        assert served.connection.connects == 1


async def test_speaks_the_serial_framing_with_pymodbus_own_server() -> None:
    """A second implementation of the other side."""
    device = SimDevice(1, simdata=[SimData(0, values=[11, 22, 33, 44], datatype=DataType.REGISTERS)])
    server = ModbusTcpServer(device, framer=FramerType.RTU, address=(HOST, 0))
    await server.serve_forever(background=True)
    port = server.transport.sockets[0].getsockname()[1]
    connection = ModbusConnection(HOST, port, framing=Framing.RTU)
    try:
        assert await connection.read(1, Span(Table.HOLDING, 0, 3), timeout_s=1) == (11, 22, 33)
        await connection.write_register(1, 1, 500, timeout_s=1)
        await connection.write_registers(1, 2, (7, 8), timeout_s=1)
        assert await connection.read(1, Span(Table.HOLDING, 0, 4), timeout_s=1) == (11, 500, 7, 8)
        with pytest.raises(Unsupported):
            await connection.read(1, Span(Table.HOLDING, 900, 1), timeout_s=1)
    finally:
        await connection.close()
        await server.shutdown()
