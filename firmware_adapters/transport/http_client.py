"""HTTP/1.1 for the fast loop: one kept connection per device, little processor time (decision 0015).

Each client keeps one connection open while its device answers, so that a poll every ten seconds costs no
handshake; a second one is opened beside it while the first is busy (a stop does not wait for a sample) and
closed again.
A process that polls N devices so needs N open files and some more.

What is never done: a redirect followed, a body unpacked, a request sent twice that may have been carried out.
Only a GET or HEAD on a kept connection that ended without one byte of reply is sent once more, on a new one:
servers close idle connections, and that may cross with a request. Other methods use a kept connection only
within `FRESH_S` of its last reply, for the same reason.
"""

import asyncio
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import cast
from weakref import WeakKeyDictionary

import msgspec

from firmware_adapters.transport.http import MAX_REPLY_BYTES, PER_DEVICE, HttpReply
from firmware_adapters.transport.http_reply import ReplyReader
from firmware_adapters.transport.tape import tape
from shared.errors import DeviceTimeout, MalformedReply, Unreachable

FRESH_S = 1.0
"""A connection that replied so recently was not closed for idleness."""
BUFFER_BYTES = 64 * 1024

_REPEATABLE = frozenset({"GET", "HEAD"})
_METHOD = re.compile(r"[A-Z]+")
_PATH = re.compile(r"/[!-~]*")
_HEADER = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [ -~]*")
_BUFFERS: WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview] = WeakKeyDictionary()


@lru_cache(maxsize=256)
def _request_line(method: str, path: str) -> str:
    """All machines of a firmware are asked for the same few pages."""
    if _METHOD.fullmatch(method) is None or _PATH.fullmatch(path) is None:
        raise ValueError(f"no HTTP request: {method!r} {path!r}")
    return f"{method} {path} HTTP/1.1\r\n"


class _Silent(Unreachable):
    """The connection ended before the first byte of a reply."""


