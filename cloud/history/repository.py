"""SQL about device history and raw windows."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from cloud.tables import DeviceHistoryRow, RawRequestRow, RawWindowRow


async def history(
    session: AsyncSession, site: str, device: str, from_ms: int, to_ms: int, limit: int
) -> list[DeviceHistoryRow]:
    """Rows in `[from_ms, to_ms)`, oldest first."""
    statement = (
        select(DeviceHistoryRow)
        .where(
            DeviceHistoryRow.site == site,
            DeviceHistoryRow.device == device,
            DeviceHistoryRow.at_ms >= from_ms,
            DeviceHistoryRow.at_ms < to_ms,
        )
        .order_by(DeviceHistoryRow.at_ms, DeviceHistoryRow.mark)
        .limit(limit)
    )
    return list(await session.scalars(statement))


async def windows(
    session: AsyncSession, site: str, from_ms: int, to_ms: int, limit: int
) -> Sequence[tuple[RawWindowRow, int]]:
    """Windows that overlap `[from_ms, to_ms)`, newest first, without their contents but with their size."""
    statement = (
        select(RawWindowRow, func.length(RawWindowRow.frame))
        .options(defer(RawWindowRow.frame))
        .where(RawWindowRow.site == site, RawWindowRow.from_ms < to_ms, RawWindowRow.to_ms >= from_ms)
        .order_by(RawWindowRow.from_ms.desc(), RawWindowRow.id.desc())
        .limit(limit)
    )
    return [(row, size) for row, size in await session.execute(statement)]


async def window(session: AsyncSession, site: str, number: int) -> RawWindowRow | None:
    row = await session.get(RawWindowRow, number)
    return row if row is not None and row.site == site else None


async def requests(session: AsyncSession, site: str, limit: int) -> list[RawRequestRow]:
    """The newest first."""
    statement = (
        select(RawRequestRow)
        .where(RawRequestRow.site == site)
        .order_by(RawRequestRow.asked_ms.desc(), RawRequestRow.id)
        .limit(limit)
    )
    return list(await session.scalars(statement))
