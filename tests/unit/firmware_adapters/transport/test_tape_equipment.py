"""What a tape keeps of site equipment: Modbus frames as they came, SNMP and BACnet as they were decoded."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from firmware_adapters.site.modbus_emulator import Misbehaviour, ModbusFault
from firmware_adapters.site.modbus_rtu_emulator import framed
from firmware_adapters.transport.bacnet import Order, Outcome, ReadOrder
from firmware_adapters.transport.bacnet_memory import MemoryBacnet
from firmware_adapters.transport.bacnet_process import ProcessBacnet
from firmware_adapters.transport.modbus import ModbusConnection
from firmware_adapters.transport.modbus_plan import Span, Table
from firmware_adapters.transport.modbus_reply import question_of
from firmware_adapters.transport.modbus_session import Framing
from firmware_adapters.transport.snmp import open_link
from firmware_adapters.transport.snmp_memory import MemorySnmp
from firmware_adapters.transport.snmp_user import Access, access_of
from firmware_adapters.transport.tape import Tape, file_name, taping
from shared.errors import Busy, DeviceError, DeviceTimeout, MalformedReply, Unreachable, Unsupported
from shared.exchanges import Exchange
from support.frames import replying
from support.serial_line import served_line
from support.site_devices import HOST, served_agent, served_unit

SPAN = Span(Table.INPUT, 1, 2)
QUESTION, NAME = "unit 1 input 1+2", "unit_1_input_1_2"
LONG_S = 10.0
"""For what must not run into its time-out."""


# ---------------------------------------------------------------- Modbus


@pytest.mark.parametrize(
    ("asked", "words", "name"),
    [
        ("03 04 0000 000A", "unit 3 input 0+10", "unit_3_input_0_10"),
        ("03 01 0005 0003", "unit 3 coil 5+3", "unit_3_coil_5_3"),
        ("03 02 0005 0003", "unit 3 discrete 5+3", "unit_3_discrete_5_3"),
        ("FF 03 9C41 0001", "unit 255 holding 40001+1", "unit_255_holding_40001_1"),
        ("03 06 C359 4000", "unit 3 write holding 50009=16384", "unit_3_write_holding_50009_16384"),
        ("03 10 0064 0002 04 0001 0002", "unit 3 write holding 100=1,2", "unit_3_write_holding_100_1_2"),
        ("03 05 0007 FF00", "unit 3 write coil 7=on", "unit_3_write_coil_7_on"),
        ("03 05 0007 0000", "unit 3 write coil 7=off", "unit_3_write_coil_7_off"),
        ("03 2B 0E01", "unit 3 function 43", "unit_3_function_43"),
    ],
)
def test_a_request_in_words_names_a_file(asked: str, words: str, name: str) -> None:
    assert question_of(bytes.fromhex(asked)) == words
    assert file_name(words) == name


async def test_a_good_frame_is_kept_as_it_came_and_nobody_pays_without_a_tape() -> None:
    async with served_unit("xy-md02") as served:
        with taping(Tape()) as heard:
            words = await served.connection.read(1, SPAN, timeout_s=LONG_S)
        await served.connection.read(1, SPAN, timeout_s=LONG_S)
    frame = bytes.fromhex("0001 0000 0007 01 04 04") + b"".join(word.to_bytes(2, "big") for word in words)
    assert list(heard.exchanges) == [Exchange(question=QUESTION, name=NAME, reply=frame)]


@pytest.mark.parametrize(
    ("fault", "frame", "failure"),
    [
        (
            ModbusFault(Misbehaviour.EXCEPTION, code=4),
            "0001 0000 0003 01 84 04",
            "busy: refused: the unit failed to do it (exception 4)",
        ),
        (
            ModbusFault(Misbehaviour.WRONG_UNIT, code=4),
            None,
            "malformed: Modbus reply refused: reply of unit 84",
        ),
        (
            ModbusFault(Misbehaviour.WRONG_TRANSACTION),
            None,
            "malformed: Modbus reply refused: transaction id of another request",
        ),
        (
            ModbusFault(Misbehaviour.WRONG_LENGTH),
            None,
            "malformed: Modbus reply refused: byte count does not match the request",
        ),
        (
            ModbusFault(Misbehaviour.GARBAGE),
            b"HTTP/1.1 400 Bad Request\r\n\r\n".hex(),
            "malformed: Modbus reply refused: not a Modbus TCP header",
        ),
    ],
)
async def test_a_refused_frame_is_kept_with_the_reason(
    fault: ModbusFault, frame: str | None, failure: str
) -> None:
    async with served_unit("xy-md02") as served:
        served.emulator.faults[1] = fault
        with taping(Tape()) as heard, pytest.raises(DeviceError):
            await served.connection.read(1, SPAN, timeout_s=LONG_S)
    (one,) = heard.exchanges
    assert (one.question, one.failure) == (QUESTION, failure)
    assert one.reply
    if frame is not None:
        assert one.reply == bytes.fromhex(frame)


async def test_silence_is_a_failure_without_bytes() -> None:
    async with served_unit("xy-md02") as served:
        await served.connection.read(1, SPAN, timeout_s=LONG_S)  # connecting takes no part of the time-out
        served.emulator.faults[1] = ModbusFault(Misbehaviour.SILENT)
        with taping(Tape()) as heard, pytest.raises(DeviceTimeout):
            await served.connection.read(1, SPAN, timeout_s=0.05)
    assert list(heard.exchanges) == [
        Exchange(question=QUESTION, name=NAME, failure="timeout: no whole reply before the deadline")
    ]


async def test_a_second_attempt_is_an_exchange_of_its_own() -> None:
    async with served_unit("xy-md02") as served:
        await served.connection.read(1, SPAN, timeout_s=LONG_S)
        served.emulator.faults[1] = ModbusFault(Misbehaviour.WRONG_TRANSACTION, times=1)
        with taping(Tape()) as heard:
            await served.connection.read(1, SPAN, timeout_s=LONG_S)
    assert [bool(one.failure) for one in heard.exchanges] == [True, False]


async def test_a_request_that_never_left_is_no_exchange() -> None:
    async with served_unit("xy-md02") as served:
        await served.emulator.stop()
        with taping(Tape()) as heard, pytest.raises(Unreachable):
            await served.connection.read(1, SPAN, timeout_s=LONG_S)
    assert not heard.exchanges


async def test_writes_are_heard_too() -> None:
    async with served_unit("danfoss-fc102") as served:
        with taping(Tape()) as heard:
            await served.driver(timeout_s=LONG_S).write_point("speed_setpoint_pct", 100.0)
    written = [one.question for one in heard.exchanges if "write" in one.question]
    assert written
    assert all(word.startswith("unit 1 write holding ") for word in written)


async def test_half_a_frame_is_kept_when_the_peer_hangs_up() -> None:
    half = bytes.fromhex("0001 0000 0007 01 04")
    async with replying(half, hangs_up=True) as port:
        connection = ModbusConnection(HOST, port)
        with taping(Tape()) as heard, pytest.raises(Unreachable):
            await connection.read(1, SPAN, timeout_s=LONG_S)
        await connection.close()
    (one,) = heard.exchanges
    assert one.reply == half
    assert one.failure.startswith("unreachable: ")


async def test_what_is_longer_than_any_frame_is_refused_and_kept() -> None:
    """A web server's page on this port; pymodbus alone would throw it away, and it would pass for silence."""
    page = b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * 600
    async with replying(page) as port:
        connection = ModbusConnection(HOST, port)
        with taping(Tape()) as heard, pytest.raises(MalformedReply):
            await connection.read(1, SPAN, timeout_s=LONG_S)
        await connection.close()
    (one,) = heard.exchanges
    assert one.failure == "malformed: Modbus reply refused: not a Modbus TCP header"
    assert page.startswith(one.reply)
    assert len(one.reply) >= 8, "it may come in pieces, and is refused at the first that tells"


