"""Everything that a chaos run runs: broker, database, cloud, link, guardian and agent, and how each ends."""

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
from aiomqtt import ProtocolVersion
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_agent import config
from shared.clock import SystemClock
from support import postgres
from support.agent import SITE, make_site
from support.chaos_board import Board, Switch
from support.chaos_link import Relay
from support.chaos_site import Guardian, Story
from support.cloud import configure
from support.cloud_broker import Broker
from support.ports import free_port

MINERS = 12
KEEP_ALIVE_S = 5
BEHIND_MS = 24 * 3_600_000
"""How far the agent's wall clock is behind, so that only samples end a step, at any speed of the site."""
START_BEHIND_MS = 8 * 3_600_000
"""Samples begin here: after the agent's clock, and never a day ahead of the cloud's, wherever it jumps."""


def read_status(port: int) -> dict[str, Any] | None:
    """An agent's status page; None while nobody answers."""
    url = f"http://127.0.0.1:{port}/status.json"
    with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(url, timeout=5) as reply:
        found: dict[str, Any] = json.load(reply)
        return found
    return None


class Process:
    """A child that may die at any time; its output goes to a file."""

    def __init__(self, name: str, folder: Path, module: str, *args: str) -> None:
        self._command = [sys.executable, "-P", "-m", module, *args]
        self._log = folder / f"{name}.log"
        self._child: subprocess.Popen[bytes] | None = None
        self.starts = 0

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    @property
    def log(self) -> Path:
        return self._log

    def start(self, *more: str) -> None:
        self.starts += 1
        path = os.pathsep.join(["tests", *filter(None, [os.environ.get("PYTHONPATH")])])
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                [*self._command, *more],
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parents[2],
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([".", path])},
            )

    async def died(self, timeout_s: float) -> bool:
        """Wait for it to kill itself; True where it did. Any other end is a failure of the run."""
        clock, until_s = SystemClock(), SystemClock().monotonic() + timeout_s
        while clock.monotonic() < until_s:
            code = None if self._child is None else self._child.poll()
            if code is not None:
                if code != -signal.SIGKILL:
                    raise AssertionError(f"{self._log.name}: it ended by itself with {code}")
                return True
            await asyncio.sleep(0.02)
        return False

    def kill(self) -> None:
        """As the kernel would, in the middle of whatever it does."""
        if self._child is not None:
            if self._child.poll() not in (None, -signal.SIGKILL):
                raise AssertionError(f"{self._log.name}: it ended by itself with {self._child.returncode}")
            self._child.kill()
            self._child.wait(20)

    def stop(self, timeout_s: float) -> int:
        """As a service manager would; the exit code."""
        assert self._child is not None
        self._child.terminate()
        return self._child.wait(timeout_s)

    def close(self) -> None:
        with contextlib.suppress(AssertionError):
            self.kill()


