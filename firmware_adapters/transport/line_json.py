"""The cgminer socket (TCP 4028): one JSON command per connection, read to the end, often not quite JSON.

Breakages that firmwares are known for (miners.md §2.1) are repaired by one pass over the tokens instead of
text replacement, so a comma inside a pool's name stays what it is: trailing NUL, line breaks, doubled,
leading and trailing commas, missing commas between objects and before keys, `inf`/`nan` (read as null),
objects glued together, a list written with keys or an object written without. A reply that was cut off is
refused unless the caller accepts it, and then loses its last, possibly half, value.
"""

import asyncio
import contextlib
import math
import re
from typing import Protocol

import msgspec

from firmware_adapters.transport.raw import MAX_REPLY_BYTES, heard
from shared.errors import AuthFailed, Busy, DeviceTimeout, MalformedReply, Unreachable, Unsupported

CGMINER_PORT = 4028
_MAX_DEPTH = 32
_INVALID_COMMAND = 14
_ACCESS_DENIED = 45

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+|"', re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f]")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_PUNCTUATION = frozenset("{}[]:,")
_CLOSER = {"{": "}", "[": "]"}
_NOT_NUMBERS = frozenset({"nan", "inf", "infinity"})

# msgspec reports bad UTF-8 with the standard exception, not with its own.
_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

Body = dict[str, object]


# ---------------------------------------------------------------- framing, pure


def decode(raw: bytes, *, accept_cut: bool = False) -> Body:
    """The object in one whole reply; keys of glued objects are merged, the first to name one wins.

    Raises `MalformedReply` for anything that is no object after the known repairs, and for a reply that was
    cut off unless `accept_cut`.
    """
    stripped = raw.replace(b"\x00", b"").strip()
    try:
        plain = msgspec.json.decode(stripped)
    except _NOT_JSON:
        plain = None
    if isinstance(plain, dict):
        return plain
    rebuilt = _Rebuild(accept_cut=accept_cut).text(stripped.decode("utf-8", "replace"))
    try:
        objects = msgspec.json.decode(rebuilt.encode())
    except _NOT_JSON as error:
        raise MalformedReply(f"4028: not JSON even after repair: {error}") from error
    merged: Body = {}
    for found in objects:
        if not isinstance(found, dict):
            raise MalformedReply("4028: the reply is not an object")
        merged = {**found, **merged}
    if not merged:
        raise MalformedReply("4028: empty reply")
    return merged


class _Rebuild:
    """One pass over the tokens of a broken reply, writing a JSON array of its top-level objects."""

    def __init__(self, *, accept_cut: bool) -> None:
        self._accept_cut = accept_cut
        self._out: list[str] = ["["]
        self._open: list[tuple[str, int]] = [("[", 0)]
        """Open brackets with where they stand in `_out`; the first is the array around everything."""
        self._colons: list[int] = [0]
        self._values: list[int] = [0]

    def text(self, broken: str) -> str:
        half_value = False
        for match in _TOKEN.finditer(broken):
            token = match.group()
            if token == '"':
                # A quote that nothing closes: the text ends inside a string.
                half_value = False
                break
            self._take(token)
            half_value = match.end() == len(broken) and token not in _PUNCTUATION
        if len(self._open) > 1 or self._after(":"):
            if not self._accept_cut:
                raise MalformedReply("4028: the reply was cut off")
            self._cut(half_value=half_value)
        while len(self._open) > 1:
            self._close()
        self._drop_comma()
        return "".join([*self._out, "]"])

    def _take(self, token: str) -> None:
        match token:
            case "{" | "[":
                if len(self._open) > _MAX_DEPTH:
                    raise MalformedReply("4028: nested too deeply")
                self._value_begins()
                self._open.append((token, len(self._out)))
                self._colons.append(0)
                self._values.append(0)
                self._out.append(token)
            case "}" | "]":
                if len(self._open) > 1:
                    self._close()
            case ",":
                if self._after(":"):
                    self._out.append("null")
                if not self._after("{", "[", ","):
                    self._out.append(",")
            case ":":
                if not self._after_scalar():
                    raise MalformedReply("4028: a colon without a key")
                self._colons[-1] += 1
                self._out.append(":")
            case _:
                self._value_begins()
                self._out.append(_scalar(token))

    def _value_begins(self) -> None:
        if not self._after("{", "[", ",", ":"):
            self._out.append(",")
        if not self._after(":"):
            self._values[-1] += 1

    def _close(self) -> None:
        self._drop_comma()
        if self._after(":"):
            self._out.append("null")
        bracket, at = self._open.pop()
        colons, values = self._colons.pop(), self._values.pop()
        if values:
            # A list of `key: value` pairs is an object, an object of bare values is a list.
            bracket = "{" if colons == values else "[" if colons == 0 else bracket
        self._out[at] = bracket
        self._out.append(_CLOSER[bracket])

    def _cut(self, *, half_value: bool) -> None:
        """Forget what the cut may have halved: a last scalar (`32` of `3200`), or a key without its value."""
        self._drop_comma()
        if half_value and self._after_scalar():
            self._out.pop()
        if self._after(":"):
            self._out.pop()
            self._colons[-1] -= 1
            self._out.pop()
            self._values[-1] -= 1
        elif self._open[-1][0] == "{" and self._colons[-1] < self._values[-1]:
            if self._after_scalar():
                self._out.pop()
            self._values[-1] -= 1
        self._drop_comma()

    def _drop_comma(self) -> None:
        while self._after(","):
            self._out.pop()

    def _after_scalar(self) -> bool:
        return self._out[-1] not in _PUNCTUATION

    def _after(self, *tokens: str) -> bool:
        return self._out[-1] in tokens


