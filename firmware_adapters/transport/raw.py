"""One request, one reply, as bytes: what a firmware needs whose replies are encrypted or framed by length.

`LineClient` (line_json) reads to the end of the connection, `FramedClient` (framed) by a length in front;
both are a `RawTransport`. Refusals are for the caller to find, because here a reply is only bytes.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from firmware_adapters.transport.tape import tape

MAX_REPLY_BYTES = 256 * 1024
"""A longer reply is refused before it fills the memory; the longest recorded one has 30 kB."""


class RawTransport(Protocol):
    """Requests to one device, each on a connection of its own."""

    async def exchange(self, request: bytes, command: str, parameter: str | None = None) -> bytes:
        """The reply to one request; empty where the device closed without a word.

        `command` and `parameter` say in words what the bytes ask, for a tape or a guard that listens; they
        hold no secret. Raises `Unreachable`, `DeviceTimeout`, and `MalformedReply` for a reply that is too
        long or cut off.
        """
        ...


async def heard(sending: Awaitable[bytes], command: str, parameter: str | None) -> bytes:
    """Await the reply, past the guard and onto the tape where one is laid."""
    listening = tape()
    return await (sending if listening is None else listening.command(command, parameter, sending))


class MemoryRaw:
    """The twin without a socket: `answer` says what comes back; `asked` keeps the commands."""

    def __init__(self, answer: Callable[[bytes], Awaitable[bytes]]) -> None:
        self._answer = answer
        self.asked: list[str] = []

    async def exchange(self, request: bytes, command: str, parameter: str | None = None) -> bytes:
        """See `RawTransport.exchange`."""
        self.asked.append(command)
        return await heard(self._answer(request), command, parameter)
