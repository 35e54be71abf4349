"""`minewarden demo`: starts a whole site, plays the scenario, and stays until Ctrl-C.

`--headless --duration S --report FILE` plays it once without staying, writes the stages as JSON and exits
with 1 if any of them is not ok.
"""

import argparse
import asyncio
import contextlib
import importlib.util
import json
import shutil
import signal
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from firmware_adapters.simulator.demo.broker import broker_command
from firmware_adapters.simulator.demo.files import MINEWARDEN, write_all
from firmware_adapters.simulator.demo.layout import Layout, new_layout
from firmware_adapters.simulator.demo.processes import Processes
from firmware_adapters.simulator.demo.scenario import Scenario, StageFailed
from firmware_adapters.simulator.demo.stages import Board, complain
from firmware_adapters.simulator.demo.wan import Wan
from firmware_adapters.simulator.demo.watch import Watch
from shared.clock import SystemClock

DEFAULT_PORT = 8480
_UP_WITHIN_S = 60.0


def main(args: list[str]) -> int:
    """Run the demo; returns the exit code."""
    options = _parser().parse_args(args)
    folder = options.dir or Path(tempfile.mkdtemp(prefix="minewarden-demo-"))
    try:
        return asyncio.run(_demo(options, folder.resolve()))
    except KeyboardInterrupt:
        return 130
    finally:
        if options.dir is None and not options.keep:
            shutil.rmtree(folder, ignore_errors=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="minewarden demo", description=__doc__)
    parser.add_argument("--headless", action="store_true", help="play the scenario once, then stop")
    parser.add_argument("--duration", type=float, default=240.0, help="seconds the scenario may take (240)")
    parser.add_argument("--report", type=Path, help="write the stages as JSON to this file")
    parser.add_argument(
        "--port", type=int, help=f"the dashboard's port ({DEFAULT_PORT}; any free with --headless)"
    )
    parser.add_argument("--broker", choices=("auto", "mosquitto", "iotcore"), default="auto")
    parser.add_argument("--dir", type=Path, help="keep everything in this folder instead of a temporary one")
    parser.add_argument("--keep", action="store_true", help="do not delete the temporary folder")
    return parser


async def _demo(options: argparse.Namespace, folder: Path) -> int:
    clock = SystemClock()
    board = Board(clock)
    port = options.port if options.port is not None else None if options.headless else DEFAULT_PORT
    layout = new_layout(folder, cloud_port=port)
    task = asyncio.ensure_future(_staged(options, layout, board))
    loop = asyncio.get_running_loop()
    for sent in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sent, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        board.say("stopped")
        if options.headless:
            board.fail_open("the demo was interrupted")
    if options.report is not None:
        full = importlib.util.find_spec("torch") is not None
        report = board.report(duration_s=options.duration, challenger=full)
        options.report.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    print("\n" + board.table(), flush=True)
    return 0 if board.ok or not options.headless else 1


async def _staged(options: argparse.Namespace, layout: Layout, board: Board) -> None:
    """Everything between the first process's start and the last one's end."""
    clock = SystemClock()
    processes = Processes(layout.folder / "logs")
    wan = Wan(listen_port=layout.wan_port, target_port=layout.broker_port)
    full = importlib.util.find_spec("torch") is not None
    async with Watch(layout) as watch:
        try:
            board.say(f"writing keys, site file and cloud file to {layout.folder}")
            await asyncio.to_thread(write_all, layout)
            await _bring_up(options, layout, board, processes, wan, watch)
            board.restart_clock()
            board.say(
                f"all processes are up. The dashboard: {layout.cloud_url}/   token: {layout.token_file}"
            )
            board.say(f"the site's own status page: {layout.agent_url}/")
            if not full:
                board.say("no torch here: PCA trains alone; the challenger joins with 'make demo TRAIN=full'")
            board.say(
                "models are blessed online here (keys.online_blessing); in production that key is offline"
            )
            scenario = Scenario(
                layout=layout,
                watch=watch,
                board=board,
                wan=wan,
                clock=clock,
                duration_s=options.duration,
                full=full,
                check=processes.check,
            )
            await scenario.play()
            if not options.headless:
                board.say(
                    f"the story is told; the site keeps running at {layout.cloud_url}/  (Ctrl-C ends it)"
                )
                await asyncio.Event().wait()
        except (StageFailed, RuntimeError) as error:
            complain(str(error))
            board.fail_open(str(error).splitlines()[0])
        finally:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(_take_down(processes, wan))


async def _take_down(processes: Processes, wan: Wan) -> None:
    await processes.stop()
    await wan.stop()


async def _bring_up(
    options: argparse.Namespace,
    layout: Layout,
    board: Board,
    processes: Processes,
    wan: Wan,
    watch: Watch,
) -> None:
    """Start each process and wait until it answers."""
    clock = SystemClock()

    async def up(name: str, what: str, ready: Callable[[], Awaitable[bool]]) -> None:
        give_up = clock.monotonic() + _UP_WITHIN_S
        while not await ready():
            processes.check()
            if clock.monotonic() > give_up:
                raise RuntimeError(f"{name} did not come up in {_UP_WITHIN_S:.0f} s; see {layout.log_folder}")
            await clock.sleep(0.2)
        board.say(f"up   {name:<14} {what}")

    site = ("--site", str(layout.site_file))
    await processes.start("simulator", (*MINEWARDEN, "simulate", *site))
    name, command = broker_command(layout, choice=options.broker)
    await processes.start("broker", command)
    await wan.start()
    await processes.start("cloud", (*MINEWARDEN, "cloud", "run", "--config", str(layout.cloud_file)))
    await up("simulator", "48 miners, walls, meters, probes, PDU on loopback", watch.simulator_ready)
    await up("broker", f"{name} on loopback", lambda: _accepts(layout.broker_port))
    await processes.start("guardian", (*MINEWARDEN, "guardian", "run", *site))
    await up("guardian", "polls and protects", lambda: _guards(layout, watch))
    await processes.start("agent", (*MINEWARDEN, "agent", "run", *site))
    await up("cloud", "REST, dashboard, SQLite", watch.cloud_ready)
    await up("agent", "stores, scores, uplinks", lambda: _not_none(watch))


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def _guards(layout: Layout, watch: Watch) -> bool:
    code, _ = await watch.command("guardian", "status", "--site", str(layout.site_file))
    return code == 0


async def _not_none(watch: Watch) -> bool:
    return await watch.agent() is not None
