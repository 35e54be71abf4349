"""One emulated machine of each firmware on loopback, each in front of a machine of a few fields."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from firmware_adapters.miners.emulator_wire import Emulator
from firmware_adapters.simulator.doors import MinerDoors
from firmware_adapters.simulator.miner_build import make_miner
from shared.clock import SystemClock
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry, SimulatorSettings
from shared.telemetry import DeviceKind
from support.miners import Machine
from support.mixed_site import FIRMWARES, PASSWORD
from support.ports import free_port


class Emulated:
    """A machine, its emulator and where it answers."""

    def __init__(self, adapter: str, host: str, machine: Machine, emulator: Emulator) -> None:
        self.adapter = adapter
        self.host = host
        self.port = 0
        self.machine = machine
        self.emulator = emulator

    @property
    def place(self) -> str:
        return f"{self.host}:{self.port}"


def entry_of(adapter: str, host: str, number: int) -> DeviceEntry:
    """A site entry for the machine; the port is not known before it listens."""
    return DeviceEntry(
        id=DeviceId(f"m-{number:02d}"),
        kind=DeviceKind.MINER,
        adapter=adapter,
        host=host,
        port=1,
        zone=ZoneId("hall"),
    )


@asynccontextmanager
async def fleet(net: str, *, adapters: tuple[str, ...] = FIRMWARES) -> AsyncIterator[dict[str, Emulated]]:
    """Machines by firmware at `net.1`, `net.2`, …, all on one port of their own addresses."""
    port = free_port()
    clock, settings = SystemClock(), SimulatorSettings(miner_password=PASSWORD)
    made: dict[str, Emulated] = {}
    for number, adapter in enumerate(adapters, start=1):
        host = f"{net}.{number}"
        machine = Machine()
        machine.set(mac=f"AA:BB:CC:00:00:{number:02X}", serial=f"SN{number:04d}")
        emulator = make_miner(entry_of(adapter, host, number), machine, settings, clock)
        made[adapter] = Emulated(adapter, host, machine, emulator)
    for one in made.values():
        one.port = port
    doors = MinerDoors({(one.host, port): one.emulator for one in made.values()}, clock=clock)
    doors.open()
    try:
        yield made
    finally:
        await doors.close()
