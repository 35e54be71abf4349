"""SQL about events."""

from collections.abc import Collection, Sequence

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.sites.intake import ZONE_STATUS
from cloud.tables import EventRow


async def page(
    session: AsyncSession,
    *,
    site: str | None,
    kinds: Sequence[str],
    device: str | None,
    after: tuple[int, int] | None,
    limit: int,
) -> list[EventRow]:
    """Events, newest first. Zone status is state and not news: it shows in the site's summary only."""
    statement = select(EventRow).where(EventRow.key.not_like(f"{ZONE_STATUS}%"))
    if site is not None:
        statement = statement.where(EventRow.site == site)
    if device is not None:
        statement = statement.where(EventRow.device == device)
    if kinds:
        statement = statement.where(EventRow.kind.in_(kinds))
    if after is not None:
        statement = statement.where(tuple_(EventRow.at_ms, EventRow.row) < after)
    statement = statement.order_by(EventRow.at_ms.desc(), EventRow.row.desc()).limit(limit)
    return list(await session.scalars(statement))


async def by_ids(session: AsyncSession, ids: Collection[tuple[str, str]]) -> list[EventRow]:
    """Events by (site, id), oldest first."""
    statement = (
        select(EventRow)
        .where(tuple_(EventRow.site, EventRow.id).in_(sorted(ids)), EventRow.key.not_like(f"{ZONE_STATUS}%"))
        .order_by(EventRow.at_ms, EventRow.row)
    )
    return list(await session.scalars(statement))
