"""docs/safety.md leaves no behaviour out, and each one that it calls tested names a test that exists."""

import re
from pathlib import Path

import pytest

from edge_agent.config import lines
from edge_agent.guardian.interlocks import bypass

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "safety.md").read_text()
ROWS = {
    cells[0]: cells[1:]
    for line in TEXT.splitlines()
    if (cells := [cell.strip() for cell in line.strip("|").split("|")]) and re.fullmatch(r"S\d\d", cells[0])
}
STATUSES = {"tested", "partly", "planned"}
NUMBERS = [f"S{number:02d}" for number in range(1, 25)]


def named(cell: str) -> list[str]:
    return re.findall(r"`(tests/[^`]+)`", cell)


@pytest.mark.parametrize("number", NUMBERS)
def test_every_behaviour_has_a_row_with_a_status(number: str) -> None:
    assert ROWS[number][1] in STATUSES


@pytest.mark.parametrize("number", NUMBERS)
def test_what_is_called_tested_names_a_test(number: str) -> None:
    _, status, today, shown_by = ROWS[number]
    if status == "planned":
        assert not named(shown_by), "a planned behaviour cannot have a test"
    else:
        assert named(shown_by)
    if status == "partly":
        assert today, "say what is missing"


@pytest.mark.parametrize("test", sorted(set(named(TEXT))))
def test_every_named_test_exists(test: str) -> None:
    path, _, function = test.partition("::")
    assert (ROOT / path).is_file()
    if function:
        assert re.search(rf"def {function}\(", (ROOT / path).read_text()), f"no {function} in {path}"


def test_a_behaviour_with_a_safety_test_of_its_number_is_not_called_planned() -> None:
    source = (ROOT / "tests" / "safety" / "test_behaviours.py").read_text()
    shown = {
        f"S{number}"
        for name in re.findall(r"def (test_\w+)", source)
        for number in re.findall(r"_s(\d\d)", name)
    }
    assert shown
    assert not [number for number in shown if ROWS[number][1] == "planned"]


def test_every_behaviour_in_the_hazard_list_has_a_row() -> None:
    assert set(re.findall(r"\bS\d\d\b", TEXT)) == set(NUMBERS)


def test_no_integrity_level_is_claimed() -> None:
    assert "claims no safety integrity level" in TEXT
    assert not re.search(r"\bSIL ?[1-4]\b", TEXT)


@pytest.mark.parametrize("point", ["estop_pressed", "smoke"])
def test_what_can_never_be_bypassed_is_said(point: str) -> None:
    assert point in bypass.NEVER_POINTS
    assert "emergency stop" in ROWS["S16"][2]
    assert "smoke" in ROWS["S16"][2]


def test_keys_of_the_site_file_are_spelled_as_they_are() -> None:
    keys = {field for struct in lines.all_structs() for field in struct.__struct_fields__}
    part = TEXT.partition("## Choosing limits")[2].partition("## Before")[0]
    words = {word.rpartition(".")[2] for word in re.findall(r"`([a-z_.]+_[a-z_]+)`", part)}
    assert len(words) >= 8
    assert words <= keys
