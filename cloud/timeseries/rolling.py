"""Which hours changed, and computing them: the same on every engine that computes hours itself."""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.timeseries.rollup_sql import hour_statement
from cloud.timeseries.store import HOUR_MS, Record

_MARK = text(
    "INSERT INTO rollup_marks (site, hour_ms, touched) VALUES (:site, :hour, 1) "
    "ON CONFLICT (site, hour_ms) DO UPDATE SET touched = rollup_marks.touched + 1"
)
_HOUR = text(hour_statement())


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
    for site, hour in hours:
        await session.execute(_HOUR, {"site": site, "hour": hour, "end": hour + HOUR_MS})
        await session.execute(
            text("DELETE FROM rollup_marks WHERE site = :site AND hour_ms = :hour"),
            {"site": site, "hour": hour},
        )
    return len(hours)
