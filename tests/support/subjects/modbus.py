"""Modbus equipment in front of the contract suite: a drive, meters, and a drive on a serial line."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from firmware_adapters.site.modbus import ModbusDevice
from firmware_adapters.site.modbus_emulator import Misbehaviour, ModbusEmulator, ModbusFault
from firmware_adapters.site.modbus_rtu_emulator import RtuEmulator
from firmware_adapters.site.modbus_unit import ModbusUnit
from firmware_adapters.site.modbus_watchdog import ModbusWatchdogDevice
from firmware_adapters.site.point_source import DictSource
from firmware_adapters.site.profile import load_profile
from firmware_adapters.transport.modbus import ModbusConnection
from firmware_adapters.transport.modbus_serial import parse_line
from firmware_adapters.transport.modbus_session import Framing
from shared.capabilities import Ability
from shared.clock import SystemClock
from shared.errors import Busy, Unsupported
from support.adapter_conditions import Conditions, Conflict, LostLogin, Never, Overload, Reboot, Slow
from support.adapter_contract import Opening, Subject, Write
from support.site_devices import HOST

TIMEOUT_S = 0.15
LONGEST_PAUSE_S = 60.0
"""After this both breakers of a connection let a request through again."""


class JumpingClock(SystemClock):
    """The machine's clock and what a test skips: pauses on a line are real, those of a breaker are not."""

    def __init__(self) -> None:
        self._skipped_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self._skipped_s

    def advance(self, seconds: float) -> None:
        """Skip so much."""
        self._skipped_s += seconds


DRIVE = {
    "speed_setpoint_pct": 62.5,
    "speed_pct": 50.0,
    "running": 1.0,
    "fault": 0.0,
    "frequency_hz": 30.0,
    "current_a": 14.4,
}
METER = {
    "voltage_v.1": 230.5,
    "voltage_v.2": 229.5,
    "voltage_v.3": 231.0,
    "current_a.1": 17.5,
    "current_a.2": 18.0,
    "current_a.3": 17.75,
    "power_w": 12_340.0,
    "frequency_hz": 50.0,
    "energy_kwh": 1024.5,
}


class Bench:
    """One unit, what stands behind it, and ways to break what lies between."""

    def __init__(self, profile: str, values: dict[str, float]) -> None:
        self.profile = load_profile(profile)
        self.source = DictSource(values)
        self.clock = JumpingClock()
        self.unit = ModbusUnit(self.profile, self.source)
        self.emulator: ModbusEmulator | RtuEmulator

    async def open(self, *, serial: bool) -> ModbusConnection:
        """Serve the unit, over TCP or on a line."""
        if serial:
            self.emulator = RtuEmulator({1: self.unit})
            await self.emulator.open_line()
            return ModbusConnection(
                self.emulator.path, framing=Framing.RTU, line=parse_line("115200 8N1"), clock=self.clock
            )
        self.emulator = ModbusEmulator(HOST, 0, {1: self.unit})
        await self.emulator.start()
        return ModbusConnection(HOST, self.emulator.port, clock=self.clock)

    def spoil(self, kind: Misbehaviour, **how: float) -> None:
        """Let the unit misbehave from now on."""
        times = int(how["times"]) if "times" in how else None
        self.emulator.faults[1] = ModbusFault(
            kind, times=times, code=int(how.get("code", 4)), delay_s=how.get("delay_s", 0.0)
        )

    def vanish(self) -> None:
        """No supply: a line is silent, a network device resets whatever comes."""
        self.spoil(Misbehaviour.SILENT)
        if isinstance(self.emulator, ModbusEmulator):
            self.emulator.reset_on_accept = True
            self.hang_up()

    def hang_up(self) -> None:
        """End every connection, as devices do with idle ones."""
        assert isinstance(self.emulator, ModbusEmulator)
        for writer in tuple(self.emulator._open.values()):
            writer.transport.abort()

    def accepted(self) -> int:
        """Connections so far."""
        assert isinstance(self.emulator, ModbusEmulator)
        return self.emulator.accepted

    def change(self) -> None:
        """Other values than before."""
        for name in ("current_a", "power_w", "energy_kwh"):
            if name in self.source.values:
                self.source.values[name] = 3.0

    def heal(self) -> None:
        """Everything works again, and the connection has waited long enough to find out."""
        self.emulator.faults.clear()
        self.unit.deaf = False
        if isinstance(self.emulator, ModbusEmulator):
            self.emulator.reset_on_accept = False
        self.clock.advance(LONGEST_PAUSE_S)

    def deafen(self) -> None:
        """Accept every write and do nothing."""
        self.unit.deaf = True

    def forget(self, *points: str) -> set[str]:
        """The machine does not have these any more."""
        for point in points:
            del self.source.values[point]
        return set(points)

    def told(self) -> list[str]:
        """Every write that reached the machine."""
        dog = self.unit.watchdog
        armed = [f"time-out {dog.timeout_s:g}"] if dog is not None and dog.armed else []
        return [*map(str, self.source.writes), *map(str, self.source.registers.items()), *armed]


