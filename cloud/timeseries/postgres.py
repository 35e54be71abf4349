"""Roll-up rows in PostgreSQL: COPY into a staging table, then one INSERT … ON CONFLICT DO NOTHING.

The table is partitioned by UTC day (scale.md D.1 measured 172,000 rows/s into range partitions by plain
COPY); a day's partition is made when its first row arrives, and dropped whole when it expires.
"""

import datetime
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.timeseries.reading import SeriesReader
from cloud.timeseries.rows import COLUMNS, to_record
from cloud.timeseries.store import WriteReport
from shared.ids import SiteId
from shared.telemetry import RollupRow

DAY_MS = 86_400_000
_STAGING = "CREATE TEMP TABLE IF NOT EXISTS rollup_staging (LIKE rollup) ON COMMIT DELETE ROWS"
_MERGE = (
    f"INSERT INTO rollup ({', '.join(COLUMNS)}) SELECT {', '.join(COLUMNS)} FROM rollup_staging "  # noqa: S608 - constant names
    "ON CONFLICT DO NOTHING"
)


class PostgresSeries(SeriesReader):
    """`TimeSeriesStore` on PostgreSQL."""

    async def write(self, session: AsyncSession, site: SiteId, rows: Sequence[RollupRow]) -> WriteReport:
        if not rows:
            return WriteReport(rows=0, new=0)
        await _make_days(session, {row.at_ms // DAY_MS for row in rows})
        await session.execute(text(_STAGING))
        connection = await session.connection()
        driver: Any = (await connection.get_raw_connection()).driver_connection
        records = [to_record(site, row) for row in rows]
        await driver.copy_records_to_table("rollup_staging", records=records, columns=COLUMNS)
        result = await session.execute(text(_MERGE))
        # The staging table empties at commit only, and a second write may follow in this transaction.
        await session.execute(text("TRUNCATE rollup_staging"))
        return WriteReport(rows=len(rows), new=int(result.rowcount))  # type: ignore[attr-defined]  # a CursorResult

    async def expire(self, session: AsyncSession, before_ms: int) -> int:
        found = await session.execute(
            text(
                "SELECT c.relname, greatest(c.reltuples, 0)::bigint FROM pg_inherits i "
                "JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'rollup'::regclass"
            )
        )
        oldest_kept = _partition(before_ms // DAY_MS)
        gone = 0
        for name, rows in found.all():
            if name < oldest_kept:
                await session.execute(text(f"DROP TABLE {name}"))
                gone += rows
        return gone


def _partition(day: int) -> str:
    date = datetime.date(1970, 1, 1) + datetime.timedelta(days=day)
    return f"rollup_{date:%Y%m%d}"


async def _make_days(session: AsyncSession, days: Iterable[int]) -> None:
    """Make the missing partitions. Looking first avoids the lock that CREATE takes on the parent."""
    names = {_partition(day): day for day in days}
    found = await session.execute(
        text("SELECT relname FROM pg_class WHERE relname = ANY(:names) AND relispartition"),
        {"names": list(names)},
    )
    for name in sorted(names.keys() - set(found.scalars())):
        first = names[name] * DAY_MS
        await session.execute(
            text(
                f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF rollup "
                f"FOR VALUES FROM ({first}) TO ({first + DAY_MS})"
            )
        )
