"""Every branch of the core is taken by its own fast tests: 100 %, or the lines that are missing."""

import ast
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from safety.mutation import core

pytestmark = pytest.mark.slow


def test_every_line_and_branch_of_the_core_is_covered_by_its_fast_tests(tmp_path: Path) -> None:
    data, report = tmp_path / "data", tmp_path / "report.json"
    settings = tmp_path / "coveragerc"
    settings.write_text("[run]\nbranch = True\n")
    common = [f"--rcfile={settings}", f"--data-file={data}"]
    included = ",".join(str(core.ROOT / path) for path in core.sources())
    tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--basetemp={tmp_path / 't'}"]
    done = subprocess.run(
        [sys.executable, "-m", "coverage", "run", *common, f"--include={included}", *tests, *core.tests()],
        cwd=core.ROOT,
        env={**os.environ, "PYTEST_ADDOPTS": "", "COVERAGE_CORE": "ctrace"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    tell = [sys.executable, "-m", "coverage", "json", *common, "-q", "-o", str(report)]
    subprocess.run(tell, cwd=core.ROOT, check=True, capture_output=True)
    missing = _missing(json.loads(report.read_text()))
    assert not missing, "no fast test of the core takes:\n" + "\n".join(missing)


def _missing(report: Any) -> list[str]:  # coverage's own file
    files = {os.path.relpath(core.ROOT / path, core.ROOT): entry for path, entry in report["files"].items()}
    found = [f"{path}: never imported" for path in core.sources() if path not in files and _has_code(path)]
    for path, entry in sorted(files.items()):
        found += [f"{path}:{line}: never runs" for line in entry["missing_lines"]]
        found += [
            f"{path}:{start}: never goes on at {f'line {end}' if end > 0 else 'the end'}"
            for start, end in entry["missing_branches"]
            if start not in _last_cases(path)
        ]
    return found


def _has_code(path: str) -> bool:
    return len(ast.parse((core.ROOT / path).read_text()).body) > 1


@cache
def _last_cases(path: str) -> frozenset[int]:
    """Lines of the last `case` of a `match` that ends a function with a result.

    mypy --strict proves that none but the listed cases exist, so the way past the last one cannot be taken.
    """
    found = set()
    for function in ast.walk(ast.parse((core.ROOT / path).read_text())):
        if isinstance(function, ast.FunctionDef) and isinstance(last := function.body[-1], ast.Match):
            returns = function.returns
            if not (isinstance(returns, ast.Constant) and returns.value is None):
                found.add(last.cases[-1].pattern.lineno)
    return frozenset(found)
