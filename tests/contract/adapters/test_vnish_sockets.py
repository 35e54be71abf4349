"""VNish over real loopback sockets: many machines behind one listener, the fallback, and odd connections."""

import asyncio

import pytest

from firmware_adapters.capabilities import Credential, LogReader, Telemetry
from firmware_adapters.miners.vnish.emulator_traps import Traps
from firmware_adapters.registry import open_device
from shared.clock import SystemClock
from shared.errors import DeviceError, Unreachable
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind, MinerState
from support.miners import Machine, on_loopback, s21_pro
from support.vnish import emulator_of

ADMIN = Credential(user=None, secret="admin")


def entry(host: str, port: int) -> DeviceEntry:
    name = DeviceId(f"m-{host}")
    return DeviceEntry(
        id=name, kind=DeviceKind.MINER, adapter="vnish", host=host, port=port, zone=ZoneId("z")
    )


async def test_one_listener_serves_each_machine_by_the_address_that_was_called() -> None:
    hosts = [f"127.8.{n // 50}.{n % 50 + 1}" for n in range(100)]
    emulators = {
        host: emulator_of(Machine(s21_pro(power_w=1000.0 + n, uptime_s=60.0 * n)), SystemClock())
        for n, host in enumerate(hosts)
    }
    async with on_loopback(emulators) as (port, _):
        adapters = [open_device(entry(host, port), ADMIN, timeout_s=20) for host in hosts]
        seen = await asyncio.gather(*(adapter.read() for adapter in adapters))
        assert [found.readings["power_w"].value for found in seen] == [1000.0 + n for n in range(100)]
        await asyncio.gather(*(adapter.close() for adapter in adapters))


async def test_a_hung_web_server_leaves_the_socket() -> None:
    """`open_device` puts the socket on the port beside, so both listeners are asked for neighbours here."""
    machine = Machine()
    emulator = emulator_of(machine, SystemClock())
    async with on_loopback({"127.9.0.1": emulator}, beside=True) as (port, socket_port):
        assert socket_port == port + 1
        adapter: Telemetry = open_device(entry("127.9.0.1", port), ADMIN, timeout_s=3.0)
        whole = await adapter.read()
        assert whole.preset == "2800"
        emulator.traps = Traps(hang=True)
        seen = await adapter.read()
        assert seen.state is MinerState.MINING
        assert seen.readings["chip_temp_max_c"].value == 65
        assert seen.preset is None
        emulator.traps = Traps()
        assert "power_w" in (await adapter.read()).readings
        machine.set(reachable=False)
        with pytest.raises(Unreachable):
            await adapter.read()
        await adapter.close()


async def test_a_slow_reply_is_waited_for_and_a_too_slow_one_is_not() -> None:
    emulator = emulator_of(Machine(), SystemClock(), traps=Traps(slow_s=0.02))
    async with on_loopback({"127.9.0.2": emulator}) as (port, _):
        adapter = open_device(entry("127.9.0.2", port), ADMIN, timeout_s=2.0)
        assert (await adapter.read()).readings["power_w"].value == 2790
        emulator.traps = Traps(slow_s=8.0)
        with pytest.raises(DeviceError) as caught:
            await adapter.read()
        assert caught.value.code in ("timeout", "unreachable")
        await adapter.close()


async def test_the_socket_ignores_a_caller_that_says_nothing_useful() -> None:
    emulator = emulator_of(Machine(), SystemClock())
    async with on_loopback({"127.9.0.3": emulator}) as (_, port):
        for said in (b"", b"\xff\xfe", b'{"command":"stats"'):
            reader, writer = await asyncio.open_connection("127.9.0.3", port)
            writer.write(said)
            writer.write_eof()
            reply = await reader.read()
            assert b'"STATUS":"E"' in reply
            writer.close()
            await writer.wait_closed()


async def test_the_end_of_a_log_that_is_longer_than_any_other_reply() -> None:
    emulator = emulator_of(Machine(), SystemClock(), traps=Traps(long_log=True))
    async with on_loopback({"127.9.0.4": emulator}) as (port, _):
        adapter = open_device(entry("127.9.0.4", port), ADMIN, timeout_s=5)
        assert isinstance(adapter, LogReader)
        told = await adapter.log("miner")
        assert told.endswith("state mining\n")
        assert 200 * 1024 < len(told) <= 256 * 1024
        await adapter.close()
        await adapter.close()
