"""What stands in for a page of the facts that stays silent, and what does not."""

import msgspec
import pytest

from firmware_adapters.miners.vnish.parse import Identity
from firmware_adapters.miners.vnish.recall import BOOT_SLACK_S, Recall
from firmware_adapters.miners.vnish.versions import firmware
from shared.errors import DeviceTimeout
from shared.units import Algorithm

MACHINE = Identity(
    model="Antminer S21",
    firmware=firmware("Vnish", "1.3.4"),
    mac="aa:bb:cc:00:00:01",
    serial="SN1",
    algorithm=Algorithm.SHA256D,
    hash_unit="GH/s",
    uptime_s=3600.0,
)
SILENT = DeviceTimeout("silent")


def knows() -> Recall:
    recall = Recall()
    recall.look(MACHINE, 10_000.0)
    recall.told("/model", "told")
    return recall


def later(seconds: float, **changes: object) -> Identity:
    return msgspec.structs.replace(MACHINE, **{"uptime_s": 3600.0 + seconds, **changes})


@pytest.mark.parametrize("seconds", [600.0, 86_400.0])
def test_what_it_told_in_this_boot_stands_in(seconds: float) -> None:
    recall = knows()
    recall.look(later(seconds - BOOT_SLACK_S / 2), 10_000.0 + seconds)
    assert recall.instead("/model", SILENT) == "told"
    assert recall.instead("/model", SILENT) == "told", "for as long as it runs on"


@pytest.mark.parametrize(
    "changes",
    [
        {"uptime_s": 300.0},
        {"uptime_s": None},
        {"firmware": firmware("Vnish", "1.3.5")},
        {"mac": "aa:bb:cc:00:00:02"},
        {"model": "Antminer L9"},
    ],
)
def test_nothing_stands_in_where_it_may_have_changed(changes: dict[str, object]) -> None:
    recall = knows()
    recall.look(later(600.0, **changes), 10_600.0)
    with pytest.raises(DeviceTimeout):
        recall.instead("/model", SILENT)


def test_a_first_silence_is_handed_on_and_the_next_one_is_not_told() -> None:
    recall = Recall()
    recall.look(MACHINE, 0.0)
    with pytest.raises(DeviceTimeout):
        recall.instead("/model", SILENT)
    assert recall.instead("/model", SILENT) is None
    with pytest.raises(DeviceTimeout):
        recall.instead("the ladder", SILENT)


def test_an_answer_in_between_begins_anew() -> None:
    recall = Recall()
    recall.look(MACHINE, 0.0)
    with pytest.raises(DeviceTimeout):
        recall.instead("/model", SILENT)
    recall.told("/model", "told")
    recall.look(later(0.0, mac="another"), 0.0)
    with pytest.raises(DeviceTimeout):
        recall.instead("/model", SILENT)


def test_a_serial_number_that_shows_only_when_logged_in_is_no_other_machine() -> None:
    recall = knows()
    recall.look(later(600.0, serial=""), 10_600.0)
    assert recall.instead("/model", SILENT) == "told"
