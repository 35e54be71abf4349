"""One request, one reply, as bytes: what a firmware needs whose replies are encrypted or framed by length.

`LineClient` (line_json) reads to the end of the connection, `FramedClient` (framed) by a length in front;
both are an `Exchange`. Refusals are for the caller to find, because here a reply is only bytes.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

MAX_REPLY_BYTES = 256 * 1024
"""A longer reply is refused before it fills the memory; the longest recorded one has 30 kB."""


class Exchange(Protocol):
    """Requests to one device, each on a connection of its own."""

    async def exchange(self, request: bytes) -> bytes:
        """The reply to one request; empty where the device closed without a word.

        Raises `Unreachable`, `DeviceTimeout`, and `MalformedReply` for one that is too long or cut off.
        """
        ...


class MemoryExchange:
    """The twin without a socket: `answer` says what comes back; `asked` keeps the requests."""

    def __init__(self, answer: Callable[[bytes], Awaitable[bytes]]) -> None:
        self._answer = answer
        self.asked: list[bytes] = []

    async def exchange(self, request: bytes) -> bytes:
        """See `Exchange.exchange`."""
        self.asked.append(request)
        return await self._answer(request)
