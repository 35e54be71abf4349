"""The same face over aiohttp: the second implementation that the contract of HTTP transports and the
benchmarks compare ours with. Nothing in the product uses it (decision 0015).
"""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from weakref import WeakKeyDictionary

import aiohttp
import msgspec

from firmware_adapters.transport.http import MAX_REPLY_BYTES, PER_DEVICE, HttpReply
from firmware_adapters.transport.tape import tape
from shared.errors import DeviceTimeout, MalformedReply, Unreachable

KEEP_ALIVE_S = 2.0
"""Longer than between two read-backs (1 s)."""
TOTAL = 512


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