def _scalar(token: str) -> str:
    if token[0] == '"':
        return _CONTROL.sub(" ", token)
    if token in ("true", "false", "null"):
        return token
    if token.lstrip("+-").lower() in _NOT_NUMBERS:
        return "null"
    if _NUMBER.fullmatch(token):
        # A number past the range of a double is as unusable as `inf`.
        return token if math.isfinite(float(token)) else "null"
    return msgspec.json.encode(token).decode()


def raise_refusal(reply: Body) -> None:
    """Raise what STATUS `E` (error) or `F` (fatal) inside a normal reply means; return if it says neither.

    Raises `Unsupported` for an unknown command, `AuthFailed` for access denied, else `Busy`.
    """
    status = reply.get("STATUS")
    first = status[0] if isinstance(status, list) and status else reply
    if not isinstance(first, dict) or first.get("STATUS") not in ("E", "F"):
        return
    text = f"4028: {first.get('Msg')}"
    code = first.get("Code")
    if code == _INVALID_COMMAND or "invalid command" in text.lower():
        raise Unsupported(text)
    if code == _ACCESS_DENIED:
        raise AuthFailed(text)
    raise Busy(text)


# ---------------------------------------------------------------- transports


class LineTransport(Protocol):
    """Commands to one device's socket."""

    async def ask(self, command: str, parameter: str | None = None) -> Body:
        """Send one command, singly (`a+b` fails on some firmwares).

        Raises `Unreachable`, `DeviceTimeout`, `MalformedReply`, and what `raise_refusal` raises.
        """
        ...


class LineClient:
    """Asks `host:port` on a connection per command; `timeout_s` bounds connect to last byte."""

    def __init__(self, host: str, port: int = CGMINER_PORT, *, timeout_s: float) -> None:
        self._host = host
        self._port = port
        self._timeout_s = timeout_s

    async def ask(self, command: str, parameter: str | None = None) -> Body:
        """See `LineTransport.ask`."""
        request = {"command": command} if parameter is None else {"command": command, "parameter": parameter}
        raw = await heard(self._spoken(msgspec.json.encode(request), command), command, parameter)
        reply = decode(raw)
        raise_refusal(reply)
        return reply

    async def exchange(self, request: bytes, command: str, parameter: str | None = None) -> bytes:
        """See `RawTransport.exchange`: the raw reply, for firmwares that encrypt, or that may say nothing."""
        return await heard(self._send(request, command), command, parameter)

    async def _spoken(self, request: bytes, command: str) -> bytes:
        raw = await self._send(request, command)
        if not raw:
            raise Unreachable(f"{self._host}:{self._port} {command}: closed without a reply")
        return raw

    async def _send(self, request: bytes, command: str) -> bytes:
        where = f"{self._host}:{self._port} {command}"
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._exchange(request, where)
        except TimeoutError as error:
            raise DeviceTimeout(f"{where}: no whole reply in time") from error
        except OSError as error:
            raise Unreachable(f"{where}: {error}") from error

    async def _exchange(self, request: bytes, where: str) -> bytes:
        reader, writer = await asyncio.open_connection(self._host, self._port, limit=MAX_REPLY_BYTES)
        try:
            writer.write(request)
            await writer.drain()
            raw = bytearray()
            while chunk := await reader.read(65536):
                raw += chunk
                if len(raw) > MAX_REPLY_BYTES:
                    raise MalformedReply(f"{where}: reply is longer than {MAX_REPLY_BYTES} bytes")
            return bytes(raw)
        finally:
            # Aborting, because a hung peer would make a polite close wait as well.
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


class MemoryLine:
    """The twin without a socket: raw reply per command; an unknown command is refused as cgminer does."""

    def __init__(self, replies: dict[str, bytes]) -> None:
        self.replies = replies
        self.asked: list[str] = []

    async def ask(self, command: str, parameter: str | None = None) -> Body:
        """Decode the stored reply. Raises as `LineTransport.ask`."""
        self.asked.append(command)
        raw = self.replies.get(command)
        if raw is None:
            raise Unsupported("4028: Invalid command")
        reply = decode(raw)
        raise_refusal(reply)
        return reply
