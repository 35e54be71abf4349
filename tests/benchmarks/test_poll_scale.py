"""Thousands of miners through the real guardian process: how old its newest samples are, what it costs.

Machines and guardian are processes of their own; an agent-like client takes every sample, as the agent does.
*Age* of a machine's data at a moment is the time since its newest read began; it is looked at four times a
second for every machine, and what is reported is the worst of a hundred looks (p99) over all of them.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.guardian.polling.link import READ_REQUESTS
from shared.clock import SystemClock
from support.benchmark import Line, machine, rounded
from support.guardian_bench import (
    POLL_S,
    TIMEOUT_S,
    RunningGuardian,
    large_site,
    miner_name,
    running_guardian,
    running_site,
    share,
)

MINERS = 5_000
PER_ZONE = 250
SETTLE_SWEEPS = 2
LOOK_FOR_S = 90.0
LOOK_EVERY_S = 0.25
AGE_BUDGET_S = 15.0
CPU_BUDGET_PCT = 50.0
RSS_BUDGET_MB = 250.0


def _ages(guardian: RunningGuardian, names: list[str], now_s: float) -> list[float]:
    samples = guardian.agent.samples
    return [now_s - samples[name].at_s for name in names]


async def _look(guardian: RunningGuardian, miners: int) -> tuple[list[float], float]:
    """Ages of all miners over `LOOK_FOR_S`, and the guardian's processor time in % of one core meanwhile."""
    clock, ages = SystemClock(), list[float]()
    names = [miner_name(number) for number in range(miners)]
    began_s, used_s = clock.monotonic(), guardian.cpu_s()
    while clock.monotonic() - began_s < LOOK_FOR_S:
        ages += _ages(guardian, names, clock.monotonic())
        await asyncio.sleep(LOOK_EVERY_S)
    return ages, (guardian.cpu_s() - used_s) / (clock.monotonic() - began_s) * 100


def _line(name: str, value: float, unit: str, budget: float, miners: int, **more: float) -> Line:
    return Line(
        benchmark=f"polling scale, {name}",
        value=rounded(value),
        unit=unit,
        ratio=rounded(value / budget),
        peer="budget",
        peer_value=budget,
        median_of=1,
        n=miners,
        machine=machine(),
        more={word: rounded(number) for word, number in more.items()},
    )


@pytest.mark.parametrize("miners", [MINERS])
async def test_poll_scale(miners: int, tmp_path: Path, report: Callable[[Line], None]) -> None:
    path = large_site(tmp_path, miners, zones=miners // PER_ZONE)
    async with running_site(path) as site, running_guardian(site) as guardian:
        await guardian.agent.sweeps(SETTLE_SWEEPS)
        heard, failed = guardian.agent.heard.total(), guardian.agent.failures.total()
        ages, cpu_pct = await _look(guardian, miners)
        heard, failed = guardian.agent.heard.total() - heard, guardian.agent.failures.total() - failed
        memory = guardian.memory_mb()
    assert heard >= miners * LOOK_FOR_S / POLL_S * 0.8, f"only {heard} samples came"
    assert failed <= heard / 1000, f"{failed} reads failed"
    assert max(ages) < POLL_S * 3 + READ_REQUESTS * TIMEOUT_S
    per_poll_ms = cpu_pct / 100 * LOOK_FOR_S * 1000 / heard
    report(
        _line(
            "age of data, p99", share(ages, 0.99), "s", AGE_BUDGET_S, miners,
            p50_s=share(ages, 0.5), max_s=max(ages), samples=heard, failed=failed,
        )
    )  # fmt: skip
    report(_line("guardian", cpu_pct, "% of a core", CPU_BUDGET_PCT, miners, ms_per_sample=per_poll_ms))
    report(
        _line(
            "resident",
            memory["rss"],
            "MB",
            RSS_BUDGET_MB,
            miners,
            own_mb=memory["own"],
            high_mb=memory["high"],
        )
    )