async def test_what_is_poured_is_not_kept() -> None:
    async with replying(bytes(1_000_000), hangs_up=True) as port:
        connection = ModbusConnection(HOST, port)
        with taping(Tape()) as heard, pytest.raises(DeviceError):
            await connection.read(1, SPAN, timeout_s=LONG_S)
        await connection.close()
    assert len(heard.exchanges[0].reply) <= 4096


@pytest.mark.parametrize("over_tcp", [False, True])
async def test_the_serial_framing_is_kept_with_its_checksum(over_tcp: bool) -> None:
    async with served_line(over_tcp=over_tcp) as served:
        with taping(Tape()) as heard:
            words = await served.connection.read(1, SPAN, timeout_s=LONG_S)
    body = b"\x04\x04" + b"".join(word.to_bytes(2, "big") for word in words)
    assert list(heard.exchanges) == [Exchange(question=QUESTION, name=NAME, reply=framed(1, body))]


async def test_a_frame_with_a_wrong_checksum_is_kept() -> None:
    spoilt = framed(1, bytes.fromhex("04 04 00DC 01F4"))[:-1] + b"\0"
    async with replying(spoilt) as port:
        connection = ModbusConnection(HOST, port, framing=Framing.RTU)
        with taping(Tape()) as heard, pytest.raises(MalformedReply):
            await connection.read(1, SPAN, timeout_s=LONG_S)
        await connection.close()
    assert list(heard.exchanges) == [
        Exchange(
            question=QUESTION,
            name=NAME,
            reply=spoilt,
            failure="malformed: Modbus reply refused: checksum is wrong",
        )
    ]