def _conditions(bench: Bench, device: ModbusDevice) -> Conditions:
    serial = isinstance(bench.emulator, RtuEmulator)
    return Conditions(
        slow=Slow(begin=partial(bench.spoil, Misbehaviour.IN_PIECES, delay_s=0.01)),
        # Modbus has no login: what a network device may lose is the connection.
        lost_login=Never("a serial line has neither login nor connection")
        if serial
        else LostLogin(
            begin=bench.hang_up,
            logins=bench.accepted,
            write_fails_once=True,
            refuse=Never("Modbus knows no secret"),
        ),
        overload=Overload(
            begin=partial(bench.spoil, Misbehaviour.EXCEPTION, code=6),
            requests=lambda: bench.emulator.requests,
        ),
        conflict=Conflict(
            begin=partial(bench.spoil, Misbehaviour.EXCEPTION, code=4),
            do=lambda: device.write_point("speed_setpoint_pct", 75.0),
            told=lambda: bench.emulator.requests,
            changed=lambda: (bench.told(), dict(bench.source.values)),
            error=Busy,
        )
        if isinstance(device, ModbusWatchdogDevice)
        else Never("a meter is only read"),
        reboot=Reboot(
            cut=partial(bench.spoil, Misbehaviour.HALF_REPLY),
            away=bench.vanish,
            back=bench.change,
            tells_uptime=False,
        ),
        skew=Never("Modbus carries no time, and no register of these profiles holds one"),
    )


def _faults(bench: Bench) -> dict[str, Callable[[], None]]:
    return {
        "gone": bench.vanish,
        "hang": partial(bench.spoil, Misbehaviour.SILENT),
        "half a reply": partial(bench.spoil, Misbehaviour.HALF_REPLY),
        "garbage": partial(bench.spoil, Misbehaviour.GARBAGE),
        "another unit's reply": partial(bench.spoil, Misbehaviour.WRONG_UNIT),
        "twice": partial(bench.spoil, Misbehaviour.TWICE),
        "too slow": partial(bench.spoil, Misbehaviour.LATE, delay_s=2 * TIMEOUT_S),
        "busy": partial(bench.spoil, Misbehaviour.EXCEPTION, code=6),
        "no path": partial(bench.spoil, Misbehaviour.EXCEPTION, code=10),
        "silent behind its gateway": partial(bench.spoil, Misbehaviour.EXCEPTION, code=11),
    }


def _writes(bench: Bench, device: ModbusDevice) -> dict[str, Write]:
    dog = bench.unit.watchdog
    if dog is None or not isinstance(device, ModbusWatchdogDevice):
        return {}
    return {
        "speed": Write(
            ability=Ability.SETPOINT,
            do=lambda: device.write_point("speed_setpoint_pct", 75.0),
            done=lambda: bench.source.values["speed_setpoint_pct"] == 75.0,
        ),
        "arm": Write(
            ability=Ability.WATCHDOG,
            do=lambda: device.arm(30.0),
            done=lambda: dog.armed and dog.timeout_s == 30.0,
        ),
        "disarm": Write(ability=Ability.WATCHDOG, do=device.disarm, done=lambda: not dog.armed),
    }


@asynccontextmanager
async def _open(profile: str, values: dict[str, float], *, serial: bool = False) -> AsyncIterator[Subject]:
    bench = Bench(profile, dict(values))
    link = await bench.open(serial=serial)
    driver = ModbusDevice if bench.profile.watchdog is None else ModbusWatchdogDevice
    device = driver(bench.profile, link, unit=1, timeout_s=TIMEOUT_S)
    refusals = {"no such point": (lambda: device.write_point("outlet_on.1", 1.0), Unsupported)}
    if isinstance(device, ModbusWatchdogDevice):
        refusals |= {
            "beyond its range": (lambda: device.write_point("speed_setpoint_pct", 100.1), Unsupported),
            "only read": (lambda: device.write_point("speed_pct", 50.0), Unsupported),
            "a time-out that is too short": (lambda: device.arm(0.1), Unsupported),
        }
    try:
        yield Subject(
            adapter=device,
            timeout_s=TIMEOUT_S,
            heal=bench.heal,
            truth=lambda: dict(bench.source.values),
            hide=partial(
                bench.forget, *(("speed_pct", "current_a") if driver is not ModbusDevice else ("power_w",))
            ),
            faults=_faults(bench),
            nuisances={
                "slow": partial(bench.spoil, Misbehaviour.LATE, delay_s=0.02),
                "one spoiled reply": partial(bench.spoil, Misbehaviour.GARBAGE, times=1),
                "one reply of another unit": partial(bench.spoil, Misbehaviour.WRONG_UNIT, times=1),
            },
            writes=_writes(bench, device),
            refusals=refusals,
            commands=bench.told,
            conditions=_conditions(bench, device),
            tamper=bench.deafen if driver is not ModbusDevice else None,
            facts_from_file=True,
        )
    finally:
        await device.close()
        await bench.emulator.stop()


SUBJECTS: dict[str, Opening] = {
    "modbus drive": partial(_open, "danfoss-fc102", DRIVE),
    "modbus-rtu drive": partial(_open, "danfoss-fc102", DRIVE, serial=True),
    "modbus meter": partial(_open, "eastron-sdm630", METER),
    "modbus sunspec meter": partial(_open, "sunspec-203", METER),
}
