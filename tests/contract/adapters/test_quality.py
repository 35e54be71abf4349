"""Each adapter's `quality.toml`: every rule is done with a test that exists, or says why not."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "firmware_adapters").glob("**/quality.toml"))
MUST = {"declared-is-implemented", "failures-are-typed", "unknown-stays-unknown", "writes-never-return-truth"}


def rules(file: Path) -> dict[str, dict[str, Any]]:
    return tomllib.loads(file.read_text(encoding="utf-8"))


def test_there_is_something_to_check() -> None:
    assert ROOT / "firmware_adapters/miners/vnish/quality.toml" in FILES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_what_is_done_names_a_test_that_exists(file: Path) -> None:
    for name, rule in rules(file).items():
        if rule["status"] != "done":
            continue
        path, _, test = rule["test"].partition("::")
        source = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"^(async )?def {re.escape(test)}\(", source, re.MULTILINE), f"{file}: {name}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_what_is_not_done_says_why(file: Path) -> None:
    for name, rule in rules(file).items():
        assert rule["status"] in ("done", "exempt", "todo"), name
        assert set(rule) == {"status", "test" if rule["status"] == "done" else "reason"}, name
        assert len(rule.get("reason", "long enough a reason")) >= 20, name


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_the_rules_that_keep_a_site_safe_are_never_exempt(file: Path) -> None:
    found = rules(file)
    for name in MUST:
        assert found[name]["status"] == "done", name
