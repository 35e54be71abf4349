"""Which hours changed, and computing them: the same on every engine that computes hours itself.

The hours of a day whose rows were dropped are all that is left of it. They are not computed again: what comes
late waits among the rows until those are dropped as well, and is merged into the hours just before that. So
each late row counts once, however often its hour is marked.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.kit.upsert import upsert
from cloud.tables import GoneDayRow
from cloud.timeseries.rollup_sql import hour_statement, merge_statement
from cloud.timeseries.store import DAY_MS, HOUR_MS, Record

_MARK = text(
    "INSERT INTO rollup_marks (site, hour_ms, touched) VALUES (:site, :hour, 1) "
    "ON CONFLICT (site, hour_ms) DO UPDATE SET touched = rollup_marks.touched + 1"
)
_HOUR = text(hour_statement())
_MERGE = text(merge_statement())
_DAY_HOURS = text(
    f"SELECT DISTINCT at_ms - at_ms % {HOUR_MS} AS hour_ms FROM rollup "  # noqa: S608 - constant
    "WHERE site = :site AND at_ms >= :first AND at_ms < :last ORDER BY hour_ms"
)


async def mark(session: AsyncSession, records: Sequence[Record]) -> None:
    """Note the hours of these rows, in one order, in the transaction that writes them.

    An existing mark is updated and not left alone: its row stays locked until this transaction ends, so a
    roll-up at the same time cannot take the mark away without having seen these rows.
    """
    hours = sorted({(record[0], record[2] // HOUR_MS) for record in records})
    await session.execute(_MARK, [{"site": site, "hour": hour * HOUR_MS} for site, hour in hours])


async def roll_up(session: AsyncSession, until_ms: int, *, limit: int) -> int:
    """`TimeSeriesStore.roll_up`. Hours that a writer holds just now are left for the next round."""
    sqlite = session.get_bind().dialect.name == "sqlite"
    found = await session.execute(
        text(
            "SELECT site, hour_ms FROM rollup_marks WHERE hour_ms <= :last "  # noqa: S608 - constant
            "ORDER BY hour_ms, site LIMIT :limit" + ("" if sqlite else " FOR UPDATE SKIP LOCKED")
        ),
        {"last": until_ms - HOUR_MS, "limit": limit},
    )
    hours = [(site, hour) for site, hour in found]
    # Looked up after the marks: whoever drops a day sees its marks, or they came after it was gone.
    gone = await gone_days(session, {hour // DAY_MS for _, hour in hours})
    for site, hour in hours:
        if hour // DAY_MS not in gone:
            await session.execute(_HOUR, {"site": site, "hour": hour, "end": hour + HOUR_MS})
        await session.execute(
            text("DELETE FROM rollup_marks WHERE site = :site AND hour_ms = :hour"),
            {"site": site, "hour": hour},
        )
    return len(hours)


async def gone_days(session: AsyncSession, days: Collection[int]) -> set[int]:
    """Those of these UTC days (since 1970) whose rows were dropped."""
    return set(await session.scalars(select(GoneDayRow.day).where(GoneDayRow.day.in_(sorted(days)))))


async def merge_late(session: AsyncSession, day: int, sites: Sequence[str]) -> None:
    """Merge what is there of a gone day into its hours; the caller drops those rows in this transaction."""
    for site in sites:
        found = await session.scalars(
            _DAY_HOURS, {"site": site, "first": day * DAY_MS, "last": (day + 1) * DAY_MS}
        )
        for hour in found.all():
            await session.execute(_MERGE, {"site": site, "hour": hour, "end": hour + HOUR_MS})


async def note_gone(session: AsyncSession, day: int, now_ms: int) -> None:
    """From now on the hours of this day stand for themselves."""
    await upsert(session, GoneDayRow.__table__, [{"day": day, "dropped_ms": now_ms}])  # type: ignore[arg-type]  # a Table at run time
