"""Rows per second from bytes on the wire to committed rows with their ledger, against the bare database.

Ours is the ingest loop itself: it decodes and checks each batch, writes the rows so that a repeat changes
nothing, notes the batch in the ledger, keeps each device's newest row, marks the hour, commits, and says so.
The peers only write: `executemany` into the same table (SQLite), COPY into one table with the same key
(PostgreSQL; the table of scale.md D.1 had its index too), and COPY into a table without any key, as the limit
of the machine. Both sides commit durably after the same number of rows: a step of a site of 1,000
miners alone (`n` 1,000, a site that is up to date), and sixteen of them together (`n` 16,000, what the loop
makes of a queue: a backlog that drains, or many sites).
"""

import asyncio
import itertools
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # ships no types
import msgspec
import numpy as np
import pytest

from cloud.ingest.committer import Committer
from cloud.ingest.service import Arrival, Ingest
from cloud.kit.database import Database
from cloud.migrations import runner
from cloud.timeseries.choose import store_for
from cloud.timeseries.rows import COLUMNS, to_record
from shared.clock import SystemClock
from shared.ids import DeviceId, SiteId
from shared.telemetry import COLUMN_NAMES, MinerState, Quality, RollupRow
from shared.units import Algorithm
from shared.wire import codec, topics
from shared.wire.envelope import Batch
from support import postgres
from support.bench_ingest import Sink, durable_server, plain_table
from support.benchmark import REPEATS, Line, Turns

SITE = SiteId("north")
PER_BATCH = 1_000
GROUP = 16
BATCHES = 64
"""Per turn."""
STEP_S = 60
EPOCH = "bench"
START_MS = 1_780_000_000_000 // 86_400_000 * 86_400_000
Records = list[tuple[Any, ...]]


def _steps() -> Iterator[list[RollupRow]]:
    """One step after another of 1,000 miners; 23 of 36 numbers known."""
    rng = np.random.default_rng(11)
    unknown: tuple[float | None, ...] = (None,) * (len(COLUMN_NAMES) - 23)
    for step in itertools.count():
        numbers = rng.uniform(50.0, 3_500.0, (PER_BATCH, 23)).round(2)
        yield [
            RollupRow(
                device=DeviceId(f"m-{i:04d}"),
                at_ms=START_MS + step * STEP_S * 1000,
                step_s=STEP_S,
                samples=6,
                failed=0,
                quality=Quality.ESTIMATED,
                values=(*numbers[i].tolist(), *unknown),
                algorithm=Algorithm.SHA256D,
                state=MinerState.MINING,
                preset="2970",
            )
            for i in range(PER_BATCH)
        ]


def _payload(rows: Sequence[RollupRow], seq: int) -> bytes:
    body = Batch(
        epoch=EPOCH,
        stream=topics.TELEMETRY_STREAM,
        seq=seq,
        from_ms=rows[0].at_ms,
        to_ms=rows[-1].at_ms,
        count=len(rows),
        rows=msgspec.Raw(msgspec.msgpack.encode(rows)),
        columns=COLUMN_NAMES,
    )
    return codec.encode(body, compress=True)


def _loop(database: Database) -> Ingest:
    clock = SystemClock()
    return Ingest(
        Sink(),  # type: ignore[arg-type]  # has what ingest uses
        Committer(database, store_for(database), clock),
        clock,
        on_changes=lambda _changes: None,
        on_wanted=lambda _wanted: None,
    )


async def _fed(ingest: Ingest, payloads: Sequence[bytes], *, at_once: bool) -> None:
    """Hand over messages as paho's thread does, and wait until their rows are committed."""
    before = ingest.counters.new_rows
    for number, payload in enumerate(payloads, start=1):
        ingest.offer(Arrival(topic=topics.telemetry(SITE), payload=payload, mid=1, qos=1, generation=1))
        while not at_once and ingest.counters.new_rows < before + number * PER_BATCH:
            await asyncio.sleep(0.0002)
    while ingest.counters.new_rows < before + len(payloads) * PER_BATCH:
        await asyncio.sleep(0.0005)


