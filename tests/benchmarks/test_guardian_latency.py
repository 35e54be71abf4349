"""From a change at a device to the stop that arrives at the miners: the real guardian, a whole site.

Two kinds. *Miners*, read every 10 s: a chip goes over its trip limit, and that miner is told to stop. *Fast
points*, read every second: a fan wall stands, and the whole zone is told to stop. Both times are taken by
the emulators. A change waits on average for half a period before it is even asked for: that is the peer,
and what the guardian adds stands beside it as `reaction`.
"""

import asyncio
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.ipc import ResetTrip
from support.benchmark import Line, Turns, rounded
from support.guardian_bench import (
    POLL_S,
    SAFETY_POLL_S,
    RunningGuardian,
    Site,
    large_site,
    miner_name,
    mining_again,
    running_guardian,
    running_site,
    share,
)
from support.guardian_bench_site import Told

PER_ZONE = 50
"""Two miners of fifty over their limit trip themselves only; the zone would go from the third."""
ROUNDS = {100: 2, 300: 2, 1_000: 3}
ZONES_APART_S = 3.0
"""On average: a zone is measured while others may be stopping, but not the whole site at once (see shed)."""
HOT_C = 95.0
CALM_WITHIN_S = 180.0


def _zones(miners: int) -> int:
    return miners // PER_ZONE


async def _calm(site: Site, guardian: RunningGuardian) -> None:
    """Everything as before the round: stops confirmed, trips reset, machines mining and heard."""
    async with asyncio.timeout(CALM_WITHIN_S):
        while any(seen.stop_s and not seen.stopped_s for seen in (await site.ask("look")).miners.values()):
            await asyncio.sleep(0.5)
        await site.ask("turn")
        while tripped := [zone for zone, status in guardian.status().zones.items() if status.trips]:
            for zone in tripped:  # refused until the cause is seen to be gone
                guardian.operator(ResetTrip(zone=zone, reason="benchmark", operator="bench"))
            await asyncio.sleep(SAFETY_POLL_S)
        await mining_again(site, guardian)


async def _hot_round(site: Site, guardian: RunningGuardian, miners: int, number: int) -> list[list[float]]:
    """Two miners of each zone get hot at moments of their own; per miner: whole time and reaction, s."""
    hot = [
        miner_name(zone * PER_ZONE + (number * 2 + which) % PER_ZONE)
        for zone in range(_zones(miners))
        for which in (0, 1)
    ]
    await site.ask("heat", names=hot, chip_c=HOT_C, within_s=POLL_S, seed=number)
    async with asyncio.timeout(4 * POLL_S):
        while not _all_told(told := await site.ask("look"), hot):
            await asyncio.sleep(0.5)
    assert set(told.miners) == set(hot), "a miner was told to stop that was not hot"
    found = []
    for name in hot:
        seen = told.miners[name]
        assert seen.changed_s is not None
        assert seen.asked_s is not None
        assert seen.stop_s is not None
        found.append([seen.stop_s - seen.changed_s, seen.stop_s - seen.asked_s])
    return found


def _all_told(told: Told, names: list[str]) -> bool:
    return all(name in told.miners and told.miners[name].stop_s is not None for name in names)


async def _zone_round(site: Site, guardian: RunningGuardian, miners: int, number: int) -> list[list[float]]:
    """Each wall stands at a moment of its own; per zone: first and last stop, s."""
    walls = [f"wall-{zone}" for zone in range(_zones(miners))]
    await site.ask("stand", names=walls, within_s=_zones(miners) * ZONES_APART_S, seed=number)
    everyone = [miner_name(miner) for miner in range(miners)]
    async with asyncio.timeout(4 * POLL_S + _zones(miners) * ZONES_APART_S):
        while not _all_told(told := await site.ask("look"), everyone):
            await asyncio.sleep(0.5)
    found = []
    for zone, wall in enumerate(walls):
        stops = [told.miners[miner_name(zone * PER_ZONE + which)].stop_s for which in range(PER_ZONE)]
        known = [stop_s for stop_s in stops if stop_s is not None]
        assert len(known) == PER_ZONE
        stood_s = told.stood_s[wall]
        assert min(known) > stood_s, "a miner was stopped before its wall stood"
        found.append([min(known) - stood_s, max(known) - stood_s])
    return found


def _line(name: str, seen: list[float], period_s: float, miners: int, more: dict[str, float]) -> Line:
    return Turns(ours=tuple(seen), peers=(period_s / 2,) * len(seen)).line(
        name,
        unit="s",
        peer=f"half the period of {period_s:g} s, before anybody asks",
        n=miners,
        more={
            "p99_s": rounded(share(seen, 0.99)),
            "max_s": rounded(max(seen)),
            **{word: rounded(number) for word, number in more.items()},
        },
    )


@pytest.mark.parametrize("miners", list(ROUNDS))
async def test_guardian_latency(miners: int, tmp_path: Path, report: Callable[[Line], None]) -> None:
    path = large_site(tmp_path, miners, zones=_zones(miners))
    async with running_site(path) as site, running_guardian(site) as guardian:
        await guardian.agent.sweeps(1)
        hot: list[list[float]] = []
        for number in range(ROUNDS[miners]):
            hot += await _hot_round(site, guardian, miners, number)
            await _calm(site, guardian)
        assert not guardian.agent.failures
        zones: list[list[float]] = []
        for number in range(ROUNDS[miners]):
            zones += await _zone_round(site, guardian, miners, number)
            await _calm(site, guardian)
        failed = guardian.agent.failures.total()
    whole, reaction = zip(*hot, strict=True)
    first, last = zip(*zones, strict=True)
    reacted = {
        "reaction_p50_ms": statistics.median(reaction) * 1e3,
        "reaction_p99_ms": share(reaction, 0.99) * 1e3,
        "target_p99_s": POLL_S + 0.5,
    }
    report(_line("guardian trip, miner", list(whole), POLL_S, miners, reacted))
    report(
        _line(
            "guardian trip, first stop of a zone", list(first), SAFETY_POLL_S, miners, {"target_p99_s": 1.5}
        )
    )
    report(
        _line(
            "guardian trip, last stop of a zone",
            list(last),
            SAFETY_POLL_S,
            miners,
            {"zone": PER_ZONE, "failed_reads": failed},
        )
    )
