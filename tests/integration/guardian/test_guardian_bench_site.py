"""What the guardian's benchmarks run on works: a site and a guardian as processes. Nothing here is timed."""

import asyncio
import itertools
from pathlib import Path

import pytest

from edge_agent.ipc import Done, ResetTrip, SafeStop
from support.guardian_bench import large_site, miner_name, running_guardian, running_site
from support.guardian_bench_site import IDLE_W, Told

pytestmark = [pytest.mark.slow, pytest.mark.alone]

MINERS = 20


def told_to_stop(told: Told) -> set[str]:
    return {name for name, seen in told.miners.items() if seen.stop_s is not None}


async def test_a_hot_miner_a_standing_wall_a_safe_stop_and_the_end(tmp_path: Path) -> None:
    notes = tmp_path / "turns"
    path = large_site(tmp_path, MINERS, zones=2, poll_s=2.0)
    async with running_site(path) as site, running_guardian(site, turns=notes) as guardian:
        async with asyncio.timeout(60):
            await site.ask("heat", names=[miner_name(3)], chip_c=95.0)
            while not told_to_stop(told := await site.ask("look")):
                await guardian.agent.sweeps(1)
            assert told_to_stop(told) == {miner_name(3)}
            await site.ask("stand", names=["wall-1"])
            while len(told_to_stop(told := await site.ask("look"))) < 1 + MINERS // 2:
                await guardian.agent.sweeps(1)
            assert {miner_name(number) for number in range(10, 20)} < told_to_stop(told)
            await site.ask("turn")
            zone = guardian.site.file.zones[1].id
            reset = ResetTrip(zone=zone, reason="seen", operator="ada")
            while not isinstance(guardian.operator(reset), Done):
                await guardian.agent.sweeps(1)
            guardian.operator(SafeStop(reason="the end"))
            await guardian.agent.until_power(1.05 * MINERS * IDLE_W)
        assert guardian.memory_mb()["rss"] > guardian.memory_mb()["own"] > 10.0
        assert guardian.cpu_s() > 0.0
    turns = [[float(word) for word in line.split()] for line in notes.read_text().splitlines()]
    assert all(began <= done for _, began, done in turns)
    assert all(before[2] <= after[1] for before, after in itertools.pairwise(turns))
