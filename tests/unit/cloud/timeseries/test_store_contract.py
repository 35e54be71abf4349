"""One suite for every `TimeSeriesStore`: SQLite always, PostgreSQL where the system has it."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud.migrations.versions import v0001_series
from cloud.timeseries.rows import COLUMNS, HEAD, from_record, to_record
from cloud.timeseries.store import MAX_POINTS, SeriesFrame, SeriesQuery, WriteReport
from shared.ids import DeviceId, SiteId
from shared.telemetry import COLUMN_NAMES, DeviceKind, Quality, RollupRow
from support.cloud import NOW_MS, SITE, Bench, row

DAY_MS = 86_400_000


async def write(bench: Bench, *rows: RollupRow, site: SiteId = SITE) -> WriteReport:
    async with bench.database.write() as session:
        return await bench.series.write(session, site, rows)


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
    assert await write(bench, first, second) == WriteReport(rows=2, new=1)
    assert await write(bench, second) == WriteReport(rows=1, new=0)
    assert await export(bench) == [first]


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


async def test_expire_takes_old_days_only(bench: Bench) -> None:
    today = NOW_MS - NOW_MS % DAY_MS
    await write(bench, *[row(at_ms=today - day * DAY_MS) for day in range(5)])
    async with bench.database.write() as session:
        await bench.series.expire(session, today - 2 * DAY_MS)
    assert [found.at_ms for found in await export(bench)] == [today - day * DAY_MS for day in (2, 1, 0)]
    assert (await write(bench, row(at_ms=today - 4 * DAY_MS))).new == 1, "an old day can come back"


NUMBERS = st.lists(
    st.none() | st.floats(allow_nan=False, allow_infinity=False), min_size=36, max_size=36
).map(tuple)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
