"""The pysnmp backend of `transport.snmp`: GET, GETBULK and SET, every error-status told apart.

v2c goes over our own UDP endpoint with pysnmp's messages, v3 through pysnmp's engine (`snmp_pysnmp_v3`).
Imported when the first link asks for it by name, or for what the other backend cannot do.
"""

import asyncio
import itertools
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Protocol, cast

import msgspec

from firmware_adapters.transport.snmp import OidLimit, SnmpValue, TooBig, get_in_parts
from firmware_adapters.transport.snmp_message import (
    Absent,
    ErrorStatus,
    Message,
    PduKind,
    VarBind,
    decode,
    encode,
    oid_key,
)
from firmware_adapters.transport.snmp_user import Access
from firmware_adapters.transport.tape import and_more, decoded, noted
from shared.errors import (
    AuthFailed,
    Busy,
    DeviceError,
    DeviceTimeout,
    MalformedReply,
    Unreachable,
    Unsupported,
)
from shared.exchanges import Exchange

_REFUSED_FOR_GOOD = (
    ErrorStatus.NO_SUCH_NAME,
    ErrorStatus.BAD_VALUE,
    ErrorStatus.READ_ONLY,
    ErrorStatus.NO_ACCESS,
    ErrorStatus.WRONG_TYPE,
    ErrorStatus.WRONG_VALUE,
    ErrorStatus.NO_CREATION,
    ErrorStatus.NOT_WRITABLE,
)
_REFUSED_NOW = (
    ErrorStatus.GEN_ERR,
    ErrorStatus.INCONSISTENT_VALUE,
    ErrorStatus.RESOURCE_UNAVAILABLE,
    ErrorStatus.COMMIT_FAILED,
)


def status_error(status: int, what: str) -> DeviceError:
    """The typed failure behind an SNMP error-status (RFC 3416 §3)."""
    if status == ErrorStatus.TOO_BIG:
        return TooBig(f"{what}: tooBig")
    if status in _REFUSED_FOR_GOOD:
        return Unsupported(f"{what}: {ErrorStatus(status).name}")
    if status in _REFUSED_NOW:
        return Busy(f"{what}: {ErrorStatus(status).name}")
    if status == ErrorStatus.AUTHORIZATION_ERROR:
        return AuthFailed(f"{what}: the community may not do this")
    return MalformedReply(f"{what}: error-status {status}")


class _Endpoint(asyncio.DatagramProtocol):
    """Waits for the response of one request id; everything else that arrives is ignored."""

    def __init__(self) -> None:
        self._waiting: tuple[int, asyncio.Future[Message]] | None = None

    def expect(self, request_id: int) -> asyncio.Future[Message]:
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting = (request_id, future)
        return future

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        if self._waiting is None or self._waiting[1].done():
            return
        request_id, future = self._waiting
        try:
            message = decode(data)
        except MalformedReply as error:
            future.set_exception(error)
            return
        if message.kind is PduKind.RESPONSE and message.request_id == request_id:
            future.set_result(message)

    def error_received(self, exc: Exception) -> None:
        if self._waiting is not None and not self._waiting[1].done():
            self._waiting[1].set_exception(Unreachable(f"nothing listens there: {exc}"))


class Answer(msgspec.Struct, frozen=True):
    """What an agent said to one request: an error-status and objects."""

    status: int
    varbinds: tuple[VarBind, ...]


class Speaker(Protocol):
    """One version of SNMP spoken with one agent, one request at a time."""

    async def ask(
        self, kind: PduKind, varbinds: tuple[VarBind, ...], *, timeout_s: float, repetitions: int = 0
    ) -> Answer:
        """Send and wait; `repetitions` for GETBULK. Raises `TimeoutError`, `OSError` or `DeviceError`."""
        ...

    def close(self) -> None:
        """Let go of the socket; never raises."""
        ...


class V2cSpeaker:
    """SNMP v2c over our own endpoint; the reply must carry the request's id."""

    def __init__(self, host: str, port: int, community: str) -> None:
        self._address = (host, port)
        self._community = community.encode()
        self._ids = itertools.count(1)
        self._transport: asyncio.DatagramTransport | None = None
        self._endpoint: _Endpoint | None = None

    async def ask(
        self, kind: PduKind, varbinds: tuple[VarBind, ...], *, timeout_s: float, repetitions: int = 0
    ) -> Answer:
        """See `Speaker`."""
        request_id = next(self._ids) & 0x7FFFFFFF
        request = Message(
            community=self._community,
            kind=kind,
            request_id=request_id,
            varbinds=varbinds,
            index=repetitions,
        )
        async with asyncio.timeout(timeout_s):
            transport, endpoint = await self._opened()
            future = endpoint.expect(request_id)
            transport.sendto(encode(request))
            reply = await future
        return Answer(reply.status, reply.varbinds)

    async def _opened(self) -> tuple[asyncio.DatagramTransport, _Endpoint]:
        if self._transport is None or self._endpoint is None:
            loop = asyncio.get_running_loop()
            self._transport, self._endpoint = await loop.create_datagram_endpoint(
                _Endpoint, remote_addr=self._address
            )
        return self._transport, self._endpoint

    def close(self) -> None:
        """See `Speaker`."""
        transport, self._transport, self._endpoint = self._transport, None, None
        if transport is not None:
            transport.close()


