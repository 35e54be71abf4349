"""SQL about devices."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.alarms.episodes import INBOX
from cloud.tables import AlarmRow, DeviceLatestRow, DeviceRow, DeviceScoreRow, SiteRow


async def inventory(session: AsyncSession, site: str, device: str | None = None) -> list[DeviceRow]:
    """Devices of the present inventory by id, or the one."""
    statement = select(DeviceRow).where(DeviceRow.site == site, DeviceRow.present).order_by(DeviceRow.id)
    if device is not None:
        statement = statement.where(DeviceRow.id == device)
    return list(await session.scalars(statement))


async def latest(session: AsyncSession, site: str, device: str | None = None) -> dict[str, DeviceLatestRow]:
    statement = select(DeviceLatestRow).where(DeviceLatestRow.site == site)
    if device is not None:
        statement = statement.where(DeviceLatestRow.device == device)
    return {row.device: row for row in await session.scalars(statement)}


async def heard_ms(session: AsyncSession, site: str) -> int | None:
    """When the site said anything last; None where it never did."""
    found: int | None = await session.scalar(select(SiteRow.last_seen_ms).where(SiteRow.id == site))
    return found


async def scores(session: AsyncSession, site: str, device: str | None = None) -> dict[str, DeviceScoreRow]:
    statement = select(DeviceScoreRow).where(DeviceScoreRow.site == site)
    if device is not None:
        statement = statement.where(DeviceScoreRow.device == device)
    return {row.device: row for row in await session.scalars(statement)}


async def inhibits(session: AsyncSession, site: str) -> dict[str, str]:
    """Device → why it is inhibited, from conditions that stand and are no alarms."""
    found = await session.execute(
        select(AlarmRow.device, AlarmRow.title)
        .where(
            AlarmRow.site == site,
            AlarmRow.cleared_ms.is_(None),
            AlarmRow.device.is_not(None),
            AlarmRow.kind.not_in(sorted(INBOX)),
        )
        .order_by(AlarmRow.last_ms)
    )
    return {str(device): title for device, title in found}
