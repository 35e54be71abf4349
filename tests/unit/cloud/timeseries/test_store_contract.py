"""One suite for every `TimeSeriesStore`: SQLite always, PostgreSQL where the system has it."""

import math

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud.migrations.versions import v0001_series
from cloud.timeseries.rows import COLUMNS, HEAD, from_record, to_record
from cloud.timeseries.store import DAY_MS, HOUR_MS, MAX_POINTS, SeriesFrame, SeriesQuery, Tier, WriteReport
from shared.ids import DeviceId, SiteId
from shared.telemetry import COLUMN_NAMES, ROLLUP_COLUMNS, DeviceKind, MinerState, Quality, RollupRow
from support.cloud import NOW_MS, SITE, Bench, row


async def write(bench: Bench, *rows: RollupRow, site: SiteId = SITE) -> WriteReport:
    async with bench.database.write() as session:
        return await bench.series.write(session, site, rows, NOW_MS)


async def apart(bench: Bench, from_ms: int = 0, to_ms: int = 2**62, site: SiteId = SITE) -> list[RollupRow]:
    async with bench.database.read() as session:
        return [found async for found in bench.series.apart(session, site, from_ms, to_ms)]


async def read(
    bench: Bench,
    columns: tuple[str, ...] = ("power_w_mean",),
    *,
    device: str = "m-01",
    from_ms: int = 0,
    to_ms: int = 2**62,
    limit: int = 100,
) -> SeriesFrame:
    query = SeriesQuery(
        site=SITE, device=DeviceId(device), columns=columns, from_ms=from_ms, to_ms=to_ms, limit=limit
    )
    async with bench.database.read() as session:
        return await bench.series.read(session, query)


async def export(bench: Bench, from_ms: int = 0, to_ms: int = 2**62, site: SiteId = SITE) -> list[RollupRow]:
    async with bench.database.read() as session:
        return [found async for found in bench.series.export(session, site, from_ms, to_ms)]


async def test_what_is_written_is_read(bench: Bench) -> None:
    sent = row("m-01", hashrate_ths_mean=0.1 + 0.2, power_w_mean=None, fault_max=0.0)
    assert await write(bench, sent) == WriteReport(rows=1, new=1)
    assert await export(bench) == [sent]
    frame = await read(bench, ("hashrate_ths_mean", "power_w_mean", "fault_max"))
    assert frame.values == ((0.1 + 0.2,), (None,), (0.0,))
    assert (frame.at_ms, frame.step_s, frame.next_from_ms) == ((sent.at_ms,), 60, None)


async def test_the_first_row_of_a_key_stays(bench: Bench) -> None:
    first, second = row(power_w_mean=1.0), row(power_w_mean=2.0)
    assert await write(bench, first, second) == WriteReport(rows=2, new=1, apart={SITE: 1})
    assert await write(bench, second) == WriteReport(rows=1, new=0)
    assert await export(bench) == [first]
    assert await apart(bench) == [second]


async def test_rows_of_different_days_and_sites(bench: Bench) -> None:
    rows = [row(at_ms=NOW_MS - day * DAY_MS) for day in range(4)]
    assert (await write(bench, *rows)).new == 4
    assert (await write(bench, rows[0], site=SiteId("south"))).new == 1
    async with bench.database.read() as session:
        assert await bench.series.count(session, SITE) == 4
        assert await bench.series.count(session, SiteId("nowhere")) == 0
    assert [found.at_ms for found in await export(bench)] == sorted(found.at_ms for found in rows)


async def test_two_writes_in_one_transaction(bench: Bench) -> None:
    async with bench.database.write() as session:
        first = await bench.series.write(session, SITE, [row("m-01")])
        second = await bench.series.write(session, SITE, [row("m-01"), row("m-02")])
    assert (first.new, second.new) == (1, 1)


async def test_nothing_written_is_nothing(bench: Bench) -> None:
    assert await write(bench) == WriteReport(rows=0, new=0)
    assert await export(bench) == []