class PysnmpSnmp:
    """SNMP in pure Python. One request at a time per agent; no retries here."""

    def __init__(self, name: str, speaker: Speaker, *, max_oids: int) -> None:
        self._name = name
        self._speaker = speaker
        self._limit = OidLimit(max_oids)
        self._lock = asyncio.Lock()
        self.requests = 0

    async def get(self, oids: Sequence[str], *, timeout_s: float) -> dict[str, SnmpValue]:
        """See `SnmpLink`."""
        async with self._lock:
            return await get_in_parts(lambda part: self._get(part, timeout_s), oids, self._limit.now)

    async def _get(self, part: Sequence[str], timeout_s: float) -> dict[str, SnmpValue]:
        found = await self._ask(PduKind.GET, tuple(VarBind(oid) for oid in part), timeout_s)
        if [bind.oid for bind in found] != list(part):
            raise MalformedReply(f"{self._name}: the answer shows other objects than were asked for")
        return {bind.oid: bind.value for bind in found if bind.absent is None and bind.value is not None}

    async def walk(self, oid: str, *, timeout_s: float, max_rows: int) -> dict[str, SnmpValue]:
        """See `SnmpLink`."""
        rows: dict[str, SnmpValue] = {}
        at, repetitions = oid, max(1, min(self._limit.now, max_rows + 1))
        async with self._lock:
            while True:
                try:
                    found = await self._ask(PduKind.GET_BULK, (VarBind(at),), timeout_s, repetitions)
                except TooBig:
                    if repetitions == 1:
                        raise
                    repetitions //= 2
                    continue
                below, ended = self._rows_below(oid, at, found)
                rows |= below
                if len(rows) > max_rows:
                    raise MalformedReply(f"{self._name}: more than {max_rows} objects below {oid}")
                if ended:
                    return rows
                at = found[-1].oid

    def _rows_below(
        self, oid: str, after: str, found: tuple[VarBind, ...]
    ) -> tuple[dict[str, SnmpValue], bool]:
        """The part of a GETBULK's answer that lies below `oid`, and whether the table ended in it."""
        rows: dict[str, SnmpValue] = {}
        for bind in found:
            if bind.absent is Absent.END_OF_MIB_VIEW or not bind.oid.startswith(oid + "."):
                return rows, True
            if oid_key(bind.oid) <= oid_key(after):
                raise MalformedReply(f"{self._name}: a walk of {oid} does not move on")
            after = bind.oid
            if bind.absent is None and bind.value is not None:
                rows[bind.oid] = bind.value
        return rows, not found

    async def set_integer(self, oid: str, value: int, *, timeout_s: float) -> None:
        """See `SnmpLink`."""
        async with self._lock:
            found = await self._ask(PduKind.SET, (VarBind(oid, value),), timeout_s)
        if found != (VarBind(oid, value),):
            raise MalformedReply(f"{self._name}: the answer to a SET of {oid} shows something else")

    async def _ask(
        self, kind: PduKind, varbinds: tuple[VarBind, ...], timeout_s: float, repetitions: int = 0
    ) -> tuple[VarBind, ...]:
        asking = self._answered(kind, varbinds, timeout_s, repetitions)
        return await noted(asking, partial(_told, kind, varbinds))

    async def _answered(
        self, kind: PduKind, varbinds: tuple[VarBind, ...], timeout_s: float, repetitions: int
    ) -> tuple[VarBind, ...]:
        self.requests += 1
        try:
            answer = await self._speaker.ask(kind, varbinds, timeout_s=timeout_s, repetitions=repetitions)
        except TimeoutError as error:
            self._limit.forget()
            raise DeviceTimeout(f"{self._name}: no SNMP answer within {timeout_s:g} s") from error
        except OSError as error:
            raise Unreachable(f"{self._name}: {error}") from error
        if answer.status:
            failure = status_error(answer.status, self._name)
            if isinstance(failure, TooBig) and kind is PduKind.GET:
                self._limit.refused(len(varbinds))
            raise failure
        return answer.varbinds

    async def close(self) -> None:
        """See `SnmpLink`."""
        self._speaker.close()


def _told(kind: PduKind, asked: tuple[VarBind, ...], outcome: tuple[VarBind, ...] | DeviceError) -> Exchange:
    """For a tape: `get 1.3.6.1 and 4 more`, a GETBULK of a walk as `walk 1.3.6.1`, `set 1.3.6.1=2`."""
    verb = {PduKind.SET: "set", PduKind.GET: "get"}.get(kind, "walk")
    names = [f"{bind.oid}={bind.value!r}" if kind is PduKind.SET else bind.oid for bind in asked]
    values = outcome if isinstance(outcome, DeviceError) else {bind.oid: bind.value for bind in outcome}
    return decoded(and_more(verb, names), values)


def open_backend(host: str, port: int, access: Access, *, max_oids: int) -> PysnmpSnmp:
    """The pysnmp backend; see `snmp.BACKENDS`."""
    speaker: Speaker
    if isinstance(access, str):
        speaker = V2cSpeaker(host, port, access)
    else:
        # Its engine and MIBs cost a tenth of a second and some memory: only where a v3 user is configured.
        v3 = import_module("firmware_adapters.transport.snmp_pysnmp_v3")
        speaker = cast(Speaker, v3.V3Speaker(host, port, access))
    return PysnmpSnmp(f"{host}:{port}", speaker, max_oids=max_oids)
