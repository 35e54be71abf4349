"""A machine of a few fields behind any miner's emulator, and loopback addresses to reach it at."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Literal

import msgspec
from aiohttp import web

from firmware_adapters.miners.emulated import BoardView, FanView, MinerView, PresetView, PsuView
from firmware_adapters.miners.emulator_wire import Emulator, HasSocket, WebEmulator
from shared.telemetry import MinerState
from shared.units import Algorithm

LADDER = (
    PresetView(name="2550", power_w=2550, hashrate_ths=170, tuned=True, freq_mhz=440, volt_v=12.6),
    PresetView(name="2800", power_w=2800, hashrate_ths=188, tuned=True, freq_mhz=470, volt_v=12.8),
    PresetView(name="3160", power_w=3160, hashrate_ths=212, tuned=True, freq_mhz=520, volt_v=13.0),
    PresetView(
        name="4690",
        power_w=4690,
        hashrate_ths=313,
        tuned=False,
        needs_modded_psu=True,
        needs_liquid=True,
        freq_mhz=700,
        volt_v=14.2,
    ),
)


def board(**changes: object) -> BoardView:
    """A healthy board of an S21 Pro at 2800 W."""
    healthy = BoardView(
        hashrate_ths=62.0,
        hashrate_nominal_ths=62.5,
        power_w=900,
        freq_mhz=470,
        volt_v=12.8,
        hw_errors=19,
        chip_temp_min_c=54,
        chip_temp_max_c=65,
        board_temp_min_c=39,
        board_temp_max_c=50,
    )
    return msgspec.structs.replace(healthy, **changes)


def s21_pro(**changes: object) -> MinerView:
    """A healthy S21 Pro at 2800 W, with `changes`."""
    healthy = MinerView(
        state=MinerState.MINING,
        state_time_s=4422,
        hashrate_ths=186.0,
        hashrate_average_ths=185.5,
        hashrate_nominal_ths=187.5,
        hashrate_stock_ths=237.1,
        power_w=2790.4,
        boards=(board(), board(), board()),
        fans=tuple(FanView(rpm=5880) for _ in range(4)),
        fan_duty_pct=90,
        hw_errors=57,
        shares_accepted=4057,
        shares_rejected=8,
        uptime_s=9 * 86400 + 3 * 3600 + 58 * 60,
        preset="2800",
        presets=LADDER,
        model="Antminer S21 Pro",
        algorithm=Algorithm.SHA256D,
        mac="AA:BB:CC:00:00:01",
        serial="SN0001",
        hostname="rack1-slot1",
        psu=PsuView(pfc_c=44, llc1_c=45, llc2_c=47),
    )
    return msgspec.structs.replace(healthy, **changes)


class Machine:
    """An `EmulatedMiner` without physics: commands take effect at once and are remembered by name."""

    def __init__(self, view: MinerView | None = None) -> None:
        self.seen = view or s21_pro()
        self.commands: list[str] = []

    def view(self) -> MinerView:
        return self.seen

    def set(self, **changes: object) -> None:
        """Change what the machine shows."""
        self.seen = msgspec.structs.replace(self.seen, **changes)

    def set_preset(self, name: str) -> None:
        self.commands.append(f"preset {name}")
        rung = next(rung for rung in self.seen.presets if rung.name == name)
        self.set(preset=name)
        if self.seen.state.draws_power:
            self.set(
                state=MinerState.MINING if rung.tuned else MinerState.AUTO_TUNING,
                power_w=rung.power_w,
                hashrate_ths=rung.hashrate_ths,
                state_time_s=0,
            )

    def stop(self) -> None:
        self.commands.append("stop")
        boards = tuple(msgspec.structs.replace(b, hashrate_ths=0.0, power_w=0.0) for b in self.seen.boards)
        self.set(state=MinerState.STOPPED, hashrate_ths=0.0, power_w=22.0, boards=boards)

    def start(self) -> None:
        self.commands.append("start")
        self.set(state=MinerState.MINING)

    def pause(self) -> None:
        self.stop()

    def resume(self) -> None:
        self.start()

    def restart(self) -> None:
        self.commands.append("restart")

    def reboot(self, after_s: float) -> None:
        self.commands.append(f"reboot {after_s:g}")
        self.set(state=MinerState.MINING, uptime_s=0.0)

    def throttle(self, percent: float) -> None:
        self.commands.append(f"throttle {percent:g}")
        self.set(throttle_pct=percent)

    def locate(self, *, on: bool) -> None:
        self.commands.append(f"locate {'on' if on else 'off'}")
        self.set(locating=on)

    def set_power_limit(self, watts: float | None) -> None:
        self.commands.append(f"power limit {'off' if watts is None else format(watts, 'g')}")
        running = self.seen.state.draws_power
        drawn = self.seen.power_w if watts is None or not running else min(self.seen.power_w, watts)
        self.set(power_limit_w=watts, power_w=drawn)

    def set_cooling(self, mode: Literal["auto", "manual", "immersion"], value: float) -> None:
        self.commands.append(f"cooling {mode} {value:g}")
        self.set(cooling=mode)
        if mode == "auto":
            self.set(target_temp_c=value)
        elif mode == "manual":
            self.set(fan_duty_pct=value)

    def switch_pool(self, number: int) -> None:
        self.commands.append(f"pool {number}")
        self.set(pool=number)


@asynccontextmanager
async def on_loopback(
    emulators: Mapping[str, Emulator], *, beside: bool = False
) -> AsyncIterator[tuple[int, int]]:
    """Serve machines by address: one HTTP and one command-socket listener for all. Gives both ports.

    `beside` puts the second on the port after the first, which takes a few tries.
    """

    async def http(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        emulator = emulators.get(request.transport.get_extra_info("sockname")[0])
        if not isinstance(emulator, WebEmulator):
            request.transport.abort()
            return web.Response()
        return await emulator.handle(request)

    async def line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        emulator = emulators.get(writer.get_extra_info("sockname")[0])
        if not isinstance(emulator, HasSocket):
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            await emulator.handle_socket(reader, writer)
        finally:
            serving.discard(task)
            # A caller that hung up in the middle leaves the transport open behind it.
            writer.close()

    serving: set[asyncio.Task[object]] = set()
    server = web.Server(http, handler_cancellation=True)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    sockets: asyncio.Server | None = None
    for _ in range(20 if beside else 1):
        site = web.TCPSite(runner, "0.0.0.0", 0)
        await site.start()
        port = runner.addresses[-1][1]
        try:
            sockets = await asyncio.start_server(line, "0.0.0.0", port + 1 if beside else 0)
            break
        except (OSError, OverflowError):
            await site.stop()
    assert sockets is not None, "no two free ports beside each other"
    try:
        yield port, sockets.sockets[0].getsockname()[1]
    finally:
        sockets.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await sockets.wait_closed()
        await runner.cleanup()