async def test_units_behind_one_gateway_are_heard_each_by_its_own_tape() -> None:
    """The connection is shared and its requests queue; who asked is known by the task that waits."""
    async with served_unit("xy-md02") as served:
        served.emulator.units[2] = served.emulator.units[1]

        async def listened(unit: int) -> list[str]:
            with taping(Tape()) as heard:
                for _ in range(3):
                    await served.connection.read(unit, SPAN, timeout_s=LONG_S)
            return [one.question for one in heard.exchanges]

        told = await asyncio.gather(listened(1), listened(2))
    assert list(told) == [["unit 1 input 1+2"] * 3, ["unit 2 input 1+2"] * 3]


# ---------------------------------------------------------------- SNMP

POWER = "1.3.6.1.4.1.318.1.1.26.4.3.1.5.1"
STATE = "1.3.6.1.4.1.318.1.1.26.9.2.3.1.5"
COMMAND = "1.3.6.1.4.1.318.1.1.26.9.2.4.1.5"
NOWHERE = "1.3.6.1.4.1.318.9.9.9"
backends = pytest.mark.parametrize("backend", ["gufo", "pysnmp"])


@backends
async def test_snmp_is_kept_as_it_was_decoded_and_absent_is_null(backend: str) -> None:
    async with served_agent() as served:
        link = open_link(HOST, served.agent.port, "private", backend=backend)
        with taping(Tape()) as heard:
            found = await link.get([POWER, NOWHERE], timeout_s=LONG_S)
        await link.close()
    (one,) = heard.exchanges
    assert one.question == f"get {POWER} and 1 more"
    assert one.name == f"get_{POWER}_and_1_more"
    assert json.loads(one.reply) == {POWER: found[POWER], NOWHERE: None}
    assert "private" not in repr(heard.exchanges)


@backends
async def test_what_only_the_other_backend_can_tell_is_kept_from_there(backend: str) -> None:
    """To gufo an error and "none of them exists" look alike; an error must not read as absent."""
    async with served_agent() as served:
        link = open_link(HOST, served.agent.port, "private", backend=backend)
        with taping(Tape()) as heard:
            assert await link.get([NOWHERE], timeout_s=LONG_S) == {}
            await link.walk(STATE, timeout_s=LONG_S, max_rows=100)
            await link.set_integer(f"{COMMAND}.3", 2, timeout_s=LONG_S)
        await link.close()
    questions = [one.question for one in heard.exchanges]
    assert questions[0] == f"get {NOWHERE}"
    assert json.loads(heard.exchanges[0].reply) == {NOWHERE: None}
    assert questions[1] == f"walk {STATE}"
    assert f"{STATE}.1" in json.loads(heard.exchanges[1].reply)
    assert questions[-1] == f"set {COMMAND}.3=2"


class Responder(asyncio.DatagramProtocol):
    """Answers each datagram by whatever `answer` makes of it."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self.answer = answer
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._transport.sendto(self.answer(data), addr)


@backends
@pytest.mark.parametrize(
    "access", ["fleet-community", access_of("switch-user", "sha256 correct-horse aes battery-staple")]
)
@pytest.mark.parametrize("cut", [1, 20, 30])
async def test_no_community_user_or_key_is_on_the_tape_of_a_broken_reply(
    backend: str, access: Access, cut: int
) -> None:
    """The agent sends back the request, cut off: community or user are in it."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: Responder(lambda data: data[:-cut]), local_addr=(HOST, 0)
    )
    link = open_link(HOST, transport.get_extra_info("sockname")[1], access, backend=backend)
    with taping(Tape()) as heard, pytest.raises(DeviceError):
        await link.get([POWER], timeout_s=0.05)
    await link.close()
    transport.close()
    assert heard.exchanges[-1].failure
    for secret in ("fleet-community", "switch-user", "correct-horse", "battery-staple"):
        assert secret not in repr(heard.exchanges)
        assert secret.encode().hex() not in repr(heard.exchanges)


