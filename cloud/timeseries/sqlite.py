"""Roll-up rows in SQLite: one clustered table, filled by executemany in the caller's transaction.

`WITHOUT ROWID` with the key (site, device, at_ms) makes a device's history one range of the tree and
saves the second copy of the key (scale.md D.1 measured 39,500 wide rows/s and 128 bytes per row so).
"""

from collections.abc import Sequence
from operator import itemgetter

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.timeseries import again, rolling
from cloud.timeseries.reading import SeriesReader
from cloud.timeseries.rows import COLUMNS, to_record
from cloud.timeseries.store import DAY_MS, Record, WriteReport
from shared.ids import SiteId
from shared.telemetry import RollupRow

_INSERT = (
    f"INSERT INTO rollup ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) "  # noqa: S608 - constant names
    "ON CONFLICT (site, device, at_ms) DO NOTHING"
)
_SITES = (
    "WITH RECURSIVE known (site) AS (SELECT min(site) FROM rollup UNION ALL "
    "SELECT (SELECT min(r.site) FROM rollup r WHERE r.site > known.site) FROM known WHERE site IS NOT NULL) "
    "SELECT site FROM known WHERE site IS NOT NULL"
)
"""Hops from one site to the next along the key; DISTINCT would read every row."""
_STORED = (
    "WITH k (site, device, at_ms) AS (VALUES {keys}) "  # noqa: S608 - constant names
    f"SELECT {', '.join(f'r.{name}' for name in COLUMNS)} FROM k CROSS JOIN rollup r "
    "ON r.site = k.site AND r.device = k.device AND r.at_ms = k.at_ms"
)
"""CROSS JOIN in SQLite keeps the order of the tables: a look at the key for each of them."""
_LOOK_AT_ONCE = 300
"""Keys in one statement: three parameters each, of which SQLite has always allowed 999."""
_key = itemgetter(0, 1, 2)


class SqliteSeries(SeriesReader):
    """`TimeSeriesStore` on SQLite."""

    page_order = ("at_ms", "device")

    async def sites(self, session: AsyncSession, day: int) -> list[str]:
        found = await session.execute(text(_SITES))
        return [str(site) for site in found.scalars()]

    async def write(
        self, session: AsyncSession, site: SiteId, rows: Sequence[RollupRow], received_ms: int | None = None
    ) -> WriteReport:
        return await self.write_records(session, [to_record(site, row) for row in rows], received_ms)

    async def write_records(
        self, session: AsyncSession, records: Sequence[Record], received_ms: int | None = None
    ) -> WriteReport:
        if not records:
            return WriteReport(rows=0, new=0)
        await rolling.mark(session, records)
        connection = await session.connection()
        # In the order of the tree: rows of several batches then touch each page once. The sort is stable,
        # so of equal keys the first still stays.
        result = await connection.exec_driver_sql(_INSERT, sorted(records, key=_key))
        apart: dict[SiteId, int] = {}
        if result.rowcount < len(records):
            apart = await again.keep(session, await _differing(session, records), received_ms)
        return WriteReport(rows=len(records), new=result.rowcount, apart=apart)

    async def write_early(self, session: AsyncSession, records: Sequence[Record]) -> bool:
        return False

    async def mark(self, session: AsyncSession, records: Sequence[Record]) -> None:
        await rolling.mark(session, records)

    async def roll_up(self, session: AsyncSession, until_ms: int, *, limit: int) -> int:
        return await rolling.roll_up(session, until_ms, limit=limit)

    async def old_days(self, session: AsyncSession, before_ms: int, limit: int) -> list[int]:
        # Hops from day to day along the index of each site instead of a scan over all rows.
        found: set[int] = set()
        for site in await self.sites(session, 0):
            day = 0
            for _ in range(limit):
                at_ms = await session.scalar(
                    text(
                        "SELECT min(at_ms) FROM rollup "
                        "WHERE site = :site AND at_ms >= :first AND at_ms < :last"
                    ),
                    {"site": site, "first": day * DAY_MS, "last": before_ms},
                )
                if at_ms is None or (at_ms // DAY_MS + 1) * DAY_MS > before_ms:
                    break
                found.add(at_ms // DAY_MS)
                day = at_ms // DAY_MS + 1
        return sorted(found)[:limit]

    async def drop_day(self, session: AsyncSession, day: int) -> int:
        statement = text("DELETE FROM rollup WHERE site = :site AND at_ms >= :first AND at_ms < :last")
        gone = 0
        for site in await self.sites(session, day):
            result = await session.execute(
                statement, {"site": site, "first": day * DAY_MS, "last": (day + 1) * DAY_MS}
            )
            gone += int(result.rowcount)  # type: ignore[attr-defined]  # a CursorResult; the stub says Result
        await again.drop_day(session, day)
        return gone


async def _differing(session: AsyncSession, records: Sequence[Record]) -> list[Record]:
    """Those that are not what is stored of their key."""
    connection = await session.connection()
    stored: dict[Record, Record] = {}
    for start in range(0, len(records), _LOOK_AT_ONCE):
        some = {_key(record) for record in records[start : start + _LOOK_AT_ONCE]}
        statement = _STORED.format(keys=", ".join(["(?, ?, ?)"] * len(some)))
        found = await connection.exec_driver_sql(statement, tuple(part for key in some for part in key))
        stored |= {_key(row): tuple(row) for row in found}
    return [record for record in records if stored[_key(record)] != record]
