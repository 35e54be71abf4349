"""`--benchmarks` runs what is in this folder; without it pytest does not even import it.

    python -m pytest tests/benchmarks -q -s --benchmarks [--bench-out FILE]

Each measurement is one JSON line on standard output; `--bench-out` also appends it to a file. Nothing here
asserts a time: a slow machine is not a failure. What is asserted is that the work was really done.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from support.benchmark import Line

HERE = Path(__file__).parent
Report = Callable[[Line], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--benchmarks", action="store_true", help="run the benchmarks")
    parser.addoption("--bench-out", type=Path, metavar="FILE", help="append each benchmark line to FILE")


def pytest_configure(config: pytest.Config) -> None:
    """Measure on the loop that the processes have, not on the tests' own (`support.fair_loop`)."""
    if config.getoption("benchmarks", default=False):
        asyncio.set_event_loop_policy(None)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave this folder out of ordinary runs; None lets others decide."""
    wanted = config.getoption("benchmarks", default=False)
    return True if not wanted and HERE in collection_path.parents else None


@pytest.fixture
def report(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Report:
    """Print a line, and append it to the file that was asked for."""
    out: Path | None = request.config.getoption("bench_out", default=None)

    def say(line: Line) -> None:
        text = msgspec.json.encode(line).decode()
        with capsys.disabled():
            print(text, flush=True)
        if out is not None:
            with out.open("a") as file:
                file.write(text + "\n")

    return say
