"""docs/devices.md and the README's device rows say what the adapters' data files say."""

import re

import pytest

from firmware_adapters.identify import RECOGNISERS
from firmware_adapters.registry import ADAPTERS
from firmware_adapters.site.profile import profile_names
from support import device_matrix
from support.device_matrix import COMMAND, README, TITLES, in_readme, page, readme_rows


def test_the_page_is_what_the_data_files_make_of_it() -> None:
    assert device_matrix.PAGE.read_text("utf-8") == page(), f"stale: run {COMMAND}"


def test_the_readme_is_what_the_data_files_make_of_it() -> None:
    text = README.read_text("utf-8")
    assert text == in_readme(text), f"stale: run {COMMAND}"


def test_every_adapter_and_every_profile_has_its_row() -> None:
    text = page()
    for adapter in RECOGNISERS:
        assert f"| {TITLES[adapter]} | `{adapter}` |" in text
    assert set(TITLES) == set(RECOGNISERS) == set(ADAPTERS) - {"modbus", "modbus-rtu", "snmp", "bacnet"}
    for name in profile_names():
        assert f"| `{name}` |" in text


@pytest.mark.parametrize("adapter", RECOGNISERS)
def test_every_firmware_reads_and_says_how_far_it_is_tested(adapter: str) -> None:
    row = next(line for line in page().splitlines() if f"| `{adapter}` |" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[3].startswith("telemetry")
    assert cells[5] in ("recordings, emulator", "emulator only", "hardware")


def test_a_firmware_with_recordings_names_the_test_that_reads_them() -> None:
    for row in readme_rows():
        if "| tested |" in row:
            (path,) = re.findall(r"`(tests/[^`]+)`", row)
            assert (device_matrix.ROOT / path).is_file()


def test_a_readme_without_a_place_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"README\.md has no"):
        in_readme("# Minewarden\n")
