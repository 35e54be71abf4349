"""SNMP v2c and v3 agent on a loopback port: a profile's objects, filled from a point source.

Answers GET, GETNEXT, GETBULK and SET with pysnmp's messages (RFC 3416), drops a wrong community without a
word as real agents do, says tooBig above the size it is given, and misbehaves on request. v3 needs users;
its door is `snmp_emulator_v3`.
"""

import asyncio
import bisect
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import cast

import msgspec

from firmware_adapters.site.point_source import PointSource
from firmware_adapters.site.profile import Profile
from firmware_adapters.site.snmp_emulator_objects import Commands, objects_of
from firmware_adapters.site.snmp_emulator_v3 import UsmDoor
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
from firmware_adapters.transport.snmp_user import UsmUser
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
    ENDLESS = "endless"
    """A walk meets the same object again and again; nothing else is wrong."""


class SnmpAgent:
    """One agent. `largest` bytes is its biggest reply (tooBig above); a fault lasts until cleared."""

    def __init__(
        self,
        host: str,
        port: int,
        profile: Profile,
        source: PointSource,
        *,
        unit: int = 1,
        read_communities: tuple[str, ...] = ("public", "private"),
        write_communities: tuple[str, ...] = ("private",),
        users: Sequence[UsmUser] = (),
        write_users: tuple[str, ...] = (),
        description: str = "",
        largest: int = 1400,
    ) -> None:
        """`users` are those of v3, `write_users` the names that may SET. Raises `ConfigError`."""
        if profile.snmp is None:
            raise ConfigError(f"profile {profile.model!r} is not for SNMP")
        self.host = host
        self.port = port
        self.fault: Misbehaviour | None = None
        self.dark = False
        """Without supply it answers nothing."""
        self.deaf = False
        """Takes a SET with a good word and does nothing."""
        self.refuses: ErrorStatus | None = None
        """Says this to each SET with a good word."""
        self.late_s = 0.0
        """Each reply waits so long."""
        self.largest = largest
        self.requests = 0
        self._profile = profile.for_unit(unit)
        self._source = source
        self._readers = {name.encode() for name in read_communities}
        self._writers = {name.encode() for name in write_communities}
        self._write_users = write_users
        self._identity = {profile.snmp.identity_oid: (description or f"{profile.model} (emulated)").encode()}
        self._commands = Commands(self._profile)
        self._usm: UsmDoor | None = None
        if users:
            # Enterprise 0 and a text of our own: an id that no other agent of the process has.
            engine_id = b"\x80\x00\x00\x00\x04" + f"{profile.model} {id(self):x}".encode()[:24]
            self._usm = UsmDoor(users, engine_id=engine_id, answering=self._answer_user)
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        """Listen; port 0 picks a free one and stores it in `port`. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: _Listener(self.answer, lambda: self.late_s), local_addr=(self.host, self.port)
        )
        self.port = int(self._transport.get_extra_info("sockname")[1])

    async def stop(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    @property
    def reports(self) -> int:
        """So often the v3 engine told a caller its id and clock in place of an answer."""
        return 0 if self._usm is None else self._usm.reports

    def restart(self) -> None:
        """Begin anew, as after a power cut: v3 counts one more start, and its clock begins at zero."""
        if self._usm is not None:
            self._usm.restart()

    def set_clock(self, up_s: int) -> None:
        """Let the clock of the v3 engine say `up_s` (s), without a start."""
        if self._usm is not None:
            self._usm.set_clock(up_s)

    # ---------------------------------------------------------------- one datagram

    def answer(self, data: bytes) -> bytes | None:
        """The reply to one datagram, or None for silence; never raises."""
        if self.dark or self.fault is Misbehaviour.SILENT:
            return None
        encoded = self._answer_v3(data) if _is_v3(data) else self._answer_v2c(data)
        if encoded is None:
            return None
        if self.fault is Misbehaviour.TRUNCATED:
            return encoded[: len(encoded) // 2]
        if self.fault is Misbehaviour.GARBAGE:
            return b"\x30\x82\xff\xffnot BER at all"
        return encoded

    def _answer_v2c(self, data: bytes) -> bytes | None:
        try:
            request = decode(data)
        except MalformedReply:
            return None
        if request.community not in self._readers | self._writers:
            return None
        reply = self._answered(request, may_write=request.community in self._writers)
        return None if reply is None else encode(reply)

    def _answer_v3(self, data: bytes) -> bytes | None:
        return None if self._usm is None else self._usm.answer(data)

    def _answer_user(self, request: Message, user: str) -> Message | None:
        return self._answered(request, may_write=user in self._write_users)

    def _answered(self, request: Message, *, may_write: bool) -> Message | None:
        self.requests += 1
        if self.fault is Misbehaviour.GEN_ERR:
            # It refuses, so nothing of the request is done.
            return response(request, request.varbinds, status=ErrorStatus.GEN_ERR, index=1)
        reply = self._reply(request, may_write=may_write)
        match self.fault:
            case None if reply is not None and len(encode(reply)) > self.largest:
                return response(request, (), status=ErrorStatus.TOO_BIG)
            case Misbehaviour.WRONG_REQUEST_ID if reply is not None:
                return msgspec.structs.replace(reply, request_id=reply.request_id ^ 0x55)
            case Misbehaviour.EMPTY:
                return response(request, ())
        return reply

    def _reply(self, request: Message, *, may_write: bool) -> Message | None:
        oids = [bind.oid for bind in request.varbinds]
        match request.kind:
            case PduKind.GET:
                objects = self._objects()
                return response(request, [_found(objects, oid) for oid in oids])
            case PduKind.GET_NEXT:
                return response(request, self._walk(oids, 1))
            case PduKind.GET_BULK:
                first, rest = oids[: request.status], oids[request.status :]
                binds = self._walk(first, 1) + self._walk(rest, min(max(request.index, 0), 100))
                return response(request, self._fitting(request, binds))
            case PduKind.SET:
                return self._set(request, may_write=may_write)
            case PduKind.RESPONSE:
                return None

    def _fitting(self, request: Message, binds: list[VarBind]) -> list[VarBind]:
        """A GETBULK is cut to what fits rather than refused (RFC 3416 §4.2.3)."""
        while len(binds) > 1 and len(encode(response(request, binds))) > self.largest:
            binds = binds[: len(binds) // 2]
        return binds

    # ---------------------------------------------------------------- objects

    def _objects(self) -> dict[str, Value]:
        return {**self._identity, **objects_of(self._profile, self._source.points())}

    def _walk(self, oids: list[str], repetitions: int) -> list[VarBind]:
        objects = self._objects()
        order = sorted(objects, key=oid_key)
        keys = [oid_key(oid) for oid in order]
        binds: list[VarBind] = []
        places = [bisect.bisect_right(keys, oid_key(oid)) for oid in oids]
        for step in range(repetitions):
            for column, place in enumerate(places):
                at = place if self.fault is Misbehaviour.ENDLESS else place + step
                if at < len(order):
                    binds.append(VarBind(order[at], objects[order[at]]))
                else:
                    binds.append(VarBind(order[-1] if order else oids[column], None, Absent.END_OF_MIB_VIEW))
        return binds

    def _set(self, request: Message, *, may_write: bool) -> Message:
        present = self._source.points()
        taken: list[tuple[str, float]] = []
        for index, bind in enumerate(request.varbinds, start=1):
            meant = self._commands.meaning(bind, present) if may_write else ErrorStatus.NO_ACCESS
            if may_write and self.refuses is not None:
                meant = self.refuses
            if isinstance(meant, ErrorStatus):
                return response(request, request.varbinds, status=meant, index=index)
            taken.append(meant)
        for point, value in taken:
            if not self.deaf:
                self._source.write_point(point, value)
        return response(request, request.varbinds)


def _is_v3(data: bytes) -> bool:
    """Whether this is a BER sequence that begins with INTEGER 3."""
    if len(data) < 2 or data[0] != 0x30:
        return False
    start = 2 + (data[1] & 0x7F if data[1] & 0x80 else 0)
    return data[start : start + 3] == b"\x02\x01\x03"


def _found(objects: Mapping[str, Value], oid: str) -> VarBind:
    if oid in objects:
        return VarBind(oid, objects[oid])
    column = oid.rpartition(".")[0] + "."
    known = any(other.startswith(column) for other in objects)
    return VarBind(oid, None, Absent.NO_SUCH_INSTANCE if known else Absent.NO_SUCH_OBJECT)


class _Listener(asyncio.DatagramProtocol):
    def __init__(self, answer: Callable[[bytes], bytes | None], late_s: Callable[[], float]) -> None:
        self._answer = answer
        self._late_s = late_s
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not isinstance: CPython 3.11's selector transport does not derive from DatagramTransport.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        reply = self._answer(data)
        if reply is not None:
            asyncio.get_running_loop().call_later(self._late_s(), self._send, reply, addr)

    def _send(self, reply: bytes, addr: tuple[str | object, int]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(reply, addr)
