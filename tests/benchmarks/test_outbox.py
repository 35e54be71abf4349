"""Rows per second into the agent's store, durable (synchronous=FULL) batch by batch."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_agent.agent.store.database import Store
from edge_agent.agent.store.rows import Commit
from shared.clock import SystemClock
from shared.ids import DeviceId
from shared.telemetry import COLUMN_NAMES, MinerState, Quality, RollupRow
from shared.units import Algorithm
from shared.wire.topics import TELEMETRY_STREAM
from support.benchmark import Line, chunked, in_turns, seconds, written_bytes

ROWS = {1: 150, 50: 5_000, 500: 20_000}
"""Rows per turn by batch size: enough commits to be steady, few enough to be quick."""


def _rows(count: int) -> list[RollupRow]:
    """Rows as a site makes them: 23 numbers known of 36, none equal."""
    rng = np.random.default_rng(5)
    numbers = rng.uniform(50.0, 3_500.0, (count, 23)).round(2)
    unknown: tuple[float | None, ...] = (None,) * (len(COLUMN_NAMES) - 23)
    return [
        RollupRow(
            device=DeviceId(f"m-{i % 500:03d}"),
            at_ms=1_780_000_000_000 + i // 500 * 60_000,
            step_s=60,
            samples=6,
            failed=0,
            quality=Quality.ESTIMATED,
            values=(*numbers[i].tolist(), *unknown),
            algorithm=Algorithm.SHA256D,
            state=MinerState.MINING,
            preset="2970",
        )
        for i in range(count)
    ]


@pytest.mark.parametrize("size", sorted(ROWS))
def test_outbox(size: int, tmp_path: Path, report: Callable[[Line], None]) -> None:
    rows = _rows(ROWS[size])
    batches = [tuple(part) for part in chunked(rows, size)]
    payload = len(msgspec.msgpack.encode(rows))
    store = Store(tmp_path / "agent.sqlite", SystemClock(), outbox_bytes=1 << 40)
    raw = sqlite3.connect(tmp_path / "raw.sqlite", isolation_level=None)
    raw.execute("PRAGMA journal_mode=WAL")
    raw.execute("PRAGMA synchronous=FULL")
    names = ", ".join(COLUMN_NAMES)
    raw.execute(f"CREATE TABLE rollup (device, at_ms, step_s, state, preset, {names})")
    insert = f"INSERT INTO rollup VALUES ({', '.join('?' * (5 + len(COLUMN_NAMES)))})"
    records = [
        [(row.device, row.at_ms, row.step_s, row.state, row.preset, *row.values) for row in batch]
        for batch in batches
    ]
    written = {"ours": 0, "peer": 0}

    def counted(who: str, work: Callable[[], None]) -> float:
        before = written_bytes()
        took_s = seconds(work)
        written[who] += written_bytes() - before
        return len(rows) / took_s

    def commit() -> None:
        for batch in batches:
            store.commit(Commit(rollups=batch))

    def executemany() -> None:
        for batch in records:
            raw.execute("BEGIN IMMEDIATE")
            raw.executemany(insert, batch)
            raw.execute("COMMIT")

    turns = in_turns(lambda: counted("ours", commit), lambda: counted("peer", executemany))
    rounds = len(turns.ours) + 1
    assert store.totals()[TELEMETRY_STREAM].recorded_rows == rounds * len(rows)
    assert raw.execute("SELECT count(*) FROM rollup").fetchone() == (rounds * len(rows),)
    store.close()
    raw.close()
    report(
        turns.line(
            "outbox rows",
            unit="rows/s",
            peer="sqlite3 executemany, WAL, synchronous=FULL",
            n=size,
            more={
                "written_per_payload_byte": round(written["ours"] / (rounds * payload), 2),
                "peer_written_per_payload_byte": round(written["peer"] / (rounds * payload), 2),
            },
        )
    )
