"""SNMP v2c agent on a loopback port: a profile's objects, filled from a point source.

Answers GET, GETNEXT, GETBULK and SET with pysnmp's messages (RFC 3416), drops a wrong community without a
word as real agents do, and misbehaves on request.
"""

import asyncio
import bisect
from collections.abc import Callable
from enum import StrEnum
from typing import cast

from firmware_adapters.site.codec import to_raw
from firmware_adapters.site.point_source import PointSource
from firmware_adapters.site.profile import Point, Profile
from firmware_adapters.transport.snmp_message import (
    Absent,
    ErrorStatus,
    Message,
    PduKind,
    Value,
    VarBind,
    decode,
    encode,
    oid_key,
    response,
)
from shared.errors import ConfigError, MalformedReply


class Misbehaviour(StrEnum):
    """What a broken agent does with a request."""

    SILENT = "silent"
    WRONG_REQUEST_ID = "wrong-request-id"
    TRUNCATED = "truncated"
    GARBAGE = "garbage"
    GEN_ERR = "gen-err"
    """Error-status 5 with the request's NULLs."""
    EMPTY = "empty"
    """A response without any object."""


class SnmpAgent:
    """One agent. `largest` bytes is its biggest reply (tooBig above); a fault lasts until cleared."""

    def __init__(
        self,
        host: str,
        port: int,
        profile: Profile,
        source: PointSource,
        *,
        read_communities: tuple[str, ...] = ("public", "private"),
        write_communities: tuple[str, ...] = ("private",),
        description: str = "",
        largest: int = 1400,
    ) -> None:
        """Raises `ConfigError` for a profile that is not SNMP."""
        if profile.snmp is None:
            raise ConfigError(f"profile {profile.model!r} is not for SNMP")
        self.host = host
        self.port = port
        self.fault: Misbehaviour | None = None
        self.dark = False
        """Without supply it answers nothing."""
        self.largest = largest
        self.requests = 0
        self._profile = profile
        self._source = source
        self._readers = {name.encode() for name in read_communities}
        self._writers = {name.encode() for name in write_communities}
        self._identity = {profile.snmp.identity_oid: (description or f"{profile.model} (emulated)").encode()}
        self._by_command = {
            point.write.oid or point.oid or "": point for point in profile.writable if point.write
        }
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        """Listen; port 0 picks a free one and stores it in `port`. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: _Listener(self.answer), local_addr=(self.host, self.port)
        )
        self.port = int(self._transport.get_extra_info("sockname")[1])

    async def stop(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    # ---------------------------------------------------------------- one datagram

    def answer(self, data: bytes) -> bytes | None:
        """The reply to one datagram, or None for silence; never raises."""
        try:
            request = decode(data)
        except MalformedReply:
            return None
        self.requests += 1
        if self.dark or request.community not in self._readers | self._writers:
            return None
        reply = self._reply(request)
        if reply is None:
            return None
        if self.fault is not None:
            return self._broken(request, reply)
        encoded = encode(reply)
        if len(encoded) > self.largest:
            return encode(response(request, (), status=ErrorStatus.TOO_BIG))
        return encoded

    def _reply(self, request: Message) -> Message | None:
        match request.kind:
            case PduKind.GET:
                objects = self._objects()
                return response(request, [_found(objects, bind.oid) for bind in request.varbinds])
            case PduKind.GET_NEXT:
                return response(request, self._walk([bind.oid for bind in request.varbinds], 1))
            case PduKind.GET_BULK:
                oids = [bind.oid for bind in request.varbinds]
                first, rest = oids[: request.status], oids[request.status :]
                binds = self._walk(first, 1) + self._walk(rest, min(max(request.index, 0), 100))
                return response(request, binds)
            case PduKind.SET:
                return self._set(request)
            case PduKind.RESPONSE:
                return None

    def _broken(self, request: Message, reply: Message) -> bytes | None:
        match self.fault:
            case Misbehaviour.WRONG_REQUEST_ID:
                other = Message(
                    community=reply.community,
                    kind=reply.kind,
                    request_id=reply.request_id ^ 0x55,
                    varbinds=reply.varbinds,
                )
                return encode(other)
            case Misbehaviour.TRUNCATED:
                encoded = encode(reply)
                return encoded[: len(encoded) // 2]
            case Misbehaviour.GARBAGE:
                return b"\x30\x82\xff\xffnot BER at all"
            case Misbehaviour.GEN_ERR:
                return encode(response(request, request.varbinds, status=ErrorStatus.GEN_ERR, index=1))
            case Misbehaviour.EMPTY:
                return encode(response(request, ()))
        return None

    # ---------------------------------------------------------------- objects

    def _objects(self) -> dict[str, Value]:
        values = self._source.points()
        objects: dict[str, Value] = dict(self._identity)
        for point in self._profile.points:
            if point.name in values and point.oid is not None:
                raw = _raw(point, values[point.name])
                objects[point.oid] = raw
                if point.write is not None and point.write.oid is not None:
                    objects[point.write.oid] = point.write.values.get(f"{values[point.name]:g}", raw)
        return objects

    def _walk(self, oids: list[str], repetitions: int) -> list[VarBind]:
        objects = self._objects()
        order = sorted(objects, key=oid_key)
        keys = [oid_key(oid) for oid in order]
        binds: list[VarBind] = []
        places = [bisect.bisect_right(keys, oid_key(oid)) for oid in oids]
        for step in range(repetitions):
            for column, place in enumerate(places):
                at = place + step
                if at < len(order):
                    binds.append(VarBind(order[at], objects[order[at]]))
                else:
                    binds.append(VarBind(order[-1] if order else oids[column], None, Absent.END_OF_MIB_VIEW))
        return binds

    def _set(self, request: Message) -> Message:
        present = self._source.points()
        taken: list[tuple[Point, float]] = []
        for index, bind in enumerate(request.varbinds, start=1):
            status, value = ErrorStatus.NO_ERROR, 0.0
            point = self._by_command.get(bind.oid)
            if request.community not in self._writers:
                status = ErrorStatus.NO_ACCESS
            elif point is None or point.write is None or point.name not in present:
                status = ErrorStatus.NOT_WRITABLE
            elif not isinstance(bind.value, int):
                status = ErrorStatus.WRONG_TYPE
            else:
                meaning = {raw: float(text) for text, raw in point.write.values.items()}
                if bind.value in meaning:
                    value = meaning[bind.value]
                    taken.append((point, value))
                else:
                    status = ErrorStatus.WRONG_VALUE
            if status:
                return response(request, request.varbinds, status=status, index=index)
        for point, value in taken:
            self._source.write_point(point.name, value)
        return response(request, request.varbinds)


def _raw(point: Point, value: float) -> int:
    for raw, meaning in point.values.items():
        if meaning == value:
            return int(raw)
    return round(to_raw(value, scale=point.scale, offset=point.offset))


def _found(objects: dict[str, Value], oid: str) -> VarBind:
    if oid in objects:
        return VarBind(oid, objects[oid])
    column = oid.rpartition(".")[0] + "."
    known = any(other.startswith(column) for other in objects)
    return VarBind(oid, None, Absent.NO_SUCH_INSTANCE if known else Absent.NO_SUCH_OBJECT)


class _Listener(asyncio.DatagramProtocol):
    def __init__(self, answer: Callable[[bytes], bytes | None]) -> None:
        self._answer = answer
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not isinstance: CPython 3.11's selector transport does not derive from DatagramTransport.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        reply = self._answer(data)
        if reply is not None and self._transport is not None:
            self._transport.sendto(reply, addr)
