"""SNMP v3 through both backends: what is right is read and written, what is wrong is refused and typed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_adapters.site.point_source import DictSource
from firmware_adapters.site.profile import load_profile
from firmware_adapters.site.snmp_emulator import Misbehaviour, SnmpAgent
from firmware_adapters.transport import snmp_pysnmp_v3
from firmware_adapters.transport.snmp import open_link
from firmware_adapters.transport.snmp_user import Access, Authentication, Privacy, UsmUser
from shared.errors import AuthFailed, Busy, DeviceError, DeviceTimeout, MalformedReply, Unsupported

HOST = "127.0.0.1"
POWER = "1.3.6.1.4.1.318.1.1.26.4.3.1.5.1"
STATE = "1.3.6.1.4.1.318.1.1.26.9.2.3.1.5"
COMMAND = "1.3.6.1.4.1.318.1.1.26.9.2.4.1.5."

backends = pytest.mark.parametrize("backend", ["gufo", "pysnmp"])


def user(name: str = "switch", *, secret: str = "correct horse", private: str = "battery staple") -> UsmUser:
    return UsmUser(
        name=name,
        authentication=Authentication.SHA256,
        authentication_secret=secret,
        privacy=Privacy.AES,
        privacy_secret=private,
    )


@asynccontextmanager
async def agent_for(*users: UsmUser) -> AsyncIterator[tuple[SnmpAgent, DictSource]]:
    source = DictSource({"power_w": 12340.0} | {f"outlet_on.{n}": 1.0 for n in range(1, 9)})
    agent = SnmpAgent(HOST, 0, load_profile("apc-rpdu2"), source, users=users, write_users=("switch",))
    await agent.start()
    try:
        yield agent, source
    finally:
        await agent.stop()


@backends
async def test_reads_walks_and_writes(backend: str) -> None:
    async with agent_for(user()) as (agent, source):
        link = open_link(HOST, agent.port, user(), backend=backend)
        assert await link.get([POWER, STATE + ".3", STATE + ".9"], timeout_s=2) == {
            POWER: 1234,
            STATE + ".3": 2,
        }
        assert await link.get([STATE + ".40"], timeout_s=2) == {}
        assert await link.get([STATE + ".40", STATE + ".41"], timeout_s=2) == {}
        assert len(await link.walk(STATE, timeout_s=2, max_rows=20)) == 8
        await link.set_integer(COMMAND + "3", 2, timeout_s=2)
        assert source.writes == [("outlet_on.3", 0.0)]
        assert await link.get([STATE + ".3"], timeout_s=2) == {STATE + ".3": 1}
        await link.close()


@backends
async def test_an_agent_that_restarted_or_whose_clock_was_set_is_no_wrong_secret(backend: str) -> None:
    """It says "not in the time window" then, once, to a caller whom it knew a moment ago."""
    async with agent_for(user()) as (agent, _):
        link = open_link(HOST, agent.port, user(), backend=backend)
        await link.get([POWER], timeout_s=2)
        for happens in (agent.restart, lambda: agent.set_clock(300_000_000), lambda: agent.set_clock(0)):
            happens()
            before = agent.reports
            assert await link.get([POWER], timeout_s=2) == {POWER: 1234}
            assert agent.reports - before <= 2
        await link.close()


async def test_every_pair_of_algorithms_is_understood_by_two_implementations() -> None:
    pairs = [(kind, cipher) for kind in Authentication for cipher in (None, *Privacy)]
    users = [
        UsmUser(
            name=f"{kind}-{cipher}",
            authentication=kind,
            authentication_secret="correct horse",
            privacy=cipher,
            privacy_secret="battery staple" if cipher else "",
        )
        for kind, cipher in pairs
    ]
    async with agent_for(*users) as (agent, _):
        for who in users:
            link = open_link(HOST, agent.port, who, backend="gufo")
            assert await link.get([POWER], timeout_s=2) == {POWER: 1234}, who
            await link.close()


@backends
@pytest.mark.parametrize(
    "stranger",
    [user("nobody"), user(secret="wrong horse"), user(private="wrong staple")],
    ids=["unknown user", "wrong authentication", "wrong privacy"],
)
async def test_who_has_not_the_secrets_reads_nothing(backend: str, stranger: UsmUser) -> None:
    async with agent_for(user()) as (agent, source):
        link = open_link(HOST, agent.port, stranger, backend=backend)
        with pytest.raises((AuthFailed, DeviceTimeout, MalformedReply)):
            await link.get([POWER], timeout_s=0.3)
        with pytest.raises((AuthFailed, DeviceTimeout, MalformedReply)):
            await link.set_integer(COMMAND + "3", 2, timeout_s=0.3)
        assert source.writes == []
        await link.close()


@backends
async def test_a_user_who_may_only_read_cannot_write(backend: str) -> None:
    reader = user("reader")
    async with agent_for(user(), reader) as (agent, source):
        link = open_link(HOST, agent.port, reader, backend=backend)
        with pytest.raises(Unsupported):
            await link.set_integer(COMMAND + "3", 2, timeout_s=2)
        assert source.writes == []
        await link.close()


@backends
async def test_who_may_be_private_must_be(backend: str) -> None:
    """A user with a privacy secret who asks without it gets no data in the clear."""
    bare = UsmUser(name="switch", authentication=Authentication.SHA256, authentication_secret="correct horse")
    async with agent_for(user()) as (agent, _):
        link = open_link(HOST, agent.port, bare, backend=backend)
        with pytest.raises(DeviceError):
            await link.get([POWER], timeout_s=0.3)
        await link.close()


@backends
@pytest.mark.parametrize("fault", [fault for fault in Misbehaviour if fault is not Misbehaviour.ENDLESS])
async def test_misbehaviour_never_yields_a_value(backend: str, fault: Misbehaviour) -> None:
    async with agent_for(user()) as (agent, _):
        link = open_link(HOST, agent.port, user(), backend=backend)
        assert await link.get([POWER], timeout_s=2) == {POWER: 1234}
        agent.fault = fault
        with pytest.raises((DeviceTimeout, MalformedReply, Busy)):
            await link.get([POWER, STATE + ".1"], timeout_s=0.3)
        agent.fault = None
        assert await link.get([POWER], timeout_s=2) == {POWER: 1234}
        await link.close()


@backends
async def test_an_agent_that_started_anew_is_followed(backend: str) -> None:
    async with agent_for(user()) as (agent, _):
        link = open_link(HOST, agent.port, user(), backend=backend)
        assert await link.get([POWER], timeout_s=2)
        port = agent.port
        await agent.stop()
        await asyncio.sleep(0)  # the socket closes in the next round of the loop
        other = SnmpAgent(
            HOST, port, load_profile("apc-rpdu2"), DictSource({"power_w": 10.0}), users=(user(),)
        )
        await other.start()
        for _ in range(3):
            try:
                found = await link.get([POWER], timeout_s=0.5)
                break
            except DeviceError:
                continue
        assert found == {POWER: 1}
        await link.close()
        await other.stop()


async def test_f25_one_engine_serves_all_requests_of_a_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine per request is what made pollers slow (edge.md §3.1, F25)."""
    made: list[UsmUser] = []

    class Counted(snmp_pysnmp_v3._Wire):
        def __init__(self, who: UsmUser) -> None:
            made.append(who)
            super().__init__(who)

    monkeypatch.setattr(snmp_pysnmp_v3, "_Wire", Counted)
    async with agent_for(user()) as (agent, _):
        link = open_link(HOST, agent.port, user(), backend="pysnmp")
        for _ in range(5):
            assert await link.get([POWER], timeout_s=2) == {POWER: 1234}
        await link.close()
    assert made == [user()]


async def test_two_agents_with_the_same_name_and_other_secrets() -> None:
    one, two = user(secret="correct horse"), user(secret="another horse", private="another staple")
    async with agent_for(one) as (first, _), agent_for(two) as (second, _):
        accesses: list[tuple[SnmpAgent, Access]] = [(first, one), (second, two)]
        links = [open_link(HOST, agent.port, access, backend="pysnmp") for agent, access in accesses]
        for link in links * 2:
            assert await link.get([POWER], timeout_s=2) == {POWER: 1234}
        for link in links:
            await link.close()


class TestTheDoor:
    agent = SnmpAgent(HOST, 0, load_profile("apc-rpdu2"), DictSource({"power_w": 1.0}), users=(user(),))

    @given(st.binary(max_size=120))
    @settings(max_examples=60, deadline=None)
    def test_bytes_that_claim_to_be_v3_get_a_report_or_silence(self, tail: bytes) -> None:
        self.agent.answer(b"\x30" + bytes([min(len(tail) + 3, 127)]) + b"\x02\x01\x03" + tail)
