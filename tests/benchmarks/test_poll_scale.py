"""Thousands of miners through the real guardian process: how old its newest samples are, what it costs.

Machines and guardian are processes of their own; an agent-like client takes every sample, as the agent does.
*Age* of a machine's data at a moment is the time since its newest read began; it is looked at four times a
second for every machine, and what is reported is the worst of a hundred looks (p99) over all of them. Then a
third of the machines falls silent in one moment, and the others are looked at again from that moment on.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from shared.clock import SystemClock
from support.benchmark import Line, machine, rounded
from support.guardian_bench import (
    POLL_S,
    RunningGuardian,
    large_site,
    miner_name,
    running_guardian,
    share,
)
from support.poll_bench import running_silent_site

MINERS = 5_000
PER_ZONE = 250
SETTLE_SWEEPS = 6
"""By then the proof tests of the start (S24) are over, which step every zone through every trip."""
LOOK_FOR_S = 60.0
LOOK_EVERY_S = 0.25
AGE_BUDGET_S = 15.0
CPU_BUDGET_PCT = 50.0
RSS_BUDGET_MB = 250.0


class _Looked(msgspec.Struct, frozen=True, kw_only=True):
    """Ages (s) over `LOOK_FOR_S`; the guardian's processor time in % of a core; samples and failed reads."""

    ages: list[float]
    cpu_pct: float
    heard: int
    failed: int

    def line(self, name: str, miners: int) -> Line:
        """The p99 of the ages."""
        return _line(
            name,
            share(self.ages, 0.99),
            "s",
            AGE_BUDGET_S,
            miners,
            p50_s=share(self.ages, 0.5),
            max_s=max(self.ages),
            samples=self.heard,
            failed=self.failed,
        )


async def _look(guardian: RunningGuardian, names: list[str]) -> _Looked:
    agent, clock, ages = guardian.agent, SystemClock(), list[float]()
    began_s, used_s = clock.monotonic(), guardian.cpu_s()
    heard, failed = agent.heard.total(), agent.failures.total()
    while clock.monotonic() - began_s < LOOK_FOR_S:
        now_s = clock.monotonic()
        ages += [now_s - agent.samples[name].at_s for name in names]
        await asyncio.sleep(LOOK_EVERY_S)
    return _Looked(
        ages=ages,
        cpu_pct=(guardian.cpu_s() - used_s) / (clock.monotonic() - began_s) * 100,
        heard=agent.heard.total() - heard,
        failed=agent.failures.total() - failed,
    )


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
    names = [miner_name(number) for number in range(miners)]
    silent = names[::3]
    rest = sorted(set(names) - set(silent))
    async with running_silent_site(path) as site, running_guardian(site) as guardian:
        await guardian.agent.sweeps(SETTLE_SWEEPS)
        all_alive = await _look(guardian, names)
        memory = guardian.memory_mb()
        await site.ask("hang", names=silent)
        third_silent = await _look(guardian, rest)
    assert all_alive.heard >= miners * LOOK_FOR_S / POLL_S * 0.8, f"only {all_alive.heard} samples came"
    assert all_alive.failed <= all_alive.heard / 1000, f"{all_alive.failed} reads failed"
    assert third_silent.failed >= len(silent), "the silent ones were not noticed"
    ms = all_alive.cpu_pct / 100 * LOOK_FOR_S * 1000 / all_alive.heard
    report(all_alive.line("age of data, p99", miners))
    report(third_silent.line("age of the rest while a third is silent, p99", miners))
    report(
        _line(
            "guardian",
            all_alive.cpu_pct,
            "% of a core",
            CPU_BUDGET_PCT,
            miners,
            ms_per_sample=ms,
            third_silent_pct=third_silent.cpu_pct,
        )
    )
    own, high = memory["own"], memory["high"]
    report(_line("resident", memory["rss"], "MB", RSS_BUDGET_MB, miners, own_mb=own, high_mb=high))
