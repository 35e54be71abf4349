"""How late the interlock thread's turns come, with a thousand miners polled and the processor fought over.

A turn is due every 250 ms. What counts is the time from when it was due until its demands were handed to the
event loop: a turn that starts late because another thread holds the interpreter, or because other processes
hold the processor, protects nobody meanwhile. The peer is a process with nothing to do but wake up at the
same cadence, at the same time: what the operating system alone costs.
"""

import asyncio
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.clock import SystemClock
from support.benchmark import Line, Turns, rounded
from support.guardian_bench import busy_processes, large_site, running_guardian, running_site, share

SIZES = (100, 300, 1_000)
PER_ZONE = 50
BUSY = 2
"""As many as the cores of a small gateway: none is left to the guardian alone."""
LOOK_S = {100: 30.0, 300: 60.0, 1_000: 300.0}
"""1,200 turns where p99.9 is asked for."""

_CLOCK = SystemClock()

_IDLE = """
import sys, time
due = time.monotonic()
while True:
    late = time.monotonic() - due
    print(due, late, flush=True)
    due += 0.25
    time.sleep(max(due - time.monotonic(), 0.0))
"""


async def _idle(seconds: float) -> list[float]:
    """Lateness of a process that only wakes up, ms."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _IDLE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    late: list[float] = []
    try:
        while len(late) * 0.25 < seconds:
            late.append(float((await process.stdout.readline()).split()[1]) * 1e3)
    finally:
        process.kill()
        await process.wait()
    return late[1:]


def _turns(path: Path, since_s: float, until_s: float) -> tuple[list[float], list[float], list[float]]:
    """Of the turns that were due in that time: due to begun, begun to done, due to done; ms."""
    rows = [[float(word) for word in line.split()] for line in path.read_text().splitlines()]
    seen = [row for row in rows if since_s <= row[0] <= until_s]
    late = [(began - due) * 1e3 for due, began, _ in seen]
    took = [(done - began) * 1e3 for _, began, done in seen]
    return late, took, [(done - due) * 1e3 for due, _, done in seen]


@pytest.mark.parametrize("miners", SIZES)
async def test_guardian_cycle(miners: int, tmp_path: Path, report: Callable[[Line], None]) -> None:
    notes, seconds = tmp_path / "turns", LOOK_S[miners]
    path = large_site(tmp_path, miners, zones=miners // PER_ZONE)
    async with running_site(path) as site, running_guardian(site, turns=notes) as guardian:
        await guardian.agent.sweeps(1)
        with busy_processes(BUSY):
            cpu_s, since_s = guardian.cpu_s(), _CLOCK.monotonic()
            idle = await _idle(seconds)
            until_s = _CLOCK.monotonic()
            cpu_pct = (guardian.cpu_s() - cpu_s) / (until_s - since_s) * 100
        failed = guardian.agent.failures.total()
    late, took, whole = _turns(notes, since_s, until_s)
    assert len(whole) > 0.9 * len(idle), "turns are missing"
    line = Turns(ours=tuple(whole), peers=tuple(idle)).line(
        "guardian cycle under stress",
        unit="ms",
        peer="a process that only wakes up",
        n=miners,
        more={
            "p99_ms": rounded(share(whole, 0.99)),
            "p999_ms": rounded(share(whole, 0.999)),
            "max_ms": rounded(max(whole)),
            "target_p999_ms": 250.0,
            "late_p999_ms": rounded(share(late, 0.999)),
            "turn_p50_ms": rounded(statistics.median(took)),
            "turn_p999_ms": rounded(share(took, 0.999)),
            "peer_p999_ms": rounded(share(idle, 0.999)),
            "guardian_cpu_pct": rounded(cpu_pct),
            "busy_processes": BUSY,
            "failed_reads": failed,
        },
    )
    report(line)
