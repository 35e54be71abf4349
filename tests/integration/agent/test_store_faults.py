"""The store under the faults that field gateways died of (edge.md §3.1): kills, a full disk, slow fsyncs."""

import asyncio
import multiprocessing
import os
import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edge_agent import ipc
from edge_agent.agent.store.database import Store
from edge_agent.agent.store.frames import read_frames
from edge_agent.agent.store.opening import FILE_NAME, open_store
from edge_agent.agent.store.room import Room
from edge_agent.agent.store.rows import Commit
from edge_agent.config import AgentSettings
from shared.clock import ManualClock, SystemClock
from shared.frames import unpack
from shared.wire import codec
from shared.wire.envelope import Ack
from support.agent import T0, make_site, rollup_row, some_event, sweep
from support.agent_bench import AgentBench, agent_bench
from support.outbox import Cloud, all_explained, drain
from support.processes_disk import SmallDisk, why_not

FORK = multiprocessing.get_context("fork")


# ---------------------------------------------------------------- F01


def test_f01_a_hundred_reconnects_and_changed_settings_lose_no_row(tmp_path: Path) -> None:
    """Others wipe their buffer when a configuration is applied again."""
    told: list[str] = []
    for life in range(100):
        limit = 10**8 if life % 2 else 2 * 10**8  # the site file was changed and changed back
        opened = open_store(tmp_path, ManualClock(), outbox_bytes=limit)
        assert opened.quarantined is None
        store = opened.store
        store.commit(Commit(rollups=(rollup_row(f"m{life}", T0 + 5_000 * life),), events=(some_event(life),)))
        told += [f"m{life}"]
        out = store.fetch(store.waiting()[:20])  # a connection that comes up, sends, and breaks
        store.mark_published(out)
        assert len(store.waiting()) == 2 * (life + 1)
        store.close()
    cloud = Cloud()
    store = open_store(tmp_path, ManualClock(), outbox_bytes=10**8).store
    drain(store, cloud)
    assert sorted(row.device for row in cloud.rows()) == sorted(told)
    assert len(cloud.events()) == 100


# ---------------------------------------------------------------- F02


class Deadly(sqlite3.Connection):
    """Kills its own process with -9 before or after the n-th statement."""

    left = 0
    after = False

    def execute(self, *args: Any, **kwargs: Any) -> sqlite3.Cursor:
        return self._count(super().execute, *args, **kwargs)

    def executemany(self, *args: Any, **kwargs: Any) -> sqlite3.Cursor:
        return self._count(super().executemany, *args, **kwargs)

    def _count(self, call: Any, *args: Any, **kwargs: Any) -> sqlite3.Cursor:
        Deadly.left -= 1
        if Deadly.left == 0 and not Deadly.after:
            os.kill(os.getpid(), signal.SIGKILL)
        cursor = call(*args, **kwargs)
        if Deadly.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return cursor  # type: ignore[no-any-return]  # sqlite3's own cursor


def life(folder: Path, link: Connection, first: int, statements: int, after: bool) -> None:
    """One life of an agent: three commits, each published, acked and deleted; killed at one statement."""
    Deadly.left, Deadly.after = statements, after
    store = Store(
        folder / FILE_NAME,
        ManualClock(),
        outbox_bytes=10**8,
        connect=lambda path: sqlite3.connect(path, isolation_level=None, factory=Deadly),
    )
    for number in range(first, first + 3):
        store.commit(Commit(rollups=(rollup_row("m1", T0 + 5_000 * number, power_w=number),)))
        link.send(number)  # this row is sure
        rows = store.fetch(store.waiting())
        store.mark_published(rows)
        for row in rows:
            link.send(row.body)
        acks = [link.recv() for _ in rows]
        store.apply_acks([codec.decode(ack, Ack) for ack in acks])
    os._exit(0)


