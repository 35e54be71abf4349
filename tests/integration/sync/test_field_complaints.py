"""What people complain of in other gateways (edge.md §3.1), on the real agent with a real broker."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from edge_agent import config, ipc
from shared.wire import codec, topics
from shared.wire.envelope import Ack, Batch, SiteState
from support import cloud_broker
from support.agent import SITE, FakeGuardian, make_site, some_event, sweep
from support.chaos_backlog import in_a_process
from support.chaos_board import Board
from support.chaos_link import Relay
from support.chaos_world import Process, read_status
from support.cloud_broker import Broker
from support.cloud_process import CloudProcess
from support.ports import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,
    pytest.mark.skipif(cloud_broker.why_not() is not None, reason="mosquitto is not installed"),
]
START_MS = 1_900_000_000_000
KEEP_ALIVE_S = 4
ROOM_S = 4.0
"""What two busy cores may add; a link that is not watched would be noticed after minutes, or never."""


class Site:
    """A fake guardian and the agent's process, with a broker behind a relay."""

    def __init__(self, folder: Path, broker_port: int, *, broker_host: str = "127.0.0.1") -> None:
        self.folder = folder
        self.status_port = free_port()
        make_site(folder, broker_port=broker_port, status_port=self.status_port)
        file = folder / "site.toml"
        text = file.read_text().replace("keep_alive_s = 10", f"keep_alive_s = {KEEP_ALIVE_S}")
        file.write_text(text.replace('broker_host = "127.0.0.1"', f'broker_host = "{broker_host}"'))
        self.file = config.load(file)
        self.guardian = FakeGuardian(Path(self.file.paths.guardian_socket), self.file.devices)
        self.agent = Process("agent", folder, "support.chaos_agent", str(file), str(folder / "board"))
        Board(folder / "board").close()
        self._polls = 0

    async def poll(self, sweeps: int = 1) -> None:
        """Sweeps 2.5 s apart, two per step, from a site whose clock is ahead: only samples end a step."""
        for _ in range(sweeps):
            await self.guardian.poll(sweep(self.guardian.next_seq, START_MS + self._polls * 2_500))
            self._polls += 1

    async def until(self, what: Callable[[dict[str, Any]], bool], timeout_s: float = 30.0) -> float:
        """Wait until the status page says so; returns how long that took, s."""
        began_s = time.monotonic()
        async with asyncio.timeout(timeout_s):
            while True:
                found = await asyncio.to_thread(read_status, self.status_port)
                if found and what(found):
                    return time.monotonic() - began_s
                await asyncio.sleep(0.05)


@asynccontextmanager
async def running(folder: Path, port: int, *, host: str = "127.0.0.1") -> AsyncIterator[Site]:
    site = Site(folder, port, broker_host=host)
    await site.guardian.start()
    site.agent.start()
    try:
        await site.until(lambda found: bool(found["guardian"]["connected"]))
        yield site
    finally:
        site.agent.close()
        await site.guardian.stop()


@asynccontextmanager
async def behind_a_relay(folder: Path) -> AsyncIterator[tuple[Site, Relay, Broker]]:
    with cloud_broker.broker(folder) as broker:
        link = Relay(broker.port)
        await link.start()
        try:
            async with running(folder, link.port) as site:
                await site.until(connected)
                yield site, link, broker
        finally:
            await link.stop()


def connected(found: dict[str, Any]) -> bool:
    return bool(found["uplink"]["connected"])


def recorded(found: dict[str, Any]) -> int:
    return int(found["all_epochs"].get("rollup", 0))


def emptied(found: dict[str, Any]) -> bool:
    return int(found["outbox"]["streams"]["rollup"]["pending"]) == 0


async def test_f04_a_black_hole_is_noticed_and_nothing_is_deleted(tmp_path: Path) -> None:
    """No RST, no FIN: other gateways go on reporting success. 1.5 × keep-alive, and some room."""
    async with behind_a_relay(tmp_path) as (site, link, _):
        link.silent = True
        took_s = await site.until(lambda found: not connected(found))
        assert took_s < 1.5 * KEEP_ALIVE_S + ROOM_S
        await site.poll(8)
        await site.until(lambda found: recorded(found) >= 12)
        await asyncio.sleep(1.0)
        pending = (await asyncio.to_thread(read_status, site.status_port) or {})["outbox"]["streams"]
        assert pending["rollup"]["pending"] == pending["rollup"]["batches"] >= 1, "nobody acked anything"
        link.silent = False
        link.cut()
        await site.until(connected)


async def test_f04_a_connection_that_got_no_answer_is_closed(tmp_path: Path) -> None:
    """Else a late answer makes a second client of our name, which pushes the real one off the broker."""
    ended: list[float] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began_s = time.monotonic()
        while await reader.read(4_096):
            pass
        ended.append(time.monotonic() - began_s)
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server, running(tmp_path, server.sockets[0].getsockname()[1]):
        async with asyncio.timeout(20):
            while not ended:
                await asyncio.sleep(0.05)
    assert ended[0] < 1.5 * KEEP_ALIVE_S + ROOM_S


async def test_f09_a_first_start_without_network_works_in_full(tmp_path: Path) -> None:
    """The cloud's name does not resolve: the site records, scores, holds its lease, shows its page, stops."""
    async with running(tmp_path, 1, host="broker.invalid") as site:
        await site.poll(9)
        await site.guardian.write_journal(some_event(1))
        await site.until(lambda found: recorded(found) >= 12 and found["all_epochs"].get("ev", 0) >= 1)
        await site.guardian.hear(ipc.Lease)
        found = await asyncio.to_thread(read_status, site.status_port)
        assert found is not None
        assert not connected(found)
        assert found["outbox"]["streams"]["rollup"]["pending"] >= 1, "it waits for the cloud"
        assert not any(service["stalled"] for service in found["services"].values())
        assert await asyncio.to_thread(site.agent.stop, 15.0) == 0


