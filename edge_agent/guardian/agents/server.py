"""guardian.sock: samples, status and results to agents; leases, proposals and signed orders from them.

Several agents may be connected, and each may come and go. A connection holds a cursor into the ring of
samples, so a slow reader costs no memory and sees its loss as a jump in `seq`; a page of the journal is read
when there is room to send it, and of several that were asked for meanwhile only the last; all other messages
go through a short queue, and a reader that lets it overflow is disconnected and comes again.
"""

import asyncio
import grp
import logging
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import msgspec

from edge_agent.guardian.agents.pace import Pace
from edge_agent.guardian.agents.peers import AgentUids, Peer, peer_of
from edge_agent.guardian.polling.ring import Kept, Ring
from edge_agent.ipc import (
    PROTOCOL,
    FromAgent,
    FromGuardian,
    Hello,
    JournalSince,
    PackedSamples,
    SamplesSince,
    encode_frame,
    read_frame,
)
from shared.clock import Clock
from shared.errors import WireError
from shared.ids import SiteId

log = logging.getLogger(__name__)

GATHER_S = 0.1
"""A write for each of five hundred samples a second costs more than the samples do."""
QUEUE = 4_096
SAMPLES_PER_FRAME = 200
CLOSE_WITHIN_S = 2.0


class Behind(Protocol):
    """What the server needs from the rest of the guardian."""

    def greet(self) -> list[FromGuardian]:
        """Inventory and status, sent after Hello."""
        ...

    def journal_page(self, cursor: int) -> FromGuardian:
        """Entries after the cursor. May read files."""
        ...

    def handle(self, message: FromAgent, peer: Peer) -> None:
        """Everything else an agent says; never waits."""
        ...


async def listen(
    path: Path,
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    *,
    mode: int,
    group: str | None = None,
) -> asyncio.Server:
    """Open a Unix socket with the given mode; replaces what a killed process left behind.

    `group` gets the socket where this machine has that group and we are in it (an installed gateway).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~mode)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    path.chmod(mode)
    if group is not None:
        _give_to(path, group)
    return await asyncio.start_unix_server(serve, sock=listener)


def _give_to(path: Path, group: str) -> None:
    try:
        os.chown(path, -1, grp.getgrnam(group).gr_gid)
    except KeyError:
        pass  # no such group: a demo or a developer's machine
    except PermissionError:
        log.warning("%s keeps its group: this process is not in %s", path, group)


class AgentServer:
    """The agent's side of the guardian."""

    def __init__(
        self,
        path: Path,
        site: SiteId,
        boot: str,
        config_sha256: str,
        ring: Ring,
        behind: Behind,
        uids: AgentUids,
        clock: Clock,
    ) -> None:
        self._path = path
        self._site = site
        self._boot = boot
        self._config_sha256 = config_sha256
        self._ring = ring
        self._behind = behind
        self._uids = uids
        self._clock = clock
        self._pace = Pace(clock)
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._gathering: asyncio.TimerHandle | None = None
        self.refused_frames = 0

    async def start(self) -> None:
        self._server = await listen(self._path, self._serve, mode=0o660)

    async def close(self) -> None:
        """Disconnect everybody and remove the socket."""
        if self._server is not None:
            self._server.close()
        if self._gathering is not None:
            self._gathering.cancel()
        for connection in list(self._connections):
            connection.close()
        self._path.unlink(missing_ok=True)

    def broadcast(self, message: FromGuardian) -> None:
        """Send one message to every connected agent."""
        for connection in self._connections:
            connection.put(message)

    def news(self) -> None:
        """New samples are in the ring; agents get them with those of the next `GATHER_S`."""
        if self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(GATHER_S, self._gathered)

    def _gathered(self) -> None:
        self._gathering = None
        for connection in self._connections:
            connection.wake()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = peer_of(writer.get_extra_info("socket"))
        self._uids.seen(peer.uid)
        connection = _Connection(writer, self._boot, self._ring, self._behind.journal_page)
        self._connections.add(connection)
        log.info("agent connected: pid %d, user %s", peer.pid, peer.name)
        hello = Hello(
            protocol=PROTOCOL,
            site=self._site,
            boot=self._boot,
            config_sha256=self._config_sha256,
            next_seq=self._ring.next_seq,
        )
        sender = asyncio.ensure_future(connection.send_all())
        try:
            for message in (hello, *self._behind.greet()):
                connection.put(message)
            await self._receive(reader, connection, peer)
        except (ConnectionError, WireError) as error:
            self.refused_frames += isinstance(error, WireError)
            log.warning("agent of %s is disconnected: %s", peer.name, error)
        finally:
            self._connections.discard(connection)
            connection.close()
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
            log.info("agent gone: pid %d", peer.pid)

    async def _receive(self, reader: asyncio.StreamReader, connection: "_Connection", peer: Peer) -> None:
        decoder = msgspec.msgpack.Decoder(FromAgent)
        while (message := await read_frame(reader, decoder)) is not None:
            if isinstance(message, SamplesSince):
                connection.stream_from(message.seq if message.boot == self._boot else 0)
            elif isinstance(message, JournalSince):
                connection.page_after(message.cursor)
            else:
                self._behind.handle(message, peer)
            if (wait_s := self._pace.taken()) > 0:
                await self._clock.sleep(wait_s)