async def test_a_rolled_back_write_leaves_nothing_and_can_be_repeated(bench: Bench) -> None:
    """On PostgreSQL the day's partition is rolled back too, and must be made again."""

    async def failing() -> None:
        async with bench.database.write() as session:
            await bench.series.write(session, SITE, [row()])
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        await failing()
    assert await export(bench) == []
    assert (await write(bench, row())).new == 1


async def test_a_cut_answer_says_where_to_go_on(bench: Bench) -> None:
    rows = [row(at_ms=NOW_MS - 60_000 * n, power_w_mean=float(n)) for n in range(10)]
    await write(bench, *rows)
    first = await read(bench, limit=4)
    assert first.at_ms == tuple(NOW_MS - 60_000 * n for n in (9, 8, 7, 6))
    assert first.next_from_ms is not None
    second = await read(bench, limit=100, from_ms=first.next_from_ms)
    assert len(second.at_ms) == 6
    assert second.next_from_ms is None


async def test_the_range_is_half_open(bench: Bench) -> None:
    await write(bench, *[row(at_ms=NOW_MS + n) for n in range(3)])
    assert (await read(bench, from_ms=NOW_MS, to_ms=NOW_MS + 2)).at_ms == (NOW_MS, NOW_MS + 1)
    assert [found.at_ms for found in await export(bench, NOW_MS + 1, NOW_MS + 2)] == [NOW_MS + 1]


async def test_no_more_than_the_server_allows(bench: Bench) -> None:
    await write(bench, *[row(at_ms=NOW_MS - n) for n in range(MAX_POINTS + 2)])
    frame = await read(bench, limit=10**6)
    assert len(frame.at_ms) == MAX_POINTS
    assert frame.next_from_ms == NOW_MS - 1


