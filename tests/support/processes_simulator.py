"""The simulator with machines that can misbehave, and a stopwatch that sees what is really so.

Run as a program. Beside the simulator's own fault API (at `fault_port`), one port above:

    POST /machine   {"target": "m-1", "traps": {"slow_s": 1}, "deaf_to_stop": true}: its manners from now on
    POST /reboot    {"target": "m-1"}: its control board restarts, and it mines again
    POST /clear     every machine behaves, no fault runs any more, the stopwatch starts anew
    POST /watch     the stopwatch starts anew
    GET  /marks     what the stopwatch saw, in s of the monotonic clock that all processes share

The stopwatch looks at the plant itself, never at what a machine says.
"""

import argparse
import asyncio
import dataclasses
import signal
from pathlib import Path

import msgspec
from aiohttp import web

from firmware_adapters.miners.emulated import EmulatedMiner, MinerView
from firmware_adapters.miners.vnish.emulator import VnishEmulator
from firmware_adapters.miners.vnish.emulator_traps import Traps
from firmware_adapters.simulator import app
from firmware_adapters.simulator.site_file import load_site
from shared.clock import SystemClock
from shared.plant import MinerState as PlantState
from shared.telemetry import MinerState

LOOK_S = 0.02
STEP_S = 0.1
"""Plant step: finer than a demo's, because times are measured against it."""
REBOOT_S = 3.0
"""How long a control board is away when it restarts; real ones take a minute and a half."""


class Manners(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one machine behaves."""

    target: str
    traps: Traps = Traps()
    deaf_to_stop: bool = False
    """Accepts a stop with 200 and goes on hashing."""
    claims_stopped: bool = False
    """Says "stopped" whatever it does; its power is told as it is."""
    black_hole: bool = False
    """Connections are accepted and never answered, on both of its ports."""


class Mark(msgspec.Struct, kw_only=True):
    """What was seen of one machine since the stopwatch started. Times in s, monotonic."""

    stop_told_at_s: float | None = None
    """The last stop that reached it."""
    stopped_at_s: float | None = None
    """Since when it makes no heat (stopped, or without power); None while it runs."""
    polls: int = 0
    last_poll_s: float | None = None
    longest_gap_s: float = 0.0
    """Longest time between two reads of its summary."""


class Machine:
    """An `EmulatedMiner` in front of the plant's, with a will of its own."""

    def __init__(self, inner: EmulatedMiner, name: str, mark: Mark) -> None:
        self._inner = inner
        self.manners = Manners(target=name)
        self.mark = mark
        self.clock = SystemClock()

    def view(self) -> MinerView:
        """What the machine shows."""
        view = self._inner.view()
        if self.manners.claims_stopped:
            return msgspec.structs.replace(view, state=MinerState.STOPPED)
        return view

    def stop(self) -> None:
        """Obey, or not."""
        self.mark.stop_told_at_s = self.clock.monotonic()
        if not self.manners.deaf_to_stop:
            self._inner.stop()

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)  # everything else is the plant's machine


class Stage:
    """The simulator, its machines' manners and the stopwatch."""

    def __init__(self, path: Path) -> None:
        site = load_site(path)
        app.STEP_S = STEP_S
        self.simulator = app.Simulator(site)
        phases = self.simulator.built.plant.fleet.phases
        phases.timing = dataclasses.replace(phases.timing, reboot_s=REBOOT_S)
        self.clock = SystemClock()
        self.port = site.settings.fault_port + 1
        self.machines: dict[str, Machine] = {}
        for name, emulator in self.simulator.miners.items():
            machine = Machine(emulator.machine, name, Mark())
            self.machines[name] = machine
            emulator.machine = machine  # type: ignore[assignment]  # forwards what it does not change
            self._count(emulator, machine)

    def _count(self, emulator: VnishEmulator, machine: Machine) -> None:
        serve = emulator.handle

        async def counted(request: web.BaseRequest) -> web.StreamResponse:
            if request.path.endswith("/summary") and not request.path.endswith("perf-summary"):
                now_s, mark = self.clock.monotonic(), machine.mark
                if mark.last_poll_s is not None:
                    mark.longest_gap_s = max(mark.longest_gap_s, now_s - mark.last_poll_s)
                mark.polls, mark.last_poll_s = mark.polls + 1, now_s
            return await serve(request)

        emulator.handle = counted  # type: ignore[method-assign]  # the doors ask the instance
        answer_4028 = emulator.handle_socket

        async def swallowed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while machine.manners.black_hole and not writer.is_closing():
                await reader.read(4096)
                await self.clock.sleep(LOOK_S)
            await answer_4028(reader, writer)

        emulator.handle_socket = swallowed  # type: ignore[method-assign]  # as above

    async def watch(self) -> None:
        """Note when each machine stops making heat."""
        fleet, numbers = self.simulator.built.plant.fleet, self.simulator.built.miners
        while True:
            now_s = self.clock.monotonic()
            for name, machine in self.machines.items():
                state = int(fleet.phases.state[numbers[name]])
                off = state in (PlantState.STOPPED, PlantState.FAILURE) or not fleet.has_power[numbers[name]]
                if not off:
                    machine.mark.stopped_at_s = None
                elif machine.mark.stopped_at_s is None:
                    machine.mark.stopped_at_s = now_s
            await self.clock.sleep(LOOK_S)

    # ---------------------------------------------------------------- the control port

    def application(self) -> web.Application:
        application = web.Application()
        application.add_routes(
            [
                web.post("/machine", self._machine),
                web.post("/reboot", self._reboot),
                web.post("/clear", self._clear),
                web.post("/watch", self._watch_anew),
                web.get("/marks", self._marks),
            ]
        )
        return application

    async def _machine(self, request: web.Request) -> web.Response:
        manners = msgspec.json.decode(await request.read(), type=Manners)
        self.machines[manners.target].manners = manners
        hang = manners.traps.hang or manners.black_hole
        traps = msgspec.structs.replace(manners.traps, hang=hang)
        self.simulator.miners[manners.target].traps = traps
        return web.json_response({"at_s": self.clock.monotonic()})

    async def _reboot(self, request: web.Request) -> web.Response:
        name = msgspec.json.decode(await request.read(), type=dict[str, str])["target"]
        self.simulator.built.plant.fleet.reboot([self.simulator.built.miners[name]])
        return web.json_response({"at_s": self.clock.monotonic()})

    async def _clear(self, _request: web.Request) -> web.Response:
        self.simulator.desk.clear_all()
        for name, machine in self.machines.items():
            machine.manners = Manners(target=name)
            self.simulator.miners[name].traps = Traps()
        return await self._watch_anew(_request)

    async def _watch_anew(self, _request: web.Request) -> web.Response:
        for machine in self.machines.values():
            mark = machine.mark
            mark.polls, mark.longest_gap_s, mark.last_poll_s, mark.stop_told_at_s = 0, 0.0, None, None
        return web.json_response({"at_s": self.clock.monotonic()})

    async def _marks(self, _request: web.Request) -> web.Response:
        marks = {name: machine.mark for name, machine in self.machines.items()}
        body = msgspec.json.encode({"now_s": self.clock.monotonic(), "miners": marks})
        return web.Response(body=body, content_type="application/json")

    async def serve(self) -> None:
        """Until SIGTERM."""
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        await self.simulator.start()
        runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        watch = asyncio.create_task(self.watch())
        try:
            await self.simulator.serve_until(stopped)
        finally:
            watch.cancel()
            await runner.cleanup()
            await self.simulator.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--site", type=Path, required=True)
    asyncio.run(Stage(parser.parse_args().site).serve())


if __name__ == "__main__":
    main()
