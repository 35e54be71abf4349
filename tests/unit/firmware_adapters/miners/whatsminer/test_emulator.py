"""The emulated machine prints what the recorded one printed, name by name, and keeps its own secrets."""

import msgspec
import pytest

from firmware_adapters.miners.whatsminer.emulator import WhatsminerEmulator
from firmware_adapters.miners.whatsminer.emulator_cipher import TOKEN_LIFE_S, Vault
from firmware_adapters.miners.whatsminer.emulator_traps import Traps
from firmware_adapters.transport.line_json import decode
from shared.clock import ManualClock
from support.miners import Machine
from support.recordings import recorded_line
from support.subjects.whatsminer import m50s

OTHER_VERSIONS = {
    "Target MHS",
    "MHS 5s",
    "Rejected",
    "Stale",
    "Hardware Errors",
    "Last Share Time",
    "temp0",
    "minersn",
}
"""What other versions print and the recorded one does not."""


def emulator(**traps: object) -> WhatsminerEmulator:
    made = WhatsminerEmulator(Machine(m50s()), clock=ManualClock())
    made.traps = Traps(**traps)  # type: ignore[arg-type] # its own fields
    return made


def asked(made: WhatsminerEmulator, command: str) -> dict[str, object]:
    return decode(made.answer(msgspec.json.encode({"command": command})))


@pytest.mark.parametrize(
    ("command", "list_name"),
    [
        ("summary", "SUMMARY"),
        ("devs", "DEVS"),
        ("pools", "POOLS"),
        ("status", None),
        ("get_psu", None),
        ("get_version", None),
        ("get_miner_info", None),
        ("get_error_code", None),
    ],
)
def test_every_page_has_the_recorded_shape(command: str, list_name: str | None) -> None:
    recorded = decode(recorded_line("whatsminer/v2").replies[command])
    printed = asked(emulator(), command)
    assert set(printed) == set(recorded)
    if list_name is None:
        mine, theirs = printed["Msg"], recorded["Msg"]
    else:
        mine, theirs = printed[list_name][0], recorded[list_name][0]  # type: ignore[index] # lists by now
    assert isinstance(mine, dict)
    assert isinstance(theirs, dict)
    assert set(mine) <= set(theirs) | OTHER_VERSIONS
    for name in set(mine) & set(theirs):
        numbers = isinstance(mine[name], int | float) and isinstance(theirs[name], int | float)
        assert numbers or type(mine[name]) is type(theirs[name]), name


def test_what_is_no_request_and_what_is_no_command() -> None:
    made = emulator()
    for raw in (b"", b"[]", b"\xff", b'{"command":"summary"'):
        assert decode(made.answer(raw))["Code"] == 23
    assert asked(made, "hello")["Code"] == 14
    assert asked(made, "power_off")["Code"] == 45, "a write that is not encrypted"
    assert made.machine.view().state.draws_power


def test_both_names_of_the_command_are_taken() -> None:
    made = emulator()
    assert decode(made.answer(b'{"cmd":"get_version"}')) == asked(made, "get_version")


def test_a_limit_that_cannot_be_is_refused() -> None:
    made = emulator()
    for watts in ("0", "-5", "x", "100000"):
        assert not made.adjust_power_limit(made.machine.view(), {"power_limit": watts})
    assert made.machine.view().power_limit_w is None


def test_tokens_die_of_age_and_are_each_another() -> None:
    clock = ManualClock()
    vault = Vault("p", clock)
    first, second = vault.hand_out(), vault.hand_out()
    assert first is not None
    assert second is not None
    assert first["newsalt"] != second["newsalt"]
    signs = [token.sign for token in vault.tokens]
    assert all(vault.knows(sign) for sign in signs)
    assert not vault.knows("another")
    clock.advance(TOKEN_LIFE_S + 1)
    assert not any(vault.knows(sign) for sign in signs)


def test_a_new_password_voids_what_was_signed_with_the_old_one() -> None:
    vault = Vault("p", ManualClock())
    vault.hand_out()
    (token,) = vault.tokens
    vault.change("q")
    assert not vault.knows(token.sign)


@pytest.mark.parametrize("data", [None, "", "!!", "AAAA", 5])
def test_what_the_key_does_not_open_is_none(data: object) -> None:
    assert Vault("p", ManualClock()).open(data) is None
