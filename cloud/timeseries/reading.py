"""Queries that are the same SQL on both engines."""

from collections.abc import AsyncIterator

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.timeseries.rows import COLUMNS, checked_columns, from_record
from cloud.timeseries.store import MAX_POINTS, SeriesFrame, SeriesQuery
from shared.ids import SiteId
from shared.telemetry import RollupRow

EXPORT_PAGE = 2_000


class SeriesReader:
    """The reading half of a store."""

    async def read(self, session: AsyncSession, query: SeriesQuery) -> SeriesFrame:
        limit = max(1, min(query.limit, MAX_POINTS))
        names = checked_columns(query.columns)
        statement = text(
            f"SELECT at_ms, step_s{', ' if names else ''}{names} FROM rollup "  # noqa: S608 - checked names only
            "WHERE site = :site AND device = :device AND at_ms >= :first AND at_ms < :last "
            "ORDER BY at_ms LIMIT :limit"
        )
        found = await session.execute(
            statement,
            {
                "site": query.site,
                "device": query.device,
                "first": query.from_ms,
                "last": query.to_ms,
                "limit": limit + 1,
            },
        )
        rows = found.all()
        cut = rows[limit].at_ms if len(rows) > limit else None
        kept = rows[:limit]
        return SeriesFrame(
            step_s=kept[-1].step_s if kept else None,
            columns=query.columns,
            at_ms=tuple(row.at_ms for row in kept),
            values=tuple(tuple(row[2 + i] for row in kept) for i in range(len(query.columns))),
            next_from_ms=cut,
        )

    async def export(
        self, session: AsyncSession, site: SiteId, from_ms: int, to_ms: int
    ) -> AsyncIterator[RollupRow]:
        # Pages by key instead of a server cursor: one statement per page on either engine, no open cursor.
        statement = text(
            f"SELECT {', '.join(COLUMNS)} FROM rollup "  # noqa: S608 - constant names
            "WHERE site = :site AND (at_ms, device) > (:at_ms, :device) AND at_ms < :last "
            "ORDER BY at_ms, device LIMIT :limit"
        )
        key = (from_ms, "")  # ids are never empty, so this is before all of that time
        while True:
            found = await session.execute(
                statement,
                {"site": site, "at_ms": key[0], "device": key[1], "last": to_ms, "limit": EXPORT_PAGE},
            )
            rows = found.all()
            for row in rows:
                yield from_record(row)
            if len(rows) < EXPORT_PAGE:
                return
            key = (rows[-1].at_ms, rows[-1].device)

    async def count(self, session: AsyncSession, site: SiteId) -> int:
        found = await session.execute(text("SELECT count(*) FROM rollup WHERE site = :site"), {"site": site})
        return int(found.scalar_one())
