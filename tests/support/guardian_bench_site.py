"""A site of many miners without physics, light enough to leave the processor to the guardian: a process.

    python -P -m support.guardian_bench_site SITE_FILE

Wire-true: the machines are the VNish emulator's, the walls and the meter the Modbus emulator's. Only what
stands behind them is simple: a miner that is told to stop shuts down for `SHUTDOWN_S` and then draws nothing,
and one that is told another step runs it as long after.
One JSON object per line on standard input asks, one per line on standard output answers (`guardian_bench`
has the other end). Times are the machine's monotonic clock, which all processes share.
"""

import asyncio
import contextlib
import os
import random
import resource
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from edge_agent import config
from edge_agent.config import SiteFile
from firmware_adapters.miners.emulated import MinerView, PresetView
from firmware_adapters.miners.vnish.emulator import VnishEmulator
from firmware_adapters.simulator.doors import MinerDoors
from firmware_adapters.site.modbus_emulator import ModbusEmulator
from firmware_adapters.site.modbus_unit import ModbusUnit
from firmware_adapters.site.point_source import DictSource, PointSource
from firmware_adapters.site.profile import load_profile
from shared.clock import Clock, SystemClock
from shared.telemetry import DeviceKind, MinerState
from support.miners import LADDER, Machine, board, s21_pro

SHUTDOWN_S = 4.0
"""From the command to boards without power, as the plant has it; `shutting-down` meanwhile."""
IDLE_W = 22.0
COOL_C = 65.0
FULL_PCT = 80.0
"""Speed of a healthy wall."""
RUNGS = (
    *(PresetView(name=f"{w}", power_w=w, hashrate_ths=w / 15, tuned=True) for w in range(1500, 2500, 100)),
    *LADDER,
)
"""As many as real ladders have."""
RAMP_PCT_PER_S = 2.0


class Seen(msgspec.Struct, kw_only=True):
    """What happened to one miner since the last `calm`: monotonic s, None where it did not."""

    changed_s: float | None = None
    asked_s: float | None = None
    """The first request after the change: what came later is the guardian's own time."""
    stop_s: float | None = None
    stopped_s: float | None = None
    stops: int = 0
    preset: str | None = None
    """The step that it was told to run."""


class BenchMiner(Machine):
    """A machine that takes `SHUTDOWN_S` to stop, and remembers when it was told."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.calm_view = self.seen
        self.what = Seen()

    def view(self) -> MinerView:
        if self.what.asked_s is None and self.what.changed_s is not None:
            self.what.asked_s = self._clock.monotonic()
        return self.seen

    def heat(self, chip_c: float) -> None:
        """Every chip of the machine at `chip_c`, from this moment on."""
        hot = tuple(board(chip_temp_max_c=chip_c) for _ in self.seen.boards)
        self.set(boards=hot)
        self.what.changed_s = self._clock.monotonic()

    def stop(self) -> None:
        self.what.stops += 1
        if self.what.stop_s is None:
            self.what.stop_s = self._clock.monotonic()
        self.set(state=MinerState.SHUTTING_DOWN, hashrate_ths=0.0)
        asyncio.get_running_loop().call_later(SHUTDOWN_S, self._off)

    def set_preset(self, name: str) -> None:
        """See `EmulatedMiner`: mining restarts, and the new step's power shows when that is over."""
        self.what.preset = name
        asyncio.get_running_loop().call_later(SHUTDOWN_S, self._runs, name)

    def _runs(self, name: str) -> None:
        if self.what.preset == name:
            super().set_preset(name)

    def _off(self) -> None:
        if self.seen.state is MinerState.SHUTTING_DOWN:
            boards = tuple(board(hashrate_ths=0.0, power_w=0.0) for _ in self.seen.boards)
            self.set(state=MinerState.STOPPED, power_w=IDLE_W, boards=boards)
            self.what.stopped_s = self._clock.monotonic()

    def calm(self) -> None:
        """Mining, cool, and nothing remembered."""
        self.seen = self.calm_view
        self.what = Seen()


