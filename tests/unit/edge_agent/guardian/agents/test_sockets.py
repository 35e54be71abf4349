"""Both sockets of a whole guardian, on real Unix sockets in this process, with fake devices behind it."""

import asyncio
import contextlib
import os
import socket
import stat
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from edge_agent import ipc
from edge_agent.config import SiteFile
from edge_agent.guardian.agents.peers import AgentUids
from edge_agent.guardian.app import Guardian
from edge_agent.guardian.operators.client import ask
from firmware_adapters.capabilities import Credential
from shared.commands import ActionOutcome, Proposal, SetPreset
from shared.errors import ConfigError, Unreachable
from shared.ids import CommandId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind
from support.guardian import ZONE, Fake, FakeMiner, FakePdu, FakeProbe, FakeWall, make_site, miner_id

WITHIN_S = 10.0


def fast(text: str) -> str:
    """The same site with waits that a real clock can wait for."""
    changes = {
        "poll_s": 0.1,
        "proven_for_s": 0.5,
        "stale_after_s": 2.5,
    }
    lines = []
    for line in text.splitlines():
        name = line.split(" = ")[0]
        lines.append(f"{name} = {changes[name]}" if name in changes else line)
    return "\n".join(lines).replace("lost_after_s = 4.0", "lost_after_s = 0.5")


class Running:
    """A guardian on its own sockets."""

    def __init__(self, site: SiteFile) -> None:
        self.site = site
        self.fakes: dict[str, Fake] = {}
        self.guardian = Guardian(site, config_sha256="c" * 64, opener=self._open)
        self.task = asyncio.ensure_future(self.guardian.run())

    def _open(self, entry: DeviceEntry, _credential: Credential | None, _timeout_s: float) -> Fake:
        kinds = {DeviceKind.MINER: FakeMiner, DeviceKind.DRIVE: FakeWall, DeviceKind.PDU: FakePdu}
        self.fakes[entry.id] = kinds.get(entry.kind, FakeProbe)(entry)
        return self.fakes[entry.id]

    async def operator(self, request: ipc.FromOperator) -> ipc.ToOperator:
        return await asyncio.to_thread(ask, Path(self.site.paths.operator_socket), request)

    async def in_mode(self, mode: ipc.Mode) -> ipc.Status:
        async with asyncio.timeout(WITHIN_S):
            while True:
                with contextlib.suppress(Unreachable):
                    status = await self.operator(ipc.StatusRequest())
                    assert isinstance(status, ipc.Status)
                    if status.zones[ZONE].mode is mode:
                        return status
                await asyncio.sleep(0.05)

    async def close(self) -> None:
        self.guardian.stop()
        await asyncio.wait_for(self.task, WITHIN_S)


