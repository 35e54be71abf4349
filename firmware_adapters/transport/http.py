"""One small seam for HTTP devices: a request in, a status and at most 256 kB of body out, or a typed failure.

`http_client.HttpClient` is the one with a socket, `MemoryHttp` its twin without.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, runtime_checkable

import msgspec

from shared.errors import DeviceError

MAX_REPLY_BYTES = 256 * 1024
"""Longest reply that is read (contracts, S01)."""
PER_DEVICE = 2


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
