"""The real BACnet child on its pipe, against emulated devices: starts, reads, is killed, comes back, ends."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from firmware_adapters.registry import open_device
from firmware_adapters.site.bacnet import BacnetDevice
from firmware_adapters.site.point_source import DictSource
from firmware_adapters.site.profile import load_profile
from firmware_adapters.transport import bacnet_process
from firmware_adapters.transport.bacnet_process import BacnetProcess
from shared.clock import ManualClock
from shared.errors import DeviceError, DeviceTimeout, Unreachable
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind
from support.subjects.bacnet import HVAC

pytest.importorskip("bacpypes3", reason="bacpypes3 is not installed (pip install minewarden[bacnet])")
pytestmark = pytest.mark.slow


@asynccontextmanager
async def emulated(**changes: Any) -> AsyncIterator[tuple[Any, DictSource]]:
    from firmware_adapters.site.bacnet_emulator import BacnetEmulator  # noqa: PLC0415 - an optional extra

    source = DictSource(dict(HVAC))
    emulator = BacnetEmulator("127.0.0.1", 0, load_profile("bacnet-hvac"), source, **changes)
    await emulator.start()
    try:
        yield emulator, source
    finally:
        await emulator.stop()


def opened(port: int) -> BacnetDevice:
    device = open_device(
        DeviceEntry(
            id=DeviceId("ahu-1"),
            kind=DeviceKind.HVAC,
            adapter="bacnet",
            profile="bacnet-hvac",
            host="127.0.0.1",
            port=port,
            zone=ZoneId("hall"),
        ),
        None,
        timeout_s=1.0,
    )
    assert isinstance(device, BacnetDevice)
    return device


async def values(device: BacnetDevice) -> dict[str, float | None]:
    """One read; while the child is still starting, ask again as a poller does."""
    for _ in range(20):
        try:
            return {name: found.value for name, found in (await device.read()).readings.items()}
        except DeviceTimeout:
            continue
    raise AssertionError("the child did not come up")


def process() -> BacnetProcess:
    return bacnet_process._PROCESSES[asyncio.get_running_loop()]


async def test_many_devices_share_one_child_and_it_ends_with_the_last() -> None:
    async with emulated() as (first, source), emulated(fahrenheit=True, multiple=False) as (second, _):
        devices = [opened(first.port), opened(second.port)]
        for device in devices:
            assert await values(device) == pytest.approx(HVAC, rel=1e-5)
        child = process()._child
        assert child is not None
        await devices[0].write_point("setpoint_c", 30.0)
        assert (first.commands("analog-value,1"), source.values["setpoint_c"]) == ({9: 30.0}, 30.0)
        await devices[0].release_point("setpoint_c")
        assert (first.commands("analog-value,1"), source.values["setpoint_c"]) == ({}, 24.0)
        await devices[0].close()
        assert child.returncode is None
        await devices[1].close()
        assert child.returncode == 0


async def test_a_killed_child_costs_a_read_and_comes_back() -> None:
    async with emulated() as (emulator, _):
        device, clock = opened(emulator.port), ManualClock()
        bacnet_process._PROCESSES[asyncio.get_running_loop()] = BacnetProcess(clock=clock)
        assert await values(device) == pytest.approx(HVAC)
        child = process()._child
        assert child is not None
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(Unreachable):
            await device.read()
        with pytest.raises(Unreachable, match="in a moment"):
            await device.read()
        clock.advance(bacnet_process.RESTART_S)
        assert await values(device) == pytest.approx(HVAC)
        await device.close()


async def test_a_hung_child_is_killed_and_another_takes_its_place() -> None:
    async with emulated() as (emulator, _):
        device, clock = opened(emulator.port), ManualClock()
        bacnet_process._PROCESSES[asyncio.get_running_loop()] = BacnetProcess(clock=clock)
        assert await values(device) == pytest.approx(HVAC)
        child = process()._child
        assert child is not None
        os.kill(child.pid, signal.SIGSTOP)
        with pytest.raises(DeviceTimeout):
            await device.read()
        assert child.returncode is None, "it may only be slow"
        clock.advance(bacnet_process.HUNG_S)
        with pytest.raises(DeviceTimeout):
            await device.read()
        assert await child.wait() == -signal.SIGKILL
        clock.advance(bacnet_process.RESTART_S)
        assert await values(device) == pytest.approx(HVAC)
        await device.close()


async def test_a_small_device_is_asked_for_less() -> None:
    async with emulated(most=5) as (emulator, _):
        device = opened(emulator.port)
        assert await values(device) == pytest.approx(HVAC)
        before = emulator.requests
        await device.read()
        assert emulator.requests - before > 1
        await device.close()


async def test_nobody_there_is_a_typed_failure_and_does_not_hold_up_others() -> None:
    async with emulated() as (emulator, _):
        alive, dead = opened(emulator.port), opened(9)
        assert await values(alive) == pytest.approx(HVAC)
        lost = asyncio.create_task(dead.read())
        for _ in range(3):
            await alive.read()
        assert not lost.done()
        with pytest.raises(DeviceError):
            await lost
        await alive.close()
        await dead.close()


async def test_a_write_that_the_device_refuses_is_typed_and_changes_nothing() -> None:
    async with emulated() as (emulator, source):
        device = opened(emulator.port)
        await values(device)
        emulator.refuses = True
        with pytest.raises(DeviceError):
            await device.write_point("running", 0.0)
        assert source.writes == []
        await device.close()
