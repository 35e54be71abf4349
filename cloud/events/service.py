"""The automation log."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from cloud.events import repository
from cloud.events.schemas import EventList, EventView
from cloud.kit import paging
from cloud.tables import EventRow


def view(row: EventRow) -> EventView:
    """An event as the API shows it."""
    return EventView(
        id=row.id,
        site=row.site,
        kind=row.kind,
        severity=row.severity,
        key=row.key,
        at_ms=row.at_ms,
        title=row.title,
        advice=row.advice,
        zone=row.zone,
        device=row.device,
        data=row.data,
    )


async def log(
    session: AsyncSession,
    *,
    site: str | None,
    kinds: Sequence[str],
    device: str | None,
    cursor: str | None,
    limit: int,
) -> EventList:
    """One page, newest first; raises `BadInput` for a foreign cursor."""
    after = paging.decode(cursor) if cursor is not None else None
    rows = await repository.page(session, site=site, kinds=kinds, device=device, after=after, limit=limit + 1)
    more = paging.encode(rows[limit - 1].at_ms, rows[limit - 1].row) if len(rows) > limit else None
    return EventList(items=[view(row) for row in rows[:limit]], next_cursor=more)