def run(folder: Path, cloud: Cloud, first: int, statements: int, *, after: bool, deaf: bool) -> set[int]:
    """A life and its cloud, which is deaf where acks get lost; the rows that the child was sure of."""
    ours, theirs = FORK.Pipe()
    child = FORK.Process(target=life, args=(folder, theirs, first, statements, after))
    child.start()
    theirs.close()
    sure: set[int] = set()
    try:
        while True:
            said = ours.recv()
            if isinstance(said, int):
                sure.add(said)
                continue
            ack = cloud.take(said)
            ours.send(codec.encode(Ack(epoch=ack.epoch, stream=ack.stream, upto=0) if deaf else ack))
    except (EOFError, ConnectionError):
        pass
    child.join(10)
    assert child.exitcode in (0, -signal.SIGKILL)
    killed.append(child.exitcode != 0)
    return sure


killed: list[bool] = []
MOST_STATEMENTS = 240
"""More than a life has that finds little to catch up on."""


def test_f02_killed_at_every_statement_each_row_arrives_once(tmp_path: Path) -> None:
    """kill -9 before and after each statement of opening, recording, publishing, and deleting."""
    cloud, sure = Cloud(), set()
    killed.clear()
    number = 0
    statements = 0
    while statements < MOST_STATEMENTS:
        statements += 1
        for after in (False, True):
            deaf = statements % 3 == 0
            sure |= run(tmp_path, cloud, number, statements, after=after, deaf=deaf)
            number += 3
        if not any(killed[-2:]):
            break
        if statements % 5 == 0:  # one that lives catches up, or what is left would only ever grow
            sure |= run(tmp_path, cloud, number, -1, after=False, deaf=False)
            number += 3
    assert sum(killed) >= 60, "it died at every point of its life"
    assert not killed[-1], "and the last life went through"
    store = Store(tmp_path / FILE_NAME, ManualClock(), outbox_bytes=10**8)
    drain(store, cloud)
    arrived = Counter(int(row.value("power_w_mean") or 0) for row in cloud.rows())
    assert set(arrived.values()) == {1}, "none twice"
    assert sure <= set(arrived), "none lost"
    stored = Counter(int(r.value("power_w_mean") or 0) for frame in store.rollups_since(0) for r in frame)
    assert stored == arrived, "what the cloud has and what the site remembers are the same"


# ---------------------------------------------------------------- F03


def test_f03_what_is_configured_by_default_is_the_durable_store(tmp_path: Path) -> None:
    bare = AgentSettings(status_port=1, shadow_cycles=1, score_every_s=5.0)
    assert bare.outbox_keep_mb >= 512
    assert bare.flush_every_s <= 5.0
    site = make_site(tmp_path)
    store = open_store(Path(site.paths.agent_state), SystemClock(), outbox_bytes=2**20).store
    store.commit(Commit(rollups=(rollup_row("m1", T0),)))
    assert store._one("PRAGMA synchronous") == 2, "FULL"
    # Another process would find it now, without this one having closed anything.
    found = sqlite3.connect(store.path).execute("SELECT count(*) FROM outbox").fetchone()
    assert found == (1,)


# ---------------------------------------------------------------- F05