async def _rows_per_s(work: Awaitable[None]) -> float:
    began = time.perf_counter()
    await work
    return BATCHES * PER_BATCH / (time.perf_counter() - began)


async def _in_turns(url: str, write: Callable[[Records], Awaitable[None]], *, at_once: bool) -> Turns:
    """Ours and the peer on the same rows, in turns."""
    database, steps = Database(url), _steps()
    await runner.upgrade(database)
    ingest = _loop(database)
    task = asyncio.create_task(ingest.run())
    ours: list[float] = []
    peers: list[float] = []
    seq = 0
    for turn in range(REPEATS + 1):
        batches = [next(steps) for _ in range(BATCHES)]
        wire = [_payload(rows, seq + number + 1) for number, rows in enumerate(batches)]
        seq += BATCHES
        records = [[to_record(SITE, row) for row in rows] for rows in batches]
        size = GROUP if at_once else 1
        groups = [list(itertools.chain(*records[start : start + size])) for start in range(0, BATCHES, size)]

        async def peer(groups: list[Records] = groups) -> None:
            for group in groups:
                await write(group)

        mine, theirs = await _rows_per_s(_fed(ingest, wire, at_once=at_once)), await _rows_per_s(peer())
        if turn:  # the first warms caches and makes partitions
            ours.append(mine)
            peers.append(theirs)
    task.cancel()
    async with database.read() as session:
        assert await store_for(database).count(session, SITE) == (REPEATS + 1) * BATCHES * PER_BATCH
    assert ingest.counters.duplicates == ingest.counters.quarantined == ingest.counters.failed_commits == 0
    await database.close()
    return Turns(ours=tuple(ours), peers=tuple(peers))


@pytest.mark.parametrize("at_once", [False, True])
async def test_ingest_sqlite(tmp_path: Path, report: Callable[[Line], None], at_once: bool) -> None:
    raw = sqlite3.connect(tmp_path / "raw.sqlite", isolation_level=None)
    raw.execute("PRAGMA journal_mode=WAL")
    raw.execute("PRAGMA synchronous=FULL")
    raw.execute(
        f"CREATE TABLE rollup ({', '.join(COLUMNS)}, PRIMARY KEY (site, device, at_ms)) WITHOUT ROWID"
    )
    insert = f"INSERT INTO rollup VALUES ({', '.join('?' * len(COLUMNS))})"

    async def write(records: Records) -> None:
        raw.execute("BEGIN IMMEDIATE")
        raw.executemany(insert, records)
        raw.execute("COMMIT")

    turns = await _in_turns(f"sqlite+aiosqlite:///{tmp_path / 'ours.sqlite'}", write, at_once=at_once)
    assert raw.execute("SELECT count(*) FROM rollup").fetchone() == ((REPEATS + 1) * BATCHES * PER_BATCH,)
    raw.close()
    n = PER_BATCH * (GROUP if at_once else 1)
    report(turns.line("ingest sqlite", unit="rows/s", peer="sqlite3 executemany, WAL, synchronous=FULL", n=n))


@pytest.mark.skipif(postgres.why_not() is not None, reason=str(postgres.why_not()))
@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("at_once", [False, True])
async def test_ingest_postgresql(report: Callable[[Line], None], at_once: bool, keyed: bool) -> None:
    with durable_server() as port:
        raw = await asyncpg.connect(host="127.0.0.1", port=port, user="tester", database="postgres")
        await raw.execute("CREATE DATABASE ours")
        await raw.execute(plain_table(keyed=keyed))

        async def write(records: Records) -> None:
            await raw.copy_records_to_table("plain", records=records, columns=COLUMNS)

        turns = await _in_turns(f"postgresql+asyncpg://tester@127.0.0.1:{port}/ours", write, at_once=at_once)
        assert await raw.fetchval("SELECT count(*) FROM plain") == (REPEATS + 1) * BATCHES * PER_BATCH
        await raw.close()
    n = PER_BATCH * (GROUP if at_once else 1)
    peer = f"COPY into one table {'with the same key' if keyed else 'without a key'}, fsync on"
    name = "ingest postgresql" if keyed else "ingest postgresql beside a table without a key"
    report(turns.line(name, unit="rows/s", peer=peer, n=n))
