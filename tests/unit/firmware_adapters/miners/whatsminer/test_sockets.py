"""Opened as the guardian opens them, over real sockets: many machines behind one listener, by address."""

import asyncio

import pytest

from firmware_adapters.capabilities import Credential, MiningControl
from firmware_adapters.miners.avalon.emulator import AvalonEmulator
from firmware_adapters.miners.emulated import EmulatedMiner
from firmware_adapters.miners.emulator_wire import Emulator
from firmware_adapters.miners.whatsminer.emulator import WhatsminerEmulator
from firmware_adapters.miners.whatsminer_v3.emulator import WhatsminerV3Emulator
from firmware_adapters.registry import open_device
from shared.clock import SystemClock
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind, MinerState
from support.miners import Machine, on_loopback
from support.subjects.whatsminer import m50s

SECRET = "no default"


def emulator(adapter: str, machine: EmulatedMiner) -> Emulator:
    if adapter == "whatsminer":
        return WhatsminerEmulator(machine, clock=SystemClock(), password=SECRET)
    if adapter == "whatsminer-v3":
        return WhatsminerV3Emulator(machine, clock=SystemClock(), password=SECRET)
    return AvalonEmulator(machine, clock=SystemClock())


@pytest.mark.parametrize("adapter", ["whatsminer", "whatsminer-v3", "avalon"])
async def test_many_machines_behind_one_listener_are_read_and_stopped_each_by_itself(adapter: str) -> None:
    hosts = [f"127.9.{4 + n // 50}.{n % 50 + 1}" for n in range(30)]
    maker = "Avalon Q" if adapter == "avalon" else "Whatsminer M50S"
    machines = {host: Machine(m50s(power_w=1000.0 + n, model=maker)) for n, host in enumerate(hosts)}
    emulators = {host: emulator(adapter, machine) for host, machine in machines.items()}
    async with on_loopback(emulators) as (_, port):
        devices = [
            open_device(
                DeviceEntry(
                    id=DeviceId(f"m-{host}"),
                    kind=DeviceKind.MINER,
                    adapter=adapter,
                    host=host,
                    port=port,
                    zone=ZoneId("z"),
                ),
                Credential(user=None, secret=SECRET),
                timeout_s=20,
            )
            for host in hosts
        ]
        seen = await asyncio.gather(*(device.read() for device in devices))
        assert [found.readings["power_w"].value for found in seen] == [1000.0 + n for n in range(30)]
        stopping = devices[::2]
        for device in stopping:
            assert isinstance(device, MiningControl)
        await asyncio.gather(*(device.stop_mining() for device in stopping))  # type: ignore[attr-defined] # asserted
        after = await asyncio.gather(*(device.read() for device in devices))
        stopped = [found.state is MinerState.STOPPED for found in after]
        assert stopped == [n % 2 == 0 for n in range(30)]
        assert [machine.commands for machine in machines.values()] == [["stop"], []] * 15
        await asyncio.gather(*(device.close() for device in devices))
