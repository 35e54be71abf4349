"""Rows that come after their day was dropped: the hours that stay for ever get better, never worse."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from cloud.migrations import runner
from cloud.timeseries.cold import ParquetTier
from cloud.timeseries.retention import Keeper, Policy
from cloud.timeseries.rows import COLUMNS
from cloud.timeseries.store import DAY_MS, HOUR_MS
from shared.clock import ManualClock
from shared.ids import SiteId
from shared.telemetry import COLUMN_NAMES, MinerState, Quality, RollupRow
from support.cloud import NOW_MS, SITE, Bench, row

DAY = NOW_MS // DAY_MS - 400
HOUR = DAY * DAY_MS + 10 * HOUR_MS


def at(minute: int, device: str = "m-01", *, samples: int = 6, **numbers: float) -> RollupRow:
    return msgspec.structs.replace(row(device, HOUR + minute * 60_000, **numbers), samples=samples)


def eventful(minute: int, mix: Random) -> RollupRow:
    """A row in which every number is something else, all of them known."""
    return msgspec.structs.replace(
        at(minute, samples=mix.randint(1, 9)),
        failed=mix.randint(0, 3),
        quality=mix.choice(list(Quality)),
        state=mix.choice(list(MinerState)),
        preset=f"p{minute}",
        values=tuple(mix.uniform(0.0, 100.0) for _ in COLUMN_NAMES),
    )


class Ladder:
    """A keeper's rounds over a database, with or without a cold tier."""

    def __init__(self, bench: Bench, tier: ParquetTier | None = None) -> None:
        self.bench = bench
        self.keeper = Keeper(bench.database, bench.series, ManualClock(utc_ms=NOW_MS), Policy(), tier)

    async def come(self, *rows: RollupRow, site: SiteId = SITE) -> None:
        async with self.bench.database.write() as session:
            await self.bench.series.write(session, site, rows)

    async def drop(self, *rows: RollupRow) -> None:
        """These come, become hours, and are dropped."""
        await self.come(*rows)
        await self.keeper.round()
        assert await self.bench.one("SELECT count(*) FROM rollup") == 0

    async def hour(self, device: str = "m-01") -> dict[str, Any]:
        found = await self.bench.all(
            f"SELECT {', '.join(COLUMNS)} FROM rollup_hour WHERE device = '{device}' AND at_ms = {HOUR}"
        )
        (values,) = found
        return dict(zip(COLUMNS, values, strict=True))


@pytest.fixture
def ladder(bench: Bench) -> Ladder:
    return Ladder(bench)


@pytest.mark.parametrize("cold", [False, True])
async def test_a_late_row_is_merged_into_its_hour(bench: Bench, tmp_path: Path, cold: bool) -> None:
    ladder = Ladder(bench, ParquetTier(str(tmp_path)) if cold else None)
    await ladder.drop(*[at(minute, power_w_mean=3_000.0) for minute in range(59)])
    await ladder.drop(at(59, power_w_mean=0.0))
    hour = await ladder.hour()
    assert (hour["samples"], hour["power_w_mean"]) == (360, pytest.approx(2_950.0))


async def parted(ladder: Ladder, parts: Sequence[Sequence[RollupRow]]) -> dict[str, Any]:
    for part in parts:
        await ladder.drop(*part)
    return await ladder.hour()


async def test_an_hour_that_came_in_parts_is_the_hour_of_all_its_rows(bench: Bench) -> None:
    """Every column: means and deviations by polls, extremes, increments, and the last by time."""
    mix = Random(7)
    rows = [eventful(minute, mix) for minute in range(0, 60, 3)]
    other = [msgspec.structs.replace(one, device="m-02") for one in rows]
    mix.shuffle(rows)
    ladder = Ladder(bench)
    found = await parted(ladder, [rows[:9], rows[9:10], rows[10:17], rows[17:]])
    await ladder.drop(*other)
    whole = await ladder.hour("m-02")
    assert {**found, "device": "m-02"} == pytest.approx(whole)
    assert found["samples"] == sum(one.samples for one in rows)


async def test_what_one_side_does_not_know_is_the_others(ladder: Ladder) -> None:
    await ladder.drop(at(0, power_w_mean=100.0, hw_errors_delta=2.0, energy_kwh_last=7.0))
    await ladder.drop(at(1, chip_temp_max_c_max=80.0, hw_errors_delta=3.0))
    hour = await ladder.hour()
    assert (hour["power_w_mean"], hour["chip_temp_max_c_max"]) == (100.0, 80.0)
    assert (hour["hw_errors_delta"], hour["energy_kwh_last"]) == (5.0, 7.0)
    assert hour["fault_max"] is None


