"""SNMP v2c messages to bytes and back, with pysnmp's message classes (pure; RFC 1901, RFC 3416)."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import msgspec
from pyasn1.codec.ber import decoder, encoder
from pyasn1.error import PyAsn1Error
from pyasn1.type import univ
from pysnmp.proto import rfc1902, rfc1905
from pysnmp.proto.api import v2c

from shared.errors import MalformedReply

Value = int | str | bytes | None
"""INTEGER, counters and ticks as int; OIDs and addresses as text; octet strings; None is NULL or absent."""


LARGEST_DATAGRAM = 65_507
"""Bytes over UDP on IPv4."""


class PduKind(IntEnum):
    """PDU tags that we send or answer."""

    GET = 0
    GET_NEXT = 1
    RESPONSE = 2
    SET = 3
    GET_BULK = 5


class ErrorStatus(IntEnum):
    """RFC 3416 error-status values that matter here."""

    NO_ERROR = 0
    TOO_BIG = 1
    NO_SUCH_NAME = 2
    BAD_VALUE = 3
    READ_ONLY = 4
    GEN_ERR = 5
    NO_ACCESS = 6
    WRONG_TYPE = 7
    WRONG_VALUE = 10
    NO_CREATION = 11
    INCONSISTENT_VALUE = 12
    RESOURCE_UNAVAILABLE = 13
    COMMIT_FAILED = 14
    AUTHORIZATION_ERROR = 16
    NOT_WRITABLE = 17


class Absent(IntEnum):
    """Exceptions in place of a value."""

    NO_SUCH_OBJECT = 0
    NO_SUCH_INSTANCE = 1
    END_OF_MIB_VIEW = 2


class VarBind(msgspec.Struct, frozen=True):
    """One object and its value, or why it has none."""

    oid: str
    value: Value = None
    absent: Absent | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One SNMP v2c message. For GETBULK `status` and `index` are non-repeaters and max-repetitions."""

    community: bytes
    kind: PduKind
    request_id: int
    varbinds: tuple[VarBind, ...]
    status: int = 0
    index: int = 0


_PDU = {
    PduKind.GET: v2c.GetRequestPDU,
    PduKind.GET_NEXT: v2c.GetNextRequestPDU,
    PduKind.RESPONSE: v2c.ResponsePDU,
    PduKind.SET: v2c.SetRequestPDU,
    PduKind.GET_BULK: v2c.GetBulkRequestPDU,
}
_ABSENT = {
    Absent.NO_SUCH_OBJECT: rfc1905.noSuchObject,
    Absent.NO_SUCH_INSTANCE: rfc1905.noSuchInstance,
    Absent.END_OF_MIB_VIEW: rfc1905.endOfMibView,
}


def oid_key(oid: str) -> tuple[int, ...]:
    """The OID as a tuple, which sorts as the standard asks."""
    return tuple(int(part) for part in oid.split("."))


def encode(message: Message) -> bytes:
    """The message as BER."""
    pdu = _PDU[message.kind]()
    api: Any = v2c.apiBulkPDU if message.kind is PduKind.GET_BULK else v2c.apiPDU
    api.set_defaults(pdu)
    api.set_request_id(pdu, message.request_id)
    if message.kind is PduKind.GET_BULK:
        api.set_non_repeaters(pdu, message.status)
        api.set_max_repetitions(pdu, message.index)
    else:
        api.set_error_status(pdu, message.status)
        if message.index:
            api.set_error_index(pdu, message.index)
    api.set_varbinds(pdu, [(oid_key(bind.oid), wrapped(bind)) for bind in message.varbinds])
    outer = v2c.Message()
    v2c.apiMessage.set_defaults(outer)
    v2c.apiMessage.set_community(outer, message.community)
    v2c.apiMessage.set_pdu(outer, pdu)
    return bytes(encoder.encode(outer))


def wrapped(bind: VarBind) -> Any:
    """Our value as pysnmp's."""
    if bind.absent is not None:
        return _ABSENT[bind.absent]
    match bind.value:
        case None:
            return v2c.Null("")
        case int():
            return v2c.Integer32(bind.value)
        case bytes():
            return v2c.OctetString(bind.value)
    return v2c.ObjectIdentifier(bind.value)


def decode(data: bytes) -> Message:
    """A message from BER. Raises `MalformedReply` for anything that is not one v2c message."""
    if len(data) > LARGEST_DATAGRAM:
        raise MalformedReply(f"{len(data)} bytes are more than one datagram holds")
    try:
        outer, rest = decoder.decode(data, asn1Spec=v2c.Message())
        if rest or int(outer["version"]) != 1:
            raise MalformedReply("not one SNMP v2c message")
        pdu = v2c.apiMessage.get_pdu(outer)
        kind = next((kind for kind, cls in _PDU.items() if pdu.tagSet == cls.tagSet), None)
        if kind is None:
            raise MalformedReply("unknown kind of SNMP PDU")
        return Message(
            community=bytes(v2c.apiMessage.get_community(outer)),
            kind=kind,
            request_id=int(pdu[0]),
            status=int(pdu[1]),
            index=int(pdu[2]),
            varbinds=tuple(bind_of(oid, value) for oid, value in v2c.apiPDU.get_varbinds(pdu)),
        )
    except (PyAsn1Error, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
        # pyasn1 reports broken BER by any of these, depending on where it breaks.
        raise MalformedReply(f"SNMP message does not decode: {error}") from error


def bind_of(oid: Any, value: Any) -> VarBind:
    """pysnmp's pair of name and value as ours."""
    for absent, marker in _ABSENT.items():
        if value.tagSet == marker.tagSet:
            return VarBind(str(oid), None, absent)
    return VarBind(str(oid), _plain(value))


def _plain(value: Any) -> Value:
    match value:
        case rfc1902.IpAddress():
            return str(value.prettyPrint())
        case univ.Null():
            return None
        case univ.OctetString():
            return bytes(value)
        case univ.Integer():
            return int(value)
    return str(value)


def response(request: Message, varbinds: Sequence[VarBind], *, status: int = 0, index: int = 0) -> Message:
    """The response to a request."""
    return Message(
        community=request.community,
        kind=PduKind.RESPONSE,
        request_id=request.request_id,
        varbinds=tuple(varbinds),
        status=status,
        index=index,
    )
