"""SQL about alarms."""

from collections.abc import Sequence

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.tables import AlarmRow


async def page(
    session: AsyncSession,
    *,
    site: str | None,
    only_open: bool,
    after: tuple[int, int] | None,
    limit: int,
) -> list[AlarmRow]:
    """Alarms of the inbox, newest first; `after` is the (opened_ms, row) of the last one seen."""
    statement = select(AlarmRow).where(AlarmRow.inbox)
    if site is not None:
        statement = statement.where(AlarmRow.site == site)
    if only_open:
        statement = statement.where(AlarmRow.cleared_ms.is_(None))
    if after is not None:
        statement = statement.where(tuple_(AlarmRow.opened_ms, AlarmRow.row) < after)
    statement = statement.order_by(AlarmRow.opened_ms.desc(), AlarmRow.row.desc()).limit(limit)
    return list(await session.scalars(statement))


async def by_id(session: AsyncSession, alarm: str, *, lock: bool = False) -> AlarmRow | None:
    statement = select(AlarmRow).where(AlarmRow.id == alarm, AlarmRow.inbox)
    found: AlarmRow | None = await session.scalar(statement.with_for_update() if lock else statement)
    return found


async def by_ids(session: AsyncSession, alarms: Sequence[str]) -> list[AlarmRow]:
    return list(await session.scalars(select(AlarmRow).where(AlarmRow.id.in_(alarms), AlarmRow.inbox)))
