"""Messages with their length in front: four bytes, little-endian, then so many bytes (miners.md §2).

One request per connection, so that nothing of one exchange can be taken for a reply of the next.
"""

import asyncio
import contextlib

from firmware_adapters.transport.raw import MAX_REPLY_BYTES, heard
from shared.errors import DeviceTimeout, MalformedReply, Unreachable

_HEAD = 4


def frame(message: bytes) -> bytes:
    """The message with its length in front."""
    return len(message).to_bytes(_HEAD, "little") + message


async def read_frame(reader: asyncio.StreamReader, *, longest: int) -> bytes:
    """The next message; empty where the peer closed before its first byte.

    Raises `MalformedReply` for one that is longer than `longest` bytes or was cut off.
    """
    try:
        length = int.from_bytes(await reader.readexactly(_HEAD), "little")
        if length > longest:
            raise MalformedReply(f"a message of {length} bytes is announced, {longest} are allowed")
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        if not error.partial and error.expected == _HEAD:
            return b""
        raise MalformedReply(f"cut off after {len(error.partial)} of {error.expected} bytes") from error


class FramedClient:
    """Exchanges with `host:port`, a connection each; `timeout_s` bounds connect to last byte."""

    def __init__(self, host: str, port: int, *, timeout_s: float) -> None:
        self._host = host
        self._port = port
        self._timeout_s = timeout_s

    async def exchange(self, request: bytes, command: str, parameter: str | None = None) -> bytes:
        """See `RawTransport.exchange`."""
        return await heard(self._in_time(request, command), command, parameter)

    async def _in_time(self, request: bytes, command: str) -> bytes:
        where = f"{self._host}:{self._port} {command}"
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._exchange(request)
        except TimeoutError as error:
            raise DeviceTimeout(f"{where}: no whole reply in time") from error
        except OSError as error:
            raise Unreachable(f"{where}: {error}") from error

    async def _exchange(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(self._host, self._port, limit=MAX_REPLY_BYTES)
        try:
            writer.write(frame(request))
            await writer.drain()
            return await read_frame(reader, longest=MAX_REPLY_BYTES)
        finally:
            # Aborting, because a hung peer would make a polite close wait as well.
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
