"""The emulated machine prints what the recorded one printed, name by name."""

import msgspec
import pytest

from firmware_adapters.miners.avalon.brackets import sections
from firmware_adapters.miners.avalon.emulator import AvalonEmulator
from firmware_adapters.miners.avalon.emulator_traps import Traps
from firmware_adapters.transport.line_json import decode
from shared.clock import ManualClock
from support.miners import Machine
from support.recordings import recorded_line
from support.subjects.avalon import avalon_q

FOLDER = "avalon/v1"


def emulator(**traps: object) -> AvalonEmulator:
    made = AvalonEmulator(Machine(avalon_q()), clock=ManualClock())
    made.traps = Traps(**traps)  # type: ignore[arg-type] # its own fields
    return made


def asked(made: AvalonEmulator, command: str, parameter: str = "") -> dict[str, object]:
    return decode(made.answer(msgspec.json.encode({"command": command, "parameter": parameter})))


@pytest.mark.parametrize(
    ("command", "name"),
    [("summary", "SUMMARY"), ("pools", "POOLS"), ("version", "VERSION"), ("stats", "STATS")],
)
def test_every_page_has_the_recorded_shape(command: str, name: str) -> None:
    recorded = decode(recorded_line(FOLDER).replies[command])
    printed = asked(emulator(), command)
    assert set(printed) == set(recorded)
    mine, theirs = printed[name][0], recorded[name][0]  # type: ignore[index] # lists by now
    assert set(mine) <= set(theirs)
    for key in mine:
        numbers = isinstance(mine[key], int | float) and isinstance(theirs[key], int | float)
        assert numbers or type(mine[key]) is type(theirs[key]), key


def test_the_brackets_have_the_recorded_names_and_numbers_of_words() -> None:
    recorded = decode(recorded_line(FOLDER).replies["stats"])["STATS"][0]  # type: ignore[index] # its known shape
    printed = asked(emulator(), "estats")["STATS"][0]  # type: ignore[index] # the same
    for key, parts in (("MM ID0:Summary", {"STATS"}), ("HBinfo", {"HB0"})):
        theirs, mine = sections(recorded[key]), sections(printed[key])
        assert set(mine) == set(theirs) == parts
        for part in parts:
            assert set(mine[part]) <= set(theirs[part])
            for name in ("PS", "PVT_T0", "PVT_V0", "TMax", "Fan1"):
                if name in mine[part]:
                    assert len(mine[part][name].split()) == len(theirs[part][name].split()), name


def test_a_board_prints_its_average_as_the_recorded_one_does() -> None:
    recorded = decode(recorded_line(FOLDER).replies["stats"])["STATS"][0]  # type: ignore[index] # its known shape
    theirs = sections(recorded["MM ID0:Summary"])["STATS"]
    assert (theirs["MGHS"], theirs["GHSspd"]) == (theirs["GHSavg"], "0.00")
    made = emulator()
    made.machine.set(hashrate_ths=0.0)  # type: ignore[attr-defined] # a test's machine
    printed = asked(made, "estats")["STATS"][0]  # type: ignore[index] # the same
    mine = sections(printed["MM ID0:Summary"])["STATS"]
    assert (mine["MGHS"], mine["GHSspd"]) == (mine["GHSavg"], "0.00")


def test_what_is_no_request_and_what_is_no_command() -> None:
    made = emulator()
    for raw in (b"", b"[]", b"\xff", b'{"command":"summary"'):
        assert b'"STATUS":"E"' in made.answer(raw)
    assert b"Invalid command" in made.answer(b'{"command":"hello"}')


@pytest.mark.parametrize(
    "words",
    [
        "0,softoff,1:1",
        "0,softoff,2:9999999999",
        "0,softoff",
        "0,softoff,1:soon",
        "0,workmode,set,9",
        "0,workmode,set,x",
        "0,workmode,1",
        "0,hello,1",
        "",
    ],
)
def test_what_it_does_not_take_is_refused_and_not_done(words: str) -> None:
    made = emulator()
    before = made.machine.view()
    assert asked(made, "ascset", words)["STATUS"][0]["STATUS"] == "E"  # type: ignore[index] # its known shape
    assert made.machine.view() == before
