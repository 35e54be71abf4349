"""Time to bring a whole site down to a target: from a signed order to the meter, as the guardian reads it.

The order goes the agent's way (signature, plan, arbiter, writes, read-backs). The peer is the emulator's own
lower bound: a bare client tells the same machines the same thing, sessions open beforehand, and the time ends
when the machines themselves draw no more than the target; no meter has to be asked. The guardian tells two
thirds of its plan first and the rest when the meter has shown those, so that it does not shed too much. A
machine takes 4 s to run another step, which is in both.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from shared.clock import SystemClock
from shared.commands import ActionOutcome, Curtail
from support.aiohttp_transport import TOTAL
from support.benchmark import Line, Turns, rounded
from support.guardian_bench import (
    WITHIN_PCT,
    RunningGuardian,
    Site,
    large_site,
    running_guardian,
    running_site,
)

SIZES = (100, 300, 1_000)
PER_ZONE = 50
REPEATS = 3
SHARE = 0.7
"""The target as a share of what the site draws: reached by lower presets alone."""
WITHIN_S = 120.0
ORDERS = "power-orders.json"

_CLOCK = SystemClock()


async def _until_drawn(site: Site, watts: float) -> None:
    async with asyncio.timeout(WITHIN_S):
        while (await site.ask("look")).power_w > watts * (1 + WITHIN_PCT / 100):
            await asyncio.sleep(0.1)


async def _ours(site: Site, guardian: RunningGuardian, target_w: float, number: int) -> dict[str, float]:
    """Seconds from the order until the machines are there, and until the guardian's meter has shown it."""
    began_s = _CLOCK.monotonic()
    guardian.agent.order(Curtail(target_w=target_w, deadline_s=300.0, duration_s=3600.0), number)

    async def drawn() -> float:
        await _until_drawn(site, target_w)
        return _CLOCK.monotonic() - began_s

    async def confirmed() -> float:
        async with asyncio.timeout(WITHIN_S):
            told = await guardian.agent.result(f"bench-{number}")
            while told.outcome is ActionOutcome.UNCONFIRMED:  # accepted, and on its way
                told = await guardian.agent.result(f"bench-{number}")
        assert told.outcome is ActionOutcome.APPLIED, told
        return _CLOCK.monotonic() - began_s

    drawn_s, confirmed_s = await asyncio.gather(drawn(), confirmed())
    return {"drawn_s": drawn_s, "confirmed_s": confirmed_s}


async def _bare(site: Site, steps: dict[str, str], target_w: float) -> float:
    """The same steps with nothing between; s."""
    bases = {str(entry.id): f"http://{entry.host}:{entry.port}/api/v1" for entry in site.file.miners}
    timeout = aiohttp.ClientTimeout(total=WITHIN_S)
    connector = aiohttp.TCPConnector(limit=TOTAL)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def token(miner: str) -> str:
            async with session.post(bases[miner] + "/unlock", json={"pw": "admin"}) as reply:
                return str((await reply.json())["token"])

        async def lower(miner: str, word: str) -> None:
            headers = {"Authorization": f"Bearer {word}"}
            body = {"miner": {"overclock": {"preset": steps[miner]}}}
            async with session.post(bases[miner] + "/settings", json=body, headers=headers) as reply:
                assert reply.status == 200
            async with session.post(bases[miner] + "/mining/restart", headers=headers) as reply:
                assert reply.status == 200

        words = await asyncio.gather(*(token(miner) for miner in steps))
        began_s = _CLOCK.monotonic()
        await asyncio.gather(*(lower(miner, word) for miner, word in zip(steps, words, strict=True)))
    await _until_drawn(site, target_w)
    return _CLOCK.monotonic() - began_s


@pytest.mark.parametrize("miners", SIZES)
async def test_guardian_curtailment(miners: int, tmp_path: Path, report: Callable[[Line], None]) -> None:
    ours: list[dict[str, float]] = []
    bare: list[float] = []
    changed = 0
    path = large_site(tmp_path, miners, zones=miners // PER_ZONE)
    async with running_site(path) as site:
        for number in range(REPEATS):
            # A guardian of its own each time, without the order of the last one, which it would assert again.
            (Path(site.file.paths.guardian_state) / ORDERS).unlink(missing_ok=True)
            async with running_guardian(site) as guardian:
                await guardian.agent.sweeps(1)
                target_w = SHARE * (await site.ask("look")).power_w
                ours.append(await _ours(site, guardian, target_w, number + 1))
                told = (await site.ask("look")).miners
            steps = {name: seen.preset for name, seen in told.items() if seen.preset is not None}
            assert not [name for name, seen in told.items() if seen.stop_s is not None], "nobody has to stop"
            await site.ask("calm")
            bare.append(await _bare(site, steps, target_w))
            await site.ask("calm")
            changed = len(steps)
    confirmed = tuple(turn["confirmed_s"] for turn in ours)
    report(
        Turns(ours=tuple(turn["drawn_s"] for turn in ours), peers=tuple(bare)).line(
            "guardian curtailment, machines at target",
            unit="s",
            peer="bare aiohttp, the same steps, until drawn",
            n=miners,
            more={"machines_told": changed, "target_share": SHARE},
        )
    )
    report(
        Turns(ours=confirmed, peers=tuple(bare)).line(
            "guardian curtailment, meter confirms",
            unit="s",
            peer="bare aiohttp, the same steps, until drawn",
            n=miners,
            more={"machines_told": changed, "max_s": rounded(max(confirmed))},
        )
    )
