"""Children are started, watched and never left behind."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from firmware_adapters.simulator.demo.processes import Processes

STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
signal.pause()
"""


def _gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


async def _until(seen: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not seen():
            await asyncio.sleep(0.01)


async def test_a_child_that_ends_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    await processes.start("guardian", [sys.executable, "-c", "raise SystemExit('no site file')"])

    def ended() -> bool:
        try:
            processes.check()
        except RuntimeError as error:
            return "no site file" in str(error)
        return False

    await _until(ended)
    with pytest.raises(RuntimeError, match="guardian ended with exit code 1"):
        processes.check()
    await processes.stop()


async def test_a_child_that_ignores_the_request_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firmware_adapters.simulator.demo.processes._STOP_WITHIN_S", 0.2)
    processes = Processes(tmp_path)
    await processes.start("broker", [sys.executable, "-c", STUBBORN])
    pid = processes.pids["broker"]
    await _until(lambda: "up" in (tmp_path / "broker.log").read_text())
    await processes.stop()
    assert _gone(pid)
