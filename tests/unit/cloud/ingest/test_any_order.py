"""Batches in any order, any number of times, in any mix: each row once, and the same ledger."""

import asyncio
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud.ingest.committer import Committer
from cloud.ingest.decoding import Decoded
from cloud.ingest.service import _is_clash
from cloud.kit.database import Database
from cloud.sites.service import ledger
from cloud.timeseries.choose import store_for
from support.cloud import NOW_MS, SITE, Bench, batch, row, said, tombstone

BATCHES = 8


def deliveries(lost: set[int]) -> list[Decoded]:
    """Batches 1..8 of two rows each; those in `lost` never come and a ninth is the tombstone of 3..4."""
    made: list[Decoded] = []
    for seq in range(1, BATCHES + 1):
        rows = [row(device, NOW_MS - 60_000 * seq, power_w_mean=float(seq)) for device in ("m-01", "m-02")]
        if seq not in lost:
            made.append(said(batch(rows, seq)))
    if lost:
        made.append(said(tombstone(BATCHES + 1, min(lost), max(lost), count=2 * len(lost))))
    return made


async def outcome(template: Path, messages: list[Decoded], sizes: random.Random) -> tuple[Any, ...]:
    """What the database holds after these, committed in groups of random size."""
    with TemporaryDirectory() as folder:
        shutil.copy(template, Path(folder) / "cloud.db")
        database = Database(f"sqlite+aiosqlite:///{Path(folder) / 'cloud.db'}")
        bench = Bench(database)
        for group in groups(messages, sizes):
            await bench.commit(*group)
        found = await contents(bench)
        await database.close()
        return found


def groups(messages: list[Decoded], sizes: random.Random) -> Iterator[list[Decoded]]:
    rest = list(messages)
    while rest:
        size = sizes.randint(1, len(rest))
        yield rest[:size]
        rest = rest[size:]


async def contents(bench: Bench) -> tuple[Any, ...]:
    rows = await bench.all("SELECT device, at_ms, power_w_mean FROM rollup ORDER BY at_ms, device")
    latest = await bench.all("SELECT device, at_ms FROM device_latest ORDER BY device")
    marks = await bench.all("SELECT hour_ms FROM rollup_marks ORDER BY hour_ms")
    async with bench.database.read() as session:
        view = await ledger(session, bench.series, SITE)
    streams = [stream.model_dump(exclude={"duplicate_batches"}) for stream in view.streams]
    return rows, latest, streams, view.rows_in_store, marks


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.randoms(use_true_random=False),
    st.lists(st.integers(0, BATCHES - 1), max_size=8),
    st.sampled_from([set[int](), {3, 4}]),
)
async def test_order_and_repetition_do_not_matter(
    sqlite_template: Path, mix: random.Random, again: list[int], lost: set[int]
) -> None:
    once = deliveries(lost)
    many = once + [once[index % len(once)] for index in again]
    mix.shuffle(many)
    expected = await outcome(sqlite_template, once, random.Random(1))
    found = await outcome(sqlite_template, many, mix)
    assert found == expected
    assert expected[3] == 2 * (BATCHES - len(lost))
    (stream,) = expected[2]
    assert (stream["upto"], stream["gaps"]) == (BATCHES + bool(lost), [])


async def test_three_workers_that_get_the_same_batches_at_once(bench: Bench) -> None:
    """Each with a store and a connection of its own, in orders that meet: each row once, and one ledger."""

    async def work(seed: int) -> None:
        committer = Committer(bench.database, store_for(bench.database), bench.clock)
        mix = random.Random(seed)
        mine = deliveries(set())
        mix.shuffle(mine)
        for group in groups(mine, mix):
            while True:
                try:
                    await committer.commit(group)
                except Exception as error:
                    if not _is_clash(error):
                        raise
                else:
                    break

    for seed in range(4):
        await asyncio.gather(*(work(seed * 10 + number) for number in range(3)))
    _, latest, (stream,), count, _ = await contents(bench)
    assert count == 2 * BATCHES
    assert latest == [("m-01", NOW_MS - 60_000), ("m-02", NOW_MS - 60_000)]
    assert (stream["batches"], stream["rows"], stream["upto"], stream["gaps"]) == (8, 16, BATCHES, [])
    assert await bench.one("SELECT duplicate_batches FROM ledger") == (4 * 3 - 1) * BATCHES
