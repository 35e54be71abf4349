"""Rows per second from bytes on the wire to committed rows with their ledger, against the bare database.

Ours decodes and checks each batch, writes the rows so that a repeat changes nothing, notes the batch in the
ledger, keeps each device's newest row, and commits. The peers only write: `executemany` into the same table
(SQLite), COPY into a plain table without key or partition (PostgreSQL). Both commit durably per batch.
"""

import itertools
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # ships no types
import msgspec
import numpy as np
import pytest

from cloud.ingest.committer import Committer
from cloud.ingest.decoding import decode
from cloud.kit.database import Database
from cloud.migrations import runner
from cloud.migrations.versions.v0001_series import NUMBERS
from cloud.timeseries.choose import store_for
from cloud.timeseries.rows import COLUMNS, to_record
from shared.clock import SystemClock
from shared.ids import DeviceId, SiteId
from shared.telemetry import COLUMN_NAMES, MinerState, Quality, RollupRow
from shared.units import Algorithm
from shared.wire import codec, topics
from shared.wire.envelope import Batch
from support import postgres
from support.benchmark import REPEATS, Line, Turns
from support.cloud import free_port

SITE = SiteId("north")
PER_BATCH = 1_000
BATCHES = 5
"""Per turn; each is a step of a site of 1,000 miners."""
STEP_S = 60
EPOCH = "bench"
START_MS = 1_780_000_000_000 // 86_400_000 * 86_400_000
Work = Callable[[], Awaitable[None]]


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


async def _rows_per_s(work: Work) -> float:
    began = time.perf_counter()
    await work()
    return BATCHES * PER_BATCH / (time.perf_counter() - began)


async def _in_turns(url: str, peer: Callable[[list[list[tuple[Any, ...]]]], Work]) -> Turns:
    """Ours and the peer on the same rows, in turns."""
    database, clock, steps = Database(url), SystemClock(), _steps()
    await runner.upgrade(database)
    committer = Committer(database, store_for(database), clock)
    ours: list[float] = []
    peers: list[float] = []
    seq = 0
    for turn in range(REPEATS + 1):
        batches = [next(steps) for _ in range(BATCHES)]
        wire = [_payload(rows, seq + number + 1) for number, rows in enumerate(batches)]
        seq += BATCHES

        async def commit(payloads: list[bytes] = wire) -> None:
            for payload in payloads:
                message = decode(topics.telemetry(SITE), payload, now_ms=clock.utc_ms())
                done = await committer.commit([message])
                assert done.new_rows == PER_BATCH

        records = [[to_record(SITE, row) for row in rows] for rows in batches]
        mine, theirs = await _rows_per_s(commit), await _rows_per_s(peer(records))
        if turn:  # the first warms caches and makes partitions
            ours.append(mine)
            peers.append(theirs)
    async with database.read() as session:
        assert await store_for(database).count(session, SITE) == (REPEATS + 1) * BATCHES * PER_BATCH
    await database.close()
    return Turns(ours=tuple(ours), peers=tuple(peers))


async def test_ingest_sqlite(tmp_path: Path, report: Callable[[Line], None]) -> None:
    raw = sqlite3.connect(tmp_path / "raw.sqlite", isolation_level=None)
    raw.execute("PRAGMA journal_mode=WAL")
    raw.execute("PRAGMA synchronous=FULL")
    raw.execute(
        f"CREATE TABLE rollup ({', '.join(COLUMNS)}, PRIMARY KEY (site, device, at_ms)) WITHOUT ROWID"
    )
    insert = f"INSERT INTO rollup VALUES ({', '.join('?' * len(COLUMNS))})"

    def peer(batches: list[list[tuple[Any, ...]]]) -> Work:
        async def write() -> None:
            for batch in batches:
                raw.execute("BEGIN IMMEDIATE")
                raw.executemany(insert, batch)
                raw.execute("COMMIT")

        return write

    turns = await _in_turns(f"sqlite+aiosqlite:///{tmp_path / 'ours.sqlite'}", peer)
    assert raw.execute("SELECT count(*) FROM rollup").fetchone() == ((REPEATS + 1) * BATCHES * PER_BATCH,)
    raw.close()
    report(
        turns.line(
            "ingest sqlite", unit="rows/s", peer="sqlite3 executemany, WAL, synchronous=FULL", n=PER_BATCH
        )
    )


@contextmanager
def _durable_server() -> Iterator[int]:
    """PostgreSQL as it comes, fsync on; yields the port. The tests' own server writes nothing to the disk."""
    user, folder = postgres._user(), Path(tempfile.mkdtemp(prefix="minewarden-bench-"))
    folder.chmod(0o711)
    data, port = folder / "data", free_port()
    data.mkdir()
    if user is not None:
        shutil.chown(data, user)
    make = [postgres._program("initdb"), "-D", str(data), "-U", "tester", "-A", "trust", "-E", "UTF8"]
    subprocess.run([*make, "--locale=C"], check=True, capture_output=True, user=user, cwd="/")
    command = [postgres._program("postgres"), "-D", str(data), "-p", str(port)]
    command += ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
    process = subprocess.Popen(command, user=user, cwd="/", stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert any("ready to accept connections" in line for line in process.stderr)
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        process.stderr.close()
        process.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.skipif(postgres.why_not() is not None, reason=str(postgres.why_not()))
async def test_ingest_postgresql(report: Callable[[Line], None]) -> None:
    with _durable_server() as port:
        raw = await asyncpg.connect(host="127.0.0.1", port=port, user="tester", database="postgres")
        await raw.execute("CREATE DATABASE ours")
        numbers = ", ".join(f"{name} double precision" for name in NUMBERS)
        await raw.execute(
            "CREATE TABLE plain (site text, device text, at_ms bigint, step_s integer, kind text, "
            "algorithm text, samples integer, failed integer, quality smallint, state text, preset text, "
            f"{numbers})"
        )

        def peer(batches: list[list[tuple[Any, ...]]]) -> Work:
            async def write() -> None:
                for batch in batches:
                    await raw.copy_records_to_table("plain", records=batch, columns=COLUMNS)

            return write

        turns = await _in_turns(f"postgresql+asyncpg://tester@127.0.0.1:{port}/ours", peer)
        assert await raw.fetchval("SELECT count(*) FROM plain") == (REPEATS + 1) * BATCHES * PER_BATCH
        await raw.close()
    report(
        turns.line("ingest postgresql", unit="rows/s", peer="COPY into a plain table, fsync on", n=PER_BATCH)
    )