class AgentEnd:
    """An agent's end of guardian.sock."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.seen: list[ipc.FromGuardian] = []
        self._decoder = msgspec.msgpack.Decoder(ipc.FromGuardian)

    @classmethod
    async def connect(cls, site: SiteFile) -> "AgentEnd":
        return cls(*await asyncio.open_unix_connection(site.paths.guardian_socket))

    def say(self, message: ipc.FromAgent) -> None:
        self.writer.write(ipc.encode_frame(message))

    async def until(self, holds: Callable[[ipc.FromGuardian], bool]) -> ipc.FromGuardian:
        async with asyncio.timeout(WITHIN_S):
            while True:
                message = await ipc.read_frame(self.reader, self._decoder)
                assert message is not None, "the guardian closed the connection"
                self.seen.append(message)
                if holds(message):
                    return message

    async def is_closed(self) -> bool:
        async with asyncio.timeout(WITHIN_S):
            with contextlib.suppress(ConnectionError):
                while await self.reader.read(65_536):
                    pass
            return True

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    running = Running(make_site(tmp_path, edit=fast))
    await running.in_mode(ipc.Mode.LOCAL_AUTO)
    yield running
    await running.close()


@pytest.fixture
async def agent(running: Running) -> AsyncIterator[AgentEnd]:
    end = await AgentEnd.connect(running.site)
    yield end
    await end.close()


async def test_greeting_is_hello_inventory_status(running: Running, agent: AgentEnd) -> None:
    await agent.until(lambda m: isinstance(m, ipc.Status))
    hello, inventory, status = agent.seen[:3]
    assert isinstance(hello, ipc.Hello)
    assert (hello.protocol, hello.site, hello.config_sha256) == (ipc.PROTOCOL, "pit", "c" * 64)
    assert isinstance(inventory, ipc.Inventory)
    assert [d.id for d in inventory.devices] == [d.id for d in running.site.devices]
    assert (inventory.part, inventory.parts) == (0, 1)
    assert isinstance(status, ipc.Status)


async def test_samples_stream_without_holes_and_resume_by_number(running: Running, agent: AgentEnd) -> None:
    agent.say(ipc.SamplesSince(boot="", seq=0))
    first = await agent.until(lambda m: isinstance(m, ipc.Samples))
    assert isinstance(first, ipc.Samples)
    assert first.samples[0].seq == 1, "a foreign boot starts at the ring's oldest"
    boot, last = first.boot, first.samples[-1].seq
    await agent.close()
    again = await AgentEnd.connect(running.site)
    again.say(ipc.SamplesSince(boot=boot, seq=last))
    numbers: list[int] = []
    while len(numbers) < 50:
        message = await again.until(lambda m: isinstance(m, ipc.Samples))
        assert isinstance(message, ipc.Samples)
        numbers += [sample.seq for sample in message.samples]
    assert numbers == list(range(last + 1, last + 1 + len(numbers)))
    await again.close()


async def test_a_proposal_gets_one_result_and_a_repeat_the_same(running: Running, agent: AgentEnd) -> None:
    agent.say(ipc.Lease(ttl_s=30.0, cycle=1))
    action = SetPreset(device=miner_id(1), preset="2300")
    proposal = Proposal(id=CommandId("p-1"), policy="test", actions=(action,), reason="r", ttl_s=20.0)
    agent.say(ipc.Propose(proposal=proposal))
    first = await agent.until(lambda m: isinstance(m, ipc.Result))
    assert isinstance(first, ipc.Result)
    assert first.outcome is ActionOutcome.APPLIED
    assert [w.after for w in first.writes] == ["2300"]
    agent.say(ipc.Propose(proposal=proposal))
    assert await agent.until(lambda m: isinstance(m, ipc.Result)) == first
    miner = running.fakes["m-1"]
    assert isinstance(miner, FakeMiner)
    assert miner.writes == ["2300"]


async def test_the_journal_is_pulled_by_cursor(running: Running, agent: AgentEnd) -> None:
    agent.say(ipc.JournalSince(cursor=0))
    page = await agent.until(lambda m: isinstance(m, ipc.JournalPage))
    assert isinstance(page, ipc.JournalPage)
    assert [entry.seq for entry in page.entries] == list(range(1, len(page.entries) + 1))
    agent.say(ipc.JournalSince(cursor=page.head))
    rest = await agent.until(lambda m: isinstance(m, ipc.JournalPage))
    assert isinstance(rest, ipc.JournalPage)
    assert all(entry.seq > page.head for entry in rest.entries)


async def test_who_asks_for_the_journal_and_reads_nothing_costs_one_page(
    running: Running, agent: AgentEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages were made as they were asked for: 4,096 of 256 kB waited for a reader that never came."""
    made: list[int] = []
    page = ipc.JournalPage(entries=(), head=0)
    big = ipc.Health(
        cycle_ms_p50=0, cycle_ms_max=0, polls=0, poll_failures={"x" * 900_000: 1}, journal_ok=True
    )

    def counted(cursor: int) -> ipc.FromGuardian:
        made.append(cursor)
        return page

    await agent.until(lambda m: isinstance(m, ipc.Status))
    (connection,) = running.guardian.server._connections
    monkeypatch.setattr(connection, "_page", counted)
    for _ in range(3):
        running.guardian.server.broadcast(big)  # more than the socket and the buffers take
    for cursor in range(1, 501):
        agent.say(ipc.JournalSince(cursor=cursor))
    agent.say(ipc.SafeStop(zone=None, reason="the page's button"))
    await running.in_mode(ipc.Mode.SAFE)  # what came after the questions was heard
    assert made == []
    await agent.until(lambda m: m == page)
    assert made == [500]


