"""Runs a move of a model again and again, each time killed with -9 one step later.

`python tests/support/model_kills.py FOLDER update|rollback|crash` prints one JSON line per kill: what the
next life found. With `test` the test of an arriving model kills, and a line stands for each life. Each life
is a forked child of its own, so the kill is a real one.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_agent.agent.inference import intake
from edge_agent.agent.inference.probe import ProbeReport, ProbeRequest
from edge_agent.agent.inference.transitions import MAX_STARTS
from edge_agent.agent.store.database import Store
from support.agent import make_assignment
from support.agent_bench import AgentBench
from support.model_bench import DATA, DATA2, V1, V2, give, place, running, two_versions

RETAINED = make_assignment(V2, counter=2)
MOST_STEPS = 400


class Kill:
    """SIGKILL to ourselves before the nth step that changes something outside this process's memory."""

    def __init__(self, at: int) -> None:
        self._left = at
        self.steps: list[str] = []

    def arm(self) -> None:
        for owner, name in (
            (os, "fsync"),
            (Path, "replace"),
            (Path, "symlink_to"),
            (Path, "mkdir"),
            (Path, "unlink"),
            (shutil, "rmtree"),
            (Store, "commit"),
            (AgentBench, "send"),
        ):
            setattr(owner, name, self._before(name, getattr(owner, name)))

    def _before(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                os.write(1, json.dumps({"step": name}).encode() + b"\n")
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return stepped


async def tested(_request: ProbeRequest) -> ProbeReport:
    """The child is not what is killed here, and it has tests of its own."""
    return ProbeReport(why="")


async def killing(_request: ProbeRequest) -> ProbeReport:
    """A test that takes the agent down with it."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still here")


async def template(folder: Path, stage: str) -> AgentBench:
    """V1 acts; for a rollback V2 has just taken over from it, for a crash it stood in the shadow."""
    bench = AgentBench(folder)
    await bench.open()
    if stage == "rollback":
        await two_versions(bench)
    else:
        await bench.steps(4)
        await place(bench, make_assignment(V1, counter=1), DATA)
        await bench.steps(8)
    if stage == "crash":
        await place(bench, RETAINED, DATA2)
    bench.close()
    if stage == "crash":
        bench.keeper._moves.memory.change(starts=MAX_STARTS)
    return bench


async def act(bench: AgentBench, stage: str) -> None:
    """What is killed somewhere on its way."""
    await bench.open()
    if stage == "rollback":
        await bench.keeper.rollback("operator")
        return
    if stage == "crash":
        assert running(bench) == (1, None), "the start itself drops the candidate"
        return
    loop = asyncio.create_task(bench.keeper.run())
    await give(bench, RETAINED, DATA2)
    await bench.steps(4)
    assert running(bench) == (2, None)
    loop.cancel()


async def look(bench: AgentBench, stage: str) -> dict[str, object]:
    """The next life: what it finds, and where it ends when it goes on as it would."""
    await bench.open()
    slots = bench.slots.current()
    active = bench.keeper.engine.active
    found: dict[str, object] = {
        "active": running(bench)[0],
        "candidate": running(bench)[1],
        "slot_is_engine": active is not None and slots.active == active.ref.sha256,
        "loadable": all(
            bench.slots.load(s).data for s in (slots.active, slots.candidate, slots.previous) if s
        ),
        "generations": len(list(bench.slots.folder.glob("slots.[0-9]*"))),
        "leaving": bench.keeper.memory.leaving is not None,
    }
    await bench.steps(4)
    found["scores"] = bench.cycle.miners
    if stage == "rollback":
        if running(bench)[0] == 2:
            await bench.keeper.rollback("operator")  # nobody was told that the first one worked
        await bench.keeper.offer(RETAINED)
        await bench.steps(4)
    elif stage == "crash":
        await bench.keeper.offer(RETAINED)
        found["taken_again"] = bench.keeper._offer is not None
        await bench.steps(4)
    else:
        loop = asyncio.create_task(bench.keeper.run())
        await bench.keeper.offer(RETAINED)
        if running(bench) == (1, None):
            await give(bench, RETAINED, DATA2)
        await asyncio.sleep(0.05)  # an offer of what is in the shadow already is taken up
        await bench.steps(5)
        loop.cancel()
    found["end"] = running(bench)
    version = 2
    told = [e for e in bench.events() if e.data.get("version") == version]
    found["told"] = sorted({str(e.data["state"]) for e in told})
    found["refusals"] = len({e.id for e in told if e.data["state"] == "refused"})
    found["innocent"] = not any(
        e.data["state"] == "rolled-back" for e in bench.events() if e.data.get("version") == 1
    )
    bench.close()
    return found


async def offered(bench: AgentBench) -> dict[str, object]:
    """A life in which the broker hands out what it retains."""
    await bench.open()
    loop = asyncio.create_task(bench.keeper.run())
    await give(bench, RETAINED, DATA2, until_state="refused")
    why = str(bench.events()[-1].data["why"])
    await bench.keeper.offer(RETAINED)
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    found = {"why": why, "end": running(bench), "taken_again": bench.keeper._offer is not None}
    bench.close()
    return found


def in_child(work: Callable[[], None]) -> int:
    """Run it in a fork; the raw wait status."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            sys.stdout.flush()
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def _make(base: Path, stage: str) -> None:
    asyncio.run(template(base, stage))


def main(folder: Path, stage: str) -> None:
    """Kill at step 1, 2, 3 … until nothing is left to be killed in."""
    vars(intake)["probe"] = tested
    base = folder / "template"
    base.mkdir()
    before = None

    def later() -> AgentBench:
        """The clock and the samples of a later life."""
        assert before is not None
        before.ring, before.next_seq, before.next_ms = [], before.next_seq + 10_000, before.next_ms + 60_000
        before.clock.advance(60.0)
        return before

    # In a fork too, so that no thread of it lives on here; what it knew of clock and samples is fixed.
    assert in_child(lambda: _make(base, stage)) == 0
    before = AgentBench(folder)
    before.close()
    before.next_seq, before.next_ms = 10_000, before.next_ms + 600_000
    before.clock.advance(600.0)
    if stage == "test":
        vars(intake)["probe"] = killing
        for _ in range(MOST_STEPS):
            status = in_child(
                lambda: print(json.dumps(asyncio.run(offered(AgentBench(base, before=later())))))
            )
            if not os.WIFSIGNALED(status):
                assert os.WEXITSTATUS(status) == 0, "failed by itself"
                return
            print(json.dumps({"killed": os.WTERMSIG(status)}))
    for step in range(1, MOST_STEPS):
        at = folder / f"at-{step}"
        shutil.copytree(base, at, symlinks=True)

        def killed(at: Path = at, step: int = step) -> None:
            bench = AgentBench(at, before=before)
            Kill(step).arm()
            asyncio.run(act(bench, stage))

        status = in_child(killed)
        if not os.WIFSIGNALED(status):
            assert os.WEXITSTATUS(status) == 0, f"failed by itself before step {step}"
            print(json.dumps({"steps": step - 1}))
            return
        assert os.WTERMSIG(status) == signal.SIGKILL

        def looked(at: Path = at, step: int = step) -> None:
            print(json.dumps({"at": step, **asyncio.run(look(AgentBench(at, before=later()), stage))}))

        assert in_child(looked) == 0, f"the life after a kill at step {step} failed"
        shutil.rmtree(at)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
