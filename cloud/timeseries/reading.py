"""Queries that are the same SQL on both engines."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.timeseries import again
from cloud.timeseries.rows import COLUMNS, checked_columns, from_record
from cloud.timeseries.store import (
    DAY_MS,
    HOUR_MS,
    MAX_POINTS,
    Apart,
    ApartQuery,
    Record,
    SeriesFrame,
    SeriesQuery,
    Tier,
)
from shared.ids import SiteId
from shared.telemetry import RollupRow

EXPORT_PAGE = 2_000
TABLES = {Tier.ROWS: "rollup", Tier.HOURS: "rollup_hour"}


class SeriesReader(ABC):
    """The reading half of a store. An engine adds in which order it pages best, and who has rows."""

    page_order: tuple[str, str]
    """Columns (at_ms and device) in which the rows of a site's day are read along an index."""

    @abstractmethod
    async def sites(self, session: AsyncSession, day: int) -> list[str]:
        """Sites that may have rows on that day, by name."""

    async def read(self, session: AsyncSession, query: SeriesQuery) -> SeriesFrame:
        limit = max(1, min(query.limit, MAX_POINTS))
        names = checked_columns(query.columns)
        tier = query.tier if query.tier is not Tier.AUTO else await _tier_for(session, query)
        statement = text(
            f"SELECT at_ms, step_s{', ' if names else ''}{names} FROM {TABLES[tier]} "  # noqa: S608 - checked names only
            "WHERE site = :site AND device = :device AND at_ms >= :first AND at_ms < :last "
            "ORDER BY at_ms LIMIT :limit"
        )
        found = await session.execute(statement, {**_range(query), "limit": limit + 1})
        rows = found.all()
        cut = rows[limit].at_ms if len(rows) > limit else None
        kept = rows[:limit]
        return SeriesFrame(
            tier=tier,
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

    async def day(self, session: AsyncSession, day: int) -> AsyncIterator[Sequence[Record]]:
        first, last = day * DAY_MS, (day + 1) * DAY_MS
        order = ", ".join(self.page_order)
        statement = text(
            f"SELECT {', '.join(COLUMNS)} FROM rollup WHERE site = :site "  # noqa: S608 - constant names
            f"AND at_ms >= :first AND at_ms < :last AND ({order}) > (:one, :two) "
            f"ORDER BY {order} LIMIT :limit"
        )
        places = [COLUMNS.index(name) for name in self.page_order]
        start = {"at_ms": first - 1, "device": ""}
        for site in await self.sites(session, day):
            key = [start[name] for name in self.page_order]
            while True:
                where = {"site": site, "first": first, "last": last, "one": key[0], "two": key[1]}
                rows = (await session.execute(statement, {**where, "limit": EXPORT_PAGE})).all()
                if rows:
                    yield [tuple(row) for row in rows]
                if len(rows) < EXPORT_PAGE:
                    break
                key = [rows[-1][place] for place in places]

    async def count(self, session: AsyncSession, site: SiteId) -> int:
        found = await session.execute(text("SELECT count(*) FROM rollup WHERE site = :site"), {"site": site})
        return int(found.scalar_one())

    def apart(
        self, session: AsyncSession, site: SiteId, from_ms: int, to_ms: int
    ) -> AsyncIterator[RollupRow]:
        return again.read(session, site, from_ms, to_ms)

    async def apart_page(self, session: AsyncSession, query: ApartQuery) -> list[Apart]:
        return await again.page(session, query)

    async def count_apart(self, session: AsyncSession, site: SiteId) -> int:
        return await again.count(session, site)

    async def count_day(self, session: AsyncSession, day: int) -> int:
        statement = text(
            "SELECT count(*) FROM rollup WHERE site = :site AND at_ms >= :first AND at_ms < :last"
        )
        total = 0
        for site in await self.sites(session, day):
            where = {"site": site, "first": day * DAY_MS, "last": (day + 1) * DAY_MS}
            total += int((await session.execute(statement, where)).scalar_one())
        return total

    async def waiting_hours(self, session: AsyncSession, day: int) -> int:
        found = await session.execute(
            text("SELECT count(*) FROM rollup_marks WHERE hour_ms >= :first AND hour_ms < :last"),
            {"first": day * DAY_MS, "last": (day + 1) * DAY_MS},
        )
        return int(found.scalar_one())


def _range(query: SeriesQuery) -> dict[str, object]:
    return {"site": query.site, "device": query.device, "first": query.from_ms, "last": query.to_ms}


async def _tier_for(session: AsyncSession, query: SeriesQuery) -> Tier:
    """Hours where the rows would not fit one reply, or where only hours reach back that far."""
    where = "WHERE site = :site AND device = :device AND at_ms >= :first AND at_ms < :last "

    async def first(sql: str) -> int | None:
        found: int | None = (await session.execute(text(sql), _range(query))).scalar()
        return found

    oldest_hour = await first(f"SELECT at_ms FROM rollup_hour {where}ORDER BY at_ms LIMIT 1")  # noqa: S608 - constant
    if oldest_hour is None:
        return Tier.ROWS
    oldest_row = await first(f"SELECT at_ms FROM rollup {where}ORDER BY at_ms LIMIT 1")  # noqa: S608 - constant
    if oldest_row is None or oldest_hour + HOUR_MS <= oldest_row:
        return Tier.HOURS
    beyond = await first(f"SELECT at_ms FROM rollup {where}ORDER BY at_ms LIMIT 1 OFFSET {MAX_POINTS}")  # noqa: S608 - constant
    return Tier.HOURS if beyond is not None else Tier.ROWS
