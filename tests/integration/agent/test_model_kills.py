"""F24: kill -9 at every step of an update and of a rollback ends in exactly one valid version."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
REPO = Path(__file__).resolve().parents[3]


async def kills(folder: Path, stage: str) -> tuple[list[dict[str, Any]], int]:
    """What each next life found, and how many steps there were to be killed in."""
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
    lines = [json.loads(line) for line in out.splitlines()]
    return [line for line in lines if "at" in line], lines[-1]["steps"]


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
