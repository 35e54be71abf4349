"""The Modbus faults of edge.md §3.1, F14 to F19: out of step, never back, one dead unit, one client, leak."""

import asyncio
import contextlib
import gc
import random
import statistics
import time
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firmware_adapters.site.modbus_emulator import Misbehaviour, ModbusEmulator, ModbusFault
from firmware_adapters.site.modbus_unit import ModbusUnit
from firmware_adapters.site.point_source import DictSource
from firmware_adapters.site.profile import load_profile
from firmware_adapters.transport.modbus import ModbusConnection
from firmware_adapters.transport.modbus_plan import Span, Table
from firmware_adapters.transport.modbus_shared import SharedModbus
from shared.clock import ManualClock, SystemClock
from shared.errors import DeviceError, DeviceTimeout, Unreachable, Unsupported
from support.site_devices import HOST, served_unit

PROBE = load_profile("xy-md02")
ONE, OTHER, BOTH = Span(Table.INPUT, 1, 1), Span(Table.INPUT, 2, 1), Span(Table.INPUT, 1, 2)
TRUTH = {ONE: (234,), OTHER: (456,), BOTH: (234, 456)}


def probe_unit() -> ModbusUnit:
    return ModbusUnit(PROBE, DictSource({"air_temp_c": 23.4, "humidity_pct": 45.6}))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([None, *Misbehaviour]), st.sampled_from([ONE, OTHER, BOTH])),
        min_size=1,
        max_size=8,
    )
)
async def test_f14_f20_whatever_goes_wrong_a_read_brings_its_own_answer_or_none(
    story: list[tuple[Misbehaviour | None, Span]],
) -> None:
    clock = ManualClock()
    emulator = ModbusEmulator(HOST, 0, {1: probe_unit()}, clock=SystemClock())
    await emulator.start()
    connection = ModbusConnection(HOST, emulator.port, clock=clock)
    try:
        for kind, span in story:
            if kind is not None:
                emulator.faults[1] = ModbusFault(kind, times=1, delay_s=0.015)
            try:
                assert await connection.read(1, span, timeout_s=0.01 if kind else 0.5) == TRUTH[span]
            except DeviceError:
                assert kind is not None
            emulator.faults.clear()
            clock.advance(60.0)
    finally:
        await connection.close()
        await emulator.stop()


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.binary(max_size=400), st.booleans(), st.booleans())
async def test_f20_any_bytes_as_a_reply_are_a_typed_failure_or_what_the_frame_really_says(
    data: bytes, framed: bool, closes: bool
) -> None:
    """`framed` puts a right header before the bytes, so that they are looked into."""

    answering: set[asyncio.Task[None] | None] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.add(asyncio.current_task())
        try:
            request = await reader.readexactly(12)
            head = request[:4] + (len(data) + 1).to_bytes(2, "big") + request[6:7] if framed else b""
            writer.write(head + data)
            await writer.drain()
            if not closes:
                await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(answer, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    connection = ModbusConnection(HOST, port, clock=ManualClock())
    try:
        seen = await connection.read(1, BOTH, timeout_s=0.03)
        assert framed
        assert data == b"\x04\x04" + b"".join(word.to_bytes(2, "big") for word in seen)
    except DeviceError as error:
        assert error.code != "device"  # noqa: PT017 - both outcomes are right, each in its own way
    finally:
        await connection.close()
        server.close()
        await asyncio.gather(*(task for task in answering if task is not None))
        await server.wait_closed()


async def test_f15_a_device_that_is_switched_off_and_on_comes_back_unaided() -> None:
    clock, chance = ManualClock(), random.Random(15)
    emulator = ModbusEmulator(HOST, 0, {1: probe_unit()})
    await emulator.start()
    connection = ModbusConnection(HOST, emulator.port, clock=clock)
    for _ in range(12):
        for _ in range(chance.randint(0, 3)):
            assert await connection.read(1, BOTH, timeout_s=0.5) == TRUTH[BOTH]
        await emulator.stop()
        for _ in range(chance.randint(0, 4)):
            with pytest.raises(DeviceError):
                await connection.read(1, BOTH, timeout_s=0.5)
            clock.advance(chance.uniform(0.0, 5.0))
        await emulator.start()
        clock.advance(36.0)  # the longest pause of both breakers
        assert await connection.read(1, BOTH, timeout_s=0.5) == TRUTH[BOTH]
    await connection.close()
    await emulator.stop()


SILENCE_S = 0.5
"""How long a silent unit is waited for; the twenty-nine answer in a tenth of it."""


async def test_f16_one_silent_unit_of_thirty_costs_the_others_no_cycle() -> None:
    clock = ManualClock()
    emulator = ModbusEmulator(HOST, 0, {unit: probe_unit() for unit in range(1, 31)})
    await emulator.start()
    emulator.faults[17] = ModbusFault(Misbehaviour.SILENT)
    connection = ModbusConnection(HOST, emulator.port, clock=clock)
    loop = asyncio.get_running_loop()
    took_s: list[float] = []
    words: list[str] = []
    for _ in range(20):
        began_s = loop.time()
        cycle = (
            connection.read(unit, BOTH, timeout_s=SILENCE_S if unit == 17 else 10.0)
            for unit in emulator.units
        )
        seen = await asyncio.gather(*cycle, return_exceptions=True)
        took_s.append(loop.time() - began_s)
        words.append(str(seen[16]))
        assert [n for n, one in enumerate(seen, start=1) if isinstance(one, DeviceTimeout)] == [17]
        assert sum(one == TRUTH[BOTH] for one in seen) == 29
        clock.advance(0.01)
    await connection.close()
    await emulator.stop()
    assert emulator.requests == 20 * 29 + 3, "three silences, then nothing until its probe is due"
    assert ["next probe" in said for said in words] == [False] * 3 + [True] * 17
    assert statistics.median(took_s) < SILENCE_S, "at most the first cycles wait for it"


async def test_f16_a_fan_command_does_not_queue_behind_a_gateways_reads() -> None:
    async with served_unit("danfoss-fc102") as served:
        served.emulator.units |= {unit: probe_unit() for unit in range(2, 31)}
        served.emulator.faults[2] = ModbusFault(Misbehaviour.SILENT)
        order: list[str] = []

        async def read(unit: int) -> None:
            with contextlib.suppress(DeviceTimeout):
                await served.connection.read(unit, BOTH, timeout_s=0.05)
            order.append(f"read {unit}")

        async def write() -> None:
            await served.connection.write_register(1, 50009, 0x4000, timeout_s=0.5)
            order.append("write")

        reads = [asyncio.create_task(read(unit)) for unit in range(2, 31)]
        await asyncio.sleep(0)
        await asyncio.gather(*reads, asyncio.create_task(write()))
        assert order.index("write") <= 1
        assert served.source.writes == [("speed_setpoint_pct", 100.0)]


async def test_f17_a_device_for_one_client_has_one_and_can_be_let_go() -> None:
    async with served_unit("eastron-sdm630", single=True) as served:
        ours = [SharedModbus(HOST, served.emulator.port) for _ in range(4)]
        span = Span(Table.INPUT, 0, 6)
        await asyncio.gather(*(link.read(1, span, timeout_s=1) for link in ours for _ in range(5)))
        assert served.emulator.accepted == 1
        theirs = ModbusConnection(HOST, served.emulator.port, clock=ManualClock())
        with pytest.raises(Unreachable):
            await theirs.read(1, span, timeout_s=0.5)
        for link in ours:
            await link.close()
        theirs = ModbusConnection(HOST, served.emulator.port)
        assert len(await theirs.read(1, span, timeout_s=1)) == 6
        await theirs.close()


async def test_f17_after_a_spoiled_reply_the_one_connection_is_closed_before_the_next_is_opened() -> None:
    async with served_unit("eastron-sdm630", single=True) as served:
        span = Span(Table.INPUT, 0, 6)
        truth = await served.connection.read(1, span, timeout_s=1)
        for _ in range(5):
            served.emulator.faults[1] = ModbusFault(Misbehaviour.WRONG_TRANSACTION, times=1)
            try:
                assert await served.connection.read(1, span, timeout_s=1) == truth
            except DeviceError:
                continue  # it had not let go of the old one yet; that is its right
        served.emulator.faults.clear()
        async with asyncio.timeout(5):
            while True:
                try:
                    assert await served.connection.read(1, span, timeout_s=1) == truth
                except Unreachable:
                    await asyncio.sleep(0.05)
                else:
                    break
        assert len(served.emulator._open) == 1


async def test_f18_a_server_that_resets_what_it_accepts_is_connected_to_a_few_times_a_minute() -> None:
    """Asked twenty times a second; without a breaker each would be a connection (edge.md: measured 10/s)."""
    accepted = 0

    async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        writer.transport.abort()

    server = await asyncio.start_server(reset, HOST, 0)
    clock = ManualClock()
    connection = ModbusConnection(HOST, server.sockets[0].getsockname()[1], clock=clock)
    for _ in range(20 * 60):
        with pytest.raises(DeviceError):
            await connection.read(1, BOTH, timeout_s=0.5)
        clock.advance(0.05)
    await connection.close()
    server.close()
    await server.wait_closed()
    assert 1 <= accepted <= 30


async def test_f20_ten_megabytes_instead_of_a_reply_are_refused_in_time_and_not_kept() -> None:
    sent, done = 0, asyncio.Event()

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            request = await reader.readexactly(12)
            writer.write(request[:4] + b"\xff\xff" + request[6:7])
            while sent < 10_000_000:
                writer.write(b"\x04" * 50_000)
                sent += 50_000
                await writer.drain()
                await asyncio.sleep(0)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        done.set()

    server = await asyncio.start_server(pour, HOST, 0)
    connection = ModbusConnection(HOST, server.sockets[0].getsockname()[1], clock=ManualClock())
    tracemalloc.start()
    began_s = time.process_time()
    try:
        with pytest.raises(DeviceError):
            await connection.read(1, BOTH, timeout_s=2.0)
        used_s, most = time.process_time() - began_s, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        await connection.close()
        await asyncio.wait_for(done.wait(), 5.0)
        server.close()
        await server.wait_closed()
    assert used_s < 3.0
    assert most < 4_000_000, "both ends of it: what is poured is not kept"


async def test_f19_refusals_leave_nothing_behind() -> None:
    """Not memory in bytes, which a shared machine blurs, but objects: none may stay per refused request."""
    async with served_unit("xy-md02") as served:
        served.emulator.units.clear()  # a gateway without the unit answers exception 11

        async def refused(times: int) -> int:
            for _ in range(times):
                with pytest.raises(DeviceError):
                    await served.connection._ask(1, _read_one, 1.0, forced=True)
            gc.collect()
            return len(gc.get_objects())

        before = await refused(200)
        after = await refused(1500)
        assert served.emulator.accepted == 1
        assert after - before < 150


async def test_a_refused_function_is_no_silence_and_opens_no_breaker() -> None:
    async with served_unit("xy-md02") as served:
        for _ in range(10):
            with pytest.raises(Unsupported):
                await served.connection.read(1, Span(Table.HOLDING, 5, 1), timeout_s=0.5)
        assert await served.connection.read(1, BOTH, timeout_s=0.5)


def _read_one(client):  # type: ignore[no-untyped-def]  # pymodbus's client, as the connection hands it out
    return client.read_input_registers(1, count=1, device_id=1)
