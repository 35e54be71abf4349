"""The guardian's side of the BACnet child: a child that dies, hangs, lies or never comes up."""

import asyncio
import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.transport import bacnet_process
from firmware_adapters.transport.bacnet import (
    LENGTH_BYTES,
    Order,
    Outcome,
    ReadOrder,
    TooLong,
    WriteOrder,
    failure_of,
    framed,
)
from firmware_adapters.transport.bacnet_process import RESTART_S, BacnetProcess, ProcessBacnet
from shared.clock import ManualClock
from shared.errors import DeviceError, DeviceTimeout, MalformedReply, Unreachable

HELLO = "import sys, os, struct; o = sys.stdout.buffer; i = sys.stdin.buffer; o.write(bytes(4)); o.flush();"
NEXT = "n = int.from_bytes(i.read(4), 'big'); body = i.read(n);"
ASKED = (("analog-input,1", "present-value"), ("analog-input,1", "status-flags"))


def order(timeout_s: float = 0.2) -> ReadOrder:
    return ReadOrder(id=0, host="127.0.0.1", port=9, asked=ASKED, timeout_s=timeout_s)


def child(code: str, clock: ManualClock | None = None) -> BacnetProcess:
    return BacnetProcess(clock=clock, command=(sys.executable, "-I", "-c", code))


async def test_a_child_that_dies_fails_what_waits_and_is_started_again_after_a_while() -> None:
    clock = ManualClock()
    process = child(HELLO + NEXT, clock)
    with pytest.raises(Unreachable, match="has ended"):
        await process.ask(order(2.0))
    with pytest.raises(Unreachable, match="in a moment"):
        await process.ask(order(2.0))
    clock.advance(RESTART_S)
    with pytest.raises(Unreachable, match="has ended"):
        await process.ask(order(2.0))
    await process.close()


async def test_a_child_that_hangs_is_a_time_out() -> None:
    process = child(HELLO + NEXT + "i.read()")
    with pytest.raises(DeviceTimeout, match="does not answer"):
        await process.ask(order(0.05))
    await process.close()


@pytest.mark.parametrize(
    "says", ["o.write(b'\\xff' * 64)", "o.write(struct.pack('>I', 3) + b'abc')", "o.write(b'\\0\\0')"]
)
async def test_a_child_that_lies_is_ended(says: str) -> None:
    process = child(HELLO + NEXT + says + "; o.flush(); os.close(1); i.read()")
    with pytest.raises(Unreachable):
        await process.ask(order(2.0))
    await process.close()


@pytest.mark.parametrize(
    ("code", "text"),
    [("raise SystemExit(1)", r"pip install minewarden\[bacnet\]"), ("print('hello')", "something else")],
)
async def test_a_child_that_does_not_come_up_says_why(code: str, text: str) -> None:
    process = child(code)
    with pytest.raises(Unreachable, match=text):
        await process.ask(order())
    await process.close()


async def test_a_command_that_does_not_exist_is_unreachable() -> None:
    process = BacnetProcess(command=("/nonexistent/python",))
    with pytest.raises(Unreachable, match="cannot be started"):
        await process.ask(order())
    await process.close()


async def test_outcomes_find_who_asked_whatever_their_order() -> None:
    swap = (
        HELLO + "import re\n"
        "frames = []\n"
        "for _ in range(2):\n"
        "    n = int.from_bytes(i.read(4), 'big'); frames.append(i.read(n))\n"
        "for body in reversed(frames):\n"
        "    number = body[body.index(b'\\xa2id') + 3]\n"
        "    out = b'\\x82\\xa2id' + bytes([number]) + b'\\xa6values\\x91' + bytes([number])\n"
        "    o.write(struct.pack('>I', len(out)) + out)\n"
        "o.flush(); i.read()\n"
    )
    process = child(swap)
    first, second = await asyncio.gather(process.ask(order(2.0)), process.ask(order(2.0)))
    assert [first.values, second.values] == [(first.id,), (second.id,)]
    assert first.id != second.id
    await process.close()


@given(
    st.sampled_from(["", "unreachable", "timeout", "malformed", "auth", "busy", "unsupported", "too_long"])
)
def test_codes_of_the_child_are_typed_failures(code: str) -> None:
    found = failure_of(Outcome(id=1, code=code, text="why"), "ahu")
    assert isinstance(found, DeviceError)
    assert "ahu: why" in str(found)
    assert found.code == code or (code == "" and isinstance(found, MalformedReply))


def test_a_frame_is_its_length_and_its_body() -> None:
    for message in (
        order(),
        WriteOrder(id=2, host="h", port=1, target="t", value=None, priority=9, timeout_s=1),
    ):
        frame = framed(msgspec.msgpack.encode(message))
        assert int.from_bytes(frame[:LENGTH_BYTES], "big") == len(frame) - LENGTH_BYTES
        assert msgspec.msgpack.decode(frame[LENGTH_BYTES:], type=Order) == message


class _Scripted:
    """Stands for the process: answers as many objects at once as fit."""

    def __init__(self, fits: int) -> None:
        self.fits = fits
        self.sizes: list[int] = []
        self.users = 1

    async def ask(self, asked: Order) -> Outcome:
        assert isinstance(asked, ReadOrder)
        self.sizes.append(len(asked.asked))
        if len(asked.asked) > self.fits:
            return Outcome(id=1, code=TooLong.code, text="abort")
        return Outcome(id=1, values=tuple(float(target.partition(",")[2]) for target, _ in asked.asked))

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("fits", [1, 3, 20])
async def test_what_is_too_long_is_halved_and_the_size_that_fits_is_kept(fits: int) -> None:
    link, scripted = ProcessBacnet("h", 1, max_objects=16), _Scripted(fits)
    link._held = scripted  # type: ignore[assignment]  # a stand-in with the same face
    asked = [(f"analog-input,{n}", "present-value") for n in range(20)]
    assert await link.read(asked, timeout_s=1) == {key: float(n) for n, key in enumerate(asked)}
    scripted.sizes.clear()
    await link.read(asked, timeout_s=1)
    assert max(scripted.sizes) <= max(fits, 1)


async def test_one_property_that_is_too_long_is_the_devices_last_word() -> None:
    link, scripted = ProcessBacnet("h", 1, max_objects=4), _Scripted(0)
    link._held = scripted  # type: ignore[assignment]  # a stand-in with the same face
    with pytest.raises(TooLong):
        await link.read(ASKED, timeout_s=1)


async def test_an_answer_of_another_length_is_malformed() -> None:
    link = ProcessBacnet("h", 1, max_objects=4)

    class Short(_Scripted):
        async def ask(self, asked: Order) -> Outcome:
            return Outcome(id=1, values=(1.0,))

    link._held = Short(9)  # type: ignore[assignment]  # a stand-in with the same face
    with pytest.raises(MalformedReply):
        await link.read(ASKED, timeout_s=1)


async def test_the_last_handle_ends_the_child() -> None:
    ended: list[bool] = []

    class Watched(BacnetProcess):
        async def close(self) -> None:
            ended.append(True)

    bacnet_process._PROCESSES[asyncio.get_running_loop()] = Watched()
    links = [ProcessBacnet("h", port, max_objects=4) for port in (1, 2)]
    assert links[0]._process is links[1]._process
    await links[0].close()
    await links[0].close()
    assert ended == []
    await links[1].close()
    assert ended == [True]
