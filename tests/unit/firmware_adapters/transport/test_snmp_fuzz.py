"""Agents that answer anything at all, over real sockets: typed failures in time, and no number from them."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firmware_adapters.site.point_source import DictSource
from firmware_adapters.site.profile import load_profile
from firmware_adapters.site.snmp_emulator import SnmpAgent
from firmware_adapters.transport.snmp import open_link
from firmware_adapters.transport.snmp_message import VarBind, decode, encode, response
from firmware_adapters.transport.snmp_user import Access, UsmUser, access_of
from shared.errors import DeviceError

HOST = "127.0.0.1"
POWER = "1.3.6.1.4.1.318.1.1.26.4.3.1.5.1"
STATE = "1.3.6.1.4.1.318.1.1.26.9.2.3.1.5"
USER = access_of("switch", "sha256 correct-horse aes battery-staple")
TIMEOUT_S = 0.03

backends = pytest.mark.parametrize("backend", ["gufo", "pysnmp"])
few = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
fewer = settings(few, max_examples=4)
"""Each v3 link of pysnmp makes an engine."""
PROFILE = load_profile("apc-rpdu2")
VALUES = {"power_w": 12340.0, "outlet_on.1": 1.0}


class Responder(asyncio.DatagramProtocol):
    """Answers each datagram by whatever `answer` makes of it."""

    def __init__(self, answer: Callable[[bytes], bytes | None]) -> None:
        self.answer = answer
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        reply = self.answer(data)
        if reply is not None:
            self._transport.sendto(reply, addr)


@asynccontextmanager
async def answering(answer: Callable[[bytes], bytes | None]) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Responder(answer), local_addr=(HOST, 0))
    try:
        yield int(transport.get_extra_info("sockname")[1])
    finally:
        transport.close()


@functools.cache
def v3_agent() -> SnmpAgent:
    """One for all examples: its engine takes a tenth of a second to make."""
    assert isinstance(USER, UsmUser)
    return SnmpAgent(HOST, 0, PROFILE, DictSource(VALUES), users=(USER,))


async def tried(port: int, access: Access, backend: str) -> list[object]:
    """What a read of two objects, of one, and a walk brought: objects, or the failure."""
    link = open_link(HOST, port, access, backend=backend)
    brought: list[object] = []
    for work in (
        link.get([POWER, STATE + ".1"], timeout_s=TIMEOUT_S),
        link.get([POWER], timeout_s=TIMEOUT_S),
        link.walk(STATE, timeout_s=TIMEOUT_S, max_rows=10),
    ):
        try:
            brought.append(await work)
        except DeviceError as error:
            brought.append(error)
    await link.close()
    return brought


@backends
@given(st.binary(max_size=200))
@few
async def test_any_bytes_are_a_typed_failure(backend: str, noise: bytes) -> None:
    async with answering(lambda _: noise) as port:
        assert all(isinstance(found, DeviceError) for found in await tried(port, "public", backend))


@backends
@given(st.integers(0, 90), st.integers(0, 255))
@few
async def test_a_changed_byte_is_a_failure_or_an_honest_answer(backend: str, place: int, value: int) -> None:
    """Whatever comes through belongs to an object that was asked for, and is no float and no None."""
    agent = SnmpAgent(HOST, 0, PROFILE, DictSource(VALUES))

    def distorted(data: bytes) -> bytes | None:
        reply = bytearray(agent.answer(data) or b"")
        reply[place % len(reply)] = value
        return bytes(reply)

    async with answering(distorted) as port:
        for found in await tried(port, "public", backend):
            if isinstance(found, dict):
                assert all(oid == POWER or oid.startswith(STATE + ".") for oid in found)
                assert all(isinstance(held, int | str | bytes | float) for held in found.values())
            else:
                assert isinstance(found, DeviceError)


@pytest.mark.slow
@backends
@given(st.integers(0, 250), st.integers(0, 255))
@fewer
async def test_a_changed_byte_of_a_signed_message_is_never_an_answer(
    backend: str, place: int, value: int
) -> None:
    """v3: discovery is not signed, so a change there ends in silence or failure; data is signed."""

    def distorted(data: bytes) -> bytes | None:
        reply = bytearray(v3_agent().answer(data) or b"")
        if not reply:
            return None
        reply[place % len(reply)] = value
        return bytes(reply)

    async with answering(distorted) as port:
        for found in await tried(port, USER, backend):
            if isinstance(found, dict):
                assert found.items() <= {POWER: 1234, STATE + ".1": 2}.items()
            else:
                assert isinstance(found, DeviceError)


@pytest.mark.slow
@backends
@given(st.binary(max_size=120))
@fewer
async def test_noise_that_claims_to_be_v3(backend: str, tail: bytes) -> None:
    noise = b"\x30" + bytes([min(len(tail) + 3, 127)]) + b"\x02\x01\x03" + tail
    async with answering(lambda _: noise) as port:
        assert all(isinstance(found, DeviceError) for found in await tried(port, USER, backend))


@backends
async def test_other_objects_than_were_asked_for_are_not_taken(backend: str) -> None:
    def another(data: bytes) -> bytes:
        asked = decode(data)
        return encode(response(asked, [VarBind("1.3.6.1.2.1.1.3.0", 7) for _ in asked.varbinds]))

    async with answering(another) as port:
        for found in await tried(port, "public", backend):
            assert isinstance(found, DeviceError) or found == {}, found
