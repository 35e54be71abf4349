"""Every kind of emulated device with a power switch, and the guardian's own poller that reads them all.

A device that is switched off either refuses connections at once (its power is gone, the switch beside it is
not) or says nothing at all. Whichever way it went, it starts anew: nobody is connected, nobody is logged in,
SNMP v3 counts one more start, and the value that is looked at is another one than before, so that none that
was kept can pass for the present one.
"""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from edge_agent.guardian.polling.board import Board
from edge_agent.guardian.polling.link import DeviceLink, Samples
from edge_agent.guardian.polling.poller import Poller
from edge_agent.guardian.polling.ring import Ring
from edge_agent.guardian.polling.turns import Turns
from firmware_adapters.capabilities import Credential
from firmware_adapters.miners.emulated import MinerView
from firmware_adapters.miners.emulator_wire import Emulator, HasSocket, WebEmulator
from firmware_adapters.registry import open_device
from firmware_adapters.simulator.doors import socket_port
from firmware_adapters.simulator.miner_build import EMULATORS, make_miner
from firmware_adapters.site.modbus_emulator import Misbehaviour, ModbusEmulator, ModbusFault
from firmware_adapters.site.modbus_rtu_emulator import RtuEmulator
from firmware_adapters.site.modbus_unit import ModbusUnit
from firmware_adapters.site.point_source import DictSource
from firmware_adapters.site.profile import load_profile
from firmware_adapters.site.snmp_emulator import Misbehaviour as SnmpMisbehaviour
from firmware_adapters.site.snmp_emulator import SnmpAgent
from firmware_adapters.transport.snmp_user import access_of
from shared.clock import SystemClock
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry, SimulatorSettings
from shared.telemetry import DeviceKind, Sample
from support.miners import Machine, s21_pro
from support.mixed_site import PASSWORD, credential_of
from support.ports import free_port
from support.site_devices import HOST
from support.subjects.avalon import avalon_q
from support.subjects.axeos import bitaxe
from support.subjects.bacnet import HVAC
from support.subjects.modbus import DRIVE, METER
from support.subjects.snmp import PDU, RARITAN, UPS
from support.subjects.whatsminer import m50s

TIMEOUT_S = 0.3
ZONE = ZoneId("hall")


class Device(ABC):
    """One device with a switch. `point` reads `base + step * n` after its start number `n`."""

    def __init__(
        self, entry: DeviceEntry, credential: Credential | None, point: str, base: float, step: float
    ) -> None:
        self.entry = entry
        self.credential = credential
        self.point = point
        self._base = base
        self._step = step
        self.starts = 0
        self.shown: list[float] = []
        """What `point` was, start by start."""

    @property
    def name(self) -> DeviceId:
        return self.entry.id

    async def on(self) -> None:
        """Start anew, with another value."""
        self.shown.append(self._base + self._step * self.starts)
        self.starts += 1
        await self._start(self.shown[-1])

    @abstractmethod
    async def _start(self, value: float) -> None: ...

    @abstractmethod
    async def off(self, *, silent: bool) -> None:
        """No power: `silent` leaves requests without any answer, else a connection is refused."""
        ...

    @abstractmethod
    def stutter(self) -> None:
        """From now on replies break off in the middle: the supply fails while it speaks."""
        ...

    @abstractmethod
    async def stop(self) -> None:
        """Close every socket."""
        ...


