"""TimescaleDB, where a PostgreSQL has it: the same rows in a hypertable, compressed when they are old.

Not exercised in CI: no TimescaleDB exists for the system that CI runs on (scale.md D.4). What is tested is
the SQL that leaves this module and when it leaves. The statements are those of TimescaleDB 2.13 and later.

Everything else (direct COPY, the staging table, hours by marks) is `PostgresSeries`'s: hours stay a table of
ours, because their rule for `last` and pooled deviations is held to one suite, and a continuous aggregate
stands beside it for dashboards that speak SQL. Compression and continuous aggregates are under the Timescale
licence: free to use on one's own servers. The aggregate's deviations are means of the rows' deviations.
Rows expire by the keeper, as everywhere: day by day with `drop_chunks`, after the cold tier has them. No
retention policy of TimescaleDB is set: it would not wait for that.
"""

from collections.abc import Iterable

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.timeseries import again
from cloud.timeseries.postgres import PostgresSeries
from cloud.timeseries.store import DAY_MS, HOUR_MS
from shared.telemetry import ROLLUP_COLUMNS, Column

IS_THERE = "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'"
IS_HYPERTABLE = "SELECT 1 FROM timescaledb_information.hypertables WHERE hypertable_name = 'rollup'"
IS_EMPTY = "SELECT NOT EXISTS (SELECT 1 FROM rollup)"
COMPRESS_AFTER_DAYS = 7
_DAYS = (
    "SELECT DISTINCT range_start_integer / :day FROM timescaledb_information.chunks "
    "WHERE hypertable_name = 'rollup' AND range_end_integer <= :before ORDER BY 1 LIMIT :limit"
)


def setup_statements() -> tuple[str, ...]:
    """What turns the empty partitioned table of the migrations into a hypertable, in order."""
    return (
        "ALTER TABLE rollup RENAME TO rollup_partitioned",
        "CREATE TABLE rollup (LIKE rollup_partitioned INCLUDING ALL)",
        "DROP TABLE rollup_partitioned",
        f"SELECT create_hypertable('rollup', by_range('at_ms', {DAY_MS}), create_default_indexes => false)",
        "CREATE OR REPLACE FUNCTION minewarden_now_ms() RETURNS bigint LANGUAGE sql STABLE AS "
        "$$ SELECT (extract(epoch FROM now()) * 1000)::bigint $$",
        "SELECT set_integer_now_func('rollup', 'minewarden_now_ms', replace_if_exists => true)",
        "ALTER TABLE rollup SET (timescaledb.compress, timescaledb.compress_segmentby = 'site, device', "
        "timescaledb.compress_orderby = 'at_ms')",
        f"SELECT add_compression_policy('rollup', compress_after => {COMPRESS_AFTER_DAYS * DAY_MS}::bigint, "
        "if_not_exists => true)",
    )


def aggregate_statements() -> tuple[str, ...]:
    """An hour of each device as a continuous aggregate; cannot run inside a transaction."""
    numbers = ", ".join(f"{_expression(column)} AS {column.name}" for column in ROLLUP_COLUMNS)
    bucket = f"time_bucket({HOUR_MS}::bigint, at_ms)"
    view = (
        "CREATE MATERIALIZED VIEW IF NOT EXISTS rollup_hourly WITH (timescaledb.continuous) AS "  # noqa: S608 - constant names
        f"SELECT site, device, {bucket} AS hour_ms, sum(samples) AS samples, sum(failed) AS failed, "
        f"max(quality) AS quality, {numbers} FROM rollup GROUP BY site, device, {bucket} WITH NO DATA"
    )
    policy = (
        "SELECT add_continuous_aggregate_policy('rollup_hourly', "
        f"start_offset => {3 * DAY_MS}::bigint, end_offset => {HOUR_MS}::bigint, "
        "schedule_interval => INTERVAL '30 minutes', if_not_exists => true)"
    )
    return (view, policy)


def _expression(column: Column) -> str:
    name = column.name
    match column.how:
        case "mean":
            known = f"CASE WHEN {name} IS NOT NULL THEN samples END"
            return f"sum({name} * samples) / nullif(sum({known}), 0)"
        case "last":
            return f"last({name}, at_ms) FILTER (WHERE {name} IS NOT NULL)"
        case "delta":
            return f"sum({name})"
        case "std":
            return f"avg({name})"
        case _:
            return f"{column.how}({name})"


async def detect(session: AsyncSession) -> str | None:
    """Version of TimescaleDB in this database, None without it."""
    found: str | None = await session.scalar(text(IS_THERE))
    return found


async def set_up(session: AsyncSession) -> bool:
    """Make `rollup` a hypertable where it is none; False where it has rows as a partitioned table already.

    Such a table stays as it is: rewriting it is a decision for a person and a quiet night.
    """
    if await session.scalar(text(IS_HYPERTABLE)):
        return True
    if not await session.scalar(text(IS_EMPTY)):
        return False
    for statement in setup_statements():
        await session.execute(text(statement))
    return True


class TimescaleSeries(PostgresSeries):
    """`TimeSeriesStore` on a hypertable. Not exercised in CI."""

    async def old_days(self, session: AsyncSession, before_ms: int, limit: int) -> list[int]:
        found = await session.execute(text(_DAYS), {"day": DAY_MS, "before": before_ms, "limit": limit})
        return [int(day) for day in found.scalars()]

    async def drop_day(self, session: AsyncSession, day: int) -> int:
        first, last = day * DAY_MS, (day + 1) * DAY_MS
        await session.execute(text("LOCK TABLE rollup IN SHARE ROW EXCLUSIVE MODE"))
        rows = await self.count_day(session, day)
        await session.execute(
            text(
                "SELECT drop_chunks('rollup', older_than => CAST(:last AS bigint), "
                "newer_than => CAST(:first AS bigint))"
            ),
            {"first": first, "last": last},
        )
        await again.drop_day(session, day)
        return rows

    async def _make_room(self, session: AsyncSession, days: Iterable[int]) -> None:
        """A hypertable makes its chunks itself."""
