"""What all emulated miners share on the wire: how requests reach them, how they misbehave below their API.

An emulator is the wire side of one machine. It says what it answers (`_answer`, `_reply`), without a socket;
this module puts that behind aiohttp and behind plain TCP, so that one listening server serves thousands of
machines by the address that the client connected to.
"""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Protocol, runtime_checkable

import msgspec
from aiohttp import web

from firmware_adapters.miners.emulated import EmulatedMiner, MinerView
from shared.clock import Clock

_HANG_S = 600
_MAX_REQUEST = 64 * 1024
_FLOOD = b"[" * 10_000_000
_PIECES = 5
_RETRY_AFTER_S = 30


class WireTraps(msgspec.Struct, frozen=True, kw_only=True):
    """How one emulated machine misbehaves, whatever it speaks. Replace `emulator.traps` to switch."""

    slow_s: float = 0.0
    """Every reply waits this long."""
    in_pieces: bool = False
    """Every reply comes in pieces that cut through lines and words."""
    overloaded: bool = False
    """Over HTTP every request is a 429 with a `Retry-After`; a command socket closes without a word."""
    writes_fail: bool = False
    """Over HTTP every request that is no GET is a 500. Command sockets have refusals of their own."""
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
        self.access_log: Callable[[str], None] | None = None
        """Told a line for each request that was answered: method, path and status of a page, or what came
        on a command socket."""
        self._clock = clock

    def _log(self, line: str) -> None:
        if self.access_log is not None:
            self.access_log(line)

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
        answer = self._by_itself(request.method)
        if answer is None:
            local = str(transport.get_extra_info("sockname")[0])
            answer = self._answer(view, request.method, request.path_qs, request.headers, body, local)
        self._log(f"{request.method} {request.path} {answer.status}")
        if self.wire.in_pieces:
            return await self._say_in_pieces(request, answer)
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

    def _by_itself(self, method: str) -> Answer | None:
        """What the web server says by itself before any page is asked."""
        if self.wire.overloaded:
            return Answer(HTTPStatus.TOO_MANY_REQUESTS, headers={"Retry-After": str(_RETRY_AFTER_S)})
        if self.wire.writes_fail and method != "GET":
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR)
        return None

    async def _say_in_pieces(self, request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
        length = {"Content-Length": str(len(answer.body)), "Content-Type": answer.kind}
        response = web.StreamResponse(status=answer.status, headers={**answer.headers, **length})
        await response.prepare(request)
        for piece in pieces(answer.body):
            await response.write(piece)
            await asyncio.sleep(0)
        await response.write_eof()
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


def pieces(said: bytes) -> Iterator[bytes]:
    """A reply cut into a few pieces, the first of one byte; nothing of an empty one."""
    size = max(1, len(said) // _PIECES)
    yield from (
        part for part in (said[:1], *(said[at : at + size] for at in range(1, len(said), size))) if part
    )


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
        self._log(raw.decode("utf-8", "replace"))
        if self.wire.overloaded:
            return
        if self.wire.flood:
            said = _FLOOD
        else:
            said = b"\xff\x00 no such thing" if self.wire.garbage else self._reply(view, raw)
        if self.wire.half_reply:
            said = said[: len(said) // 2]
        for piece in pieces(said) if self.wire.in_pieces else (said,):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    async def _read_request(self, reader: asyncio.StreamReader) -> bytes:
        """The bytes of one request; a firmware that frames its requests reads them by its frame."""
        return await reader.read(_MAX_REQUEST)

    @abstractmethod
    def _reply(self, view: MinerView, raw: bytes) -> bytes:
        """The whole reply to one raw request, as it goes on the wire."""
        ...
