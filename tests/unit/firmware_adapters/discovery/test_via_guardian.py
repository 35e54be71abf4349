"""What a running guardian tells of a device, in the words of a probe."""

import msgspec
import pytest

from firmware_adapters.discovery.examine import entry_for
from firmware_adapters.discovery.report import missing, warnings
from firmware_adapters.discovery.via_guardian import as_probed
from shared.capabilities import DeviceFacts
from shared.details import Board
from shared.inventory import AcceptedFirmware, accepting
from shared.shown import DeviceShown

ENTRY = entry_for("vnish", "10.0.0.9", 80)


@pytest.mark.parametrize(
    ("firmware", "said"),
    [
        ("Vnish 1.3.4", []),
        ("", ["did not tell its firmware version: read-only until it does, every control is refused"]),
        (
            "Vnish 1.3.6",
            ["firmware version 'Vnish 1.3.6' has never been seen: read-only, every control is refused"],
        ),
    ],
)
def test_why_a_machine_is_read_only_is_said(firmware: str, said: list[str]) -> None:
    found = as_probed(DeviceShown(entry=ENTRY, facts=DeviceFacts(model="S21", firmware=firmware)))
    assert warnings(found) == said


def test_a_version_that_the_site_accepts_is_told_with_the_person_who_answers_for_it() -> None:
    entry = accepting(
        ENTRY, [AcceptedFirmware(adapter="vnish", firmware="Vnish 1.3.6", by="Ada", why="a week on m-1")]
    )
    shown = DeviceShown(entry=entry, facts=DeviceFacts(model="S21", firmware="Vnish 1.3.6"))
    over_the_socket = msgspec.msgpack.decode(msgspec.msgpack.encode(shown), type=DeviceShown)
    found = as_probed(over_the_socket)
    assert warnings(found) == [
        "firmware version 'Vnish 1.3.6' is not in our table: accepted by Ada: a week on m-1"
    ]
    assert found.identified[0].seen_before is False


def test_what_a_board_cannot_be_is_unknown_and_stands_behind_the_sample_that_is_missing() -> None:
    lying = Board(index=1, chip_temp_max_c=255.0, chip_temp_min_c=60.0)
    found = as_probed(DeviceShown(entry=ENTRY, failing="timeout", boards=(lying,)))
    assert found.examined is not None
    assert found.examined.boards == (Board(index=1, chip_temp_min_c=60.0),)
    assert [one.part for one in missing(found)] == ["sample", "board 1 chip_temp_max_c"]