async def test_a_safe_stop_by_the_agent_is_always_allowed(running: Running, agent: AgentEnd) -> None:
    agent.say(ipc.SafeStop(zone=None, reason="the page's button"))
    await running.in_mode(ipc.Mode.SAFE)
    miners = [fake for fake in running.fakes.values() if isinstance(fake, FakeMiner)]
    async with asyncio.timeout(WITHIN_S):
        while not all(miner.writes == ["stop"] for miner in miners):
            await asyncio.sleep(0.05)


GARBAGE = (
    b"\x00\x00\x00\x04\xff\xff\xff\xff",
    struct.pack(">I", 100 * 1024 * 1024),
    struct.pack(">I", 5) + msgspec.msgpack.encode({"is": "reset-trip"})[:5],
    ipc.encode_frame(ipc.ResetTrip(zone=ZONE, reason="please", operator="agent")),
    ipc.encode_frame(ipc.SetMode(zone=ZONE, mode=ipc.Mode.MANUAL, operator="a", reason="b")),
)


async def test_garbage_giants_and_operator_requests_end_the_connection_and_nothing_else(
    running: Running, agent: AgentEnd
) -> None:
    for count, data in enumerate(GARBAGE, start=1):
        rude = await AgentEnd.connect(running.site)
        rude.writer.write(data)
        assert await rude.is_closed()
        await rude.close()
        assert running.guardian.server.refused_frames == count
    agent.say(ipc.Lease(ttl_s=5.0, cycle=1))
    await agent.until(lambda m: isinstance(m, ipc.Status) and m.lease_left_s is not None)
    status = await running.in_mode(ipc.Mode.LOCAL_AUTO)
    assert status.zones[ZONE].trips == ()