@pytest.mark.slow
def test_f05_filled_and_drained_the_file_keeps_its_cap_and_gives_room_back(tmp_path: Path) -> None:
    """`MW_F05_MB=1024` for the size of the complaint; smaller by default."""
    cap = int(os.environ.get("MW_F05_MB", "10")) * 2**20
    store = Store(tmp_path / FILE_NAME, ManualClock(), outbox_bytes=cap)
    dice = np.random.default_rng(1)
    minute = T0 - T0 % 60_000
    template = rollup_row("m1", minute)
    step = 0

    def fill(until: int) -> None:
        nonlocal step
        while store.held_bytes < until:
            numbers = dice.uniform(0, 4_000, (500, len(template.values)))
            rows = tuple(
                msgspec.structs.replace(
                    template, device=f"m{n}", at_ms=minute + step * 60_000, step_s=60, values=tuple(row)
                )
                for n, row in enumerate(numbers.tolist())
            )
            store.commit(Commit(rollups=rows))
            store.forget_rollups_before(T0 + 10**12)  # only the outbox is measured
            step += 1

    def size() -> int:
        store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return (tmp_path / FILE_NAME).stat().st_size

    fill(int(cap * 0.88))
    full = size()
    assert full <= cap * 1.1
    for _ in range(20):  # beyond the cap, again and again
        fill(int(cap * 0.88))
        numbers = tuple(
            msgspec.structs.replace(
                template, device=f"x{n}", step_s=60, values=tuple(dice.uniform(0, 1, 36).tolist())
            )
            for n in range(2_000)
        )
        store.commit(Commit(rollups=numbers))
        store.forget_rollups_before(T0 + 10**12)
    assert store.held_bytes <= cap
    batch = 2**20  # 2,000 rows, as roll-up and as batch, are there before anything is dropped for them
    assert size() <= cap * 1.1 + batch, "what was dropped is used again"
    cloud = Cloud()
    drain(store, cloud)
    all_explained(store, cloud)
    drained = size()
    assert drained <= cap * 1.1 + batch
    while store.shrink(2_000):
        pass
    assert size() < 2 * 2**20, "and goes back to the disk"
    fill(int(cap * 0.88))
    assert size() <= full * 1.1


# ---------------------------------------------------------------- F06


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    if why := why_not():
        pytest.skip(why)
    disk = SmallDisk(tmp_path / "small")
    yield disk
    disk.close()


@asynccontextmanager
async def on_disk(disk: SmallDisk, *, outbox_bytes: int) -> AsyncIterator[AgentBench]:
    """The agent's inner parts on a disk of four megabytes, with their reserve."""
    async with agent_bench(disk.path) as bench:
        room = Room(disk.path, bench.store, bench.raw, outbox_bytes=outbox_bytes)
        room.keep()
        bench.records.room = room
        yield bench


async def test_f06_on_a_full_disk_nothing_is_lost_within_memory_and_the_alarm_is_raised(
    small_disk: SmallDisk,
) -> None:
    async with on_disk(small_disk, outbox_bytes=2**20) as b:
        await b.steps(10)
        small_disk.fill()
        leases = len(b.said(ipc.Lease))
        for _ in range(12):
            await b.steps(10, cycle=False)
            await b.cycle.once()
        assert len(b.said(ipc.Lease)) == leases + 12, "the lease goes on"
        small_disk.free()
        await b.steps(20)
        rows = Counter((row.device, row.at_ms) for row in b.rollups())
        assert set(rows.values()) == {1}
        steps = {at_ms for _, at_ms in rows}
        assert len(steps) == (max(steps) - min(steps)) // 5_000 + 1, "no step is missing"
        alarms = [(e.kind, e.key) for e in b.events() if e.key == "disk-refuses"]
        assert alarms[:2] == [("alarm", "disk-refuses"), ("alarm-cleared", "disk-refuses")]
        assert not [e for e in b.events() if e.key == "rows-lost"]


@pytest.mark.slow
async def test_f06_a_disk_that_stays_full_costs_raw_first_and_then_explained_telemetry(
    small_disk: SmallDisk,
) -> None:
    """Nobody comes to make room: the agent lives on what it has, and says what it gave up."""
    async with on_disk(small_disk, outbox_bytes=2**30) as b:
        b.raw._segment_bytes = 40_000
        await b.steps(150)
        small_disk.fill()
        for _ in range(150):
            await b.steps(4, cycle=False)
        oldest = min(s.seq for f in read_frames(b.raw.files()[0]) for s in unpack(f))
        assert oldest > 1, "the oldest raw samples made room"
        alarm = next(e for e in b.events() if e.key == "disk-refuses")
        assert alarm.kind == "alarm", "recorded although the disk is full: the reserve was for that"
        assert not [e for e in b.events() if e.key == "rows-lost"]
        stored = {row.at_ms for frame in b.store.rollups_since(0) for row in frame}
        assert max(stored) >= b.next_ms - 200_000, "what is new is still recorded"
        small_disk.free()
        await b.steps(20)
        cloud = Cloud()
        drain(b.store, cloud)
        all_explained(b.store, cloud)


