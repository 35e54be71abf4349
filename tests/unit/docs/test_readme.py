"""The README's claims: both commands on its first screen, a matrix whose rows name tests, links that work."""

import re
from pathlib import Path

import pytest

from firmware_adapters.registry import ADAPTERS

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "README.md").read_text()
ROW = re.compile(r"^\| (?P<feature>[^|]+) \| (?P<state>[^|]+) \| (?P<proof>[^|]*)\|$", re.MULTILINE)
ROWS = [match for match in ROW.finditer(TEXT) if match["state"] in ("tested", "emulated", "planned")]


def test_both_commands_are_on_the_first_screen() -> None:
    first = "\n".join(TEXT.splitlines()[:24])
    assert "make demo" in first
    assert "make test" in first


def test_the_matrix_has_all_three_states() -> None:
    assert {row["state"] for row in ROWS} == {"tested", "emulated", "planned"}
    assert len(ROWS) > 20


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["feature"][:40])
def test_what_is_not_planned_names_a_test_file_with_tests(row: re.Match[str]) -> None:
    proof = row["proof"].strip().strip("`")
    if row["state"] == "planned":
        assert not proof, "a planned feature has nothing to show yet"
        return
    path = ROOT / proof
    assert path.is_file(), f"{proof} does not exist"
    assert re.search(r"^(\s*(async )?def test_|Test\w+ = )", path.read_text(), re.MULTILINE), (
        f"{proof} has no tests"
    )


def test_every_adapter_and_profile_stands_in_the_matrix() -> None:
    """The rows of devices are generated; `test_devices.py` says from what, here is that none is missing."""
    shown = " ".join(row["feature"].lower() for row in ROWS if row["state"] != "planned")
    assert "serial lines" in shown, "modbus-rtu is Modbus on another wire"
    assert all(name in shown for name in set(ADAPTERS) - {"modbus-rtu"})
    for profile in (ROOT / "firmware_adapters" / "site" / "profiles").glob("*.toml"):
        assert f"`{profile.stem}`" in shown, f"{profile.name} is not in the README's matrix"


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)\)", TEXT))))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


def test_the_renamed_client_is_explained() -> None:
    assert "asyncio-mqtt" in TEXT
    assert "aiomqtt>=2.5.1,<3" in TEXT


def test_targets_named_in_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make (\w+)", TEXT)) - {"it", "pip"}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
