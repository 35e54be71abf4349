"""docs/security.md: every claim names a test that exists, every role of a key has its worst case."""

import re
from pathlib import Path

import pytest

from shared.artifacts.signing import Role

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "security.md").read_text()
CLAIMS = TEXT.split("## What is defended")[1].split("\n## ")[0]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in CLAIMS.splitlines()
    if line.startswith("| ") and not line.startswith("| claim")
]
NAMED = sorted(set(re.findall(r"`(tests/[^`]+)`", TEXT)))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_every_claim_says_how_and_names_a_test(row: list[str]) -> None:
    _, how, shown_by = row
    assert how
    assert re.search(r"`tests/[^`]+`", shown_by)


@pytest.mark.parametrize("test", NAMED)
def test_every_named_test_exists(test: str) -> None:
    path, _, function = test.partition("::")
    assert (ROOT / path).is_file()
    if function:
        assert re.search(rf"def {function}\(", (ROOT / path).read_text()), f"no {function} in {path}"


@pytest.mark.parametrize("role", Role)
def test_every_role_of_a_key_has_its_worst_case(role: Role) -> None:
    worst = TEXT.split("## What each key can do")[1].split("\n## ")[0]
    assert f"`{role}`" in worst


@pytest.mark.parametrize("part", ["## Who might", "## What each key can do"])
def test_every_worst_case_and_attacker_names_a_test_or_says_that_there_is_none(part: str) -> None:
    lines = TEXT.split(part)[1].split("\n## ")[0].splitlines()
    rows = [line for line in lines if line.startswith("| ") and "shown by" not in line]
    assert rows
    assert [row for row in rows if not re.search(r"`tests/[^`]+`|no test", row)] == []