class Wall:
    """A fan wall that follows its set-point as drives do, or stands and reads 0 whatever it is told."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._setpoint = FULL_PCT
        self._speed = FULL_PCT
        self._seen_s = clock.monotonic()
        self.stood_since_s: float | None = None

    def points(self) -> Mapping[str, float]:
        """See `PointSource`."""
        now_s = self._clock.monotonic()
        most = RAMP_PCT_PER_S * (now_s - self._seen_s)
        self._speed += min(max(self._setpoint - self._speed, -most), most)
        self._seen_s = now_s
        speed = 0.0 if self.stood_since_s is not None else self._speed
        return {
            "speed_setpoint_pct": self._setpoint,
            "speed_pct": speed,
            "running": float(speed > 0),
            "fault": 0.0,
            "frequency_hz": speed / 2,
            "current_a": speed / 4,
        }

    def write_point(self, point: str, value: float) -> None:
        """See `PointSource`."""
        self._setpoint = value

    def write_register(self, address: int, value: int) -> None:
        """See `PointSource`: the control word changes nothing here."""

    def stand(self) -> None:
        """The motor stops now."""
        self.stood_since_s = self._clock.monotonic()

    def calm(self) -> None:
        """Turning again."""
        self.stood_since_s = None


class SiteMeter:
    """The feeder: the sum of what the miners draw."""

    def __init__(self, miners: list[BenchMiner]) -> None:
        self._miners = miners

    def points(self) -> Mapping[str, float]:
        """See `PointSource`."""
        watts = sum(miner.seen.power_w for miner in self._miners)
        phases = {f"voltage_v.{n}": 230.0 for n in (1, 2, 3)}
        phases |= {f"current_a.{n}": watts / 690.0 for n in (1, 2, 3)}
        return {"power_w": watts, "frequency_hz": 50.0, "energy_kwh": 1000.0, **phases}

    def write_point(self, point: str, value: float) -> None:
        """See `PointSource`: a meter takes nothing."""

    def write_register(self, address: int, value: int) -> None:
        """See `PointSource`."""


class Ask(msgspec.Struct, kw_only=True):
    """One request: `heat` or `stand` what is named, at random moments within `within_s`; or `look`.

    `turn` lets standing walls turn again, `calm` puts everything back.
    """

    do: str
    names: list[str] = []
    within_s: float = 0.0
    chip_c: float = 0.0
    seed: int = 0


class Told(msgspec.Struct, kw_only=True):
    """The answer: what was seen of every miner that something happened to, and of every standing wall."""

    miners: dict[str, Seen] = {}
    stood_s: dict[str, float] = {}
    power_w: float = 0.0
    now_s: float = 0.0


class BenchSite:
    """Every device of a site file, answering."""

    def __init__(self, site: SiteFile, clock: Clock) -> None:
        self._clock = clock
        self.miners = {str(entry.id): BenchMiner(clock) for entry in site.miners}
        self.walls: dict[str, Wall] = {}
        self._modbus: list[ModbusEmulator] = []
        meter = SiteMeter(list(self.miners.values()))
        for entry in site.devices:
            if entry.kind is DeviceKind.MINER:
                continue
            source: PointSource = meter
            if entry.kind is DeviceKind.DRIVE:
                source = self.walls[str(entry.id)] = Wall(clock)
            elif entry.kind is DeviceKind.PROBE:
                source = DictSource({"air_temp_c": 25.0, "humidity_pct": 50.0})
            unit = ModbusUnit(load_profile(entry.profile or ""), source)
            self._modbus.append(ModbusEmulator(entry.host, entry.port, {entry.unit_id: unit}))
        places = {
            (entry.host, entry.port): VnishEmulator(self.miners[str(entry.id)], clock=clock)
            for entry in site.miners
        }
        for number, miner in enumerate(self.miners.values()):
            mac = f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"
            miner.calm_view = s21_pro(mac=mac, presets=RUNGS)
            miner.calm()
        self._doors = MinerDoors(places, clock=clock)

    async def serve(self) -> None:
        """Answer devices and requests until standard input ends."""
        for emulator in self._modbus:
            await emulator.start()
        self._doors.open()
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        self._say(Told())
        while line := await reader.readline():
            self._say(self._do(msgspec.json.decode(line, type=Ask)))
        await self._doors.close()
        for emulator in self._modbus:
            await emulator.stop()

    def _do(self, ask: Ask) -> Told:
        loop, spread = asyncio.get_running_loop(), random.Random(ask.seed)
        if ask.do == "calm":
            for device in (*self.miners.values(), *self.walls.values()):
                device.calm()
        if ask.do == "turn":  # walls only: a trip whose cause is gone can be reset
            for wall in self.walls.values():
                wall.calm()
        for name in ask.names:
            change = self.walls[name].stand if ask.do == "stand" else self.miners[name].heat
            words = () if ask.do == "stand" else (ask.chip_c,)
            loop.call_later(spread.uniform(0.0, ask.within_s), change, *words)
        return self._told()

    def _told(self) -> Told:
        return Told(
            miners={
                name: miner.what
                for name, miner in self.miners.items()
                if miner.what != Seen() and miner.what != Seen(asked_s=miner.what.asked_s)
            },
            stood_s={
                name: wall.stood_since_s
                for name, wall in self.walls.items()
                if wall.stood_since_s is not None
            },
            power_w=sum(miner.seen.power_w for miner in self.miners.values()),
            now_s=self._clock.monotonic(),
        )

    @staticmethod
    def _say(told: Told) -> None:
        os.write(1, msgspec.json.encode(told) + b"\n")


def main() -> None:
    """Serve the site file that is named on the command line."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    site = BenchSite(config.load(Path(sys.argv[1])), SystemClock())
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(site.serve())


if __name__ == "__main__":
    main()
