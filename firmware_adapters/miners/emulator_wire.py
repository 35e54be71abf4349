"""What all emulated miners share on the wire: how requests reach them, how they misbehave below their API.

An emulator is the wire side of one machine. It says what it answers (`_answer`, `_reply`), without a socket;
this module puts that behind aiohttp and behind plain TCP, so that one listening server serves thousands of
machines by the address that the client connected to.
"""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import msgspec
from aiohttp import web

from firmware_adapters.miners.emulated import EmulatedMiner, MinerView
from shared.clock import Clock

_HANG_S = 600
_MAX_REQUEST = 64 * 1024
_FLOOD = b"[" * 10_000_000


class WireTraps(msgspec.Struct, frozen=True, kw_only=True):
    """How one emulated machine misbehaves, whatever it speaks. Replace `emulator.traps` to switch."""

    slow_s: float = 0.0
    """Every reply waits this long."""
    half_reply: bool = False
    """Half of the reply comes, then the connection closes."""
    hang: bool = False
    """Connections are accepted and never answered."""
    garbage: bool = False
    """A reply that is nothing this firmware would say; over HTTP with status 200."""
    flood: bool = False
    """Ten megabytes of opening brackets; over HTTP with status 200."""


class Answer(msgspec.Struct, frozen=True):
    """Status, body and headers of one HTTP reply."""

    status: int
    body: bytes = b""
    kind: str = "application/json"
    headers: dict[str, str] = {}


class Stop(Exception):
    """Ends a request early with `answer`."""

    def __init__(self, status: int, body: object = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        said = b"" if body is None else msgspec.json.encode(body)
        self.answer = Answer(status, said, headers=dict(headers or {}))


class Emulator(ABC):
    """The wire side of one machine."""

    def __init__(self, machine: EmulatedMiner, *, clock: Clock) -> None:
        self.machine = machine
        self._clock = clock

    @property
    @abstractmethod
    def wire(self) -> WireTraps:
        """The misbehaviour in force."""
        ...

    async def _hang(self, transport: asyncio.BaseTransport | None) -> None:
        for _ in range(_HANG_S * 2):
            if transport is None or transport.is_closing() or not self.wire.hang:
                return
            await self._clock.sleep(0.5)


class WebEmulator(Emulator):
    """A machine with a web interface."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve one HTTP request; an unreachable machine's connection is cut without a word."""
        body = await request.read()
        transport, traps = request.transport, self.wire
        if traps.hang:
            await self._hang(transport)
        if traps.slow_s > 0:
            await self._clock.sleep(traps.slow_s)
        view = self.machine.view()
        if transport is None or self.wire.hang or not view.reachable:
            if transport is not None:
                transport.abort()
            return web.Response()
        if self.wire.flood:
            return web.Response(body=_FLOOD, content_type="application/json")
        local = str(transport.get_extra_info("sockname")[0])
        answer = self._answer(view, request.method, request.path_qs, request.headers, body, local)
        if not self.wire.half_reply:
            return web.Response(
                status=answer.status, body=answer.body, content_type=answer.kind, headers=answer.headers
            )
        length = {"Content-Length": str(len(answer.body))}
        response = web.StreamResponse(status=answer.status, headers={**answer.headers, **length})
        await response.prepare(request)
        await response.write(answer.body[: len(answer.body) // 2])
        transport.close()
        return response

    def answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, address: str = "127.0.0.1"
    ) -> Answer:
        """What the machine says to one request, without a socket. `path` may carry a query."""
        return self._answer(self.machine.view(), method, path, headers, body, address)

    @abstractmethod
    def _answer(
        self,
        view: MinerView,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        address: str,
    ) -> Answer: ...


@runtime_checkable
class HasSocket(Protocol):
    """An emulator that serves a command socket."""

    async def handle_socket(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        ...


class SocketEmulator(Emulator):
    """A machine with a command socket: one request, one reply, the connection closes (miners.md §2.1)."""

    async def handle_socket(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; an unreachable machine's is cut without a word."""
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._serve(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        traps = self.wire
        raw = await self._read_request(reader)
        if traps.hang:
            await self._hang(writer.transport)
        if traps.slow_s > 0:
            await self._clock.sleep(traps.slow_s)
        view = self.machine.view()
        if self.wire.hang or not view.reachable:
            writer.transport.abort()
            return
        if self.wire.flood:
            said = _FLOOD
        else:
            said = b"\xff\x00 no such thing" if self.wire.garbage else self._reply(view, raw)
        writer.write(said[: len(said) // 2] if self.wire.half_reply else said)
        await writer.drain()

    async def _read_request(self, reader: asyncio.StreamReader) -> bytes:
        """The bytes of one request; a firmware that frames its requests reads them by its frame."""
        return await reader.read(_MAX_REQUEST)

    @abstractmethod
    def _reply(self, view: MinerView, raw: bytes) -> bytes:
        """The whole reply to one raw request, as it goes on the wire."""
        ...
