"""Kills the agent with -9 at every step of the start that notes how the life before ended.

`python tests/integration/agent/death_kills.py FOLDER KNOWN`: the active model has already ended it in KNOWN
different hours, and has just done so again. Prints a JSON line per kill with what the next life found, and
last how many steps there were. Each life is a forked child of its own, so that the kills are real ones.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import msgspec

from edge_agent.agent.inference.lives import APART_S, Death
from support.agent import make_assignment
from support.agent_bench import AgentBench
from support.model_bench import DATA, V1, place, running
from support.model_kills import MOST_STEPS, Kill, in_child


async def template(folder: Path, known: int) -> None:
    """V1 has run well for hours, and the agent goes without a word."""
    bench = AgentBench(folder)
    await bench.open()
    await bench.steps(4)
    await place(bench, make_assignment(V1, counter=1), DATA)
    await bench.steps(8)
    memory = bench.keeper.memory
    assert memory.life is not None
    deaths = tuple(
        Death(sha256=V1.sha256, at_ms=bench.clock.utc_ms(), ran_s=n * APART_S) for n in range(known)
    )
    ran_s = (known + 1) * APART_S
    bench.keeper._moves.memory.change(deaths=deaths, life=msgspec.structs.replace(memory.life, ran_s=ran_s))
    os.kill(os.getpid(), signal.SIGKILL)


async def look(bench: AgentBench) -> dict[str, object]:
    """The next life: what it knows, what runs, and what was told."""
    await bench.open()
    told = [e for e in bench.events() if e.data.get("state") == "rolled-back"]
    return {
        "running": running(bench)[0],
        "hours": len(bench.keeper.memory.deaths),
        "ends": sum(death.times for death in bench.keeper.memory.deaths),
        "damage": bench.keeper._moves.memory.damage,
        "reasons": sorted({str(e.data["reason"]) for e in told}),
        "rollbacks": len({e.id for e in told}),
    }


def a_life(folder: Path, *, hours: float) -> AgentBench:
    """One that begins so long after the first, by every clock and by the samples' own times."""
    bench = AgentBench(folder)
    bench.clock.advance(hours * 3_600)
    bench.next_seq, bench.next_ms = 10_000, bench.next_ms + round(hours * 3_600_000)
    return bench


def main(folder: Path, known: int) -> None:
    """Kill at step 1, 2, 3 … until nothing is left to be killed in."""
    base = folder / "template"
    base.mkdir()
    assert os.WTERMSIG(in_child(lambda: asyncio.run(template(base, known)))) == signal.SIGKILL
    for step in range(1, MOST_STEPS):
        at = folder / f"at-{step}"
        shutil.copytree(base, at, symlinks=True)

        def killed(at: Path = at, step: int = step) -> None:
            bench = a_life(at, hours=3)
            Kill(step).arm()
            asyncio.run(bench.open())

        status = in_child(killed)
        if not os.WIFSIGNALED(status):
            assert os.WEXITSTATUS(status) == 0, f"failed by itself before step {step}"
            print(json.dumps({"steps": step - 1}))
            return
        assert os.WTERMSIG(status) == signal.SIGKILL

        def looked(at: Path = at) -> None:
            print(json.dumps(asyncio.run(look(a_life(at, hours=3.1)))))

        assert in_child(looked) == 0, f"the life after a kill at step {step} failed"
        shutil.rmtree(at)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
