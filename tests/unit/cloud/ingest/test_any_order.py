"""Batches in any order, any number of times, in any mix: each row once, and the same ledger."""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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


@asynccontextmanager
async def copied(template: Path) -> AsyncIterator[Bench]:
    """A database of its own for one example, closed however that ends.

    Each number that the shuffling draws is hypothesis' own: where it has had enough of an example it ends it
    at any of them, by raising, in the middle of the commits.
    """
    with TemporaryDirectory() as folder:
        shutil.copy(template, Path(folder) / "cloud.db")
        database = Database(f"sqlite+aiosqlite:///{Path(folder) / 'cloud.db'}")
        try:
            yield Bench(database)
        finally:
            await database.close()


async def outcome(template: Path, messages: list[Decoded], sizes: random.Random) -> tuple[Any, ...]:
    """What the database holds after these, committed in groups of random size."""
    async with copied(template) as bench:
        for group in groups(messages, sizes):
            await bench.commit(*group)
        return await contents(bench)


def groups(messages: list[Decoded], sizes: random.Random) -> list[list[Decoded]]:
    """All at once: a size that Hypothesis draws may end the example, best before anything is open."""
    rest, found = list(messages), []
    while rest:
        size = sizes.randint(1, len(rest))
        found.append(rest[:size])
        rest = rest[size:]
    return found


async def contents(bench: Bench) -> tuple[Any, ...]:
    rows = await bench.all("SELECT device, at_ms, power_w_mean FROM rollup ORDER BY at_ms, device")
    latest = await bench.all("SELECT device, at_ms FROM device_latest ORDER BY device")
    marks = await bench.all("SELECT hour_ms FROM rollup_marks ORDER BY hour_ms")
    async with bench.database.read() as session:
        view = await ledger(session, bench.series, SITE)
    streams = [stream.model_dump(exclude={"duplicate_batches"}) for stream in view.streams]
    return rows, latest, streams, view.rows_in_store, marks


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
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


@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.randoms(use_true_random=False))
async def test_rows_of_two_lives_of_the_same_time_are_all_there_in_any_order(
    sqlite_template: Path, mix: random.Random
) -> None:
    """Which of the two is the stored one depends on the order; that both are kept does not."""
    lives = [
        [row("m-01", NOW_MS - 60_000 * n, power_w_mean=float(10 * life + n)) for n in range(1, 5)]
        for life in range(3)
    ]
    messages = [
        said(batch([one], 4 * number + n))
        for number, life in enumerate(lives)
        for n, one in enumerate(life, 1)
    ]
    messages += [said(batch(life, 1, epoch=f"restored-{number}")) for number, life in enumerate(lives)]
    mix.shuffle(messages)
    async with copied(sqlite_template) as bench:
        for group in groups(messages, mix):
            await bench.commit(*group)
        async with bench.database.read() as session:
            first = [found async for found in bench.series.export(session, SITE, 0, NOW_MS)]
            others = [found async for found in bench.series.apart(session, SITE, 0, NOW_MS)]
    assert (len(first), len(others)) == (4, 8)
    assert sorted(map(repr, (*first, *others))) == sorted(repr(one) for life in lives for one in life)


async def test_two_workers_that_get_two_lives_of_one_time_at_once(bench: Bench) -> None:
    """One of them has to wait for the other's row, and then sees that its own differs."""

    async def work(number: int) -> None:
        committer = Committer(bench.database, store_for(bench.database), bench.clock)
        for n in range(1, 21):
            message = said(
                batch([row(at_ms=NOW_MS - 60_000 * n, power_w_mean=float(number))], n, epoch=f"e{number}")
            )
            while True:
                try:
                    await committer.commit([message])
                except Exception as error:
                    if not _is_clash(error):
                        raise
                else:
                    break

    await asyncio.gather(work(1), work(2))
    assert await bench.one("SELECT count(*) FROM rollup") == 20
    assert await bench.one("SELECT count(*) FROM rollup_again") == 20


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
