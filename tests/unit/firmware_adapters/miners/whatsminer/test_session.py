"""Tokens and refusals of API v2: one token for all, once more with a new one, and what each code means."""

import asyncio

import msgspec
import pytest

from firmware_adapters.capabilities import Credential
from firmware_adapters.miners.whatsminer.emulator import WhatsminerEmulator
from firmware_adapters.miners.whatsminer.emulator_cipher import Vault
from firmware_adapters.miners.whatsminer.emulator_traps import Traps
from firmware_adapters.miners.whatsminer.session import TOKEN_LIFE_S, Session
from firmware_adapters.transport.raw import MemoryRaw
from shared.clock import ManualClock
from shared.errors import AuthFailed, Busy, DeviceError, MalformedReply, Unreachable, Unsupported
from support.line_memory import MemorySocket
from support.miners import Machine
from support.subjects.whatsminer import m50s

PASSWORD = "long enough 1"


class Scene:
    """A machine, its emulator and a session to it."""

    def __init__(self, secret: str | None = PASSWORD, **traps: object) -> None:
        self.clock = ManualClock()
        self.machine = Machine(m50s())
        self.emulator = WhatsminerEmulator(self.machine, clock=self.clock, password=PASSWORD)
        self.emulator.traps = Traps(**traps)  # type: ignore[arg-type] # its own fields
        self.socket = MemorySocket(self.emulator)
        credential = None if secret is None else Credential(user=None, secret=secret)
        self.session = Session(self.socket, credential, self.clock)

    @property
    def tokens(self) -> int:
        return self.socket.asked.count("get_token")


async def test_a_write_takes_a_token_and_is_done() -> None:
    scene = Scene()
    await scene.session.write("power_off", respbefore="true")
    assert scene.machine.commands == ["stop"]
    assert scene.socket.asked == ["get_token", "power_off respbefore=true"]
    assert scene.session.accepted is True


async def test_what_travels_is_encrypted() -> None:
    scene = Scene()
    sent: list[bytes] = []

    async def answer(request: bytes) -> bytes:
        sent.append(request)
        return scene.emulator.answer(request)

    session = Session(MemoryRaw(answer), Credential(user=None, secret=PASSWORD), scene.clock)
    await session.write("power_off")
    assert scene.machine.commands == ["stop"]
    assert b"power_off" not in sent[1]
    assert msgspec.json.decode(sent[1])["enc"] == 1


async def test_many_writes_at_once_share_one_token() -> None:
    scene = Scene()
    await asyncio.gather(*(scene.session.write("set_led", param="auto") for _ in range(8)))
    assert scene.tokens == 1
    assert len(scene.emulator.vault.tokens) == 1


async def test_a_token_is_not_used_to_its_end() -> None:
    scene = Scene()
    await scene.session.write("set_led", param="auto")
    scene.clock.advance(TOKEN_LIFE_S - 1)
    await scene.session.write("set_led", param="auto")
    assert scene.tokens == 1
    scene.clock.advance(2)
    await scene.session.write("set_led", param="auto")
    assert scene.tokens == 2


async def test_a_token_that_the_machine_forgot_costs_one_more_try() -> None:
    scene = Scene()
    await scene.session.write("power_off")
    scene.emulator.vault.tokens = []  # it was restarted
    await scene.session.write("power_on")
    assert scene.machine.commands == ["stop", "start"]
    assert scene.tokens == 2


async def test_tokens_that_are_good_for_one_command_each_are_enough() -> None:
    scene = Scene(tokens_die=True)
    for _ in range(3):
        await scene.session.write("set_led", param="auto")
    assert scene.tokens == 3


async def test_a_machine_that_accepts_no_token_is_not_asked_for_ever() -> None:
    scene = Scene()

    async def forgetful(request: bytes) -> bytes:
        if b"get_token" not in request:
            scene.emulator.vault.tokens = []
        return scene.emulator.answer(request)

    raw = MemoryRaw(forgetful)
    with pytest.raises(Busy):
        await Session(raw, Credential(user=None, secret=PASSWORD), scene.clock).write("power_off")
    assert raw.asked == ["get_token", "power_off"] * 2
    assert scene.machine.commands == []


async def test_no_token_left_is_busy_and_passes() -> None:
    scene = Scene(no_tokens=True)
    with pytest.raises(Busy, match="token"):
        await scene.session.write("power_off")
    scene.emulator.traps = Traps()
    await scene.session.write("power_off")
    assert scene.machine.commands == ["stop"]


async def test_the_machine_has_only_so_many_tokens() -> None:
    scene = Scene()
    for _ in range(32):
        assert scene.emulator.vault.hand_out() is not None
    with pytest.raises(Busy, match="over max connect"):
        await scene.session.write("power_off")
    scene.clock.advance(1801)
    await scene.session.write("power_off")


async def test_a_write_api_that_is_not_enabled_says_what_to_do() -> None:
    scene = Scene(writes_closed=True)
    with pytest.raises(AuthFailed, match="vendor's tool"):
        await scene.session.write("power_off")
    assert scene.machine.commands == []
    assert AuthFailed.permanent


