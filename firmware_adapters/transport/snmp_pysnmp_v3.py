"""SNMP v3 (USM) through pysnmp's engine: one engine per agent, over a socket of our own.

An engine per request is what made pollers slow (edge.md §3.1, F25). One engine for all agents would mix up
users of the same name with other secrets, so each link has its own, made when it is first needed and made
anew after two failures: the agent may have started again as another engine.
"""

import asyncio
from typing import Any

from pysnmp.entity import config, engine
from pysnmp.error import PySnmpError
from pysnmp.proto import errind
from pysnmp.proto.api import v2c
from pysnmp.proto.rfc1902 import OctetString

from firmware_adapters.transport.snmp_message import PduKind, VarBind, bind_of, oid_key, wrapped
from firmware_adapters.transport.snmp_pysnmp import Answer
from firmware_adapters.transport.snmp_user import Authentication, Privacy, UsmUser
from shared.errors import AuthFailed, DeviceError, MalformedReply, Unreachable

DISCOVERIES = 4
"""Requests that only bring the agent's engine id, and its clock, before the one that counts."""
PATIENCE = 2
"""Failures in a row after which the agent may be another engine than the one that was met."""
_DOMAIN, _ADDRESS = (1, 3, 6, 1, 6, 1, 1), ("agent", 0)
"""snmpUDPDomain; there is one agent, so its address inside the engine is a name."""
_V3, _USM = 3, 3
AUTH_NO_PRIV, AUTH_PRIV = 2, 3
"""Security levels."""
_AUTHENTICATION = {
    Authentication.SHA: config.USM_AUTH_HMAC96_SHA,
    Authentication.SHA224: config.USM_AUTH_HMAC128_SHA224,
    Authentication.SHA256: config.USM_AUTH_HMAC192_SHA256,
    Authentication.SHA384: config.USM_AUTH_HMAC256_SHA384,
    Authentication.SHA512: config.USM_AUTH_HMAC384_SHA512,
}
_PRIVACY = {
    None: config.USM_PRIV_NONE,
    Privacy.AES: config.USM_PRIV_CFB128_AES,
    Privacy.AES192: config.USM_PRIV_CFB192_AES_BLUMENTHAL,
    Privacy.AES256: config.USM_PRIV_CFB256_AES_BLUMENTHAL,
    Privacy.AES192_CISCO: config.USM_PRIV_CFB192_AES,
    Privacy.AES256_CISCO: config.USM_PRIV_CFB256_AES,
}
_NOT_KNOWN_YET = (errind.NotInTimeWindow, errind.UnknownEngineID)
_REFUSED = (
    errind.UnknownUserName,
    errind.UnknownSecurityName,
    errind.WrongDigest,
    errind.AuthenticationFailure,
    errind.AuthenticationError,
    errind.DecryptionError,
    errind.UnsupportedSecurityLevel,
    errind.UnsupportedAuthProtocol,
    errind.UnsupportedPrivProtocol,
)
_PDU = {
    PduKind.GET: v2c.GetRequestPDU,
    PduKind.GET_BULK: v2c.GetBulkRequestPDU,
    PduKind.SET: v2c.SetRequestPDU,
}


def add_user(snmp_engine: Any, user: UsmUser) -> None:
    """Make the user known to one of pysnmp's engines, which copies it for each peer that it meets."""
    config.add_v3_user(
        snmp_engine,
        user.name,
        _AUTHENTICATION[user.authentication],
        user.authentication_secret,
        _PRIVACY[user.privacy],
        user.privacy_secret or None,
    )


