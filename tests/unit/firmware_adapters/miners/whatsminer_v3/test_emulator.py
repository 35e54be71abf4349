"""The emulated machine: whom it believes, what it refuses, and its frames on a real socket."""

import asyncio
import base64
import hashlib

import msgspec
import pytest

from firmware_adapters.miners.whatsminer_v3.emulator import WhatsminerV3Emulator
from firmware_adapters.miners.whatsminer_v3.emulator_traps import Traps
from shared.clock import ManualClock
from support.miners import Machine, on_loopback
from support.subjects.whatsminer import m50s

SALT = "BQ5hoXV9"


class Scene:
    """A machine and its emulator."""

    def __init__(self, **traps: object) -> None:
        self.clock = ManualClock()
        self.machine = Machine(m50s())
        self.emulator = WhatsminerV3Emulator(self.machine, clock=self.clock, password="p", salt=SALT)
        self.emulator.traps = Traps(**traps)  # type: ignore[arg-type] # its own fields

    def ask(self, **request: object) -> dict[str, object]:
        return msgspec.json.decode(self.emulator.answer(msgspec.json.encode(request)), type=dict[str, object])

    def write(self, command: str, parameter: object = None, **instead: object) -> object:
        at_s = int(self.clock.utc_ms() / 1000)
        hashed = hashlib.sha256(f"{command}p{SALT}{at_s}".encode()).digest()
        signed = {
            "cmd": command,
            "ts": at_s,
            "token": base64.b64encode(hashed)[:8].decode(),
            "account": "super",
        }
        return self.ask(**{**signed, "param": parameter, **instead})["code"]


def test_a_right_signature_is_believed() -> None:
    scene = Scene()
    assert scene.write("set.miner.service", "stop") == 0
    assert scene.write("set.miner.service", "stop") == 0
    assert scene.write("set.miner.service", "start") == 0
    assert scene.write("set.miner.service", "restart") == 0
    assert scene.machine.commands == ["stop", "start", "restart"]


@pytest.mark.parametrize(
    "instead",
    [{"token": "AAAAAAAA"}, {"account": "admin"}, {"ts": 1}, {"ts": None}, {"ts": "now"}, {"token": None}],
)
def test_a_wrong_one_is_not(instead: dict[str, object]) -> None:
    scene = Scene()
    assert scene.write("set.miner.service", "stop", **instead) == -4
    assert scene.machine.commands == []


@pytest.mark.parametrize(
    ("command", "parameter"),
    [
        ("set.miner.service", "explode"),
        ("set.miner.power_limit", "x"),
        ("set.miner.power_limit", 0),
        ("set.miner.power_percent", 50),
        ("set.miner.power_percent", {"percent": "5"}),
    ],
)
def test_a_parameter_that_cannot_be_is_refused(command: str, parameter: object) -> None:
    scene = Scene()
    assert scene.write(command, parameter) == -1
    assert scene.machine.commands == []


def test_a_limit_for_one_that_rests_does_not_start_it() -> None:
    scene = Scene()
    scene.write("set.miner.service", "stop")
    assert scene.write("set.miner.power_limit", 3000) == 0
    assert scene.machine.commands == ["stop", "power limit 3000"]


def test_what_is_no_request_and_what_is_no_command() -> None:
    scene = Scene(silent_when_off=True)
    assert msgspec.json.decode(scene.emulator.answer(b"\xff"))["code"] == -3
    assert scene.ask(cmd="hello")["code"] == -2
    assert scene.ask(cmd="get.miner.status", param="everything")["code"] == -1
    assert scene.ask(cmd="get.device.info", param="salt")["msg"] == {"salt": SALT}
    scene.write("set.miner.service", "stop")
    assert scene.ask(cmd="get.miner.status", param="summary")["code"] == -1
    assert scene.ask(cmd="get.miner.status", param="pools")["code"] == 0


async def test_frames_may_come_in_pieces_and_a_caller_may_hang_up() -> None:
    scene = Scene()
    request = msgspec.json.encode({"cmd": "get.miner.status", "param": "pools"})
    framed = len(request).to_bytes(4, "little") + request
    async with on_loopback({"127.7.4.9": scene.emulator}) as (_, port):
        for cut in (0, 2, 10):
            _, writer = await asyncio.open_connection("127.7.4.9", port)
            writer.write(framed[:cut])
            writer.close()
            await writer.wait_closed()
        reader, writer = await asyncio.open_connection("127.7.4.9", port)
        for byte in framed:
            writer.write(bytes([byte]))
            await writer.drain()
        length = int.from_bytes(await reader.readexactly(4), "little")
        assert msgspec.json.decode(await reader.readexactly(length))["code"] == 0
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
    assert scene.emulator.asked == ["get.miner.status"]
