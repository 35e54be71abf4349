"""The agent's store: rows per second, durable (synchronous=FULL) batch by batch, and what its flash pays."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_agent.agent.store.database import Store
from edge_agent.agent.store.frames import RawStore
from edge_agent.agent.store.rows import Commit
from shared.clock import SystemClock
from shared.features.rollup import RollupAggregator
from shared.ids import DeviceId
from shared.telemetry import COLUMN_NAMES, MinerState, Quality, Reading, RollupRow, Sample
from shared.units import Algorithm
from shared.wire.envelope import Ack
from shared.wire.topics import TELEMETRY_STREAM
from support.agent import miner_sample
from support.benchmark import Line, chunked, in_turns, machine, rounded, seconds, written_bytes

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


MINUTES = {100: 10, 1_000: 4}
"""Miners → minutes of site time."""
POLL_S = 5
STEP_S = 60


class _Site:
    """A site whose miners are polled every five seconds; nothing is ever quite the same twice."""

    def __init__(self, miners: int) -> None:
        self.rng = np.random.default_rng(7)
        self.miners = miners
        self.seq = 0
        self.at_ms = 1_780_000_000_000 - 1_780_000_000_000 % (STEP_S * 1000)
        self.bytes = 0
        """Of samples, as the guardian sends them (msgpack)."""

    def poll(self) -> list[Sample]:
        made = []
        noise = self.rng.normal(1.0, 0.02, (self.miners, 16)).tolist()
        for number in range(self.miners):
            self.seq += 1
            sample = miner_sample(f"m-{number:04d}", self.seq, self.at_ms)
            readings = {
                point: Reading(
                    None if reading.value is None else round(reading.value * noise[number][n % 16], 2)
                )
                for n, (point, reading) in enumerate(sample.readings.items())
            }
            made.append(msgspec.structs.replace(sample, readings=readings))
        self.at_ms += POLL_S * 1000
        self.bytes += len(msgspec.msgpack.encode(made))
        return made


class _Gateway:
    """Everything of the agent that writes: raw frames, roll-ups with their outbox, marks, acks, deletions."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "agent.sqlite", SystemClock(), outbox_bytes=1 << 40)
        self.raw = RawStore(folder / "raw", keep_bytes=1 << 40)
        self.rollup = RollupAggregator(STEP_S)
        self.waiting: list[Sample] = []
        self.rows = self.row_bytes = 0

    def take(self, samples: list[Sample]) -> None:
        for sample in samples:
            self.rollup.add(sample)
        self.waiting += samples
        if len({sample.at_ms for sample in self.waiting}) >= 2:  # every ten seconds
            self.raw.append(self.waiting)
            self.waiting.clear()
        rows = tuple(self.rollup.close_before(samples[0].at_ms))
        if rows:
            self.rows += len(rows)
            self.row_bytes += len(msgspec.msgpack.encode(rows))
            self.store.commit(Commit(rollups=rows))
            self._send()

    def _send(self) -> None:
        """Publish, and be told that the cloud has it."""
        out = self.store.fetch(self.store.waiting())
        self.store.mark_published(out)
        top = max(row.seq for row in out)
        self.store.apply_acks([Ack(epoch=self.store.epoch, stream=TELEMETRY_STREAM, upto=top)])


@pytest.mark.parametrize("miners", sorted(MINUTES))
def test_flash_bytes_per_byte_of_telemetry(
    miners: int, tmp_path: Path, report: Callable[[Line], None]
) -> None:
    """All that reaches the block layer, against the bytes of telemetry that came in; the bound is 3."""
    site, gateway = _Site(miners), _Gateway(tmp_path)
    plain = sqlite3.connect(tmp_path / "plain.sqlite", isolation_level=None)
    plain.execute("PRAGMA journal_mode=WAL")
    plain.execute("PRAGMA synchronous=FULL")
    plain.execute("CREATE TABLE sample (device, at_ms, body, PRIMARY KEY (device, at_ms))")
    written = {"ours": 0, "peer": 0}
    for _ in range(MINUTES[miners] * 60 // POLL_S + 2):
        samples = site.poll()
        before = written_bytes()
        gateway.take(samples)
        written["ours"] += written_bytes() - before
        lines = [(s.device, s.at_ms, msgspec.msgpack.encode(s)) for s in samples]
        before = written_bytes()
        plain.execute("BEGIN IMMEDIATE")
        plain.executemany("INSERT INTO sample VALUES (?, ?, ?)", lines)
        plain.execute("COMMIT")
        written["peer"] += written_bytes() - before
    if not written["ours"]:
        pytest.skip("nothing reaches a block device here (tmpfs?)")
    assert not gateway.store.waiting()
    assert gateway.rows == miners * MINUTES[miners]
    before = written_bytes()
    gateway.store.close()  # what stood in the log goes into the file
    written["ours"] += written_bytes() - before
    before = written_bytes()
    plain.close()
    written["peer"] += written_bytes() - before
    per_byte = written["ours"] / site.bytes
    peer = written["peer"] / site.bytes
    assert per_byte <= 3
    report(
        Line(
            benchmark="flash bytes per telemetry byte",
            value=rounded(per_byte),
            unit="bytes/byte",
            ratio=rounded(per_byte / peer),
            peer="one row per sample, sqlite3 WAL, synchronous=FULL, one commit per poll",
            peer_value=rounded(peer),
            median_of=1,
            n=miners,
            machine=machine(),
            more={
                "telemetry_mb": rounded(site.bytes / 1e6),
                "written_mb": rounded(written["ours"] / 1e6),
                "written_per_rollup_byte": rounded(written["ours"] / gateway.row_bytes),
            },
        )
    )
