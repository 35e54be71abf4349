"""The v3 door of an emulated SNMP agent: pysnmp's engine as the authoritative side of USM.

The engine checks, decrypts and signs; what the objects are stays with the agent. It has no socket: a
datagram goes in, a datagram or nothing comes out.
"""

from collections.abc import Callable, Sequence
from typing import Any

from pysnmp.entity import engine
from pysnmp.error import PySnmpError
from pysnmp.proto import error as proto_error
from pysnmp.proto import rfc1905
from pysnmp.proto.api import v2c

from firmware_adapters.transport.snmp_message import Message, PduKind, bind_of, oid_key, wrapped
from firmware_adapters.transport.snmp_pysnmp_v3 import AUTH_NO_PRIV, AUTH_PRIV, add_user
from firmware_adapters.transport.snmp_user import UsmUser
from shared.clock import SystemClock

Answering = Callable[[Message, str], Message | None]
"""From a request and the name of the user who sent it to the reply, or silence."""

_KINDS = {
    rfc1905.GetRequestPDU.tagSet: PduKind.GET,
    rfc1905.GetNextRequestPDU.tagSet: PduKind.GET_NEXT,
    rfc1905.GetBulkRequestPDU.tagSet: PduKind.GET_BULK,
    rfc1905.SetRequestPDU.tagSet: PduKind.SET,
}
_DOMAIN = (1, 3, 6, 1, 6, 1, 1)
"""snmpUDPDomain; the address beside it only has to be the same each time."""
_LEAST_LEVEL = {False: AUTH_NO_PRIV, True: AUTH_PRIV}


class UsmDoor:
    """Takes v3 messages for users whose secrets are right."""

    def __init__(self, users: Sequence[UsmUser], *, engine_id: bytes, answering: Answering) -> None:
        self._answering = answering
        self._answered = 0
        self._private = {user.name: user.privacy is not None for user in users}
        self._out = _Outbox()
        self.reports = 0
        """So often it told a caller its id and clock, or what was wrong, in place of an answer."""
        self._engine: Any = engine.SnmpEngine()
        # Not by the constructor: that one would keep a counter of starts in a file of the machine.
        (own_id,) = self._engine.get_mib_builder().import_symbols("__SNMP-FRAMEWORK-MIB", "snmpEngineID")
        own_id.syntax = own_id.syntax.clone(engine_id)
        self._engine.snmpEngineID = own_id.syntax
        self._engine.transport_dispatcher = self._out
        for user in users:
            add_user(self._engine, user)
        self._engine.message_dispatcher.register_context_engine_id(
            self._engine.snmpEngineID, tuple(_KINDS), self._process
        )

    def restart(self, *, up_s: int = 0) -> None:
        """Count one more start; the engine's clock says `up_s` (s), and what was agreed before is void."""
        boots, began = self._engine.get_mib_builder().import_symbols(
            "__SNMP-FRAMEWORK-MIB", "snmpEngineBoots", "snmpEngineTime"
        )
        boots.syntax = boots.syntax.clone(int(boots.syntax) + 1)
        self._began_at(began, up_s)

    def set_clock(self, up_s: int) -> None:
        """Let the engine's clock say `up_s` without a start, as where somebody sets the device's time."""
        (began,) = self._engine.get_mib_builder().import_symbols("__SNMP-FRAMEWORK-MIB", "snmpEngineTime")
        self._began_at(began, up_s)

    @staticmethod
    def _began_at(began: Any, up_s: int) -> None:
        # pysnmp keeps when the engine began, by the machine's wall clock.
        began.syntax = began.syntax.clone(SystemClock().utc_ms() // 1000 - up_s)

    def answer(self, data: bytes) -> bytes | None:
        """The reply to one v3 datagram (a report where something is wrong with it), or None."""
        self._out.said = None
        answered = self._answered
        try:
            self._engine.message_dispatcher.receive_message(self._engine, _DOMAIN, ("127.0.0.1", 0), data)
        except (PySnmpError, proto_error.StatusInformation, ValueError, TypeError, KeyError, AttributeError):
            # Bytes that only look like a message: pysnmp fails in any of these ways, an agent is silent.
            return None
        if self._out.said is not None and self._answered == answered:
            self.reports += 1
        return self._out.said

    def _process(
        self,
        snmp_engine: Any,
        model: Any,
        security_model: Any,
        user: Any,
        level: Any,
        context_engine_id: Any,
        context: Any,
        version: Any,
        pdu: Any,
        largest: Any,
        state: Any,
    ) -> None:
        """The engine's way of handing over a request that is genuine (RFC 3413 §3.2)."""
        if int(level) < _LEAST_LEVEL[self._private[str(user)]]:
            return
        request = Message(
            community=b"",
            kind=_KINDS[pdu.tagSet],
            request_id=int(pdu[0]),
            status=int(pdu[1]),
            index=int(pdu[2]),
            varbinds=tuple(bind_of(oid, value) for oid, value in v2c.apiPDU.get_varbinds(pdu)),
        )
        self._answered += 1
        reply = self._answering(request, str(user))
        if reply is None:
            return
        said = v2c.ResponsePDU()
        v2c.apiPDU.set_defaults(said)
        v2c.apiPDU.set_request_id(said, reply.request_id)
        v2c.apiPDU.set_error_status(said, reply.status)
        v2c.apiPDU.set_error_index(said, reply.index)
        v2c.apiPDU.set_varbinds(said, [(oid_key(bind.oid), wrapped(bind)) for bind in reply.varbinds])
        snmp_engine.message_dispatcher.return_response_pdu(
            snmp_engine,
            model,
            security_model,
            user,
            level,
            context_engine_id,
            context,
            version,
            said,
            largest,
            state,
            {},
        )


class _Outbox:
    """What the engine takes for its transport: keeps the one datagram that it sends."""

    def __init__(self) -> None:
        self.said: bytes | None = None

    def send_message(self, data: bytes, _domain: object, _address: object) -> None:
        self.said = bytes(data)

    @staticmethod
    def get_timer_resolution() -> float:
        return 0.5
