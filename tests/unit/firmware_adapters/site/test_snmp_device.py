"""The SNMP driver: in memory for its decisions, over sockets against the emulated PDU for the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.capabilities import PROTOCOL_OF, Credential, OutletControl
from firmware_adapters.registry import open_device
from firmware_adapters.site.profile import load_profile
from firmware_adapters.site.snmp import SnmpDevice
from firmware_adapters.transport.snmp import SnmpValue
from firmware_adapters.transport.snmp_memory import MemorySnmp
from firmware_adapters.transport.snmp_message import Absent, Message, PduKind, VarBind, decode, encode
from shared.capabilities import Ability
from shared.errors import AuthFailed, ConfigError, DeviceError, DeviceTimeout, Unsupported
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind, Quality
from support.site_devices import served_agent

BASE = "1.3.6.1.4.1.318.1.1.26."
RPDU2 = load_profile("apc-rpdu2")
POWER, STATE, COMMAND = BASE + "4.3.1.5.1", BASE + "9.2.3.1.5.", BASE + "9.2.4.1.5."


def device(objects: dict[str, SnmpValue], *, may_write: bool = True) -> tuple[SnmpDevice, MemorySnmp]:
    link = MemorySnmp(objects)
    return SnmpDevice(RPDU2, link, timeout_s=1, may_write=may_write), link


@pytest.mark.parametrize("backend", ["gufo", "pysnmp"])
async def test_reads_a_pdu_over_the_wire(backend: str) -> None:
    async with served_agent(outlets=24) as served:
        pdu = served.driver(backend=backend)
        seen = (await pdu.read()).readings
        assert seen["power_w"].value == 12340.0
        assert seen["energy_kwh"].value == 77.7
        assert seen["current_a.1"].value == 17.9
        assert [seen[f"outlet_on.{n}"].value for n in range(1, 25)] == [1.0] * 24
        assert "outlet_on.25" not in seen
        await pdu.close()


@pytest.mark.parametrize("backend", ["gufo", "pysnmp"])
async def test_switches_an_outlet_and_the_next_read_shows_it(backend: str) -> None:
    """State and command use opposite codes; a mistake in one of them would show here."""
    async with served_agent() as served:
        pdu = served.driver(backend=backend)
        await pdu.switch_outlet(3, on=False)
        seen = (await pdu.read()).readings
        assert (seen["outlet_on.3"].value, seen["outlet_on.4"].value) == (0.0, 1.0)
        await pdu.switch_outlet(3, on=True)
        assert (await pdu.read()).readings["outlet_on.3"].value == 1.0
        await pdu.close()


async def test_absent_outlets_are_learnt_and_not_asked_for_again() -> None:
    pdu, link = device({POWER: 10, STATE + "1": 2})
    await pdu.read()
    await pdu.read()
    assert len(link.gets[0]) > 40
    assert set(link.gets[1]) == {POWER, STATE + "1"}
    link.objects[STATE + "2"] = 1
    await pdu.facts()
    assert (await pdu.read()).readings["outlet_on.2"].value == 0.0


async def test_an_object_that_vanishes_is_missing_and_not_the_last_value() -> None:
    pdu, link = device({POWER: 10, STATE + "1": 2})
    await pdu.read()
    del link.objects[STATE + "1"]
    seen = (await pdu.read()).readings
    assert (seen["outlet_on.1"].value, seen["outlet_on.1"].quality) == (None, Quality.MISSING)


async def test_minus_one_is_the_pdus_word_for_unsupported() -> None:
    pdu, _ = device({POWER: -1, STATE + "1": 2})
    seen = (await pdu.read()).readings
    assert (seen["power_w"].value, seen["power_w"].quality) == (None, Quality.MISSING)


async def test_an_agent_of_something_else_is_unsupported() -> None:
    pdu, _ = device({"1.3.6.1.2.1.1.1.0": b"a printer"})
    with pytest.raises(Unsupported):
        await pdu.read()


@given(
    st.one_of(st.integers(-(2**31), 2**31 - 1), st.binary(max_size=8), st.text(max_size=8), st.floats()),
    st.sampled_from(["outlet_on.1", "power_w"]),
)
async def test_only_what_the_profile_knows_becomes_a_number(value: SnmpValue, name: str) -> None:
    pdu, link = device({POWER: 10, STATE + "1": 2})
    link.objects[POWER if name == "power_w" else STATE + "1"] = value
    reading = (await pdu.read()).readings[name]
    if name == "outlet_on.1":
        meaning = {1: 0.0, 2: 1.0}
        expected = meaning.get(int(value)) if isinstance(value, int | float) and value in meaning else None
        assert reading.value == expected
    elif reading.value is not None:
        assert isinstance(value, int | float)
        assert 0 <= reading.value <= 500_000
    assert (reading.value is None) == (not reading.quality.usable)


async def test_a_failed_poll_raises() -> None:
    pdu, link = device({POWER: 10})
    link.failures.append(DeviceTimeout("silent"))
    with pytest.raises(DeviceError):
        await pdu.read()


async def test_without_a_credential_nothing_is_switched() -> None:
    pdu, link = device({POWER: 10, STATE + "1": 2, COMMAND + "1": 1}, may_write=False)
    with pytest.raises(AuthFailed):
        await pdu.switch_outlet(1, on=False)
    assert link.sets == []
    assert {c.ability for c in (await pdu.facts()).capabilities} == {Ability.TELEMETRY}


@pytest.mark.parametrize("outlet", [0, 49, 9])
async def test_an_outlet_that_is_not_there_is_unsupported(outlet: int) -> None:
    pdu, link = device({POWER: 10, STATE + "1": 2, COMMAND + "1": 1})
    await pdu.read()
    with pytest.raises(Unsupported):
        await pdu.switch_outlet(outlet, on=True)
    assert link.sets == []


# ---------------------------------------------------------------- the emulated agent


def ask(kind: PduKind, *oids: str, status: int = 0, index: int = 0) -> bytes:
    varbinds = tuple(VarBind(oid) for oid in oids)
    return encode(
        Message(community=b"public", kind=kind, request_id=1, varbinds=varbinds, status=status, index=index)
    )


async def test_the_agent_can_be_walked() -> None:
    async with served_agent(outlets=3) as served:
        oid, seen = "1.3", []
        for _ in range(50):
            reply = served.agent.answer(ask(PduKind.GET_NEXT, oid))
            assert reply is not None
            (bind,) = decode(reply).varbinds
            if bind.absent is Absent.END_OF_MIB_VIEW:
                break
            oid = bind.oid
            seen.append(oid)
    assert seen[0] == "1.3.6.1.2.1.1.1.0"
    assert [oid for oid in seen if oid.startswith(STATE)] == [STATE + str(n) for n in (1, 2, 3)]
    assert len(seen) == 1 + 3 + 2 * 3


async def test_bulk_gives_the_same_as_walking() -> None:
    async with served_agent(outlets=3) as served:
        reply = served.agent.answer(ask(PduKind.GET_BULK, STATE + "1", status=0, index=2))
        assert reply is not None
        assert [bind.oid for bind in decode(reply).varbinds] == [STATE + "2", STATE + "3"]


async def test_noise_and_strangers_get_no_answer() -> None:
    async with served_agent() as served:
        assert served.agent.answer(b"not BER") is None
        stranger = Message(community=b"x", kind=PduKind.GET, request_id=1, varbinds=(VarBind(POWER),))
        assert served.agent.answer(encode(stranger)) is None


# ---------------------------------------------------------------- as the registry opens it


def entry(**changes: object) -> DeviceEntry:
    fields: dict[str, object] = {
        "id": DeviceId("pdu-1"),
        "kind": DeviceKind.PDU,
        "adapter": "snmp",
        "host": "127.0.0.1",
        "port": 16161,
        "zone": ZoneId("hall"),
        "profile": "apc-rpdu2",
    }
    return DeviceEntry(**(fields | changes))  # type: ignore[arg-type]  # keyword pairs of a test


async def test_the_registry_opens_it_and_it_does_what_it_declares() -> None:
    async with served_agent() as served:
        secret = Credential(user=None, secret="private")
        pdu = open_device(entry(port=served.agent.port), secret, timeout_s=0.5)
        facts = await pdu.facts()
        assert facts.firmware == "APC rPDU2 (emulated)"
        assert facts.default_password
        for capability in facts.capabilities:
            assert isinstance(pdu, PROTOCOL_OF[capability.ability])
        assert isinstance(pdu, OutletControl)
        await pdu.switch_outlet(1, on=False)
        assert served.source.writes == [("outlet_on.1", 0.0)]
        await pdu.close()


async def test_without_a_credential_it_reads_as_public() -> None:
    async with served_agent() as served:
        pdu = open_device(entry(port=served.agent.port), None, timeout_s=0.5)
        assert (await pdu.read()).readings["power_w"].value == 12340.0
        assert not (await pdu.facts()).default_password
        await pdu.close()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"profile": None}, "needs a profile"),
        ({"kind": DeviceKind.UPS}, "is a pdu, not a ups"),
        ({"profile": "xy-md02", "kind": DeviceKind.PROBE}, "not for SNMP"),
    ],
)
def test_a_wrong_entry_is_refused_at_once(changes: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        open_device(entry(**changes), None, timeout_s=1)