class Miner(Device):
    """A miner of any firmware: its web server, its command socket, or both side by side."""

    def __init__(self, adapter: str, view: MinerView) -> None:
        entry = DeviceEntry(
            id=DeviceId(adapter),
            kind=DeviceKind.MINER,
            adapter=adapter,
            host=HOST,
            port=free_port(),
            zone=ZONE,
            model="s19jpro",
            nominal_w=2700,
            safe_preset="1850",
        )
        base = view.hashrate_ths
        super().__init__(entry, credential_of(adapter), "hashrate_ths", base, base / 64)
        self._machine = Machine(view)
        self._emulator: Emulator
        self._web: web.ServerRunner | None = None
        self._line: asyncio.Server | None = None
        self._serving: dict[asyncio.Task[object], asyncio.StreamWriter] = {}

    async def _start(self, value: float) -> None:
        await self.stop()
        self._machine.set(hashrate_ths=value, uptime_s=60.0)
        settings = SimulatorSettings(miner_password=PASSWORD)
        self._emulator = emulator = make_miner(self.entry, self._machine, settings, SystemClock())
        port = self.entry.port
        if isinstance(emulator, WebEmulator):
            self._web = web.ServerRunner(web.Server(emulator.handle, access_log=None), shutdown_timeout=0.1)
            await self._web.setup()
            await web.TCPSite(self._web, HOST, port).start()
            port = socket_port(port)
        if isinstance(emulator, HasSocket):
            self._line = await asyncio.start_server(self._serve, HOST, port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if self._line is None or task is None or not isinstance(self._emulator, HasSocket):
            writer.transport.abort()
            return
        self._serving[task] = writer
        try:
            await self._emulator.handle_socket(reader, writer)
        finally:
            del self._serving[task]
            writer.transport.abort()

    async def off(self, *, silent: bool) -> None:
        if silent:
            self._trap(hang=True)
        else:
            await self.stop()

    def stutter(self) -> None:
        self._trap(half_reply=True)

    def _trap(self, **how: bool) -> None:
        for traps in ("traps", "socket_traps"):
            if hasattr(self._emulator, traps):
                setattr(self._emulator, traps, msgspec.structs.replace(getattr(self._emulator, traps), **how))

    async def stop(self) -> None:
        server, self._web = self._web, None
        line, self._line = self._line, None
        if line is not None:
            line.close()
            serving = dict(self._serving)
            for writer in serving.values():
                writer.transport.abort()
            await asyncio.gather(*serving, return_exceptions=True)
            await line.wait_closed()
        if server is not None:
            await server.cleanup()


class Equipment(Device):
    """A device of a profile; `serve` makes its emulator."""

    def __init__(
        self,
        name: str,
        adapter: str,
        profile: str,
        values: Mapping[str, float],
        point: str,
        step: float,
        credential: Credential | None = None,
        *,
        host: str = HOST,
        port: int | None = None,
        serial: str | None = None,
    ) -> None:
        self._profile = load_profile(profile)
        self._source = DictSource(dict(values))
        entry = DeviceEntry(
            id=DeviceId(name),
            kind=self._profile.kind,
            adapter=adapter,
            profile=profile,
            host=host,
            port=free_port() if port is None else port,
            serial=serial,
            zone=ZONE,
        )
        super().__init__(entry, credential, point, values[point], step)

    def _show(self, value: float) -> None:
        self._source.values[self.point] = value


class Modbus(Equipment):
    """Over TCP."""

    def __init__(self, profile: str, values: Mapping[str, float], point: str, step: float) -> None:
        super().__init__(f"modbus {profile}", "modbus", profile, values, point, step)
        self._emulator = ModbusEmulator(
            HOST, self.entry.port, {1: ModbusUnit(self._profile, self._source)}, clock=SystemClock()
        )

    async def _start(self, value: float) -> None:
        await self._emulator.stop()
        self._emulator.faults.clear()
        self._show(value)
        await self._emulator.start()

    async def off(self, *, silent: bool) -> None:
        if silent:
            self._emulator.faults[1] = ModbusFault(Misbehaviour.SILENT)
        else:
            await self._emulator.stop()

    def stutter(self) -> None:
        self._emulator.faults[1] = ModbusFault(Misbehaviour.HALF_REPLY)

    async def stop(self) -> None:
        await self._emulator.stop()


class SerialModbus(Equipment):
    """On a serial line of this computer, where nothing is ever refused: a device without power is silent."""

    def __init__(self, emulator: RtuEmulator, profile: str, values: Mapping[str, float], point: str) -> None:
        super().__init__(
            f"modbus-rtu {profile}",
            "modbus-rtu",
            profile,
            values,
            point,
            0.5,
            host=emulator.path,
            port=0,
            serial="115200 8N1",
        )
        self._emulator = emulator
        self._emulator.units[1] = ModbusUnit(self._profile, self._source)

    async def _start(self, value: float) -> None:
        self._emulator.faults.clear()
        self._show(value)

    async def off(self, *, silent: bool) -> None:
        del silent
        self._emulator.faults[1] = ModbusFault(Misbehaviour.SILENT)

    def stutter(self) -> None:
        self._emulator.faults[1] = ModbusFault(Misbehaviour.HALF_REPLY)

    async def stop(self) -> None:
        await self._emulator.stop()


class Snmp(Equipment):
    """Over v2c, or over v3 where the credential has a user."""

    def __init__(
        self, name: str, profile: str, values: Mapping[str, float], step: float, credential: Credential
    ) -> None:
        super().__init__(name, "snmp", profile, values, next(iter(values)), step, credential)
        access = access_of(credential.user, credential.secret)
        users = () if isinstance(access, str) else (access,)
        self._agent = SnmpAgent(HOST, self.entry.port, self._profile, self._source, users=users)

    async def _start(self, value: float) -> None:
        await self.stop()
        self._agent.fault, self._agent.dark = None, False
        self._agent.restart()
        self._show(value)
        await self._agent.start()

    async def off(self, *, silent: bool) -> None:
        if silent:
            self._agent.dark = True
        else:
            await self._agent.stop()

    def stutter(self) -> None:
        self._agent.fault = SnmpMisbehaviour.TRUNCATED

    async def stop(self) -> None:
        await self._agent.stop()
        await asyncio.sleep(0)  # the socket closes in the next round of the loop


class Bacnet(Equipment):
    """Read through the guardian's real BACnet process."""

    def __init__(self) -> None:
        super().__init__("bacnet", "bacnet", "bacnet-hvac", HVAC, "air_temp_c.1", 0.25)
        self._emulator: Any = None

    async def _start(self, value: float) -> None:
        from firmware_adapters.site.bacnet_emulator import BacnetEmulator  # noqa: PLC0415 - an optional extra

        await self.stop()
        self._show(value)
        self._emulator = BacnetEmulator(HOST, self.entry.port, self._profile, self._source)
        await self._emulator.start()

    async def off(self, *, silent: bool) -> None:
        if silent:
            self._emulator.dark = True
        else:
            await self.stop()

    def stutter(self) -> None:
        self._emulator.distort_by("truncated")

    async def stop(self) -> None:
        emulator, self._emulator = self._emulator, None
        if emulator is not None:
            await emulator.stop()
            await asyncio.sleep(0)  # the socket closes in the next round of the loop


_VIEWS: dict[str, Callable[[], MinerView]] = {
    "whatsminer": m50s,
    "whatsminer-v3": m50s,
    "avalon": avalon_q,
    "axeos": lambda: bitaxe().seen,
}


async def every_kind(*, bacnet: bool) -> list[Device]:
    """One miner of each firmware, Modbus over TCP and a serial line, SNMP v2c and v3, BACnet."""
    line = RtuEmulator({}, clock=SystemClock())
    await line.open_line()
    devices: list[Device] = [Miner(adapter, _VIEWS.get(adapter, s21_pro)()) for adapter in EMULATORS]
    devices += [
        Modbus("danfoss-fc102", DRIVE, "current_a", 0.5),
        Modbus("eastron-sdm630", METER, "power_w", 10.0),
        Modbus("sunspec-203", METER, "power_w", 10.0),
        SerialModbus(line, "eastron-sdm630", METER, "power_w"),
        Snmp("snmp v2c pdu", "apc-rpdu2", PDU, 10.0, Credential(user=None, secret="private")),
        Snmp(
            "snmp v2c ups",
            "ups-mib",
            {"runtime_s": 540.0, **UPS},
            60.0,
            Credential(user=None, secret="private"),
        ),
        Snmp(
            "snmp v3 pdu",
            "raritan-px",
            RARITAN,
            10.0,
            Credential(user="switch", secret="sha256 correct-horse aes battery-staple"),
        ),
    ]
    return [*devices, Bacnet()] if bacnet else devices


class Heard(Samples):
    """Every sample of every device in the order they came."""

    def __init__(self) -> None:
        super().__init__("boot", Board(), Ring())
        self.of: dict[DeviceId, list[Sample]] = {}
        self._next: asyncio.Event = asyncio.Event()

    def publish(self, sample: Sample) -> None:
        """See `Samples`."""
        super().publish(sample)
        self.of.setdefault(sample.device, []).append(sample)
        self._next.set()
        self._next = asyncio.Event()

    async def wait_for(self, true: Callable[[], bool]) -> None:
        """Return when it is true; looked at after each sample."""
        while not true():
            await self._next.wait()


@contextlib.asynccontextmanager
async def polled(
    devices: list[Device], heard: Heard, *, periods_s: float, urgent: frozenset[DeviceId]
) -> AsyncIterator[dict[DeviceId, DeviceLink]]:
    """The guardian's links and its poller, as the guardian makes them; both end with the block."""
    clock, turns = SystemClock(), Turns()
    links = {
        device.name: DeviceLink(
            device.entry,
            open_device(device.entry, device.credential, timeout_s=TIMEOUT_S),
            heard,
            clock,
            timeout_s=TIMEOUT_S,
            turns=None if device.name in urgent else turns,
        )
        for device in devices
    }
    poller = Poller(
        links,
        clock,
        periods_s=dict.fromkeys(links, periods_s),
        urgent=urgent,
        on_facts=lambda _: None,
    )
    task = asyncio.create_task(poller.run())
    try:
        yield links
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for link in links.values():
            await link.close()