def test_f10_what_is_new_does_not_wait_for_a_backlog_of_ten_hours(tmp_path: Path) -> None:
    """Real broker, real cloud: each new batch is acknowledged long before the backlog is gone."""
    with cloud_broker.broker(tmp_path) as broker:
        (tmp_path / "cloud").mkdir()
        cloud = CloudProcess(tmp_path / "cloud", broker.port)
        try:
            cloud.start()
            make_site(tmp_path, miners=1, broker_port=broker.port, status_port=free_port())
            told = in_a_process(tmp_path, miners=100, minutes=600, every_s=0.25, after=2)
        finally:
            cloud.close()
    assert len(told["during_s"]) >= 4, "or the backlog was too small to be in the way"
    assert max(told["during_s"]) < told["drain_s"] / 2


async def test_f12_memory_does_not_grow_with_batches_and_reconnects(tmp_path: Path) -> None:
    """Thousands of samples and dozens of reconnects: the second half needs no more memory than the first."""
    async with behind_a_relay(tmp_path) as (site, link, broker):
        async with aiomqtt.Client("127.0.0.1", broker.port, identifier="cloud") as cloud:
            task = asyncio.create_task(acknowledge(cloud))
            await cloud.subscribe(f"mw/1/{SITE}/up/t/#", qos=1)
            sizes: list[int] = []
            for number in range(30):
                await site.poll(20)
                if number % 3 == 0:
                    before = link.accepted
                    link.cut()
                    await site.until(lambda found, before=before: link.accepted > before and connected(found))
                rows = 40 * (number + 1) - 4  # two sweeps of four miners end a step; the last step is open
                await site.until(lambda found, rows=rows: recorded(found) >= rows and emptied(found))
                sizes.append(rss_kb(site.agent.pid))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert max(sizes[20:]) - max(sizes[8:14]) < 10_000, sizes
        assert link.accepted >= 11


async def acknowledge(client: aiomqtt.Client) -> None:
    """A cloud that commits everything at once."""
    async for message in client.messages:
        assert isinstance(message.payload, bytes)
        batch = codec.decode(message.payload, Batch)
        ack = Ack(epoch=batch.epoch, stream=batch.stream, upto=batch.seq)
        await client.publish(topics.ack(SITE), codec.encode(ack), qos=1)


def rss_kb(pid: int) -> int:
    """Resident memory of a process, kB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise ProcessLookupError(pid)


def cpu_s(pid: int) -> float:
    """Processor time that a process has used so far, s."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def test_f13_an_agent_with_nothing_to_do_does_next_to_nothing(tmp_path: Path) -> None:
    """Connected on both sides, no samples. Other gateways were seen at tens of percent of a core."""
    async with behind_a_relay(tmp_path) as (site, _, _):
        await asyncio.sleep(2.0)  # start-up is over
        shares: list[float] = []
        for _ in range(5):  # the calmest window: a slow machine's own business is not the agent's
            before_s, began_s = cpu_s(site.agent.pid), time.monotonic()
            await asyncio.sleep(3.0)
            shares.append((cpu_s(site.agent.pid) - before_s) / (time.monotonic() - began_s))
        assert min(shares) < 0.1, [f"{share:.1%} of a core" for share in shares]


async def test_f22_a_killed_worker_does_not_leave_its_last_word_standing(tmp_path: Path) -> None:
    """Killed or cut off without a word, the site is offline; a gone guardian is unknown."""
    async with behind_a_relay(tmp_path) as (site, link, broker):
        assert (await retained_state(broker.port)).online
        await site.until(lambda found: bool(found["zones"]))
        await site.guardian.stop()
        await site.until(lambda found: not found["guardian"]["connected"] and not found["zones"])
        site.agent.kill()
        await state_becomes(broker.port, online=False)
        site.agent.start()
        await state_becomes(broker.port, online=True)
        link.silent = True
        await state_becomes(broker.port, online=False)


async def retained_state(port: int) -> SiteState:
    """What a newcomer is told of the site."""
    async with aiomqtt.Client("127.0.0.1", port, identifier="newcomer") as client:
        await client.subscribe(topics.state(SITE), qos=1)
        async with asyncio.timeout(5):
            message = await anext(aiter(client.messages))
        assert isinstance(message.payload, bytes)
        return codec.decode(message.payload, SiteState)


async def state_becomes(port: int, *, online: bool) -> None:
    async with asyncio.timeout(20):
        while (await retained_state(port)).online is not online:
            await asyncio.sleep(0.1)


async def test_f27_a_bad_site_file_is_refused_whole_and_what_runs_goes_on(tmp_path: Path) -> None:
    """Edited badly under a running agent: a start is refused with the reason, the running one goes on."""
    async with running(tmp_path, 1) as site:
        text = (tmp_path / "site.toml").read_text()
        for bad, word in (
            (text.replace("step_s = 5", "step_s = -5"), "step_s"),
            (text + "\n[oops", "site.toml"),
        ):
            (tmp_path / "site.toml").write_text(bad)
            code, said = await minewarden("agent", "run", "--site", str(tmp_path / "site.toml"))
            assert code == 2
            assert word in said
            assert "Traceback" not in said
        await site.poll(9)
        await site.until(lambda found: recorded(found) >= 12)
        assert await asyncio.to_thread(site.agent.stop, 15.0) == 0


async def minewarden(*words: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "shared.cli",
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(30):
        said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()
