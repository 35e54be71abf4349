"""Kill -9 while an end is noted: at most one is lost, and what follows from it is told once."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_agent.agent.inference.lives import MAX_HOURS

pytestmark = pytest.mark.slow
REPO = Path(__file__).resolve().parents[3]


async def kills(folder: Path, known: int) -> tuple[list[dict[str, Any]], int]:
    """What each next life found, and how many steps there were to be killed in."""
    env = os.environ | {
        "PYTHONPATH": f"{REPO}:{REPO / 'tests'}",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    script = Path(__file__).with_name("death_kills.py")
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(script), str(folder), str(known), env=env, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(280):
        out, _ = await child.communicate()
    assert child.returncode == 0, out.decode()[-2000:]
    *found, last = [json.loads(line) for line in out.splitlines() if b'"step":' not in line]
    return found, last["steps"]


async def test_killed_at_every_step_of_noting_an_end_at_most_one_is_lost(tmp_path: Path) -> None:
    known = MAX_HOURS - 3
    lives, steps = await kills(tmp_path, known)
    assert len(lives) == steps >= 3, "open, sync, rename, sync"
    for found in lives:
        assert found["damage"] == "", found
        assert found["running"] == 1, found
        assert found["hours"] == known + 1, found
        assert found["ends"] in (known + 1, known + 2), "of two ends within minutes one may go unseen"
    assert {found["ends"] for found in lives} == {known + 1, known + 2}


async def test_killed_at_every_step_of_taking_the_model_away_for_it_it_goes_and_is_told_once(
    tmp_path: Path,
) -> None:
    lives, steps = await kills(tmp_path, MAX_HOURS - 1)
    assert len(lives) == steps > 10
    for found in lives:
        assert found["running"] is None, found
        assert found["reasons"] == ["crash"], found
        assert found["rollbacks"] == 1, found
        assert found["hours"] == 0, found
