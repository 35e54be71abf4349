"""F24: kill -9 at every step of an update, a rollback or a crash's end leaves exactly one valid version."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_agent.agent.inference.intake import MAX_TRIES

pytestmark = pytest.mark.slow
REPO = Path(__file__).resolve().parents[3]


async def lines(folder: Path, stage: str) -> list[dict[str, Any]]:
    """What the script prints."""
    env = os.environ | {
        "PYTHONPATH": f"{REPO}:{REPO / 'tests'}",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    script = REPO / "tests" / "support" / "model_kills.py"
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(script), str(folder), stage, env=env, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(280):
        out, _ = await child.communicate()
    assert child.returncode == 0, out.decode()[-2000:]
    return [json.loads(line) for line in out.splitlines()]


async def kills(folder: Path, stage: str) -> tuple[list[dict[str, Any]], int]:
    """What each next life found, and how many steps there were to be killed in."""
    printed = await lines(folder, stage)
    return [line for line in printed if "at" in line], printed[-1]["steps"]


def valid(found: dict[str, Any]) -> None:
    """Exactly one version acts, it is the one that the slots name, and every slot can be loaded."""
    assert found["active"] in (1, 2), found
    assert found["slot_is_engine"], found
    assert found["loadable"], found
    assert found["leaving"] is False, found
    assert found["scores"] == 4, "it scores all miners"


async def test_f24_killed_at_every_step_of_an_update(tmp_path: Path) -> None:
    lives, steps = await kills(tmp_path, "update")
    assert len(lives) == steps > 40
    for found in lives:
        valid(found)
        assert found["end"] == [2, None], "the retained assignment leads to the same end"
        assert "active" in found["told"], "and the cloud is told that it acts, though a kill came in between"
    assert {found["active"] for found in lives} == {1, 2}
    assert {found["candidate"] for found in lives} == {None, 2}


async def test_f24_killed_at_every_step_of_a_rollback(tmp_path: Path) -> None:
    lives, steps = await kills(tmp_path, "rollback")
    assert len(lives) == steps > 15
    for found in lives:
        valid(found)
        assert found["end"] == [1, None], "and the retained assignment does not bring the bad one back"
        assert "rolled-back" in found["told"]
    assert {found["active"] for found in lives} == {1, 2}


async def test_f24_killed_at_every_step_of_dropping_a_candidate_that_kills(tmp_path: Path) -> None:
    lives, steps = await kills(tmp_path, "crash")
    assert len(lives) == steps > 10
    for found in lives:
        valid(found)
        assert (found["active"], found["candidate"]) == (1, None), found
        assert found["end"] == [1, None], "the active one is innocent and stays"
        assert found["innocent"], found
        assert found["refusals"] == 1, "told once, however often it was told again"
        assert found["taken_again"] is False, "and the retained assignment does not bring it back"


async def test_a_model_whose_test_takes_the_agent_down_is_refused_after_two_tries(tmp_path: Path) -> None:
    *killed, last = await lines(tmp_path, "test")
    assert killed == [{"killed": signal.SIGKILL}] * MAX_TRIES
    assert last["why"] == "the agent ended 2 times while it tested this model"
    assert last["end"] == [1, None]
    assert last["taken_again"] is False