async def test_a_late_row_from_before_the_last_one_is_not_the_last(ladder: Ladder) -> None:
    await ladder.drop(at(0, energy_kwh_last=1.0), at(30, energy_kwh_last=30.0))
    await ladder.drop(at(20, energy_kwh_last=20.0))
    assert (await ladder.hour())["energy_kwh_last"] == 30.0
    await ladder.drop(at(40, energy_kwh_last=40.0))
    assert (await ladder.hour())["energy_kwh_last"] == 40.0


async def test_a_row_that_comes_once_more_counts_once(ladder: Ladder) -> None:
    """A site whose store was restored sends under a new epoch what the cloud had and dropped."""
    rows = [at(minute, power_w_mean=50.0, shares_accepted_delta=1.0) for minute in range(60)]
    await ladder.drop(*rows)
    before = await ladder.hour()
    await ladder.drop(*rows[:20])
    await ladder.drop(*rows)
    assert await ladder.hour() == before
    assert before["shares_accepted_delta"] == 60.0


async def test_late_rows_count_once_however_often_they_come_before_they_are_dropped(ladder: Ladder) -> None:
    await ladder.drop(*[at(minute, power_w_mean=10.0) for minute in range(10)])
    for minute in (20, 21, 22):
        await ladder.come(at(minute, power_w_mean=10.0))
        async with ladder.bench.database.write() as session:
            assert await ladder.bench.series.roll_up(session, NOW_MS, limit=9) == 1
        assert (await ladder.hour())["samples"] == 60, "until then the hour stays as it is"
    await ladder.keeper.round()
    assert (await ladder.hour())["samples"] == 13 * 6


async def test_a_device_that_comes_late_altogether_gets_an_hour_of_its_own(ladder: Ladder) -> None:
    await ladder.drop(at(0, power_w_mean=1.0))
    await ladder.drop(at(0, "m-02", power_w_mean=2.0), at(1, "m-02", power_w_mean=4.0))
    assert (await ladder.hour("m-02"))["power_w_mean"] == 3.0
    assert (await ladder.hour())["power_w_mean"] == 1.0


async def test_a_row_that_comes_while_late_ones_are_merged_keeps_the_day(
    ladder: Ladder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is merged and what is dropped must be the same rows, or nothing happens."""
    await ladder.drop(at(0, power_w_mean=1.0))
    await ladder.come(at(1, power_w_mean=1.0))
    before = await ladder.hour()

    async def one_less(*_: object) -> int:
        return 0

    with monkeypatch.context() as patch:
        patch.setattr(ladder.bench.series, "count_day", one_less)
        assert (await ladder.keeper.round()).rows == 0
    assert await ladder.hour() == before
    assert (await ladder.keeper.round()).rows == 1
    assert (await ladder.hour())["samples"] == 12


async def test_an_hour_that_does_not_say_which_minutes_it_has_stays_as_it_is(ladder: Ladder) -> None:
    """Computed before hours knew: a late row cannot be told from one that is in it."""
    await ladder.drop(at(0, power_w_mean=1.0))
    async with ladder.bench.database.write() as session:
        connection = await session.connection()
        await connection.exec_driver_sql("UPDATE rollup_hour SET minutes = NULL")
    before = await ladder.hour()
    await ladder.drop(at(1, power_w_mean=9.0))
    assert await ladder.hour() == before


async def test_an_hour_of_which_somebody_else_dropped_rows_does_not_shrink(ladder: Ladder) -> None:
    """A retention policy of the database itself, say: nobody noted that the day is gone."""
    await ladder.come(*[at(minute, power_w_mean=3.0) for minute in range(9)])
    async with ladder.bench.database.write() as session:
        await ladder.bench.series.roll_up(session, NOW_MS, limit=9)
        await ladder.bench.series.drop_day(session, DAY)
    before = await ladder.hour()
    await ladder.come(at(30, power_w_mean=99.0))
    async with ladder.bench.database.write() as session:
        await ladder.bench.series.roll_up(session, NOW_MS, limit=9)
    assert await ladder.hour() == before


async def test_days_that_were_dropped_before_the_table_are_known(ladder: Ladder) -> None:
    await ladder.drop(at(0, power_w_mean=1.0))
    await ladder.come(row(at_ms=NOW_MS - 2 * HOUR_MS))
    await ladder.keeper.round()
    await runner.downgrade(ladder.bench.database, "0014")
    await runner.upgrade(ladder.bench.database)
    assert await ladder.bench.all("SELECT day, dropped_ms FROM gone_days") == [(DAY, None)]