class _Connection:
    """One connected agent: what it is to be sent."""

    def __init__(
        self,
        writer: asyncio.StreamWriter,
        boot: str,
        ring: Ring,
        page: Callable[[int], FromGuardian],
    ) -> None:
        self._writer = writer
        self._boot = boot
        self._ring = ring
        self._page = page
        self._page_cursor: int | None = None
        self._queue: deque[FromGuardian] = deque()
        self._cursor: int | None = None
        self._wake = asyncio.Event()
        self._closed = False

    def put(self, message: FromGuardian) -> None:
        if len(self._queue) >= QUEUE:
            if not self._closed:
                log.warning("an agent does not read its messages and is disconnected")
            self.close()
            self._writer.transport.abort()  # what is buffered would wait for a reader for ever
            return
        self._queue.append(message)
        self._wake.set()

    def stream_from(self, seq: int) -> None:
        """Stream samples after `seq`; nothing is streamed before an agent has asked."""
        self._cursor = seq
        self._wake.set()

    def page_after(self, cursor: int) -> None:
        """Send one page of the journal after `cursor`; it is made when all else has been sent.

        Made at once, pages for a reader who asks and never reads would fill the memory.
        """
        self._page_cursor = cursor
        self._wake.set()

    def wake(self) -> None:
        if self._cursor is not None:
            self._wake.set()

    def close(self) -> None:
        self._closed = True
        self._wake.set()
        self._writer.close()

    async def send_all(self) -> None:
        """Send until closed; messages go before samples, because results are few and wanted."""
        try:
            while not self._closed:
                await self._wake.wait()
                self._wake.clear()
                while not self._closed and (frame := await self._frame()) is not None:
                    self._writer.write(frame)
                    await self._writer.drain()
        except ConnectionError:
            self.close()
        except OSError as error:
            log.warning("an agent is disconnected, the journal cannot be read: %s", error)
            self.close()

    async def _frame(self) -> bytes | None:
        """The next frame, None where there is nothing to send. Raises `OSError` of the journal's disk."""
        if not self._queue and self._page_cursor is not None:
            cursor, self._page_cursor = self._page_cursor, None
            self.put(await asyncio.to_thread(self._page, cursor))
        return self._next()

    def _next(self) -> bytes | None:
        """The next frame; what fits into none is left out, because a device may tell us any length."""
        while self._queue:
            message = self._queue.popleft()
            try:
                return encode_frame(message)
            except WireError as error:
                log.error("%s is not sent: %s", type(message).__name__, error)  # noqa: TRY400 - the text says it all
        while self._cursor is not None and (samples := self._ring.after(self._cursor, SAMPLES_PER_FRAME)):
            frame, self._cursor = _frame(self._boot, samples)
            if frame is not None:
                return frame
        return None


def _frame(boot: str, samples: tuple[Kept, ...]) -> tuple[bytes | None, int]:
    """As many of the samples as fit into one frame, and the last `seq` in it; None: not even the first."""
    while True:
        packed = tuple(msgspec.Raw(kept.packed) for kept in samples)
        try:
            return encode_frame(PackedSamples(boot=boot, samples=packed)), samples[-1].seq
        except WireError as error:
            if len(samples) == 1:
                log.error("a sample of %s is not sent: %s", samples[0].device, error)  # noqa: TRY400 - the text says it all
                return None, samples[0].seq
            samples = samples[: len(samples) // 2]
