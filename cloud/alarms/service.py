"""The alarm inbox."""

from sqlalchemy.ext.asyncio import AsyncSession

from cloud.alarms import repository
from cloud.alarms.schemas import Acknowledge, AlarmList, AlarmView
from cloud.kit import paging
from cloud.kit.problems import NotFound
from cloud.tables import AlarmRow


def view(row: AlarmRow) -> AlarmView:
    """An alarm as the API shows it."""
    return AlarmView(
        id=row.id,
        site=row.site,
        key=row.key,
        kind=row.kind,
        severity=row.severity,
        title=row.title,
        advice=row.advice,
        zone=row.zone,
        device=row.device,
        opened_ms=row.opened_ms,
        last_ms=row.last_ms,
        cleared_ms=row.cleared_ms,
        acknowledged_ms=row.acknowledged_ms,
        acknowledged_by=row.acknowledged_by,
        note=row.note,
        count=row.count,
        data=row.data,
    )


async def inbox(
    session: AsyncSession, *, site: str | None, only_open: bool, cursor: str | None, limit: int
) -> AlarmList:
    """One page, newest first; raises `BadInput` for a foreign cursor."""
    after = paging.decode(cursor) if cursor is not None else None
    rows = await repository.page(session, site=site, only_open=only_open, after=after, limit=limit + 1)
    more = paging.encode(rows[limit - 1].opened_ms, rows[limit - 1].row) if len(rows) > limit else None
    return AlarmList(items=[view(row) for row in rows[:limit]], next_cursor=more)


async def acknowledge(session: AsyncSession, alarm: str, body: Acknowledge, now_ms: int) -> AlarmView:
    """Note who has seen it; the first acknowledgement stays. Raises `NotFound`."""
    row = await repository.by_id(session, alarm, lock=True)
    if row is None:
        raise NotFound(f"there is no alarm {alarm!r}")
    if row.acknowledged_ms is None:
        row.acknowledged_ms, row.acknowledged_by, row.note = now_ms, body.by, body.note
    return view(row)
