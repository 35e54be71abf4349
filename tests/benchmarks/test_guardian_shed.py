"""Time to shed a whole site: from a person's safe-stop to every miner stopped and the meter showing it.

The peer sends the same commands to the same machines with a bare aiohttp client, sessions open beforehand and
as many connections at a time, and then waits for the machines: what is left is what they and the network
need. A safe-stop of a site is a curtailment to nothing.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from edge_agent.ipc import Mode, SafeStop, SetMode
from shared.clock import SystemClock
from support.aiohttp_transport import TOTAL
from support.benchmark import Line, Turns, rounded
from support.guardian_bench import (
    RunningGuardian,
    Site,
    large_site,
    mining_again,
    running_guardian,
    running_site,
)
from support.guardian_bench_site import IDLE_W, Told

SIZES = (100, 300, 1_000)
PER_ZONE = 50
REPEATS = 5
WITHIN_S = 90.0

_CLOCK = SystemClock()


async def _all_stopped(site: Site, miners: int) -> Told:
    async with asyncio.timeout(WITHIN_S):
        while True:
            told = await site.ask("look")
            stopped = [seen for seen in told.miners.values() if seen.stopped_s is not None]
            if len(stopped) == miners:
                return told
            await asyncio.sleep(0.25)


def _last(told: Told, what: str) -> float:
    return max(getattr(seen, what) for seen in told.miners.values())


async def _ours(site: Site, guardian: RunningGuardian, miners: int) -> dict[str, float]:
    """Seconds from the order to the last stop that arrives, to the last miner stopped, to the meter."""
    began_s = _CLOCK.monotonic()
    await asyncio.to_thread(guardian.operator, SafeStop(reason="benchmark"))
    async with asyncio.timeout(WITHIN_S):
        await guardian.agent.until_power(1.05 * miners * IDLE_W)
    confirmed_s = _CLOCK.monotonic()
    told = await _all_stopped(site, miners)
    assert len(told.miners) == miners
    return {
        "sent_s": _last(told, "stop_s") - began_s,
        "stopped_s": _last(told, "stopped_s") - began_s,
        "meter_s": confirmed_s - began_s,
    }


async def _calm(site: Site, guardian: RunningGuardian) -> None:
    """Let every stop be read back, hand every zone back, then let the machines mine again and be heard."""
    await guardian.agent.sweeps(2)
    for zone in guardian.site.file.zones:
        guardian.operator(SetMode(zone=zone.id, mode=Mode.LOCAL_AUTO, operator="bench", reason="benchmark"))
    await mining_again(site, guardian)


async def _bare(site: Site, miners: int) -> dict[str, float]:
    """The same with nothing between: log in beforehand, then post all stops."""
    bases = [f"http://{entry.host}:{entry.port}/api/v1" for entry in site.file.miners]
    timeout = aiohttp.ClientTimeout(total=WITHIN_S)
    connector = aiohttp.TCPConnector(limit=TOTAL)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def token(base: str) -> str:
            async with session.post(base + "/unlock", json={"pw": "admin"}) as reply:
                return str((await reply.json())["token"])

        async def stop(base: str, word: str) -> None:
            headers = {"Authorization": f"Bearer {word}"}
            async with session.post(base + "/mining/stop", headers=headers) as reply:
                assert reply.status == 200

        words = await asyncio.gather(*(token(base) for base in bases))
        began_s = _CLOCK.monotonic()
        await asyncio.gather(*(stop(base, word) for base, word in zip(bases, words, strict=True)))
    told = await _all_stopped(site, miners)
    return {"sent_s": _last(told, "stop_s") - began_s, "stopped_s": _last(told, "stopped_s") - began_s}


@pytest.mark.parametrize("miners", SIZES)
async def test_guardian_shed(miners: int, tmp_path: Path, report: Callable[[Line], None]) -> None:
    ours, bare = [], []
    path = large_site(tmp_path, miners, zones=miners // PER_ZONE)
    async with running_site(path) as site, running_guardian(site) as guardian:
        await guardian.agent.sweeps(1)
        for _ in range(REPEATS):
            ours.append(await _ours(site, guardian, miners))
            await _calm(site, guardian)
        failed = guardian.agent.failures.total()
        for _ in range(REPEATS):
            # The guardian sees the machines stop by themselves, and leaves them so: nobody asked it.
            bare.append(await _bare(site, miners))
            await mining_again(site, guardian)
    seen = {name: [turn[name] for turn in ours] for name in ours[0]}
    peers = {name: tuple(turn[name] for turn in bare) for name in bare[0]}
    for name, what in (("sent_s", "last stop arrives"), ("stopped_s", "last miner stopped")):
        report(
            Turns(ours=tuple(seen[name]), peers=peers[name]).line(
                f"guardian safe-stop, {what}",
                unit="s",
                peer=f"bare aiohttp, the same stops, {TOTAL} at a time",
                n=miners,
                more={"failed_reads": failed},
            )
        )
    report(
        Turns(ours=tuple(seen["meter_s"]), peers=peers["stopped_s"]).line(
            "guardian safe-stop, meter confirms",
            unit="s",
            peer="bare aiohttp, until the last miner stopped",
            n=miners,
            more={"max_s": rounded(max(seen["meter_s"]))},
        )
    )