class V3Speaker:
    """See `snmp_pysnmp.Speaker`."""

    def __init__(self, host: str, port: int, user: UsmUser) -> None:
        self._address = (host, port)
        self._user = user
        self._level = AUTH_NO_PRIV if user.privacy is None else AUTH_PRIV
        self._wire: _Wire | None = None
        self._ids = 0
        self._failures = 0

    async def ask(
        self, kind: PduKind, varbinds: tuple[VarBind, ...], *, timeout_s: float, repetitions: int = 0
    ) -> Answer:
        """See `Speaker`. `AuthFailed` where the agent refuses the user or a secret."""
        if self._wire is None:
            # Its MIBs and keys take a tenth of a second here and more on a gateway: not in the loop's thread.
            self._wire = await asyncio.to_thread(_Wire, self._user)
        done = False
        try:
            async with asyncio.timeout(timeout_s):
                found = await self._asked(self._wire, self._pdu(kind, varbinds, repetitions))
            done = True
        except PySnmpError as error:
            raise MalformedReply(f"{self._name}: {error}") from error
        finally:
            self._failures = 0 if done else self._failures + 1
            if self._failures >= PATIENCE:
                self._failures = 0
                self.close()
        return found

    def _pdu(self, kind: PduKind, varbinds: tuple[VarBind, ...], repetitions: int) -> Any:
        self._ids = (self._ids + 1) & 0x7FFFFFFF
        pdu = _PDU[kind]()
        api: Any = v2c.apiBulkPDU if kind is PduKind.GET_BULK else v2c.apiPDU
        api.set_defaults(pdu)
        api.set_request_id(pdu, self._ids)
        if kind is PduKind.GET_BULK:
            api.set_max_repetitions(pdu, repetitions)
        api.set_varbinds(pdu, [(oid_key(bind.oid), wrapped(bind)) for bind in varbinds])
        return pdu

    async def _asked(self, wire: "_Wire", pdu: Any) -> Answer:
        if not wire.is_open:
            loop = asyncio.get_running_loop()
            await loop.create_datagram_endpoint(lambda: wire, remote_addr=self._address)
        for _ in range(DISCOVERIES):
            failure, reply = await wire.send(pdu, self._user.name, self._level)
            if isinstance(failure, _NOT_KNOWN_YET):
                continue
            if failure is not None:
                raise self._failure(failure)
            if int(reply[0]) != self._ids:
                raise MalformedReply(f"{self._name}: the answer carries another request's id")
            binds = v2c.apiPDU.get_varbinds(reply)
            return Answer(int(reply[1]), tuple(bind_of(oid, value) for oid, value in binds))
        raise MalformedReply(f"{self._name}: the agent's clock or engine id keeps changing")

    def _failure(self, said: Any) -> DeviceError:
        if isinstance(said, _REFUSED):
            return AuthFailed(f"{self._name}: the SNMP user or its secrets were refused: {said}")
        return MalformedReply(f"{self._name}: {said}")

    @property
    def _name(self) -> str:
        return f"{self._address[0]}:{self._address[1]}"

    def close(self) -> None:
        """See `Speaker`."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()


class _Wire(asyncio.DatagramProtocol):
    """An engine and its socket: the engine takes this for its transport, asyncio for its protocol."""

    def __init__(self, user: UsmUser) -> None:
        self._engine: Any = engine.SnmpEngine()
        self._engine.transport_dispatcher = self
        add_user(self._engine, user)
        self._transport: asyncio.DatagramTransport | None = None
        self._waiting: asyncio.Future[tuple[Any, Any]] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it has its socket."""
        return self._transport is not None

    async def send(self, pdu: Any, user: str, level: int) -> tuple[Any, Any]:
        """What the engine says went wrong, or the response."""
        self._waiting = asyncio.get_running_loop().create_future()
        self._engine.message_dispatcher.send_pdu(
            self._engine,
            _DOMAIN,
            _ADDRESS,
            _V3,
            _USM,
            OctetString(user),
            level,
            None,
            b"",
            1,
            pdu,
            True,  # a response is expected
            0,
            self._took,
            None,
        )
        return await self._waiting

    def _took(self, *arguments: Any) -> None:
        """The engine's call-back: at its end response, failure, handle and context."""
        *_, response, failure, _handle, _context = arguments
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result((failure["errorIndication"] if failure else None, response))

    # ---------------------------------------------------------------- asyncio's side

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        try:
            self._engine.message_dispatcher.receive_message(self._engine, _DOMAIN, _ADDRESS, data)
        except (PySnmpError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            # Bytes that only look like a message: pysnmp fails in any of these ways.
            self._fail(MalformedReply(f"SNMP v3 message does not decode: {error}"))

    def error_received(self, exc: Exception) -> None:
        self._fail(Unreachable(f"nothing listens there: {exc}"))

    def _fail(self, error: DeviceError) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)

    # ---------------------------------------------------------------- the engine's side

    def send_message(self, data: bytes, _domain: object, _address: object) -> None:
        """Called by the engine."""
        if self._transport is not None:
            self._transport.sendto(bytes(data))

    @staticmethod
    def get_timer_resolution() -> float:
        """Called by the engine, whose timers do not run: deadlines are ours."""
        return 0.5

    @staticmethod
    def get_timer_ticks() -> int:
        """Called by the engine."""
        return 0

    def close(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.close()