class World:
    """All parts, wired; `faults` counts what was really done to them."""

    def __init__(self, folder: Path, *, seed: int, speed: float, database_url: str | None) -> None:
        now_ms = SystemClock().utc_ms() - START_BEHIND_MS
        self.speed = speed
        self.chance = random.Random(seed)
        self.faults: Counter[str] = Counter()
        self.jumps = 0
        self.folder = folder
        self.broker = Broker(folder)
        self.link = Relay(self.broker.port)
        self.board = Board(folder / "board")
        self.offset_ms = -BEHIND_MS
        self.board.set(Switch.UTC_OFFSET_MS, self.offset_ms)
        self.http_port, self.status_port = free_port(), free_port()
        cloud_folder = folder / "cloud"
        cloud_folder.mkdir()
        extra = "" if database_url is None else f'database_url = "{database_url}"'
        self.database_url = database_url or f"sqlite+aiosqlite:///{cloud_folder / 'data' / 'cloud.db'}"
        cloud_toml = configure(
            cloud_folder, broker_port=self.broker.port, http_port=self.http_port, extra=extra
        )
        self.cloud = Process("cloud", folder, "support.chaos_cloud", str(cloud_toml))
        self.agent = Process(
            "agent", folder, "support.chaos_agent", str(folder / "site.toml"), str(folder / "board")
        )
        self._start_ms = now_ms - now_ms % 60_000
        self._seed = seed

    @property
    def store_files(self) -> list[Path]:
        return sorted((self.folder / "agent").glob("agent.sqlite*"))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start everything, and end it however the run ends."""
        async with AsyncExitStack() as stack:
            self.broker.start()
            stack.callback(self.broker.kill)
            await self.link.start()
            stack.push_async_callback(self.link.stop)
            stack.callback(self.cloud.close)
            await self.start_cloud()
            make_site(self.folder, miners=MINERS, broker_port=self.link.port, status_port=self.status_port)
            site_file = self.folder / "site.toml"
            text = site_file.read_text().replace("keep_alive_s = 10", f"keep_alive_s = {KEEP_ALIVE_S}")
            site_file.write_text(text)
            site = config.load(site_file)
            story = Story(
                seed=self._seed,
                devices=tuple(entry.id for entry in site.devices if entry.kind == "miner"),
                boot=f"boot-{self._seed}",
                start_ms=self._start_ms,
            )
            self.guardian = Guardian(
                Path(site.paths.guardian_socket), SITE, site.devices, story, speed=self.speed
            )
            await self.guardian.start()
            stack.push_async_callback(self.guardian.stop)
            stack.callback(self.agent.close)
            self.agent.start()
            yield

    async def start_cloud(self, *more: str) -> None:
        self.cloud.start(*more)
        try:
            await self.until(lambda: self._answers(self.http_port, "/health/ready"), 60.0)
        except TimeoutError as error:
            last = self.cloud.log.read_text().splitlines()[-1:]
            raise AssertionError(f"the cloud is not ready after 60 s; it said last: {last}") from error

    async def restart_agent(self, *more: str) -> None:
        """Kill it wherever it is, and start it anew."""
        self.agent.kill()
        self.agent.start(*more)

    async def agent_is_back(self) -> None:
        """Until it has asked the guardian for samples again."""
        await self.until(lambda: self.guardian.absences[-1].to_s is not None, 60.0)

    def step_clock(self, by_ms: int) -> None:
        """One gateway, one wall clock: guardian and agent jump together, the agent never ahead."""
        self.offset_ms += by_ms
        if by_ms < 0:
            self.board.set(Switch.UTC_OFFSET_MS, self.offset_ms)
        self.guardian.step_clock(by_ms)
        if by_ms > 0:
            self.board.set(Switch.UTC_OFFSET_MS, self.offset_ms)

    async def pause(self, site_s: float) -> None:
        """Let so much site time pass."""
        await asyncio.sleep(site_s / self.speed)

    async def until(self, what: Callable[[], Any], timeout_s: float) -> None:
        """Wait for something; raises `TimeoutError`."""
        async with asyncio.timeout(timeout_s):
            while not await asyncio.to_thread(what):
                await asyncio.sleep(0.05)

    def status(self) -> dict[str, Any] | None:
        """The agent's own status page; None while there is no agent to ask."""
        return read_status(self.status_port)

    def pending(self) -> int | None:
        """Batches in the outbox; None where nobody can say."""
        status = self.status()
        return None if status is None else sum(s["pending"] for s in status["outbox"]["streams"].values())

    @staticmethod
    def _answers(port: int, path: str) -> bool:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as reply,
        ):
            return bool(reply.status == 200)
        return False

    # ------------------------------------------------------------ what goes on all the time

    async def flap(self) -> None:
        """The link comes and goes, 1–30 s of site time each way, for as long as the run lasts."""
        chance = random.Random(self.chance.random())
        while True:
            await self.pause(chance.uniform(1, 30))
            self.link.down = True
            self.link.cut()
            self.faults["link-flap"] += 1
            await self.pause(chance.uniform(1, 30))
            self.link.down = False

    async def deliver_twice(self) -> None:
        """What the site sends comes again now and then, as QoS 1 allows."""
        chance = random.Random(self.chance.random())
        while True:
            with contextlib.suppress(aiomqtt.MqttError, OSError):
                async with aiomqtt.Client(
                    "127.0.0.1", self.broker.port, identifier="echo", protocol=ProtocolVersion.V5
                ) as client:
                    for topic in (f"mw/1/{SITE}/up/t/#", f"mw/1/{SITE}/up/ev"):
                        await client.subscribe(topic, options=SubscribeOptions(qos=1, noLocal=True))
                    async for message in client.messages:
                        if chance.random() < 0.2:
                            await client.publish(str(message.topic), message.payload, qos=1)
                            self.faults["duplicate-delivery"] += 1
            await asyncio.sleep(0.2)


def keep(folder: Path, into: Path) -> None:
    """Copy the store with its WAL; the agent must not run."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir()
    for file in sorted(folder.glob("agent.sqlite*")):
        shutil.copy2(file, into / file.name)


def put_back(folder: Path, copy: Path) -> None:
    """Replace the store by an older copy of itself; the agent must not run."""
    for file in folder.glob("agent.sqlite*"):
        file.unlink()
    for file in sorted(copy.iterdir()):
        shutil.copy2(file, folder / file.name)


@asynccontextmanager
async def database(*, sqlite: bool) -> AsyncIterator[str | None]:
    """The URL of a fresh PostgreSQL; None for SQLite, only where it was asked for."""
    if sqlite:
        yield None
        return
    with postgres.server() as server:
        yield server.create()
