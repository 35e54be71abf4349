"""docs/field-faults.md: every complaint of the list has a row, and every test that it names is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "field-faults.md").read_text()
ROWS = {
    cells[0]: cells[1:]
    for line in TEXT.splitlines()
    if (cells := [cell.strip() for cell in line.strip("|").split("|")]) and re.fullmatch(r"F\d\d", cells[0])
}
NAMED = sorted(set(re.findall(r"`(tests/[^`]+)`", TEXT)))


@pytest.mark.parametrize("number", [f"F{number:02d}" for number in range(1, 29)])
def test_every_complaint_has_an_answer_and_a_test(number: str) -> None:
    complaint, answer, shown_by = ROWS[number]
    assert complaint
    assert answer
    assert f"_{number.lower()}_" in shown_by


@pytest.mark.parametrize("test", NAMED)
def test_every_named_test_exists(test: str) -> None:
    path, _, function = test.partition("::")
    assert re.search(rf"def {function}\(", (ROOT / path).read_text()), f"no {function} in {path}"
