"""docs/device-profiles.md names every profile, every key of a time-out and every fault that there is."""

import re
from pathlib import Path

import msgspec
import pytest

from firmware_adapters.simulator.distortion import SensorFault
from firmware_adapters.simulator.faults import SiteFault
from firmware_adapters.simulator.link_faults import LinkFault
from firmware_adapters.site.cli import protocol_of
from firmware_adapters.site.profile import Watchdog, load_profile, profile_names
from shared.plant import FaultName

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "device-profiles.md").read_text()


def section(title: str) -> str:
    """The text below a heading up to the next one."""
    return TEXT.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def cells(title: str) -> list[list[str]]:
    """The table rows of a section, without header."""
    rows = [line for line in section(title).splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_every_profile_has_its_row() -> None:
    rows = {row[0].strip("`"): row for row in cells("What ships")}
    assert set(rows) == set(profile_names())
    for name, row in rows.items():
        profile = load_profile(name)
        assert row[1] == profile.kind
        assert row[2] == protocol_of(profile)
        assert (row[4] == "nothing") == (not profile.writable)
        assert ("time-out of its own" in row[4]) == (profile.watchdog is not None)


@pytest.mark.parametrize("field", msgspec.structs.fields(Watchdog), ids=lambda field: field.name)
def test_every_key_of_a_time_out_says_whether_it_is_needed(field: msgspec.structs.FieldInfo) -> None:
    rows = {row[0].strip("`"): row[1] for row in cells("A time-out of the device itself")}
    assert set(rows) == set(Watchdog.__struct_fields__)
    assert ("required" in rows[field.name]) == field.required


def test_every_fault_is_listed_and_every_listed_one_exists() -> None:
    listed = {name for row in cells("Breaking things on purpose") for name in re.findall(r"`(\w+)`", row[0])}
    assert listed == {*SiteFault, *SensorFault, *LinkFault, *FaultName}
