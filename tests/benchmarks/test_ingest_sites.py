"""What a million rows cost as the number of sites grows: 1, 10, 100 simulated senders, the same rows in all.

Each sender is a site of 200 miners whose steps come as batches of their own, dealt in turn as a broker does.
The ingest loop takes them as they are; the peer copies the same rows, 16,000 at a time, with nothing to
check, no ledger and no newest row of each device.
"""

import asyncio
import itertools
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
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
from support.benchmark import Line, Turns

MINERS = 200
MESSAGES = 400
"""Per turn: 80,000 rows."""
TURNS = 3
GROUP = 16_000
STEP_S = 60
START_MS = 1_780_000_000_000 // 86_400_000 * 86_400_000
SITES = (1, 10, 100)
Records = list[tuple[Any, ...]]


class Fleet:
    """Sites that send one step after another."""

    def __init__(self, sites: int) -> None:
        self._rng = np.random.default_rng(3)
        self._turn = itertools.cycle([SiteId(f"site-{number:03d}") for number in range(sites)])
        self._steps = {f"site-{number:03d}": itertools.count(1) for number in range(sites)}

    def message(self) -> tuple[str, bytes, Records]:
        """Topic, payload, and the same rows as the peer writes them."""
        site = next(self._turn)
        seq = next(self._steps[site])
        numbers = self._rng.uniform(50.0, 3_500.0, (MINERS, 23)).round(2).tolist()
        rows = [
            RollupRow(
                device=DeviceId(f"m-{i:04d}"),
                at_ms=START_MS + seq * STEP_S * 1000,
                step_s=STEP_S,
                samples=6,
                failed=0,
                quality=Quality.GOOD,
                values=(*numbers[i], *(None,) * (len(COLUMN_NAMES) - 23)),
                algorithm=Algorithm.SHA256D,
                state=MinerState.MINING,
                preset="2970",
            )
            for i in range(MINERS)
        ]
        body = Batch(
            epoch="bench",
            stream=topics.TELEMETRY_STREAM,
            seq=seq,
            from_ms=rows[0].at_ms,
            to_ms=rows[-1].at_ms,
            count=len(rows),
            rows=msgspec.Raw(msgspec.msgpack.encode(rows)),
            columns=COLUMN_NAMES,
        )
        payload = codec.encode(body, compress=True)
        return topics.telemetry(site), payload, [to_record(site, row) for row in rows]


async def _taken(ingest: Ingest, messages: Sequence[tuple[str, bytes, Records]]) -> None:
    wanted = ingest.counters.new_rows + len(messages) * MINERS
    for topic, payload, _ in messages:
        ingest.offer(Arrival(topic=topic, payload=payload, mid=1, qos=1, generation=1))
    while ingest.counters.new_rows < wanted:
        await asyncio.sleep(0.001)


async def _per_million(work: Awaitable[None]) -> float:
    """Seconds for a million rows at this pace."""
    began = time.perf_counter()
    await work
    return (time.perf_counter() - began) / (MESSAGES * MINERS) * 1e6


async def _measure(url: str, sites: int, write: Callable[[Records], Awaitable[None]]) -> Turns:
    database, clock, fleet = Database(url), SystemClock(), Fleet(sites)
    await runner.upgrade(database)
    ingest = Ingest(
        Sink(),  # type: ignore[arg-type]  # has what ingest uses
        Committer(database, store_for(database), clock),
        clock,
        on_changes=lambda _changes: None,
        on_wanted=lambda _wanted: None,
    )
    task = asyncio.create_task(ingest.run())
    ours: list[float] = []
    peers: list[float] = []
    for turn in range(TURNS + 1):
        messages = [fleet.message() for _ in range(MESSAGES)]
        flat = list(itertools.chain.from_iterable(records for _, _, records in messages))

        async def peer(flat: Records = flat) -> None:
            for start in range(0, len(flat), GROUP):
                await write(flat[start : start + GROUP])

        mine, theirs = await _per_million(_taken(ingest, messages)), await _per_million(peer())
        if turn:
            ours.append(mine)
            peers.append(theirs)
    task.cancel()
    counters = ingest.counters
    assert counters.new_rows == (TURNS + 1) * MESSAGES * MINERS
    assert counters.duplicates == counters.quarantined == counters.failed_commits == 0
    await database.close()
    return Turns(ours=tuple(ours), peers=tuple(peers))


@pytest.mark.parametrize("sites", SITES)
async def test_cost_by_sites_sqlite(tmp_path: Path, report: Callable[[Line], None], sites: int) -> None:
    raw = sqlite3.connect(tmp_path / "raw.sqlite", isolation_level=None)
    raw.execute("PRAGMA journal_mode=WAL")
    raw.execute("PRAGMA synchronous=FULL")
    raw.execute(
        f"CREATE TABLE rollup ({', '.join(COLUMNS)}, PRIMARY KEY (site, device, at_ms)) WITHOUT ROWID"
    )

    async def write(records: Records) -> None:
        raw.execute("BEGIN IMMEDIATE")
        raw.executemany(f"INSERT INTO rollup VALUES ({', '.join('?' * len(COLUMNS))})", records)
        raw.execute("COMMIT")

    turns = await _measure(f"sqlite+aiosqlite:///{tmp_path / 'ours.sqlite'}", sites, write)
    raw.close()
    peer = "sqlite3 executemany, WAL, synchronous=FULL"
    report(turns.line("ingest cost of a million rows, sqlite", unit="s", peer=peer, n=sites))


@pytest.mark.skipif(postgres.why_not() is not None, reason=str(postgres.why_not()))
@pytest.mark.parametrize("sites", SITES)
async def test_cost_by_sites_postgresql(report: Callable[[Line], None], sites: int) -> None:
    with durable_server() as port:
        raw = await asyncpg.connect(host="127.0.0.1", port=port, user="tester", database="postgres")
        await raw.execute("CREATE DATABASE ours")
        await raw.execute(plain_table())

        async def write(records: Records) -> None:
            await raw.copy_records_to_table("plain", records=records, columns=COLUMNS)

        turns = await _measure(f"postgresql+asyncpg://tester@127.0.0.1:{port}/ours", sites, write)
        await raw.close()
    peer = "COPY into a plain table, fsync on"
    report(turns.line("ingest cost of a million rows, postgresql", unit="s", peer=peer, n=sites))
