"""The whole agent on a damaged store: it starts, the cloud hears of it, and what still opens arrives."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.agent.app import Agent
from edge_agent.agent.store.database import StoreDamaged
from edge_agent.agent.store.frames import ASIDE, read_frames
from edge_agent.agent.store.opening import FILE_NAME
from edge_agent.agent.store.rows import Commit
from shared.clock import SystemClock
from support.agent import KEYS, T0, rollup_row
from support.agent_world import world

PAGE = 4096


async def until(what: Callable[[], bool]) -> None:
    """Wait for something without letting the cloud answer."""
    async with asyncio.timeout(15):
        while not what():
            await asyncio.sleep(0.02)


@pytest.mark.slow
async def test_f07_the_agent_starts_on_a_damaged_store_and_says_so(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        async with w.running() as agent:
            path = agent.records.store.path
            await until(lambda: agent.view.guardian_connected)
            for _ in range(12):
                before = agent.view.rows_taken
                await w.poll(4)
                await until(lambda before=before: agent.view.rows_taken > before)
            epoch = agent.records.store.epoch
        data = bytearray(path.read_bytes())
        full = [n for n in range(3, len(data) // PAGE) if b"rollup" in data[n * PAGE : (n + 1) * PAGE]]
        hit = full[-1]
        data[hit * PAGE : (hit + 1) * PAGE] = bytes(PAGE)
        path.write_bytes(data)
        async with w.running() as agent:
            assert agent.opened.quarantined is not None
            assert agent.opened.salvaged is not None
            assert agent.opened.salvaged.batches > 3
            await w.until(lambda: not agent.records.store.waiting())
            alarm = next(e for e in w.cloud.events if e.key == "store-corrupt")
            assert (alarm.kind, alarm.severity) == ("alarm", "high")
            assert alarm.data["batches"] == agent.opened.salvaged.batches
            assert any(key == (epoch, "rollup") for key in w.cloud.ledger), "what opens keeps its numbers"
            keys = [(row.device, row.at_ms) for row in w.cloud.rollups]
            assert len(keys) == len(set(keys))
            await w.poll(6)
            seen = len(w.cloud.rollups)
            await w.until(lambda: len(w.cloud.rollups) > seen)


@pytest.mark.slow
async def test_f07_a_flipped_byte_in_raw_samples_costs_one_frame_and_is_an_alarm(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        async with w.running() as agent:
            await until(lambda: agent.view.guardian_connected)
            for _ in range(6):
                before = agent.view.rows_taken
                await w.poll(4)
                await until(lambda before=before: agent.view.rows_taken > before)
            [path] = agent.records.raw.files()
        frames = len(list(read_frames(path)))
        data = bytearray(path.read_bytes())
        data[20] ^= 0xFF
        path.write_bytes(data)
        async with w.running() as agent:
            assert len(list(read_frames(path))) >= frames - 1
            await w.until(lambda: any(e.key == "raw-corrupt" for e in w.cloud.events))
            alarm = next(e for e in w.cloud.events if e.key == "raw-corrupt")
            assert (alarm.kind, alarm.severity) == ("alarm", "high")
            assert (alarm.data["file"], alarm.data["places"], alarm.data["saved"]) == (
                path.name,
                1,
                frames - 1,
            )
            assert path.with_name(path.name + ASIDE).read_bytes() == bytes(data)


async def test_f07_damage_that_shows_while_it_runs_ends_the_agent_for_a_fresh_start(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        agent = Agent(w.site, clock=SystemClock(), transport=w.broker, keyring=KEYS.ring)
        await agent.open()
        store = agent.records.store
        task = asyncio.create_task(agent.run(asyncio.Event()))
        await until(lambda: agent.view.guardian_connected)

        class Broken(sqlite3.Connection):
            def execute(self, *_: object) -> sqlite3.Cursor:
                error = sqlite3.DatabaseError("database disk image is malformed")
                error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
                raise error

        plain, store._db = store._db, Broken(":memory:")
        with pytest.raises(StoreDamaged):
            await agent.records.commit(Commit(rollups=(rollup_row("m01", T0),)))
        store._db = plain
        async with asyncio.timeout(10):
            await task
        assert agent.records.damaged.is_set()
        assert (tmp_path / "agent" / FILE_NAME).exists()
