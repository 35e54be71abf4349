"""How long a bad model has a say: from the cycle in which it first gives NaN to the one before acting again.

The whole way counts: scoring, the guardian told, the slots renamed with fsync, the previous model loaded
with its windows filled from the store, the guardian told again, two events in the outbox. Beside it a healthy
cycle of the same site in the same run.
"""

import statistics
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import pytest

from edge_agent import ipc
from shared.artifacts.manifest import verify_assignment
from support.agent import KEYS, SITE, make_assignment, make_manifest
from support.agent_bench import AgentBench
from support.bad_models import nan_between
from support.benchmark import REPEATS, Line, Turns, rounded
from support.model_bench import DATA, SPEC, V1, place, running

SIZES = (4, 100, 1_000)
BAD = nan_between(SPEC, "fan_weakest", 0.1, 0.45)
V2 = make_manifest(BAD, SPEC, version=2)


class Site(AgentBench):
    """A bench whose cycles are timed."""

    async def timed_cycle(self, *, rpm: dict[str, float] | None = None) -> float:
        """Two polls, the flush, and the seconds that the policy cycle takes."""
        await self.steps(1, rpm=rpm, cycle=False)
        began = perf_counter()
        await self.cycle.once()
        return perf_counter() - began


@pytest.mark.parametrize("miners", SIZES)
async def test_model_rollback(miners: int, tmp_path: Path, report: Callable[[Line], None]) -> None:
    site = Site(tmp_path, miners=miners)
    await site.open()
    counter, cycles = 1, []
    bad_s: list[float] = []
    healthy_s: list[float] = []
    try:
        await site.steps(4)
        await place(site, make_assignment(V1, counter=counter), DATA)
        await site.steps(8)
        for _ in range(REPEATS + 1):
            counter += 1
            await place(site, make_assignment(V2, counter=counter), BAD)
            await site.steps(4)
            assert running(site) == (2, None)
            healthy_s.append(await site.timed_cycle())
            took, ill = 0.0, 0
            await site.steps(
                1, rpm={"m02": 1_000.0}, cycle=False
            )  # the ramp of the fans hides the first step
            said = len(site.sent)
            while running(site) != (1, None):
                took += await site.timed_cycle(rpm={"m02": 1_000.0})
                ill += 1
                assert ill < 5
            claims = [m for m in site.sent[said:] if isinstance(m, ipc.Assign | ipc.Unassign)]
            assert isinstance(claims[0], ipc.Unassign), "the guardian lets go before anything is tried"
            assert isinstance(claims[1], ipc.Assign)
            back = verify_assignment(claims[1].signed, KEYS.ring, site=SITE, now_ms=0)
            assert (back.manifest.version, claims[1].swapped) == (1, True)
            bad_s.append(took)
            cycles.append(ill)
            await site.steps(20)  # the miner is well again, and its windows hold nothing else
        assert site.model_states().count("rolled-back") == REPEATS + 1
    finally:
        site.close()
    turns = Turns(ours=tuple(s * 1000 for s in bad_s[1:]), peers=tuple(s * 1000 for s in healthy_s[1:]))
    report(
        turns.line(
            "model rollback",
            unit="ms",
            peer="a healthy scoring cycle of the same site",
            n=miners,
            more={"cycles": rounded(statistics.median(cycles)), "worst_ms": rounded(max(bad_s[1:]) * 1000)},
        )
    )
