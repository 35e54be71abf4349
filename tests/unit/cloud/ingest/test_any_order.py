"""Batches in any order, any number of times, in any mix: each row once, and the same ledger."""

import random
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.ingest.decoding import Decoded
from cloud.sites.service import ledger
from support.cloud import NOW_MS, SITE, Bench, batch, migrated, row, said, tombstone

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


async def outcome(messages: list[Decoded], sizes: random.Random) -> tuple[Any, ...]:
    """What the database holds after these, committed in groups of random size."""
    with TemporaryDirectory() as folder:
        async with migrated(f"sqlite+aiosqlite:///{Path(folder) / 'cloud.db'}") as database:
            bench = Bench(database)
            rest = list(messages)
            while rest:
                size = sizes.randint(1, len(rest))
                await bench.commit(*rest[:size])
                rest = rest[size:]
            rows = await bench.all("SELECT device, at_ms, power_w_mean FROM rollup ORDER BY at_ms, device")
            latest = await bench.all("SELECT device, at_ms FROM device_latest ORDER BY device")
            async with database.read() as session:
                view = await ledger(session, bench.series, SITE)
            streams = [stream.model_dump(exclude={"duplicate_batches"}) for stream in view.streams]
            return rows, latest, streams, view.rows_in_store


@settings(max_examples=12, deadline=None)
@given(
    st.randoms(use_true_random=False),
    st.lists(st.integers(0, BATCHES - 1), max_size=8),
    st.sampled_from([set[int](), {3, 4}]),
)
async def test_order_and_repetition_do_not_matter(
    mix: random.Random, again: list[int], lost: set[int]
) -> None:
    once = deliveries(lost)
    many = once + [once[index % len(once)] for index in again]
    mix.shuffle(many)
    expected = await outcome(once, random.Random(1))
    found = await outcome(many, mix)
    assert found == expected
    assert expected[3] == 2 * (BATCHES - len(lost))
    (stream,) = expected[2]
    assert (stream["upto"], stream["gaps"]) == (BATCHES + bool(lost), [])
