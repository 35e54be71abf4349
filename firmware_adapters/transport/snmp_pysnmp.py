"""The pysnmp backend of `transport.snmp`: GET and SET over our own UDP endpoint, with pysnmp's messages.

Imported when the first link asks for it by name, or when something is to be written.
"""

import asyncio
import itertools
from collections.abc import Sequence

from firmware_adapters.transport.snmp import SnmpValue, TooBig, get_in_parts
from firmware_adapters.transport.snmp_message import (
    ErrorStatus,
    Message,
    PduKind,
    VarBind,
    decode,
    encode,
)
from shared.errors import (
    AuthFailed,
    Busy,
    DeviceError,
    DeviceTimeout,
    MalformedReply,
    Unreachable,
    Unsupported,
)

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


class PysnmpSnmp:
    """SNMP v2c in pure Python. One request at a time per agent; no retries here."""

    def __init__(self, host: str, port: int, community: str, *, max_oids: int) -> None:
        self._address = (host, port)
        self._community = community.encode()
        self._max_oids = max_oids
        self._ids = itertools.count(1)
        self._lock = asyncio.Lock()
        self._transport: asyncio.DatagramTransport | None = None
        self._endpoint: _Endpoint | None = None
        self.requests = 0

    async def get(self, oids: Sequence[str], *, timeout_s: float) -> dict[str, SnmpValue]:
        """See `SnmpLink`."""
        async with self._lock:
            return await get_in_parts(lambda part: self._get(part, timeout_s), oids, self._max_oids)

    async def _get(self, part: Sequence[str], timeout_s: float) -> dict[str, SnmpValue]:
        reply = await self._ask(PduKind.GET, tuple(VarBind(oid) for oid in part), timeout_s)
        if [bind.oid for bind in reply.varbinds] != list(part):
            raise MalformedReply(f"{self._name}: the answer shows other objects than were asked for")
        return {
            bind.oid: bind.value for bind in reply.varbinds if bind.absent is None and bind.value is not None
        }

    async def set_integer(self, oid: str, value: int, *, timeout_s: float) -> None:
        """See `SnmpLink`."""
        async with self._lock:
            reply = await self._ask(PduKind.SET, (VarBind(oid, value),), timeout_s)
        if reply.varbinds != (VarBind(oid, value),):
            raise MalformedReply(f"{self._name}: the answer to a SET of {oid} shows something else")

    async def _ask(self, kind: PduKind, varbinds: tuple[VarBind, ...], timeout_s: float) -> Message:
        request_id = next(self._ids) & 0x7FFFFFFF
        request = Message(community=self._community, kind=kind, request_id=request_id, varbinds=varbinds)
        self.requests += 1
        try:
            async with asyncio.timeout(timeout_s):
                transport, endpoint = await self._opened()
                future = endpoint.expect(request_id)
                transport.sendto(encode(request))
                reply = await future
        except TimeoutError as error:
            raise DeviceTimeout(f"{self._name}: no SNMP answer within {timeout_s:g} s") from error
        except OSError as error:
            raise Unreachable(f"{self._name}: {error}") from error
        if reply.status:
            raise status_error(reply.status, self._name)
        return reply

    async def _opened(self) -> tuple[asyncio.DatagramTransport, _Endpoint]:
        if self._transport is None or self._endpoint is None:
            loop = asyncio.get_running_loop()
            self._transport, self._endpoint = await loop.create_datagram_endpoint(
                _Endpoint, remote_addr=self._address
            )
        return self._transport, self._endpoint

    async def close(self) -> None:
        """See `SnmpLink`."""
        transport, self._transport, self._endpoint = self._transport, None, None
        if transport is not None:
            transport.close()

    @property
    def _name(self) -> str:
        return f"{self._address[0]}:{self._address[1]}"


def open_backend(host: str, port: int, community: str, *, max_oids: int) -> PysnmpSnmp:
    """The pysnmp backend; see `snmp.BACKENDS`."""
    return PysnmpSnmp(host, port, community, max_oids=max_oids)
