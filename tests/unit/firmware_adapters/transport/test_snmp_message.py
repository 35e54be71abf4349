"""SNMP messages: what goes in comes out, and broken bytes are a typed failure."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.transport.snmp_message import (
    Absent,
    Message,
    PduKind,
    VarBind,
    decode,
    encode,
    oid_key,
    response,
)
from shared.errors import MalformedReply

OID = "1.3.6.1.4.1.318.1.1.26.4.3.1.5.1"

oids = st.lists(st.integers(0, 2**28), min_size=1, max_size=8).map(
    lambda tail: ".".join(map(str, [1, 3, *tail]))
)
binds = st.one_of(
    st.builds(VarBind, oids, st.integers(-(2**31), 2**31 - 1)),
    st.builds(VarBind, oids, st.binary(max_size=40)),
    st.builds(VarBind, oids, st.just("1.3.6.1.4.1.318")),
    st.builds(VarBind, oids),
    st.builds(VarBind, oids, st.none(), st.sampled_from(list(Absent))),
)


@given(
    st.sampled_from([PduKind.GET, PduKind.GET_NEXT, PduKind.RESPONSE, PduKind.SET, PduKind.GET_BULK]),
    st.integers(0, 2**31 - 1),
    st.lists(binds, max_size=6),
)
def test_round_trip(kind: PduKind, request_id: int, varbinds: list[VarBind]) -> None:
    message = Message(community=b"private", kind=kind, request_id=request_id, varbinds=tuple(varbinds))
    assert decode(encode(message)) == message


def test_a_recorded_request_of_gufo_decodes() -> None:
    recorded = bytes.fromhex(
        "3038020101040770726976617465a02a02041cff4024020100020100301c300c06082b06010201010100"
        "0500300c06082b060102010103000500"
    )
    message = decode(recorded)
    assert message.kind is PduKind.GET
    assert message.request_id == 0x1CFF4024
    assert [bind.oid for bind in message.varbinds] == ["1.3.6.1.2.1.1.1.0", "1.3.6.1.2.1.1.3.0"]


def test_error_status_and_index_survive() -> None:
    asked = Message(community=b"public", kind=PduKind.SET, request_id=9, varbinds=(VarBind(OID, 2),))
    reply = decode(encode(response(asked, asked.varbinds, status=17, index=1)))
    assert (reply.status, reply.index, reply.request_id) == (17, 1, 9)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_message_or_a_typed_failure(data: bytes) -> None:
    with contextlib.suppress(MalformedReply):
        decode(data)


@given(st.integers(0, 60), st.integers(0, 255))
def test_a_changed_byte_is_a_message_or_a_typed_failure(place: int, value: int) -> None:
    data = bytearray(
        encode(
            Message(community=b"public", kind=PduKind.RESPONSE, request_id=5, varbinds=(VarBind(OID, 121),))
        )
    )
    data[place % len(data)] = value
    with contextlib.suppress(MalformedReply):
        decode(bytes(data))


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_cut_message_is_malformed(cut: int) -> None:
    whole = encode(Message(community=b"public", kind=PduKind.GET, request_id=5, varbinds=(VarBind(OID),)))
    with pytest.raises(MalformedReply):
        decode(whole[:-cut])


@pytest.mark.parametrize(
    "data",
    [
        b"\x30\x80" * 5_000_000,
        b"\x30" * 60_000,
        b"\x30\x80" * 30_000,
        b"\x30\x82\xea\x60" + b"\x30\x82\xff\xff" * 15_000,
        b"\x30\x82\xea\x60\x02\x01\x01\x04\x06public\xa2\x82\xea\x40" + b"\x30\x80" * 29_980,
    ],
    ids=["10 MB", "sequences", "endless sequences", "sequences that lie", "endless sequences in a PDU"],
)
def test_what_is_long_or_nested_is_refused_at_once(data: bytes) -> None:
    with pytest.raises(MalformedReply):
        decode(data)


def test_oids_sort_as_numbers() -> None:
    assert oid_key("1.3.6.1.9") < oid_key("1.3.6.1.10")