async def test_an_agent_that_reads_nothing_is_let_go(
    running: Running, agent: AgentEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.guardian.agents.server.QUEUE", 10)
    await agent.until(lambda m: isinstance(m, ipc.Status))
    big = ipc.Health(
        cycle_ms_p50=0, cycle_ms_max=0, polls=0, poll_failures={"x" * 500_000: 1}, journal_ok=True
    )
    for _ in range(30):
        running.guardian.server.broadcast(big)
        await asyncio.sleep(0)  # the sender begins to wait for the reader
    async with asyncio.timeout(WITHIN_S):
        while running.guardian.server._connections:  # although it has still read nothing
            await asyncio.sleep(0.02)
    assert await agent.is_closed()


async def test_a_message_that_fits_no_frame_costs_itself_and_not_the_link(
    running: Running, agent: AgentEnd
) -> None:
    """A device may claim a ladder of any length; the agent still hears the rest."""
    await agent.until(lambda m: isinstance(m, ipc.Status))
    giant = ipc.Health(
        cycle_ms_p50=0, cycle_ms_max=0, polls=0, poll_failures={"x" * 1_200_000: 1}, journal_ok=True
    )
    running.guardian.server.broadcast(giant)
    running.guardian.server.broadcast(msgspec.structs.replace(giant, polls=77, poll_failures={}))
    await agent.until(lambda m: isinstance(m, ipc.Health) and m.polls == 77)


class TestOperator:
    async def test_manual_and_back(self, running: Running) -> None:
        request = ipc.SetMode(zone=ZONE, mode=ipc.Mode.MANUAL, operator="ada", reason="fan swap")
        assert isinstance(await running.operator(request), ipc.Done)
        await running.in_mode(ipc.Mode.MANUAL)
        back = msgspec.structs.replace(request, mode=ipc.Mode.LOCAL_AUTO)
        assert isinstance(await running.operator(back), ipc.Done)
        await running.in_mode(ipc.Mode.LOCAL_AUTO)

    async def test_refusals_are_sentences(self, running: Running) -> None:
        nowhere = ZoneId("nowhere")
        for request in (
            ipc.ResetTrip(zone=ZONE, reason="r", operator="ada"),
            ipc.ResetTrip(zone=nowhere, reason="r", operator="ada"),
            ipc.SetMode(zone=nowhere, mode=ipc.Mode.MANUAL, operator="ada", reason="r"),
            ipc.SetMode(zone=ZONE, mode=ipc.Mode.ML_ACTIVE, operator="ada", reason="r"),
            ipc.SafeStop(zone=nowhere, reason="r"),
        ):
            answer = await running.operator(request)
            assert isinstance(answer, ipc.Refused)
            assert len(answer.why.split()) > 3

    async def test_trip_and_reset_over_the_socket(self, running: Running, agent: AgentEnd) -> None:
        wall = running.fakes["wall-1"]
        assert isinstance(wall, FakeWall)
        wall.broken = True
        await running.in_mode(ipc.Mode.TRIPPED)
        reset = ipc.ResetTrip(zone=ZONE, reason="fan back", operator="ada")
        refused = await running.operator(reset)
        assert isinstance(refused, ipc.Refused)
        assert "cause is still present" in refused.why
        wall.broken = False
        async with asyncio.timeout(WITHIN_S):
            while isinstance(await running.operator(reset), ipc.Refused):
                await asyncio.sleep(0.05)
        await agent.until(lambda m: isinstance(m, ipc.Tripped))
        cleared = await agent.until(lambda m: isinstance(m, ipc.Cleared))
        assert isinstance(cleared, ipc.Cleared)
        assert "ada" in cleared.by

    async def test_the_agents_uid_is_refused(self, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(AgentUids, "is_agent", lambda _self, _uid: True)
        assert isinstance(await running.operator(ipc.StatusRequest()), ipc.Refused)


def test_an_agents_uid_is_one_that_is_not_ours() -> None:
    uids = AgentUids()
    uids.seen(4711)
    uids.seen(os.geteuid())
    assert uids.is_agent(4711)
    assert not uids.is_agent(os.geteuid())
    assert not uids.is_agent(0)


async def test_sockets_are_private_to_their_groups(running: Running) -> None:
    for path in (running.site.paths.guardian_socket, running.site.paths.operator_socket):
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o660


async def test_two_guardians_of_one_site_are_one_too_many(running: Running) -> None:
    with pytest.raises(ConfigError, match="another guardian"):
        Guardian(running.site, config_sha256="x", opener=running._open)


async def test_a_missing_credential_is_a_start_up_error(tmp_path: Path) -> None:
    site = make_site(
        tmp_path, edit=lambda text: text.replace('model = "s19"', 'model = "s19"\ncredential = "miners"')
    )
    (tmp_path / "master.key").write_bytes(b"k" * 32)
    (tmp_path / "master.key").chmod(0o600)
    with pytest.raises(ConfigError, match="credentials miners are not stored"):
        Guardian(site, config_sha256="x")


async def test_readiness_and_watchdog_reach_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.settimeout(WITHIN_S)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        running = Running(make_site(tmp_path, edit=fast))
        heard: list[bytes] = []
        while not {b"READY=1", b"WATCHDOG=1"} <= set(heard):
            heard.append(await asyncio.to_thread(systemd.recv, 64))
        await running.close()
