"""One small seam for HTTP devices: a request in, a status and at most 256 kB of body out, or a typed failure.

All devices of a process share one connection pool per event loop. A connection stays open for
`KEEP_ALIVE_S` after its last use, so the requests of one poll reuse it, and a quiet device costs no file
descriptor. At most `PER_DEVICE` connections go to one device and `TOTAL` are busy at once; the process
needs an open-file limit above (devices polled within `KEEP_ALIVE_S`) + 100.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import aiohttp
import msgspec

from firmware_adapters.transport.tape import tape
from shared.errors import DeviceError, DeviceTimeout, MalformedReply, Unreachable

MAX_REPLY_BYTES = 256 * 1024
"""Longest reply that is read (contracts, S01)."""
KEEP_ALIVE_S = 2.0
"""Longer than between two read-backs (1 s). 1,000 miners every 10 s keep 200 open, some 10 kB each."""
PER_DEVICE = 2
TOTAL = 512


class HttpReply(msgspec.Struct, frozen=True):
    """What came back, whatever the status says."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {}
    """Only what a caller of ours acts on: `www-authenticate` of a 401, lower case; else empty."""


class HttpTransport(Protocol):
    """Requests to one device."""

    async def request(
        self,
        method: str,
        path: str,
        json: object | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpReply:
        """Send one request. Raises `Unreachable`, `DeviceTimeout`, `MalformedReply`; never for a status."""
        ...

    async def close(self) -> None:
        """Let go of connections; never raises."""
        ...


@runtime_checkable
class TailTransport(Protocol):
    """Reads the end of a page that may be long, such as a log."""

    async def tail(
        self, path: str, headers: Mapping[str, str] | None = None, *, keep: int, most: int
    ) -> HttpReply:
        """GET `path` and keep the last `keep` bytes of its body, reading at most `most` of them.

        Raises what `request` raises.
        """
        ...

    async def close(self) -> None:
        """Let go of connections; never raises."""
        ...


class _Pool:
    """The connections of one event loop, and how many transports hold on to them."""

    def __init__(self) -> None:
        self.users = 0
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=TOTAL, limit_per_host=PER_DEVICE, keepalive_timeout=KEEP_ALIVE_S, use_dns_cache=False
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            # A compressed reply could unpack to any size, so none is asked for and none is unpacked.
            headers={"Accept-Encoding": "identity"},
            auto_decompress=False,
        )


_POOLS: WeakKeyDictionary[asyncio.AbstractEventLoop, _Pool] = WeakKeyDictionary()


class AiohttpTransport:
    """HTTP/1.1 without TLS to `host:port`; `timeout_s` bounds one request from connect to the last byte."""

    def __init__(self, host: str, port: int, *, timeout_s: float) -> None:
        self._base = f"http://{host}:{port}"
        # Half of the time for the connection, so that a dead address reads as Unreachable, not as a time-out.
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=timeout_s / 2)
        self._pool: _Pool | None = None

    async def request(
        self,
        method: str,
        path: str,
        json: object | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpReply:
        """See `HttpTransport.request`. Redirects are not followed: no device of ours needs them."""
        listening = tape()
        sending = self._send(method, path, json, headers)
        if listening is None:
            return await sending
        return await listening.http(method, path, json, headers or {}, sending)

    async def tail(
        self, path: str, headers: Mapping[str, str] | None = None, *, keep: int, most: int
    ) -> HttpReply:
        """See `TailTransport.tail`."""
        listening = tape()
        sending = self._send("GET", path, None, headers, _Bound(keep, most))
        if listening is None:
            return await sending
        return await listening.http("GET", path, None, headers or {}, sending)

    async def _send(
        self,
        method: str,
        path: str,
        json: object | None,
        headers: Mapping[str, str] | None,
        bound: "_Bound | None" = None,
    ) -> HttpReply:
        where = f"{method} {self._base}{path}"
        data = None if json is None else msgspec.json.encode(json)
        sent = dict(headers or {})
        if data is not None:
            sent["Content-Type"] = "application/json"
        try:
            async with self._session().request(
                method,
                self._base + path,
                data=data,
                headers=sent,
                timeout=self._timeout,
                allow_redirects=False,
            ) as reply:
                body = await _read_bounded(reply, where, bound or _WHOLE)
                return HttpReply(reply.status, body, _challenge(reply))
        except aiohttp.ConnectionTimeoutError as error:
            raise Unreachable(f"{where}: no connection in time") from error
        except TimeoutError as error:
            raise DeviceTimeout(f"{where}: no whole reply in time") from error
        except (aiohttp.ClientPayloadError, aiohttp.ClientResponseError) as error:
            raise MalformedReply(f"{where}: {error}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(f"{where}: {error}") from error

    def _session(self) -> aiohttp.ClientSession:
        if self._pool is None:
            loop = asyncio.get_running_loop()
            pool = _POOLS.get(loop)
            if pool is None:
                pool = _POOLS[loop] = _Pool()
            pool.users += 1
            self._pool = pool
        return self._pool.session

    async def close(self) -> None:
        """Give the shared pool back; the last one to leave closes it."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        pool.users -= 1
        if pool.users == 0:
            _POOLS.pop(asyncio.get_running_loop(), None)
            await pool.session.close()


def _challenge(reply: aiohttp.ClientResponse) -> Mapping[str, str]:
    asked = reply.headers.get("WWW-Authenticate") if reply.status == HTTPStatus.UNAUTHORIZED else None
    return {} if asked is None else {"www-authenticate": asked}


class _Bound(msgspec.Struct, frozen=True):
    """Keep the last `keep` bytes of at most `most`."""

    keep: int
    most: int


_WHOLE = _Bound(MAX_REPLY_BYTES, MAX_REPLY_BYTES)


async def _read_bounded(reply: aiohttp.ClientResponse, where: str, bound: _Bound) -> bytes:
    body, came = bytearray(), 0
    async for chunk in reply.content.iter_any():
        body += chunk
        came += len(chunk)
        if came > bound.most:
            reply.close()
            raise MalformedReply(f"{where}: reply is longer than {bound.most} bytes")
        if len(body) > 2 * bound.keep:
            del body[: -bound.keep]
    return bytes(body[-bound.keep :])


class HttpRequest(msgspec.Struct, frozen=True):
    """One request as the in-memory twin saw it."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]


class MemoryHttp:
    """The twin without a socket: `answer` plays the device, `requests` is what it was asked."""

    def __init__(self, answer: Callable[[HttpRequest], Awaitable[HttpReply | DeviceError]]) -> None:
        self._answer = answer
        self.requests: list[HttpRequest] = []

    async def request(
        self,
        method: str,
        path: str,
        json: object | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpReply:
        """Hand the request to `answer`; a `DeviceError` that it returns is raised."""
        body = b"" if json is None else msgspec.json.encode(json)
        request = HttpRequest(method, path, body, dict(headers or {}))
        self.requests.append(request)
        reply = await self._answer(request)
        if isinstance(reply, DeviceError):
            raise reply
        return reply

    async def close(self) -> None:
        """Nothing to let go of."""
