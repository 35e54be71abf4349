"""The newest row of a device: by time, as long as that can be believed, and never old data as live."""

import pytest

from cloud.devices.freshness import AHEAD_MS, age_s, is_fresh
from cloud.ingest.committer import Committer
from cloud.tables import DeviceLatestRow
from shared.telemetry import RollupRow
from support.cloud import NOW_MS, SITE, Bench, batch, row, said, score

HOUR_MS = 3_600_000


class Site:
    """One device's rows on their way to the cloud, a batch each."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.seq = 0

    def made(self, at_ms: int) -> RollupRow:
        return row("m-01", at_ms, power_w_mean=float(self.seq))

    async def tell(self, *times_ms: int, more: bool = False) -> None:
        """Rows of these times, in one commit."""
        self.seq += 1
        message = said(batch([self.made(at_ms) for at_ms in times_ms], self.seq))
        await self.bench.committer.commit([message], more=more)

    async def newest(self) -> int:
        """Its time, in milliseconds from the clock's start."""
        return int(await self.bench.one("SELECT at_ms FROM device_latest")) - NOW_MS

    async def kept(self) -> DeviceLatestRow:
        async with self.bench.database.read() as session:
            found = await session.get(DeviceLatestRow, (SITE, "m-01"))
        assert found is not None
        return found


@pytest.fixture
def site(bench: Bench) -> Site:
    return Site(bench)


async def test_a_row_from_a_clock_that_ran_ahead_yields_to_the_next_right_one(site: Site) -> None:
    await site.tell(NOW_MS - 120_000)
    site.bench.clock.advance(400.0)
    await site.tell(NOW_MS + 23 * HOUR_MS)
    assert await site.newest() == 23 * HOUR_MS, "nothing better was known"
    await site.tell(NOW_MS + 360_000)
    assert await site.newest() == 360_000
    await site.tell(NOW_MS + 420_000)
    assert await site.newest() == 420_000


async def test_a_row_that_was_stored_before_arrivals_were_noted_yields_as_well(site: Site) -> None:
    await site.tell(NOW_MS + 23 * HOUR_MS)
    async with site.bench.database.write() as session:
        kept = await session.get_one(DeviceLatestRow, (SITE, "m-01"))
        kept.received_ms = None
    assert not is_fresh(await site.kept(), NOW_MS, NOW_MS)
    await site.tell(NOW_MS - 60_000)
    assert await site.newest() == -60_000


async def test_a_backlog_from_when_the_clock_was_wrong_does_not_replace_what_is_live(site: Site) -> None:
    await site.tell(NOW_MS - 60_000)
    await site.tell(NOW_MS + 5 * HOUR_MS)
    assert await site.newest() == -60_000


async def test_a_clock_that_stays_ahead_is_followed_and_ages_by_arrival(site: Site) -> None:
    await site.tell(NOW_MS - 60_000)
    site.bench.clock.advance(600.0)
    for minute in range(3):
        await site.tell(NOW_MS + 6 * HOUR_MS + minute * 60_000)
    kept, now_ms = await site.kept(), site.bench.clock.utc_ms()
    assert await site.newest() == 6 * HOUR_MS + 120_000
    assert (age_s(kept, now_ms, now_ms), is_fresh(kept, now_ms, now_ms)) == (0.0, True)
    later_ms = now_ms + 600_000
    assert age_s(kept, later_ms, later_ms) == 600.0, "the site is heard, this device is not"
    assert not is_fresh(kept, later_ms, later_ms)


async def test_a_backlog_of_a_right_clock_waits_until_a_wrong_one_is_silent(site: Site) -> None:
    await site.tell(NOW_MS + 6 * HOUR_MS)
    await site.tell(NOW_MS - 2 * HOUR_MS)
    assert await site.newest() == 6 * HOUR_MS
    site.bench.clock.advance(600.0)
    await site.tell(NOW_MS - HOUR_MS)
    assert await site.newest() == -HOUR_MS


async def test_of_one_batch_the_row_of_now_counts(site: Site) -> None:
    await site.tell(NOW_MS + 3 * HOUR_MS, NOW_MS - 60_000, NOW_MS - 120_000)
    assert await site.newest() == -60_000


async def test_of_what_is_left_to_a_later_commit_the_row_of_now_counts(site: Site) -> None:
    await site.tell(NOW_MS + 3 * HOUR_MS, more=True)
    await site.tell(NOW_MS - 60_000, more=True)
    await site.tell(NOW_MS + 4 * HOUR_MS, more=True)
    await site.bench.committer.settle()
    assert await site.newest() == -60_000


async def test_a_little_ahead_is_honest(site: Site) -> None:
    await site.tell(NOW_MS + AHEAD_MS)
    await site.tell(NOW_MS)
    assert await site.newest() == AHEAD_MS


async def test_a_worker_that_remembers_nothing_decides_the_same(site: Site) -> None:
    await site.tell(NOW_MS - 60_000)
    await site.tell(NOW_MS + 5 * HOUR_MS)
    await site.tell(NOW_MS - 120_000)
    site.bench.committer = Committer(site.bench.database, site.bench.series, site.bench.clock)
    await site.tell(NOW_MS - 180_000)
    assert await site.newest() == -60_000


async def test_a_score_from_a_clock_that_ran_ahead_yields_to_the_next_right_one(bench: Bench) -> None:
    for seq, at_ms in enumerate((NOW_MS + 23 * HOUR_MS, NOW_MS - 30_000), start=1):
        await bench.commit(said(batch([score(at_ms=at_ms)], seq), stream="score"))
    assert await bench.one("SELECT at_ms FROM device_score") == NOW_MS - 30_000