class HttpClient:
    """HTTP/1.1 without TLS to `host:port`; `timeout_s` bounds one request from connect to the last byte.

    `keep_alive` False: no connection is kept between requests, for servers that can hold only a few.
    """

    def __init__(self, host: str, port: int, *, timeout_s: float, keep_alive: bool = True) -> None:
        self._host = host
        self._port = port
        self._timeout_s = timeout_s
        self._keep_alive = keep_alive
        named = f"[{host}]" if ":" in host else host
        self._name = f"http://{named}:{port}"
        self._always = f"Host: {named}:{port}\r\nAccept-Encoding: identity\r\n"
        self._turns = asyncio.Semaphore(PER_DEVICE)
        self._kept: _Connection | None = None
        self._open: set[_Connection] = set()
        self._closed = False

    async def request(
        self,
        method: str,
        path: str,
        json: object | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpReply:
        """See `HttpTransport.request`. Raises `ValueError` for a method, path or header that is no HTTP."""
        listening = tape()
        sending = self._request(method, path, json, headers)
        if listening is None:
            return await sending
        return await listening.http(method, path, json, headers or {}, sending)

    async def tail(
        self, path: str, headers: Mapping[str, str] | None = None, *, keep: int, most: int
    ) -> HttpReply:
        """See `TailTransport.tail`."""
        listening = tape()
        sending = self._end_of(path, headers, keep, most)
        if listening is None:
            return await sending
        return await listening.http("GET", path, None, headers or {}, sending)

    async def _end_of(self, path: str, headers: Mapping[str, str] | None, keep: int, most: int) -> HttpReply:
        reply = await self._request("GET", path, None, headers, most)
        return HttpReply(reply.status, reply.body[-keep:], reply.headers)

    async def _request(
        self,
        method: str,
        path: str,
        json: object | None,
        headers: Mapping[str, str] | None,
        most: int = MAX_REPLY_BYTES,
    ) -> HttpReply:
        self._closed = False
        sent = self._encode(method, path, json, headers)
        deadline_s = asyncio.get_running_loop().time() + self._timeout_s
        try:
            if self._turns.locked():
                async with asyncio.timeout_at(deadline_s):
                    await self._turns.acquire()
            else:
                await self._turns.acquire()
            try:
                return await self._exchange(method, sent, deadline_s, most)
            finally:
                self._turns.release()
        except TimeoutError as error:
            raise DeviceTimeout(f"{method} {self._name}{path}: no whole reply in time") from error
        except Unreachable as error:
            raise Unreachable(f"{method} {self._name}{path}: {error}") from error
        except MalformedReply as error:
            raise MalformedReply(f"{method} {self._name}{path}: {error}") from error

    def _encode(
        self, method: str, path: str, json: object | None, headers: Mapping[str, str] | None
    ) -> bytes:
        head = _request_line(method, path) + self._always
        if headers:
            for name, value in headers.items():
                line = f"{name}: {value}"
                if _HEADER.fullmatch(line) is None:
                    raise ValueError(f"no HTTP header: {name!r}")  # the value may be a secret
                head += f"{line}\r\n"
        if json is None:
            # A POST without a length is refused by some servers (411).
            return (
                f"{head}\r\n".encode()
                if method in _REPEATABLE
                else f"{head}Content-Length: 0\r\n\r\n".encode()
            )
        body = msgspec.json.encode(json)
        return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    async def _exchange(self, method: str, sent: bytes, deadline_s: float, most: int) -> HttpReply:
        repeatable = method in _REPEATABLE
        kept, self._kept = self._kept, None
        if kept is not None and (not kept.ready or not (repeatable or kept.fresh)):
            kept.drop()
            kept = None
        if kept is not None:
            try:
                return await self._on(kept, method, sent, deadline_s, most)
            except _Silent:
                if not repeatable:
                    raise
        return await self._on(await self._connect(deadline_s), method, sent, deadline_s, most)

    async def _on(
        self, connection: "_Connection", method: str, sent: bytes, deadline_s: float, most: int
    ) -> HttpReply:
        try:
            reader = ReplyReader(body_expected=method != "HEAD", most=most)
            reply = await connection.exchange(sent, deadline_s, reader)
        except BaseException:
            # Cancelled or failed: a late reply must not be taken for the next one.
            connection.drop()
            raise
        if connection.ready and self._keep_alive and self._kept is None and not self._closed:
            self._kept = connection
        else:
            connection.drop()
        return reply

    async def _connect(self, deadline_s: float) -> "_Connection":
        """Half of the time, so that a dead address reads as Unreachable, not as a time-out."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(min(deadline_s, loop.time() + self._timeout_s / 2)):
                _, connection = await loop.create_connection(
                    lambda: _Connection(loop, self._open), self._host, self._port
                )
        except TimeoutError as error:
            raise Unreachable("no connection in time") from error
        except (OSError, UnicodeError) as error:
            raise Unreachable(str(error)) from error
        return connection

    async def close(self) -> None:
        """Cut every connection; a request under way fails. The transport may be used again."""
        self._closed = True
        self._kept = None
        for connection in tuple(self._open):
            connection.drop()
        await asyncio.sleep(0)  # sockets close in the loop's next turn


class _Connection(asyncio.BufferedProtocol):
    """One connection; one request at a time.

    All of a loop read into one buffer: what came is taken out before the loop does anything else (selector
    event loops only, as on every gateway). A buffer each would be more memory than all samples.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, opened: "set[_Connection]") -> None:
        self._loop = loop
        self._opened = opened
        self._buffer = _buffer_of(loop)
        self._transport: asyncio.Transport | None = None
        self._reader: ReplyReader | None = None
        self._waiter: asyncio.Future[HttpReply] | None = None
        self._replied_s = 0.0
        self.ready = False
        """Whether it may carry a request now."""

    @property
    def fresh(self) -> bool:
        """Whether it carried a reply just now."""
        return self._loop.time() - self._replied_s <= FRESH_S

    async def exchange(self, sent: bytes, deadline_s: float, reader: ReplyReader) -> HttpReply:
        """Send a request, wait for its reply. Raises `Unreachable`, `MalformedReply`, `TimeoutError`."""
        transport = self._transport
        if transport is None or not self.ready:
            raise _Silent("closed before the request")
        self.ready = False
        self._reader = reader
        waiter: asyncio.Future[HttpReply] = self._loop.create_future()
        self._waiter = waiter
        transport.write(sent)
        # A timer of our own, because `asyncio.timeout` costs three times as much.
        timer = self._loop.call_at(deadline_s, self._fail, TimeoutError())
        try:
            return await waiter
        finally:
            timer.cancel()

    def drop(self) -> None:
        """Close without waiting for anything that is still to be sent."""
        self.ready = False
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------------------ called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._opened.add(self)
        self.ready = True

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        reader = self._reader
        if reader is None:
            self.drop()  # nobody asked
            return
        try:
            reply = reader.feed(bytes(self._buffer[:nbytes]))
        except MalformedReply as error:
            self._fail(error)
            return
        if reply is not None:
            self._done(reply, reusable=reader.reusable)

    def eof_received(self) -> bool:
        reader = self._reader
        self.ready = False
        if reader is not None:
            try:
                self._done(reader.end(), reusable=False)
            except Unreachable as error:
                self._fail(_Silent(str(error)))
            except MalformedReply as error:
                self._fail(error)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._opened.discard(self)
        self.ready = False
        self._transport = None
        reader = self._reader
        if reader is None:
            return
        why = str(exc or "the connection ended")
        self._fail(MalformedReply(f"the reply was cut off: {why}") if reader.began else _Silent(why))

    def _done(self, reply: HttpReply, *, reusable: bool) -> None:
        waiter, self._waiter, self._reader = self._waiter, None, None
        self._replied_s = self._loop.time()
        self.ready = reusable
        if waiter is not None and not waiter.done():
            waiter.set_result(reply)

    def _fail(self, error: Exception) -> None:
        waiter, self._waiter, self._reader = self._waiter, None, None
        self.drop()
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)


def _buffer_of(loop: asyncio.AbstractEventLoop) -> memoryview:
    buffer = _BUFFERS.get(loop)
    if buffer is None:
        buffer = _BUFFERS[loop] = memoryview(bytearray(BUFFER_BYTES))
    return buffer
