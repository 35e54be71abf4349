"""The SNMP seam: both backends behave alike on a good agent, a small one and a broken one."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.site.snmp_emulator import Misbehaviour
from firmware_adapters.transport.snmp import SnmpValue, TooBig, get_in_parts, open_link
from firmware_adapters.transport.snmp_memory import MemorySnmp
from firmware_adapters.transport.snmp_pysnmp import status_error
from shared.errors import (
    AuthFailed,
    Busy,
    ConfigError,
    DeviceError,
    DeviceTimeout,
    MalformedReply,
    Unreachable,
    Unsupported,
)
from support.site_devices import HOST, served_agent

POWER = "1.3.6.1.4.1.318.1.1.26.4.3.1.5.1"
STATE = "1.3.6.1.4.1.318.1.1.26.9.2.3.1.5."
COMMAND = "1.3.6.1.4.1.318.1.1.26.9.2.4.1.5."

backends = pytest.mark.parametrize("backend", ["gufo", "pysnmp"])


@backends
async def test_reads_many_objects_and_leaves_out_what_the_agent_lacks(backend: str) -> None:
    async with served_agent(outlets=4) as served:
        link = open_link(HOST, served.agent.port, "public", backend=backend)
        found = await link.get([POWER, STATE + "1", STATE + "5", "1.3.6.1.9.9"], timeout_s=0.5)
        await link.close()
    assert found == {POWER: 1234, STATE + "1": 2}


@backends
async def test_one_missing_object_is_an_empty_answer_and_not_a_zero(backend: str) -> None:
    async with served_agent() as served:
        link = open_link(HOST, served.agent.port, "public", backend=backend)
        assert await link.get([STATE + "40"], timeout_s=0.5) == {}
        await link.close()


@backends
async def test_an_agent_with_small_replies_is_asked_in_halves(backend: str) -> None:
    async with served_agent(outlets=20) as served:
        served.agent.largest = 200
        link = open_link(HOST, served.agent.port, "public", backend=backend)
        oids = [STATE + str(n) for n in range(1, 21)]
        assert set(await link.get(oids, timeout_s=0.5)) == set(oids)
        await link.close()
        assert served.agent.requests > 4


@backends
async def test_a_size_that_was_too_big_is_not_tried_again_until_the_agent_fell_silent(backend: str) -> None:
    async with served_agent(outlets=20) as served:
        served.agent.largest = 200
        link = open_link(HOST, served.agent.port, "public", backend=backend)
        oids = [STATE + str(n) for n in range(1, 21)]
        await link.get(oids, timeout_s=0.5)
        first, served.agent.requests = served.agent.requests, 0
        await link.get(oids, timeout_s=0.5)
        learnt, served.agent.requests = served.agent.requests, 0
        assert learnt < first
        served.agent.largest = 1400
        served.agent.dark = True
        with pytest.raises(DeviceTimeout):
            await link.get(oids, timeout_s=0.05)
        served.agent.dark = False
        assert len(await link.get(oids, timeout_s=0.5)) == 20
        assert served.agent.requests == 1
        await link.close()


@backends
async def test_many_objects_that_the_agent_lacks_cost_few_requests(backend: str) -> None:
    """gufo shows an error and "none of them" alike; asking for each by itself would be 60 requests."""
    async with served_agent(outlets=4) as served:
        link = open_link(HOST, served.agent.port, "public", backend=backend)
        oids = [STATE + str(n) for n in range(10, 40)]
        assert await link.get(oids, timeout_s=0.5) == {}
        assert served.agent.requests <= 2
        await link.close()


@backends
@pytest.mark.parametrize("largest", [1400, 200])
async def test_a_walk_brings_the_whole_table_and_nothing_beside_it(backend: str, largest: int) -> None:
    async with served_agent(outlets=20) as served:
        served.agent.largest = largest
        link = open_link(HOST, served.agent.port, "public", max_oids=7, backend=backend)
        rows = await link.walk(STATE[:-1], timeout_s=0.5, max_rows=20)
        assert list(rows) == [STATE + str(n) for n in range(1, 21)]
        assert set(rows.values()) == {2}
        assert await link.walk("1.3.6.1.9", timeout_s=0.5, max_rows=5) == {}
        with pytest.raises(MalformedReply, match="more than 19"):
            await link.walk(STATE[:-1], timeout_s=0.5, max_rows=19)
        await link.close()


@backends
async def test_a_walk_that_would_never_end_is_a_failure(backend: str) -> None:
    async with served_agent(outlets=20) as served:
        served.agent.fault = Misbehaviour.ENDLESS
        link = open_link(HOST, served.agent.port, "public", max_oids=5, backend=backend)
        with pytest.raises(MalformedReply, match="does not move on"):
            await link.walk(STATE[:-1], timeout_s=0.5, max_rows=20)
        await link.close()


@backends
async def test_an_error_in_a_walk_is_not_the_end_of_the_table(backend: str) -> None:
    async with served_agent(outlets=20) as served:
        served.agent.fault = Misbehaviour.GEN_ERR
        link = open_link(HOST, served.agent.port, "public", backend=backend)
        with pytest.raises(Busy):
            await link.walk(STATE[:-1], timeout_s=0.5, max_rows=20)
        await link.close()


@backends
async def test_set_is_seen_by_the_agent(backend: str) -> None:
    async with served_agent() as served:
        link = open_link(HOST, served.agent.port, "private", backend=backend)
        await link.set_integer(COMMAND + "3", 2, timeout_s=0.5)
        assert served.source.writes == [("outlet_on.3", 0.0)]
        assert await link.get([STATE + "3"], timeout_s=0.5) == {STATE + "3": 1}
        await link.close()


@backends
async def test_set_refused_by_the_agent_is_typed(backend: str) -> None:
    async with served_agent() as served:
        link = open_link(HOST, served.agent.port, "private", backend=backend)
        with pytest.raises(Unsupported):
            await link.set_integer(COMMAND + "40", 2, timeout_s=0.5)
        with pytest.raises(Unsupported):
            await link.set_integer(COMMAND + "1", 9, timeout_s=0.5)
        await link.close()
        reader = open_link(HOST, served.agent.port, "public", backend=backend)
        with pytest.raises(Unsupported):
            await reader.set_integer(COMMAND + "1", 2, timeout_s=0.5)
        await reader.close()
        assert served.source.writes == []


@backends
@pytest.mark.parametrize("fault", [fault for fault in Misbehaviour if fault is not Misbehaviour.ENDLESS])
async def test_misbehaviour_never_yields_a_value(backend: str, fault: Misbehaviour) -> None:
    async with served_agent() as served:
        link = open_link(HOST, served.agent.port, "public", backend=backend)
        served.agent.fault = fault
        with pytest.raises((DeviceTimeout, MalformedReply, Busy)):
            await link.get([POWER, STATE + "1"], timeout_s=0.1)
        served.agent.fault = None
        assert await link.get([POWER], timeout_s=0.5) == {POWER: 1234}
        await link.close()


@backends
async def test_a_wrong_community_is_silence(backend: str) -> None:
    async with served_agent() as served:
        link = open_link(HOST, served.agent.port, "guess", backend=backend)
        with pytest.raises(DeviceTimeout):
            await link.get([POWER], timeout_s=0.1)
        await link.close()


@backends
async def test_nobody_there_is_a_typed_failure(backend: str) -> None:
    link = open_link(HOST, 9, "public", backend=backend)
    with pytest.raises((Unreachable, DeviceTimeout)):
        await link.get([POWER], timeout_s=0.1)
    await link.close()


def test_an_unknown_backend_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="gufo, pysnmp"):
        open_link(HOST, 161, "public", backend="snmpwalk")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (1, TooBig),
        (6, Unsupported),
        (17, Unsupported),
        (5, Busy),
        (14, Busy),
        (16, AuthFailed),
        (77, MalformedReply),
    ],
)
def test_error_status_maps_to_the_error_tree(status: int, kind: type[DeviceError]) -> None:
    assert type(status_error(status, "agent")) is kind


@given(
    st.lists(st.integers(1, 400), unique=True, max_size=60),
    st.integers(1, 40),
    st.integers(1, 12),
)
async def test_halving_gets_everything_whatever_fits(numbers: list[int], max_oids: int, fits: int) -> None:
    oids = [f"1.3.{n}" for n in numbers]

    async def ask(part: Sequence[str]) -> dict[str, SnmpValue]:
        assert 1 <= len(part) <= max_oids
        if len(part) > fits:
            raise TooBig("too many")
        return {oid: int(oid.rpartition(".")[2]) for oid in part if not oid.endswith("7")}

    found = await get_in_parts(ask, oids, max_oids)
    assert found == {f"1.3.{n}": n for n in numbers if n % 10 != 7}


async def test_one_object_that_is_too_big_is_the_agents_last_word() -> None:
    async def ask(_part: Sequence[str]) -> dict[str, SnmpValue]:
        raise TooBig("always")

    with pytest.raises(MalformedReply):
        await get_in_parts(ask, ["1.3.6"], 10)


async def test_the_memory_twin_behaves_like_an_agent() -> None:
    link = MemorySnmp({POWER: 5, COMMAND + "1": 1})
    link.failures.extend([DeviceTimeout("once"), None])
    with pytest.raises(DeviceTimeout):
        await link.get([POWER], timeout_s=1)
    assert await link.get([POWER, "1.3.9"], timeout_s=1) == {POWER: 5}
    await link.set_integer(COMMAND + "1", 2, timeout_s=1)
    with pytest.raises(Unsupported):
        await link.set_integer("1.3.9", 2, timeout_s=1)
    assert link.sets == [(COMMAND + "1", 2)]
