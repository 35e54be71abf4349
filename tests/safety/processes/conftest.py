"""Sites of real processes, and the table of what became of them.

python -m pytest tests/safety/processes --fault-table docs/fault-table.md
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from support.processes import Open, ProcessSite, Undisturbed
from support.processes_site import LOST_AFTER_S, MINERS, TIMING
from support.processes_table import FaultTable

TABLE = pytest.StashKey[FaultTable]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fault-table", type=Path, metavar="FILE", help="write the table of faults to FILE")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TABLE] = FaultTable()


@pytest.fixture
def table(request: pytest.FixtureRequest) -> FaultTable:
    """Where each test puts its row."""
    table = request.config.stash[TABLE]
    table.site = (
        f"Emulated site: {MINERS} S19j Pro behind VNish's HTTP, an exhaust wall and a probe on Modbus, a\n"
        f"PDU on SNMP, all on loopback; polled every {TIMING['poll_s']:g} s, request time-out "
        f"{TIMING['request_timeout_s']:g} s, cooling lost after\n{LOST_AFTER_S:g} s below its limit, a stop "
        f"unconfirmed after {TIMING['stop_confirm_s']:g} s. Nothing here was measured on hardware."
    )
    return table


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    table = config.stash[TABLE]
    if not table.rows:
        return
    terminalreporter.section("faults of real processes")
    for line in table.text():
        terminalreporter.write_line(line)
    path: Path | None = config.getoption("fault_table", default=None)
    if path is not None:
        table.write(path)
        terminalreporter.write_line(f"written to {path}")


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    """Makes sites of processes that end with the test."""
    async with AsyncExitStack() as stack:

        def make(name: str = "site", **how: object) -> ProcessSite:
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            site = ProcessSite(folder, **how)  # type: ignore[arg-type]  # its own parameters
            stack.callback(site.close)
            return site

        yield make


_measured: list[Undisturbed] = []


@pytest.fixture
async def undisturbed(opened: Open, table: FaultTable) -> Undisturbed:
    """Loss of cooling and an emergency stop on a site where all is well; measured once."""
    if not _measured:
        calm, other = await asyncio.gather(opened("calm").start(), opened("other").start())
        cooling, stop = await asyncio.gather(
            calm.until_stopped(calm.lose_cooling()), other.until_stopped(other.safe_stop())
        )
        assert calm.unharmed()
        calm.close()
        other.close()
        _measured.append(Undisturbed(cooling=cooling, stop=stop))
        table.add("none: loss of cooling", "zone tripped, every miner stopped, fans at fail-safe", cooling)
        table.add("none: emergency stop", "every miner stopped", stop)
    return _measured[0]