async def test_a_wrong_password_is_told_and_soon_tried_once_a_day_only() -> None:
    scene = Scene(secret="wrong")
    for number, wait_s in enumerate((60.0, 600.0, 86_400.0, 86_400.0), 1):
        for passed_s in (0.0, 0.0, wait_s - 1.0):
            scene.clock.advance(passed_s)
            with pytest.raises(AuthFailed, match="cannot decrypt") as caught:
                await scene.session.write("power_off")
            assert caught.value.retry_after_s == pytest.approx(wait_s - passed_s)
        assert scene.socket.asked == ["get_token", "power_off"] * number, "nothing is sent meanwhile"
        scene.clock.advance(1.0)
    assert scene.session.accepted is False
    assert scene.machine.commands == []


async def test_a_password_that_is_taken_forgets_the_refusals() -> None:
    scene = Scene()
    waits = []
    for password in ("another", "another", PASSWORD, "another"):
        scene.emulator.vault = Vault(password, scene.clock)
        scene.clock.advance(TOKEN_LIFE_S)
        try:
            await scene.session.write("power_off")
        except AuthFailed as refusal:
            waits.append(refusal.retry_after_s)
    assert waits == [60.0, 600.0, 60.0]
    assert scene.machine.commands == ["stop"]


async def test_without_a_credential_nothing_is_asked() -> None:
    scene = Scene(secret=None)
    with pytest.raises(AuthFailed):
        await scene.session.write("power_off")
    assert scene.socket.asked == []


async def test_a_secret_never_shows_in_an_error() -> None:
    for traps in ({"writes_closed": True}, {"no_tokens": True}, {"garbage": True}):
        scene = Scene(secret="hunter2-hunter2", **traps)
        with pytest.raises(DeviceError) as caught:
            await scene.session.write("power_off")
        assert "hunter2" not in str(caught.value)


async def test_each_refusal_is_typed() -> None:
    scene = Scene()
    with pytest.raises(Unsupported):
        await scene.session.write("no_such_command")
    with pytest.raises(Busy):
        await scene.session.write("set_power_pct", percent="5")
    await scene.session.write("power_off")
    with pytest.raises(Busy):
        await scene.session.write("set_power_pct", percent="50")
    assert scene.machine.commands == ["stop"]


@pytest.mark.parametrize("after", ["get_token", "power_off"])
async def test_a_close_without_a_word_is_unreachable(after: str) -> None:
    scene = Scene()
    scene.socket.empty = {after}
    with pytest.raises(Unreachable):
        await scene.session.write("power_off")


@pytest.mark.parametrize(
    "told",
    [
        b'{"STATUS":"S","Code":134,"Msg":{"salt":"BQ5hoXV9","newsalt":"dr9b3MRu"}}',
        b'{"STATUS":"S","Code":134,"Msg":{"time":"9350","newsalt":"dr9b3MRu"}}',
        b'{"STATUS":"S","Code":134,"Msg":"hello"}',
        b'{"Msg":{"time":"9350","salt":"BQ5hoXV9","newsalt":"dr9b3MRu"}}',
        b"[]",
        b"\xff\xff",
    ],
)
async def test_half_a_token_is_malformed(told: bytes) -> None:
    async def answer(_: bytes) -> bytes:
        return told

    session = Session(MemoryRaw(answer), Credential(user=None, secret=PASSWORD), ManualClock())
    with pytest.raises(MalformedReply):
        await session.write("power_off")


async def test_the_time_may_be_a_number_and_the_status_a_list() -> None:
    scene = Scene()

    async def answer(request: bytes) -> bytes:
        said = scene.emulator.answer(request)
        if b"get_token" not in request:
            return said
        told = msgspec.json.decode(said)
        told["Msg"]["time"] = int(told["Msg"]["time"])
        # A time below 1000 is printed with its zeros, so only a number without them is the same word.
        return msgspec.json.encode(told) if told["Msg"]["time"] >= 1000 else said

    await Session(MemoryRaw(answer), Credential(user=None, secret=PASSWORD), scene.clock).write("power_off")
    assert scene.machine.commands == ["stop"]

    async def in_a_list(_: bytes) -> bytes:
        return b'{"STATUS":[{"STATUS":"E","Code":45,"Msg":"can\'t access write cmd"}],"id":1}'

    with pytest.raises(AuthFailed, match="vendor's tool"):
        await Session(MemoryRaw(in_a_list), Credential(user=None, secret="x"), scene.clock).write("power_off")


async def test_a_reply_that_says_neither_is_not_taken_for_a_yes() -> None:
    scene = Scene()

    async def answer(request: bytes) -> bytes:
        return scene.emulator.answer(request) if b"get_token" in request else b'{"hello":"world"}'

    with pytest.raises(MalformedReply):
        await Session(MemoryRaw(answer), Credential(user=None, secret=PASSWORD), scene.clock).write("reboot")


async def test_a_token_used_up_while_it_is_used_is_busy() -> None:
    scene = Scene()

    async def answer(request: bytes) -> bytes:
        if b"get_token" in request:
            return scene.emulator.answer(request)
        return b'{"STATUS":"E","Code":136,"Msg":"token over max times"}'

    session = Session(MemoryRaw(answer), Credential(user=None, secret=PASSWORD), scene.clock)
    with pytest.raises(Busy, match="token"):
        await session.write("power_off")
