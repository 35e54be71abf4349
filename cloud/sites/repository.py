"""SQL about sites."""

from collections.abc import Sequence

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.tables import AlarmRow, LedgerRow, ModelReportRow, ModelRow, SiteRow, ZoneStatusRow
from shared.alarms import Severity


async def sites(session: AsyncSession, ids: Sequence[str] | None = None) -> list[SiteRow]:
    """These sites, or all, by id."""
    statement = select(SiteRow).order_by(SiteRow.id)
    if ids is not None:
        statement = statement.where(SiteRow.id.in_(ids))
    return list(await session.scalars(statement))


async def exists(session: AsyncSession, site: str) -> bool:
    return await session.scalar(select(SiteRow.id).where(SiteRow.id == site)) is not None


async def open_alarms(session: AsyncSession) -> dict[str, tuple[int, int]]:
    """Site → how many alarms of the inbox stand, and how many of them are urgent."""
    urgent = func.sum(case((AlarmRow.severity == Severity.URGENT.value, 1), else_=0))
    found = await session.execute(
        select(AlarmRow.site, func.count(), urgent)
        .where(AlarmRow.cleared_ms.is_(None), AlarmRow.inbox)
        .group_by(AlarmRow.site)
    )
    return {site: (count, int(of_them or 0)) for site, count, of_them in found}


async def zones(session: AsyncSession, site: str) -> list[ZoneStatusRow]:
    return list(
        await session.scalars(
            select(ZoneStatusRow).where(ZoneStatusRow.site == site).order_by(ZoneStatusRow.zone)
        )
    )


async def running_model(session: AsyncSession, site: str) -> tuple[ModelReportRow, str | None] | None:
    """The newest report of each version decides; of the running ones an active beats a shadow."""
    found = await session.execute(
        select(ModelReportRow, ModelRow.algorithm)
        .outerjoin(
            ModelRow,
            (ModelRow.name == ModelReportRow.name) & (ModelRow.version == ModelReportRow.version),
        )
        .where(ModelReportRow.site == site, ModelReportRow.state.notlike("%-report"))
        .order_by(ModelReportRow.place, ModelReportRow.row)
    )
    newest = {(report.name, report.version): (report, algorithm) for report, algorithm in found}
    for state in ("active", "shadow"):
        running = [pair for pair in newest.values() if pair[0].state == state]
        if running:
            return max(running, key=lambda pair: (pair[0].place, pair[0].row))
    return None


async def ledger(session: AsyncSession, site: str) -> list[LedgerRow]:
    return list(
        await session.scalars(
            select(LedgerRow)
            .where(LedgerRow.site == site)
            .order_by(LedgerRow.first_ms, LedgerRow.epoch, LedgerRow.stream)
        )
    )