@pytest.mark.slow
async def test_f06_without_raw_samples_to_delete_the_outbox_itself_shrinks(small_disk: SmallDisk) -> None:
    async with on_disk(small_disk, outbox_bytes=2**30) as b:
        b.raw._keep_bytes, b.raw._segment_bytes = 10_000, 2_000
        await b.steps(400, cycle=False)
        before = b.store.held_bytes
        for _ in range(30):
            small_disk.fill()  # whoever filled it takes what we give up as well
            await b.steps(20, cycle=False)
        assert b.store.held_bytes < before * 1.5
        newest = max(row.at_ms for frame in b.store.rollups_since(0) for row in frame)
        assert newest >= b.next_ms - 600_000, "what is new is still recorded"
        small_disk.free()
        await b.steps(20)
        cloud = Cloud()
        drain(b.store, cloud)
        all_explained(b.store, cloud)
        assert {stone.reason for stone in cloud.stones} <= {"thinned", "outbox full"}
        assert cloud.explained("rollup") > 0


# ---------------------------------------------------------------- F08


_never = threading.Event()
_dice = random.Random(8)


def _hang() -> None:
    """50 to 500 ms, in the thread that asked for it."""
    _never.wait(_dice.uniform(0.05, 0.5))


class SlowDisk(sqlite3.Connection):
    """Every commit takes as long as a microSD card's worst fsync."""

    def execute(self, sql: str, *args: Any, **kwargs: Any) -> sqlite3.Cursor:
        if sql == "COMMIT":
            _hang()
        return super().execute(sql, *args, **kwargs)


@pytest.mark.slow
async def test_f08_slow_fsyncs_lose_no_sample_and_hold_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = os.fsync

    def fsync(handle: int) -> None:
        _hang()
        plain(handle)

    monkeypatch.setattr("edge_agent.agent.store.frames.os.fsync", fsync)

    def connect(path: Path) -> sqlite3.Connection:
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=SlowDisk)

    async with agent_bench(tmp_path, connect=connect) as b:
        late: list[float] = []

        async def beat() -> None:
            """Whoever shares the loop with the store: the policy cycle, the lease, the local page."""
            while True:
                before = time.monotonic()
                await asyncio.sleep(0.02)
                late.append(time.monotonic() - before - 0.02)

        async def poll() -> None:
            """A sweep every 50 ms, whatever the disk does."""
            for _ in range(80):
                samples = tuple(sweep(b.next_seq, b.next_ms))
                b.next_seq += 4
                b.next_ms += 2_500
                await b.pipeline.handle(ipc.Samples(boot="boot-1", samples=samples))
                await asyncio.sleep(0.05)

        async def flush() -> None:
            while True:
                await b.pipeline.flush()
                await asyncio.sleep(0.05)

        helpers = [asyncio.create_task(beat()), asyncio.create_task(flush())]
        await poll()
        for task in helpers:
            task.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)
        b.pipeline._raw_due_s = 0.0
        await b.pipeline.flush()
        # A loop that waits is late by 0.05 to 0.5 s at a third of its beats; a busy machine at a few.
        assert sorted(late)[int(len(late) * 0.9)] < 0.15, "the loop never waits for the disk"
        raw = [s.seq for p in b.raw.files() for f in read_frames(p) for s in unpack(f)]
        assert raw == list(range(1, 321)), "each sample is on file, once"
        rows = b.rollups()
        assert {row.samples for row in rows} == {2}
        assert len(rows) == len({(row.device, row.at_ms) for row in rows}) == 4 * 39