async def test_export_pages_through_everything(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.timeseries.reading.EXPORT_PAGE", 3)
    rows = [row(name, NOW_MS - 60_000 * n) for n in range(4) for name in ("m-01", "m-02", "m-03")]
    await write(bench, *rows)
    assert await export(bench) == sorted(rows, key=lambda found: (found.at_ms, found.device))


async def test_an_unknown_column_is_refused(bench: Bench) -> None:
    with pytest.raises(KeyError):
        await read(bench, ("power_w_mean; DROP TABLE rollup",))


async def test_no_columns_gives_times_only(bench: Bench) -> None:
    await write(bench, row())
    frame = await read(bench, ())
    assert (len(frame.at_ms), frame.values) == (1, ())


async def test_days_go_one_by_one_oldest_first(bench: Bench) -> None:
    today = NOW_MS - NOW_MS % DAY_MS
    await write(bench, *[row(at_ms=today - day * DAY_MS) for day in range(5)], row("m-02", today))
    async with bench.database.write() as session:
        days = await bench.series.old_days(session, today - DAY_MS, 9)
        assert days == [(today - back * DAY_MS) // DAY_MS for back in (4, 3, 2)]
        assert await bench.series.old_days(session, today - DAY_MS, 1) == days[:1]
        assert await bench.series.count_day(session, days[0]) == 1
        assert [await bench.series.drop_day(session, day) for day in days[:2]] == [1, 1]
        assert await bench.series.drop_day(session, days[0]) == 0
    assert [found.at_ms for found in await export(bench)] == [
        *(today - day * DAY_MS for day in (2, 1)),
        *(today, today),
    ]
    assert (await write(bench, row(at_ms=today - 4 * DAY_MS))).new == 1, "an old day can come back"


async def test_a_day_in_pages(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.timeseries.reading.EXPORT_PAGE", 2)
    day = NOW_MS // DAY_MS
    rows = [row(name, day * DAY_MS + 60_000 * n) for n in range(3) for name in ("m-01", "m-02")]
    await write(bench, *rows, row(at_ms=day * DAY_MS - 1), row(at_ms=(day + 1) * DAY_MS))
    await write(bench, *rows[:1], site=SiteId("south"))
    async with bench.database.read() as session:
        pages = [page async for page in bench.series.day(session, day)]
    found = [(record[0], from_record(record)) for page in pages for record in page]
    assert sorted(found, key=lambda pair: (pair[0], pair[1].at_ms, pair[1].device)) == [
        *((SITE, sent) for sent in rows),
        (SiteId("south"), rows[0]),
    ]
    assert len(pages) > 3


# ---------------------------------------------------------------- hours

HOUR = NOW_MS - NOW_MS % HOUR_MS - HOUR_MS


async def roll_up(bench: Bench, until_ms: int = NOW_MS, limit: int = 100) -> int:
    async with bench.database.write() as session:
        return await bench.series.roll_up(session, until_ms, limit=limit)


async def hours(bench: Bench, *columns: str, device: str = "m-01") -> SeriesFrame:
    query = SeriesQuery(
        site=SITE,
        device=DeviceId(device),
        columns=columns,
        from_ms=0,
        to_ms=2**62,
        limit=100,
        tier=Tier.HOURS,
    )
    async with bench.database.read() as session:
        return await bench.series.read(session, query)


async def test_an_hour_is_what_its_rows_say(bench: Bench) -> None:
    """Means by samples, deviations pooled, increments added, the newest that is known."""
    first = row(
        at_ms=HOUR,
        power_w_mean=100.0,
        power_w_std=3.0,
        power_w_max=110.0,
        hw_errors_delta=5.0,
        energy_kwh_last=7.0,
        hashrate_ths_min=9.0,
    )
    second = msgspec.structs.replace(
        row(at_ms=HOUR + 60_000, power_w_mean=200.0, power_w_std=4.0, power_w_max=230.0, hw_errors_delta=2.0),
        samples=18,
        failed=2,
        quality=Quality.STALE,
        state=MinerState.STOPPED,
    )
    await write(bench, second, first)
    assert await roll_up(bench) == 1
    names = (
        "power_w_mean",
        "power_w_std",
        "power_w_max",
        "hw_errors_delta",
        "energy_kwh_last",
        "hashrate_ths_min",
        "fault_max",
    )
    frame = await hours(bench, *names)
    assert (frame.tier, frame.at_ms, frame.step_s) == (Tier.HOURS, (HOUR,), 3600)
    found = {name: column[0] for name, column in zip(names, frame.values, strict=True)}
    spread = ((9 + 100**2) * 6 + (16 + 200**2) * 18) / 24 - 175.0**2
    assert found == pytest.approx(
        {
            "power_w_mean": 175.0,
            "power_w_std": spread**0.5,
            "power_w_max": 230.0,
            "hw_errors_delta": 7.0,
            "energy_kwh_last": 7.0,
            "hashrate_ths_min": 9.0,
            "fault_max": None,
        }
    )
    heads = await bench.all(
        "SELECT kind, algorithm, samples, failed, quality, state, preset FROM rollup_hour"
    )
    assert heads == [("miner", "sha256d", 24, 2, 4, "stopped", "2970")]


async def test_a_late_row_makes_its_hour_anew(bench: Bench) -> None:
    await write(bench, row(at_ms=HOUR, power_w_max=1.0), row("m-02", HOUR, power_w_max=5.0))
    assert (await roll_up(bench), await roll_up(bench)) == (1, 0)
    await write(bench, row(at_ms=HOUR + 60_000, power_w_max=2.0))
    assert await roll_up(bench) == 1
    assert (await hours(bench, "power_w_max")).values == ((2.0,),)
    assert (await hours(bench, "power_w_max", device="m-02")).values == ((5.0,),)


async def test_an_hour_that_is_not_over_waits(bench: Bench) -> None:
    await write(bench, row(at_ms=HOUR))
    assert await roll_up(bench, HOUR + HOUR_MS - 1) == 0
    assert await roll_up(bench, HOUR + HOUR_MS) == 1


async def test_rolling_up_is_bounded_and_oldest_first(bench: Bench) -> None:
    await write(bench, *[row(at_ms=HOUR - back * HOUR_MS, power_w_max=1.0) for back in range(5)])
    assert await roll_up(bench, limit=2) == 2
    assert (await hours(bench, "power_w_max")).at_ms == (HOUR - 4 * HOUR_MS, HOUR - 3 * HOUR_MS)
    assert (await roll_up(bench, limit=9), await roll_up(bench)) == (3, 0)


async def test_what_a_crash_took_back_is_rolled_up_again(bench: Bench) -> None:
    await write(bench, row(at_ms=HOUR))

    async def crash() -> None:
        async with bench.database.write() as session:
            await bench.series.roll_up(session, NOW_MS, limit=9)
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        await crash()
    assert await roll_up(bench) == 1


async def test_the_hour_of_all_numbers_is_between_the_rows(bench: Bench) -> None:
    """Every column of the row has a rule; equal rows give themselves, and nothing known gives nothing."""
    numbers = tuple(float(n) for n in range(1, 37))
    same = [
        msgspec.structs.replace(row(at_ms=HOUR + 60_000 * n), values=numbers, samples=n + 1) for n in range(3)
    ]
    await write(bench, *same, msgspec.structs.replace(row("m-02", HOUR), samples=0))
    await roll_up(bench)
    known = await hours(bench, *COLUMN_NAMES)
    for column, expected, (value,) in zip(ROLLUP_COLUMNS, numbers, known.values, strict=True):
        assert value == pytest.approx(expected * 3 if column.how == "delta" else expected), column.name
    unknown = await hours(bench, *COLUMN_NAMES, device="m-02")
    assert {value for column in unknown.values for value in column} == {None}


async def test_the_rung_that_fits_is_chosen_and_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def rung(from_ms: int, to_ms: int) -> Tier:
        query = SeriesQuery(
            site=SITE,
            device=DeviceId("m-01"),
            columns=(),
            from_ms=from_ms,
            to_ms=to_ms,
            limit=1,
            tier=Tier.AUTO,
        )
        async with bench.database.read() as session:
            return (await bench.series.read(session, query)).tier

    assert await rung(0, 2**62) is Tier.ROWS, "nothing at all"
    await write(bench, *[row(at_ms=HOUR - HOUR_MS + 600_000 * n) for n in range(12)])
    assert await rung(0, 2**62) is Tier.ROWS, "hours are not there yet"
    await roll_up(bench)
    assert await rung(0, 2**62) is Tier.ROWS, "rows fit one reply"
    monkeypatch.setattr("cloud.timeseries.reading.MAX_POINTS", 8)
    assert await rung(0, 2**62) is Tier.HOURS
    assert await rung(HOUR, HOUR + HOUR_MS) is Tier.ROWS
    monkeypatch.undo()
    async with bench.database.write() as session:
        await bench.series.drop_day(session, HOUR // DAY_MS)
        await bench.series.drop_day(session, (HOUR - HOUR_MS) // DAY_MS)
    assert await rung(0, 2**62) is Tier.HOURS, "only hours reach back that far"


# ---------------------------------------------------------------- early


async def test_rows_written_early_are_all_in_or_none(bench: Bench) -> None:
    """What the engine promises to somebody who only believes that the rows are new."""
    old, new = row(power_w_mean=1.0), row("m-02", power_w_mean=2.0)
    await write(bench, old)
    async with bench.database.write() as session:
        assert not await bench.series.write_early(session, [to_record(SITE, r) for r in (new, old)])
    assert await export(bench) == [old]
    assert (await write(bench, new, old)).new == 1


async def test_after_a_collision_everything_is_looked_at_until_it_is_over(bench: Bench) -> None:
    await write(bench, row("m-01"))
    assert (await write(bench, row("m-01"), row("m-02"))).new == 1
    assert (await write(bench, row("m-02"), row("m-03"))).new == 1
    assert (await write(bench, row("m-04"))).new == 1
    assert len(await export(bench)) == 4


# ---------------------------------------------------------------- twice


FULL = msgspec.structs.replace(
    row(at_ms=NOW_MS), values=tuple(n / 7 for n in range(1, len(COLUMN_NAMES) + 1)), failed=1
)
OTHER = {
    "step_s": 5,
    "kind": DeviceKind.METER,
    "algorithm": None,
    "samples": 99,
    "failed": 0,
    "quality": Quality.STALE,
    "state": None,
    "preset": "other",
}


@pytest.mark.parametrize("name", OTHER)
async def test_a_row_that_differs_in_any_head_column_is_kept_apart(bench: Bench, name: str) -> None:
    await write(bench, FULL)
    second = msgspec.structs.replace(FULL, **{name: OTHER[name]})
    assert await write(bench, second) == WriteReport(rows=1, new=0, apart={SITE: 1})
    assert (await export(bench), await apart(bench)) == ([FULL], [second])


async def test_a_row_that_differs_in_any_number_is_kept_apart(bench: Bench) -> None:
    """By the last bit, and where one of the two does not know it."""
    await write(bench, FULL)
    numbers = FULL.values
    others = [
        msgspec.structs.replace(FULL, values=(*numbers[:place], value, *numbers[place + 1 :]))
        for place, number in enumerate(numbers)
        if number is not None
        for value in (None, math.nextafter(number, math.inf))
    ]
    assert (await write(bench, *others)).apart == {SITE: 2 * len(COLUMN_NAMES)}
    found = await apart(bench)
    assert sorted(map(repr, found)) == sorted(map(repr, others)), "to the last bit"


async def test_rows_that_know_something_that_the_first_did_not_are_kept_apart(bench: Bench) -> None:
    empty = msgspec.structs.replace(row(), algorithm=None, state=None, preset=None)
    await write(bench, empty)
    assert await write(bench, empty) == WriteReport(rows=1, new=0), "unknown is equal to unknown"
    fuller = row(power_w_mean=0.0)
    assert (await write(bench, fuller)).apart == {SITE: 1}, "and zero is not"
    assert await apart(bench) == [fuller]


async def test_equal_rows_leave_no_trace(bench: Bench) -> None:
    """A restored or salvaged store sends what it sent before under a new epoch."""
    rows = [row(f"m-{n:03}", power_w_mean=0.1 * n) for n in range(700)]
    await write(bench, *rows)
    assert await write(bench, *rows) == WriteReport(rows=700, new=0)
    assert await write(bench, *rows, row("m-new")) == WriteReport(rows=701, new=1)
    assert await apart(bench) == []


async def test_the_same_differing_row_is_kept_once_however_often_it_comes(bench: Bench) -> None:
    await write(bench, row(power_w_mean=1.0))
    lives = [row(power_w_mean=float(n)) for n in (2, 3)]
    assert (await write(bench, *lives, *lives)).apart == {SITE: 2}
    assert (await write(bench, *lives)).apart == {}
    assert sorted(await apart(bench), key=repr) == sorted(lives, key=repr)


async def test_what_is_kept_apart_is_counted_and_read_by_site_and_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud.timeseries.again.PAGE", 2)
    south = SiteId("south")
    first = [row(name, NOW_MS - 60_000 * n) for name in ("m-01", "m-02") for n in (2, 1, 0)]
    second = [msgspec.structs.replace(r, samples=r.samples + 1) for r in first]
    for site in (SITE, south):
        await write(bench, *first, site=site)
    assert (await write(bench, *second)).apart == {SITE: 6}
    assert (await write(bench, second[0], site=south)).apart == {south: 1}
    assert await apart(bench) == second
    assert await apart(bench, NOW_MS - 60_000, NOW_MS) == [second[1], second[4]]
    async with bench.database.read() as session:
        counts = [await bench.series.count_apart(session, SiteId(s)) for s in (SITE, south, "nowhere")]
    assert counts == [6, 1, 0]
    assert await bench.one("SELECT count(*) FROM rollup_again WHERE received_ms = " + str(NOW_MS)) == 7


async def test_a_write_that_fails_keeps_nothing_apart(bench: Bench) -> None:
    await write(bench, row(power_w_mean=1.0))

    async def failing() -> None:
        async with bench.database.write() as session:
            await bench.series.write(session, SITE, [row(power_w_mean=2.0)])
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        await failing()
    assert await apart(bench) == []
    assert (await write(bench, row(power_w_mean=2.0))).apart == {SITE: 1}


async def test_rows_that_could_not_be_written_early_are_kept_apart_afterwards(bench: Bench) -> None:
    old, new, again = row(power_w_mean=1.0), row("m-02"), row(power_w_mean=2.0)
    await write(bench, old)
    records = [to_record(SITE, r) for r in (new, again)]
    async with bench.database.write() as session:
        assert not await bench.series.write_early(session, records)
        report = await bench.series.write_records(session, records, NOW_MS)
    assert report == WriteReport(rows=2, new=1, apart={SITE: 1})
    assert await apart(bench) == [again]


async def test_rows_that_are_new_are_not_looked_at(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual write pays nothing for those that collide."""

    async def never(*_: object) -> None:
        raise AssertionError("nothing collided")

    monkeypatch.setattr("cloud.timeseries.again.keep", never)
    monkeypatch.setattr("cloud.timeseries.sqlite._differing", never)
    monkeypatch.setattr("cloud.timeseries.postgres._merge", never)
    assert (await write(bench, row("m-01"), row("m-02"))).new == 2


async def test_hours_and_charts_are_of_the_first_life(bench: Bench) -> None:
    await write(bench, row(at_ms=HOUR, power_w_max=1.0))
    await write(bench, row(at_ms=HOUR, power_w_max=9.0))
    await roll_up(bench)
    assert (await hours(bench, "power_w_max")).values == ((1.0,),)
    assert (await read(bench, ("power_w_max",))).values == ((1.0,),)


async def test_what_is_kept_apart_goes_with_its_day(bench: Bench) -> None:
    day = NOW_MS // DAY_MS - 3
    edges = [day * DAY_MS - 1, day * DAY_MS, (day + 1) * DAY_MS - 1, (day + 1) * DAY_MS]
    for life in (1.0, 2.0):
        await write(bench, *(row(at_ms=at_ms, power_w_mean=life) for at_ms in edges))
    async with bench.database.write() as session:
        assert await bench.series.drop_day(session, day) == 2, "rows of the day; the others are uncounted"
    assert [found.at_ms for found in await apart(bench)] == [edges[0], edges[3]]


NUMBERS = st.lists(
    st.none() | st.floats(allow_nan=False, allow_infinity=False), min_size=36, max_size=36
).map(tuple)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(numbers=NUMBERS, quality=st.sampled_from(Quality), at_ms=st.integers(NOW_MS - 10**10, NOW_MS))
async def test_numbers_survive_bit_for_bit(
    bench: Bench, numbers: tuple[float | None, ...], quality: Quality, at_ms: int
) -> None:
    sent = RollupRow(
        device=DeviceId("probe-1"),
        at_ms=at_ms,
        step_s=5,
        samples=0,
        failed=3,
        quality=quality,
        values=numbers,
        kind=DeviceKind.PROBE,
    )
    async with bench.database.write() as session:
        await bench.series.write(session, SITE, [sent])
        found = [item async for item in bench.series.export(session, SITE, at_ms, at_ms + 1)]
        await session.rollback()
    assert found == [sent]


def test_a_record_and_back() -> None:
    sent = row("meter-1", power_w_mean=1.5)
    assert from_record(to_record(SITE, sent)) == sent


def test_the_table_has_the_columns_of_the_row() -> None:
    """A new roll-up column needs a migration, and this test says so."""
    assert v0001_series.NUMBERS == COLUMN_NAMES
    assert (*HEAD, *COLUMN_NAMES) == COLUMNS
