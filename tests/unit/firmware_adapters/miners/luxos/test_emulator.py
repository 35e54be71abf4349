"""The emulator shows what the recorded machine shows, and refuses what a machine refuses."""

import json

import pytest

from firmware_adapters.miners.luxos.emulator import LuxosEmulator
from firmware_adapters.transport.line_json import Body, decode
from support.luxos import emulator_of
from support.miners import Machine
from support.web_memory import recorded


def say(emulator: LuxosEmulator, command: str, parameter: str | None = None) -> Body:
    request = {"command": command} | ({} if parameter is None else {"parameter": parameter})
    return decode(emulator.answer(json.dumps(request).encode()))


def refusal(emulator: LuxosEmulator, command: str, parameter: str | None = None) -> str:
    status = say(emulator, command, parameter)["STATUS"]
    assert isinstance(status, list)
    assert status[0]["STATUS"] == "E"
    return str(status[0]["Msg"])


@pytest.mark.parametrize(
    ("command", "parameter", "recording"),
    [
        *((name, None, name) for name in ("version", "summary", "stats", "devs", "temps", "fans", "power")),
        *((name, None, name) for name in ("profiles", "config", "pools", "events")),
        ("healthchipget", "0", "healthchipget_0"),
        ("voltageget", "1", "voltageget_1"),
    ],
)
def test_every_reply_has_the_recorded_shape(command: str, parameter: str | None, recording: str) -> None:
    real, ours = recorded("luxos/v1")[recording], say(emulator_of(Machine()), command, parameter)
    assert set(ours) <= set(real)
    for section, listed in ours.items():
        if not isinstance(listed, list):
            continue
        for mine, theirs in zip(listed, real[section], strict=False):
            assert set(mine) <= set(theirs) | {"rate_unit"}, f"{command} shows what no machine does"
            for key, value in mine.items():
                if not isinstance(value, int | float):
                    assert isinstance(value, type(theirs[key])), f"{command} {key}"


def test_what_needs_a_session_is_refused_without_one() -> None:
    emulator = emulator_of(Machine())
    for command in ("curtail", "profileset", "atmset", "tempctrlset", "switchpool", "rebootdevice", "logoff"):
        assert refusal(emulator, command, "nobody,x") == "Invalid session id"
    assert emulator.machine.commands == []  # type: ignore[attr-defined] # a test's machine


def test_nonsense_is_refused() -> None:
    emulator = emulator_of(Machine())
    session = "s0000001"
    say(emulator, "logon")
    for command, words in (
        ("curtail", "nap"),
        ("profileset", "2550"),
        ("atmset", "enabled=maybe"),
        ("tempctrlset", "50,60"),
        ("tempctrlset", "70,60,65"),
        ("switchpool", "9"),
    ):
        assert refusal(emulator, command, f"{session},{words}")
    assert refusal(emulator, "healthchipget", "9") == "Invalid board id"
    assert refusal(emulator, "logon") == "Another session is active"
    assert refusal(emulator, "noone") == "Invalid command"
    broken = decode(emulator.answer(b"\xff"))
    assert broken["STATUS"][0]["Code"] == 23  # type: ignore[index] # a list, as every reply has
    assert emulator.machine.commands == []  # type: ignore[attr-defined] # a test's machine


def test_the_session_is_told_while_it_lives() -> None:
    emulator = emulator_of(Machine())
    assert say(emulator, "session")["SESSION"] == [{"SessionID": ""}]
    say(emulator, "logon")
    assert say(emulator, "session")["SESSION"] == [{"SessionID": "s0000001"}]
