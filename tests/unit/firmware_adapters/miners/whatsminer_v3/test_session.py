"""Signed commands of API v3: what is signed, by which clock, and what each refusal means."""

import base64
import hashlib

import msgspec
import pytest

from firmware_adapters.capabilities import Credential
from firmware_adapters.miners.whatsminer_v3.emulator import WhatsminerV3Emulator
from firmware_adapters.miners.whatsminer_v3.emulator_traps import Traps
from firmware_adapters.miners.whatsminer_v3.session import Session
from firmware_adapters.miners.whatsminer_v3.token import token
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
        self.emulator = WhatsminerV3Emulator(self.machine, clock=self.clock, password=PASSWORD)
        self.emulator.traps = Traps(**traps)  # type: ignore[arg-type] # its own fields
        self.socket = MemorySocket(self.emulator)
        credential = None if secret is None else Credential(user=None, secret=secret)
        self.session = Session(self.socket, credential, self.clock)


def session(said: bytes, *, salt: bytes | None = b'{"code":0,"when":1,"msg":{"salt":"s"}}') -> Session:
    """A session to something that always says `said`, once it told its salt."""

    async def answer(request: bytes) -> bytes:
        return salt if salt is not None and b"get.device.info" in request else said

    return Session(MemoryRaw(answer), Credential(user=None, secret=PASSWORD), ManualClock())


def test_the_token_is_the_head_of_a_hash_over_command_password_salt_and_time() -> None:
    # By hand: printf %s 'set.miner.servicesuperBQ5hoXV91700000000' | openssl dgst -sha256 -binary | base64
    assert token("set.miner.service", "super", "BQ5hoXV9", 1_700_000_000) == "n5JRDCDx"
    digest = hashlib.sha256(b"cpst7").digest()
    assert token("c", "p", "st", 7) == base64.b64encode(digest)[:8].decode()


async def test_a_write_asks_the_salt_and_is_signed_without_the_password() -> None:
    scene = Scene()
    sent: list[bytes] = []

    async def answer(request: bytes) -> bytes:
        sent.append(request)
        return scene.emulator.answer(request)

    await Session(MemoryRaw(answer), Credential(user=None, secret=PASSWORD), scene.clock).write(
        "set.miner.service", "stop"
    )
    assert scene.machine.commands == ["stop"]
    asked, told = (msgspec.json.decode(raw) for raw in sent)
    assert asked == {"cmd": "get.device.info", "param": "salt"}
    assert set(told) == {"cmd", "ts", "token", "account", "param"}
    assert told["account"] == "super"
    assert PASSWORD.encode() not in b"".join(sent)


async def test_a_clock_that_is_wrong_on_the_machine_is_the_one_that_counts() -> None:
    scene = Scene(clock_ahead_s=-90_000.0)
    await scene.session.write("set.miner.service", "stop")
    assert scene.machine.commands == ["stop"]


async def test_without_its_time_ours_is_taken() -> None:
    scene = Scene()

    async def answer(request: bytes) -> bytes:
        said = msgspec.json.decode(scene.emulator.answer(request))
        return msgspec.json.encode({name: value for name, value in said.items() if name != "when"})

    await Session(MemoryRaw(answer), Credential(user=None, secret=PASSWORD), scene.clock).write(
        "set.miner.service", "stop"
    )
    assert scene.machine.commands == ["stop"]


async def test_a_salt_that_comes_only_with_all_the_rest_is_found() -> None:
    scene = Scene()
    asked: list[object] = []

    async def answer(request: bytes) -> bytes:
        told = msgspec.json.decode(request)
        asked.append(told.get("param"))
        if told.get("param") == "salt":
            return b'{"code":-1,"msg":"fail"}'
        return scene.emulator.answer(request)

    await Session(MemoryRaw(answer), Credential(user=None, secret=PASSWORD), scene.clock).write(
        "set.miner.service", "stop"
    )
    assert asked == ["salt", None, "stop"]
    assert scene.machine.commands == ["stop"]


async def test_a_wrong_password_is_soon_tried_once_a_day_only() -> None:
    scene = Scene(secret="wrong")
    for number, wait_s in enumerate((60.0, 600.0, 86_400.0, 86_400.0), 1):
        for passed_s in (0.0, 0.0, wait_s - 1.0):
            scene.clock.advance(passed_s)
            with pytest.raises(AuthFailed) as caught:
                await scene.session.write("set.miner.service", "stop")
            assert caught.value.retry_after_s == pytest.approx(wait_s - passed_s)
        assert scene.socket.asked == ["get.device.info salt", "set.miner.service stop"] * number
        scene.clock.advance(1.0)
    assert scene.machine.commands == []


async def test_a_password_that_is_taken_forgets_the_refusals() -> None:
    scene = Scene()
    waits = []
    for password in ("another", "another", PASSWORD, "another"):
        scene.emulator.password = password
        scene.clock.advance(3600.0)
        try:
            await scene.session.write("set.miner.service", "stop")
        except AuthFailed as refusal:
            waits.append(refusal.retry_after_s)
    assert waits == [60.0, 600.0, 60.0]
    assert scene.machine.commands == ["stop"]


async def test_without_a_credential_nothing_is_asked() -> None:
    scene = Scene(secret=None)
    with pytest.raises(AuthFailed):
        await scene.session.write("set.miner.service", "stop")
    assert scene.socket.asked == []


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        (b'{"code":-1,"msg":"fail"}', Busy),
        (b'{"code":-2,"msg":"invalid command"}', Unsupported),
        (b'{"code":7,"msg":"unknown cmd"}', Unsupported),
        (b'{"code":-3,"msg":"invalid json"}', MalformedReply),
        (b'{"code":-4,"msg":""}', AuthFailed),
        (b'{"code":9,"msg":"Permission denied"}', AuthFailed),
        (b'{"code":9,"msg":"token error"}', AuthFailed),
        (b'{"code":9,"msg":{"a":1}}', Busy),
        (b'{"msg":"ok"}', MalformedReply),
        (b"[1]", MalformedReply),
        (b"\xff", MalformedReply),
        (b"", Unreachable),
    ],
)
async def test_each_refusal_is_typed(said: bytes, meaning: type[DeviceError]) -> None:
    with pytest.raises(meaning) as caught:
        await session(said).write("set.miner.service", "stop")
    assert PASSWORD not in str(caught.value)


async def test_no_salt_is_malformed() -> None:
    with pytest.raises(MalformedReply, match="salt"):
        await session(b'{"code":0,"msg":{}}', salt=None).write("set.miner.service", "stop")
