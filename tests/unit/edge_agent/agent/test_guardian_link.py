"""The agent's end of the socket: who it talks to, how it resumes, what bad frames do."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from edge_agent import ipc
from edge_agent.agent.guardian_link import GuardianLink
from shared.clock import ManualClock
from shared.ids import SiteId
from support.agent import SITE, FakeGuardian, make_site, sweep


class Ear:
    """Collects what the link brings."""

    def __init__(self) -> None:
        self.messages: list[ipc.FromGuardian] = []
        self.hellos: list[ipc.Hello] = []
        self.closed = 0

    async def handle(self, message: ipc.FromGuardian) -> None:
        self.messages.append(message)

    async def on_open(self, hello: ipc.Hello) -> None:
        self.hellos.append(hello)

    def on_close(self) -> None:
        self.closed += 1


@asynccontextmanager
async def linked(path: Path, *, site: SiteId = SITE) -> AsyncIterator[tuple[GuardianLink, Ear, ManualClock]]:
    clock, ear = ManualClock(), Ear()
    link = GuardianLink(clock, path, site, handler=ear.handle, on_open=ear.on_open, on_close=ear.on_close)
    task = asyncio.create_task(link.supervise())
    try:
        yield link, ear, clock
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(what: Callable[[], bool], clock: ManualClock | None = None) -> None:
    async with asyncio.timeout(10):
        while not what():
            if clock is not None:
                clock.advance(1)
            await asyncio.sleep(0.001)


async def test_hello_then_messages_in_order(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    guardian = FakeGuardian(Path(site.paths.guardian_socket), site.devices)
    await guardian.start()
    async with linked(guardian.path) as (link, ear, _):
        await until(lambda: len(ear.messages) == 2)
        assert [type(m) for m in ear.messages] == [ipc.Inventory, ipc.Status]
        assert link.connected
        assert await link.send(ipc.Lease(ttl_s=5, cycle=1))
        await guardian.hear(ipc.Lease)
        for n in range(20):
            await guardian.poll(sweep(1 + 4 * n, n))
        await until(lambda: len(ear.messages) == 22)
        seqs = [m.samples[0].seq for m in ear.messages if isinstance(m, ipc.Samples)]
        assert seqs == sorted(seqs)
    await guardian.stop()


async def test_it_comes_back_after_the_guardian_did(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    path = Path(site.paths.guardian_socket)
    async with linked(path) as (link, ear, clock):
        assert not await link.send(ipc.Lease(ttl_s=5, cycle=1)), "nobody there, nothing asked"
        for _life in range(3):
            guardian = FakeGuardian(path, site.devices)
            await guardian.start()
            await until(lambda: link.connected, clock)
            await guardian.stop()
            await until(lambda: not link.connected)
        assert ear.closed == 3
        assert len(ear.hellos) == 3
        assert link.restarts == 0, "an absent guardian is no failure of the agent"


async def test_a_guardian_of_another_site_is_not_listened_to(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    guardian = FakeGuardian(Path(site.paths.guardian_socket), site.devices)
    await guardian.start()
    async with linked(guardian.path, site=SiteId("other")) as (link, ear, clock):
        await until(lambda: guardian.connects >= 3, clock)
        assert not ear.hellos
        assert not ear.messages
        assert not link.connected or not ear.messages
    await guardian.stop()


async def test_garbage_ends_the_connection_and_not_the_agent(tmp_path: Path) -> None:
    """A peer that answers with each kind of nonsense in turn."""
    hello = ipc.encode_frame(
        ipc.Hello(protocol=ipc.PROTOCOL, site=SITE, boot="b", config_sha256="", next_seq=1)
    )
    nonsense = [
        b"\x00\x00",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x03abc",
        hello + b"\x00\x00\x00\x10half",
        hello + b"\x00\x00\x00\x01\xc1",
        ipc.encode_frame(ipc.Hello(protocol=99, site=SITE, boot="b", config_sha256="", next_seq=1)),
        ipc.encode_frame(ipc.Status(zones={}, lease_left_s=None, journal_head=0)),
    ]
    served = 0

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        writer.write(nonsense[served % len(nonsense)])
        served += 1
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    path = tmp_path / "guardian.sock"
    server = await asyncio.start_unix_server(answer, str(path))
    async with linked(path) as (link, ear, clock):
        await until(lambda: served > 2 * len(nonsense), clock)
        assert not ear.messages
        assert link.restarts == 0
    server.close()
