"""Each firmware says of all that it changes whether it outlasts a reboot, or that no source tells."""

import tomllib
from typing import Any

import pytest

from firmware_adapters.capabilities import WRITES
from firmware_adapters.discovery.examine import declared
from firmware_adapters.identify import RECOGNISERS
from shared.capabilities import Ability, Capability
from support.device_matrix import ROOT, change_rows, folder_of, survives

FILES = {adapter: folder_of(adapter) / "profiles.toml" for adapter in RECOGNISERS} | {
    "blueprint": ROOT / "firmware_adapters" / "blueprint" / "profiles.toml"
}


def entries(adapter: str) -> tuple[list[dict[str, Any]], set[str]]:
    """The changes that a firmware's file declares, and those of which it says that nobody knows."""
    file = tomllib.loads(FILES[adapter].read_text("utf-8"))
    changes = [
        one
        for one in file["capability"]
        if Ability(one["ability"]) in WRITES - {Ability.REBOOT, Ability.RESTART}
    ]
    return changes, set(file.get("survives_reboot_unknown", ()))


def test_what_nobody_told_is_not_taken_for_something_that_survives() -> None:
    assert Capability(ability=Ability.PRESET).survives_reboot is None
    assert not Capability(ability=Ability.PRESET).survives_reboot


@pytest.mark.parametrize("adapter", FILES)
def test_every_change_is_stated_once_as_known_or_as_not_known(adapter: str) -> None:
    changes, unknown = entries(adapter)
    known = {one["ability"] for one in changes if "survives_reboot" in one}
    assert known.isdisjoint(unknown)
    assert known | unknown == {one["ability"] for one in changes}


@pytest.mark.parametrize("adapter", FILES)
def test_every_change_takes_time_to_show(adapter: str) -> None:
    changes, _ = entries(adapter)
    assert all(one["settle_s"] > 0 for one in changes)


def test_what_the_reference_tells_is_declared_and_nothing_more() -> None:
    told = {
        (adapter, one.ability.value): one.survives_reboot
        for adapter in RECOGNISERS
        for one in declared(adapter)
        if one.survives_reboot is not None
    }
    assert told == {
        ("luxos", "mining"): True,  # miners.md §2: curtail persists over reboot
        ("vnish", "preset"): True,  # §1.4: the stored configuration
        ("vnish", "power-limit"): True,
        ("vnish", "fan-mode"): True,
        ("vnish", "cooling-target"): True,
        ("vnish", "preset-switcher"): True,
        ("vnish", "pool-setting"): True,
        ("vnish", "mining"): False,  # §1.6: after a reboot it may mine again by itself
        ("vnish", "pause"): False,
    }


def test_a_reader_of_the_matrix_sees_range_time_restart_and_survival() -> None:
    rows = change_rows()
    assert "| `vnish` | preset | the machine's ladder | 240 s | yes | yes |" in rows
    assert "| `vnish` | throttle | 20–100 % | 120 s | no | not known |" in rows
    assert "| `luxos` | cooling target | 35–60 °C | 300 s | no | not known |" in rows
    assert "| `antminer` | locate |  | 5 s | no | not known |" in rows
    assert survives(Capability(ability=Ability.REBOOT)) == ""
