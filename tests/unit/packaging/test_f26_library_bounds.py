"""A protocol library that renames its functions broke dozens of integrations (edge.md §3.1, F26).

What speaks to devices, to the broker or runs models is pinned below its next breaking release, and contract
suites run against what is installed.
"""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
SPEAKERS = ("pymodbus", "gufo-snmp", "pysnmp", "bacpypes3", "aiomqtt", "paho-mqtt", "onnxruntime")


def requirements(name: str) -> set[str]:
    """Every version range that an extra asks of a distribution."""
    wanted = re.compile(rf"{re.escape(name)}(?:\[[\w,]+\])?([<>=!~].*)")
    return {found[1] for extra in EXTRAS.values() for one in extra if (found := wanted.fullmatch(one))}


@pytest.mark.parametrize("name", SPEAKERS)
def test_f26_a_library_that_speaks_for_us_has_an_upper_bound_and_one_range(name: str) -> None:
    ranges = requirements(name)
    assert len(ranges) == 1, f"{name}: {sorted(ranges)}"
    assert re.search(r"<\d|==\d", next(iter(ranges)))


@pytest.mark.parametrize("name", SPEAKERS)
def test_f26_what_the_suites_run_against_is_inside_the_range(name: str) -> None:
    try:
        installed = tuple(int(part) for part in re.findall(r"\d+", metadata.version(name))[:3])
    except metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed")
    (wanted,) = requirements(name)
    for sign, text in re.findall(r"(>=|<|==)([\d.]+)", wanted):
        bound = tuple(int(part) for part in text.strip(".").split("."))
        if sign == ">=":
            assert installed >= bound
        elif sign == "<":
            assert installed < bound
