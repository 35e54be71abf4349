"""The simulator: a plant in real time, and every device of a site file answering its own protocol."""

import asyncio
import contextlib
import resource
from typing import TYPE_CHECKING

from firmware_adapters.miners.emulator_wire import Emulator
from firmware_adapters.simulator.doors import MinerDoors
from firmware_adapters.simulator.fault_api import FaultApi
from firmware_adapters.simulator.faults import FaultDesk
from firmware_adapters.simulator.gear import Gear
from firmware_adapters.simulator.gear_build import make_gear
from firmware_adapters.simulator.link_faults import LinkFaults
from firmware_adapters.simulator.machine import PlantFeed, PlantMiner
from firmware_adapters.simulator.miner_build import make_miner
from firmware_adapters.simulator.plant_build import build_plant
from firmware_adapters.simulator.site_file import SimulatedSite
from firmware_adapters.simulator.truth import SiteTruth, site_truth
from firmware_adapters.simulator.writes import LoggedGear, WriteLog
from firmware_adapters.site.modbus_emulator import ModbusEmulator
from firmware_adapters.site.modbus_unit import ModbusUnit
from firmware_adapters.site.profile import Profile, load_profile
from firmware_adapters.site.snmp_emulator import SnmpAgent
from shared.clock import Clock, SystemClock
from shared.errors import ConfigError
from shared.inventory import DeviceEntry

if TYPE_CHECKING:
    from firmware_adapters.site.bacnet_emulator import BacnetEmulator

STEP_S = 0.5
LONGEST_STEP_S = 5.0
"""A process that was held up for longer lets the plant fall behind rather than leap."""
FILES_PER_MINER = 4
SPARE_FILES = 200


