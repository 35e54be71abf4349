"""What pip would install, and who owns our import names."""

import json
import os
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from shared.cli import DISTRIBUTION, PACKAGES, foreign_owners

ROOT = Path(__file__).resolve().parents[3]

HEAVY = {"torch", "fastapi", "sqlalchemy", "scikit-learn", "skl2onnx", "onnx", "pandas"}


def _resolved(extra: str) -> set[str]:
    """Names that pip would install for `minewarden[extra]`, from its own dry-run report."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    command += ["--disable-pip-version-check", "--report", "-", "-c", "constraints.txt", f".[{extra}]"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PIP_NO_INPUT": "1"},
    )
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip(f"no package index reachable: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    return {item["metadata"]["name"].lower().replace("_", "-") for item in report["install"]}


@pytest.mark.slow
def test_edge_resolves_without_torch_web_framework_or_sql() -> None:
    names = _resolved("edge")
    assert {"minewarden", "onnxruntime", "aiomqtt", "pymodbus", "gufo-snmp"} <= names
    assert not names & HEAVY


@pytest.mark.slow
def test_the_demo_needs_no_torch() -> None:
    names = _resolved("edge,cloud,train,sim")
    assert {"skl2onnx", "fastapi", "iotcore"} <= names
    assert "torch" not in names


def test_our_import_names_belong_to_our_distribution_alone() -> None:
    owners = packages_distributions()
    assert {name: set(owners.get(name, [])) for name in PACKAGES if name in owners} == {
        name: {DISTRIBUTION} for name in PACKAGES if name in owners
    }
    assert foreign_owners() == []


def test_a_foreign_package_that_overwrote_ours_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.cli.packages_distributions", lambda: {"shared": ["minewarden", "shared"]})
    assert foreign_owners() == ["shared"]