async def test_what_json_has_no_word_for_is_marked() -> None:
    link = MemorySnmp({"1.1": b"\x00\xffA", "1.2": float("nan"), "1.3": -7, "1.4": "1.3.6"})
    with taping(Tape()) as heard:
        await link.get(["1.1", "1.2", "1.3", "1.4"], timeout_s=1)
    assert json.loads(heard.exchanges[0].reply) == {
        "1.1": {"hex": "00ff41"},
        "1.2": {"float": "nan"},
        "1.3": -7,
        "1.4": "1.3.6",
    }


async def test_what_succeeded_inside_a_failing_poll_is_kept_beside_what_failed() -> None:
    link = MemorySnmp({"1.1": 5})
    link.failures.extend([None, Busy("the agent failed")])
    with taping(Tape()) as heard:
        await link.get(["1.1"], timeout_s=1)
        with pytest.raises(Busy):
            await link.get(["1.2"], timeout_s=1)
    assert list(heard.exchanges) == [
        Exchange(question="get 1.1", name="get_1.1", reply=b'{"1.1":5}'),
        Exchange(question="get 1.2", name="get_1.2", failure="busy: the agent failed"),
    ]


# ---------------------------------------------------------------- BACnet


async def test_bacnet_is_kept_as_the_child_told_it() -> None:
    asked = [("analog-input,1", "present-value"), ("analog-input,1", "status-flags"), ("device,1", "x")]
    link = MemoryBacnet({asked[0]: 21.5, asked[1]: (False, True)})
    link.failures.extend([None, Unsupported("no")])
    with taping(Tape()) as heard:
        await link.read(asked, timeout_s=1)
        with pytest.raises(Unsupported):
            await link.read(asked[:1], timeout_s=1)
    good, bad = heard.exchanges
    assert good.question == "read analog-input,1 present-value and 2 more"
    assert good.name == "read_analog_input_1_present_value_and_2_more"
    assert json.loads(good.reply) == {
        "analog-input,1 present-value": 21.5,
        "analog-input,1 status-flags": [False, True],
        "device,1 x": None,
    }
    assert (bad.reply, bad.failure) == (b"", "unsupported: no")


class Child:
    """Stands for the process: one object at a time fits, and it has a present value."""

    users = 2

    async def ask(self, order: Order) -> Outcome:
        if not isinstance(order, ReadOrder):
            return Outcome(id=1, code="unsupported", text="write access denied")
        if len(order.asked) > 1:
            return Outcome(id=1, code="too_long", text="abort")
        return Outcome(id=1, values=(7.0,))


async def test_each_order_to_the_child_is_an_exchange_also_a_refused_one() -> None:
    link = ProcessBacnet("h", 1, max_objects=2)
    link._held = Child()  # type: ignore[assignment] # a stand-in with the same face
    asked = [("analog-input,1", "present-value"), ("analog-input,2", "present-value")]
    with taping(Tape()) as heard:
        await link.read(asked, timeout_s=1)
        with pytest.raises(Unsupported):
            await link.write("analog-value,3", 21.5, priority=8, timeout_s=1)
        with pytest.raises(Unsupported):
            await link.write("analog-value,3", None, priority=8, timeout_s=1)
    assert [(one.question, one.reply, one.failure) for one in heard.exchanges] == [
        ("read analog-input,1 present-value and 1 more", b"", "too_long: h:1: abort"),
        ("read analog-input,1 present-value", b'{"analog-input,1 present-value":7.0}', ""),
        ("read analog-input,2 present-value", b'{"analog-input,2 present-value":7.0}', ""),
        ("write analog-value,3=21.5 priority 8", b"", "unsupported: h:1: write access denied"),
        ("write analog-value,3=nothing priority 8", b"", "unsupported: h:1: write access denied"),
    ]