class Simulator:
    """A simulated site. `start`, then `run` until cancelled, then `stop`."""

    def __init__(self, site: SimulatedSite, *, clock: Clock | None = None) -> None:
        """Builds the plant and its devices; nothing listens yet. Raises `ConfigError`."""
        self._clock = clock or SystemClock()
        self._site = site
        self.built = build_plant(site)
        self.feed = PlantFeed(self.built.plant)
        settings = site.settings
        self.writes = WriteLog(self._clock)
        self.machines: dict[str, PlantMiner] = {
            str(entry.id): PlantMiner(self.feed, self.built.miners[entry.id], entry, self.writes)
            for entry in site.miners
        }
        self.miners: dict[str, Emulator] = {
            str(entry.id): make_miner(entry, self.machines[entry.id], settings, self._clock)
            for entry in site.miners
        }
        self.gear: dict[str, Gear] = {
            str(entry.id): make_gear(entry, self.built, site.devices) for entry in site.gear
        }
        self.modbus: dict[str, tuple[ModbusEmulator, int]] = {}
        self.snmp: dict[str, SnmpAgent] = {}
        self.bacnet: dict[str, BacnetEmulator] = {}
        for entry in site.gear:
            self._emulate(entry)
        places = {(entry.host, entry.port): self.miners[entry.id] for entry in site.miners}
        self._doors = MinerDoors(places, clock=self._clock)
        links = LinkFaults(self.modbus, self.snmp, self.bacnet)
        self.desk = FaultDesk(self.built, self.gear, self.machines, links)
        self._api = FaultApi(
            self.desk, self.writes, port=settings.fault_port, truth=self.truth, health=self.health
        )
        self._lag_s = 0.0
        self._began_s = self._clock.monotonic()

    def _emulate(self, entry: DeviceEntry) -> None:
        profile = load_profile(entry.profile or "")
        if profile.kind is not entry.kind:
            raise ConfigError(
                f"device {entry.id}: profile {entry.profile} is a {profile.kind}, not a {entry.kind}"
            )
        source = LoggedGear(self.gear[entry.id], self.writes)
        if profile.modbus is not None:
            emulator = self._emulator_at(entry.host, entry.port)
            emulator.single_connection |= profile.modbus.single_connection
            emulator.units[entry.unit_id] = ModbusUnit(profile, source, clock=self._clock)
            self.modbus[str(entry.id)] = (emulator, entry.unit_id)
        elif profile.bacnet is not None:
            self.bacnet[str(entry.id)] = _bacnet(entry, profile, source)
        else:
            community = (self._site.settings.pdu_community,)
            self.snmp[str(entry.id)] = SnmpAgent(
                entry.host,
                entry.port,
                profile,
                source,
                unit=entry.unit_id,
                read_communities=("public", *community),
                write_communities=community,
            )

    def _emulator_at(self, host: str, port: int) -> ModbusEmulator:
        """The server at an endpoint; several units at one endpoint make it a gateway."""
        there = (one for one in self._emulators if (one.host, one.port) == (host, port))
        return next(there, None) or ModbusEmulator(host, port, {}, clock=self._clock)

    @property
    def _emulators(self) -> list[ModbusEmulator]:
        return list(dict.fromkeys(emulator for emulator, _ in self.modbus.values()))

    # ---------------------------------------------------------------- life

    async def start(self) -> None:
        """Listen everywhere. Raises `OSError` for a port that is taken, after closing what was open."""
        allow_files(FILES_PER_MINER * len(self.miners) + SPARE_FILES)
        try:
            for emulator in self._emulators:
                await emulator.start()
            for agent in self.snmp.values():
                await agent.start()
            for device in self.bacnet.values():
                await device.start()
            self._doors.open()
            if self._site.settings.fault_port:
                await self._api.start()
        except OSError:
            await self.stop()
            raise

    async def run(self) -> None:
        """Step the plant in real time until cancelled."""
        last_s = self._clock.monotonic()
        while True:
            await self._clock.sleep(STEP_S)
            now_s = self._clock.monotonic()
            self.step(now_s - last_s)
            last_s = now_s

    def step(self, dt_s: float) -> None:
        """Let the plant live for `dt_s` and refresh what the devices show."""
        if dt_s <= 0:
            return
        self._lag_s += max(0.0, dt_s - LONGEST_STEP_S)
        for name, gear in self.gear.items():
            gear.tick()
            self._supply(name, dark=gear.dark)
        self.built.plant.step(min(dt_s, LONGEST_STEP_S))
        self.feed.refresh()
        for device in self.bacnet.values():
            device.refresh()

    def _supply(self, name: str, *, dark: bool) -> None:
        """Take a device off the air while it has no supply; let its own time-out run while it has one."""
        if name in self.snmp:
            self.snmp[name].dark = dark
            return
        if name in self.bacnet:
            self.bacnet[name].dark = dark
            return
        emulator, unit = self.modbus[name]
        if dark:
            emulator.dark.add(unit)
            return
        emulator.dark.discard(unit)
        watchdog = emulator.units[unit].watchdog
        if watchdog is not None:
            watchdog.tick()

    async def stop(self) -> None:
        """Close every socket."""
        await self._api.stop()
        await self._doors.close()
        for emulator in self._emulators:
            await emulator.stop()
        for agent in self.snmp.values():
            await agent.stop()
        for device in self.bacnet.values():
            await device.stop()

    async def serve_until(self, stopped: asyncio.Event) -> None:
        """Run until `stopped` is set; a plant that fails ends this with its error."""
        plant = asyncio.create_task(self.run())
        waiting = asyncio.create_task(stopped.wait())
        try:
            await asyncio.wait({plant, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if plant.done():
                plant.result()
        finally:
            for task in (plant, waiting):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    # ---------------------------------------------------------------- views

    def truth(self) -> SiteTruth:
        """What is really so."""
        return site_truth(self.built, self.feed, self.gear, self.desk.active)

    def health(self) -> dict[str, object]:
        """Whether the plant keeps up: `lag_s` is plant time lost since the start."""
        return {
            "ok": True,
            "at_s": self._clock.monotonic(),
            "time_s": round(self.built.plant.time_s, 3),
            "running_s": round(self._clock.monotonic() - self._began_s, 3),
            "lag_s": round(self._lag_s, 3),
            "miners": len(self.miners),
            "devices": len(self.gear),
            "refused_connections": self._doors.refused,
        }


def _bacnet(entry: DeviceEntry, profile: Profile, source: LoggedGear) -> "BacnetEmulator":
    """A BACnet/IP device; its library is an extra. Raises `ConfigError` where that is missing."""
    try:
        from firmware_adapters.site.bacnet_emulator import BacnetEmulator  # noqa: PLC0415 - an extra
    except ImportError as error:
        text = f"device {entry.id}: BACnet needs its extra: pip install minewarden[bacnet]"
        raise ConfigError(text) from error
    return BacnetEmulator(entry.host, entry.port, profile, source)


def allow_files(wanted: int) -> None:
    """Raise the soft limit on open files to `wanted` if need be. Raises `ConfigError` when it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise ConfigError(f"this site needs {wanted} open files, the hard limit is {hard} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
