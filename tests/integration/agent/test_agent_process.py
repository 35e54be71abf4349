"""The agent as a process with a real mosquitto: killed with -9 again and again, cut off, stopped cleanly."""

import asyncio
import json
import random
import shutil
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest

from edge_agent import ipc
from edge_agent.agent.uplink.transport import Message
from edge_agent.config import SiteFile
from shared.ids import SiteId
from shared.wire import codec, topics
from shared.wire.envelope import SiteState
from support.agent import FakeGuardian, make_site, some_event, sweep
from support.agent_world import FakeCloud
from support.broker import mosquitto
from support.ports import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed"),
]
SITE = SiteId("testsite")


class AgentProcess:
    """`python -P -m edge_agent.agent run`."""

    def __init__(self, site: SiteFile, folder: Path) -> None:
        self._folder = folder
        self.port = site.agent.status_port
        self.log = folder / "agent.log"

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "edge_agent.agent",
                "run",
                "--site",
                str(self._folder / "site.toml"),
                stdout=log,
                stderr=log,
            )

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(15):
            return await self.process.wait()

    async def status(self) -> dict[str, object]:
        def read() -> dict[str, object]:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/status.json", timeout=5) as answer:
                return json.load(answer)  # type: ignore[no-any-return]  # JSON is what it is

        return await asyncio.to_thread(read)


@asynccontextmanager
async def cloud_on(port: int, cloud: FakeCloud, states: list[SiteState]) -> AsyncIterator[None]:
    """The cloud's ingest on a real connection."""

    async def serve(client: aiomqtt.Client) -> None:
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            if str(message.topic) == topics.state(SITE):
                states.append(codec.decode(message.payload, SiteState))
                continue
            for answer in cloud.take(Message(topic=str(message.topic), payload=message.payload)):
                await client.publish(answer.topic, answer.payload, qos=1)

    async with aiomqtt.Client("127.0.0.1", port, identifier="cloud") as client:
        await client.subscribe(topics.ALL_UP, qos=1)
        task = asyncio.create_task(serve(client))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _until(what: Callable[[], bool], timeout_s: float = 30.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not what():
            await asyncio.sleep(0.02)


async def test_killed_between_any_two_steps_nothing_is_lost_and_nothing_counts_twice(tmp_path: Path) -> None:
    chance = random.Random(7)
    async with mosquitto(tmp_path) as port:
        site = make_site(tmp_path, broker_port=port, status_port=free_port(), score_every_s=0.5)
        guardian = FakeGuardian(Path(site.paths.guardian_socket), site.devices)
        cloud, states = FakeCloud(), list[SiteState]()
        await guardian.start()
        agent = AgentProcess(site, tmp_path)
        start_ms = 1_900_000_000_000
        polls, events = 0, 0

        async def feed(seconds: float) -> None:
            nonlocal polls, events
            for _ in range(int(seconds / 0.05)):
                await guardian.poll(sweep(guardian.next_seq, start_ms + polls * 2_500))
                polls += 1
                if polls % 10 == 0:
                    events += 1
                    await guardian.write_journal(some_event(events))
                await asyncio.sleep(0.05)

        async with cloud_on(port, cloud, states):
            for _life in range(5):
                await agent.start()
                heard = len(guardian.received)
                await _until(lambda heard=heard: len(guardian.received) > heard)
                await feed(chance.uniform(0.5, 2.0))
                await agent.kill()
                await feed(0.3)  # the guardian goes on without it
            await agent.start()
            await _until(lambda: len(cloud.rollups) >= (polls // 2 - 1) * 4)
            await _until(lambda: len([e for e in cloud.events if e.id.startswith("event-")]) >= events)
            assert await guardian.hear(ipc.Lease)
            status = await agent.status()
            assert await agent.stop() == 0
            await _until(lambda: states[-1].online is False)  # a clean stop says so itself
        await guardian.stop()
    rows = [(row.device, row.at_ms) for row in cloud.rollups]
    assert len(rows) == len(set(rows))
    steps = sorted({at_ms for _, at_ms in rows})
    assert steps == list(range(start_ms, start_ms + len(steps) * 5_000, 5_000))
    assert all(row.samples == 2 for row in cloud.rollups)
    told = [event.id for event in cloud.events if event.id.startswith("event-")]
    assert sorted(told) == sorted({f"event-{n}" for n in range(1, events + 1)})
    assert not [event for event in cloud.events if event.key == "samples-lost"]
    assert status["all_epochs"]["rollup"] == len(rows)  # type: ignore[index]  # JSON


async def test_the_operators_commands_and_the_page_on_a_running_agent(tmp_path: Path) -> None:
    """No broker at all: everything on site works without one."""
    site = make_site(tmp_path, broker_port=free_port(), status_port=free_port())
    guardian = FakeGuardian(Path(site.paths.guardian_socket), site.devices)
    await guardian.start()
    agent = AgentProcess(site, tmp_path)
    await agent.start()
    try:
        await guardian.hear(ipc.Lease)
        status = await agent.status()
        assert status["site"] == SITE
        assert await _minewarden(tmp_path, "agent", "model", "list") == (
            0,
            "keyring    the file of the site, 3 keys\nno model: the site runs on rules\n",
        )
        code, said = await _minewarden(tmp_path, "agent", "model", "rollback")
        assert (code, "no model is active" in said) == (1, True)
        code, said = await _minewarden(tmp_path, "store", "info")
        assert (code, "roll-ups" in said) == (0, True)
        assert (Path(site.paths.agent_state) / "local-token").stat().st_mode & 0o077 == 0
    finally:
        assert await agent.stop() == 0
        await guardian.stop()
    code, said = await _minewarden(tmp_path, "agent", "model", "rollback")
    assert (code, "no agent here" in said) == (1, True)


async def test_an_unusable_site_file_stops_the_start_with_two(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text("schema = 1\n")
    code, said = await _minewarden(tmp_path, "agent", "run")
    assert code == 2
    assert "site.toml" in said


async def _minewarden(folder: Path, command: str, *args: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "shared.cli",
        command,
        *args,
        "--site",
        str(folder / "site.toml"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(20):
        out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()
