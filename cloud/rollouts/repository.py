"""SQL about assignments and what sites report of models."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.tables import AssignmentRow, ModelReportRow, ModelRow, SiteRow


async def assignments(session: AsyncSession, sites: Sequence[str] | None) -> list[AssignmentRow]:
    """By counter, oldest first."""
    statement = select(AssignmentRow).order_by(AssignmentRow.site, AssignmentRow.counter)
    if sites is not None:
        statement = statement.where(AssignmentRow.site.in_(sites))
    return list(await session.scalars(statement))


async def reports(session: AsyncSession, sites: Sequence[str] | None) -> list[ModelReportRow]:
    """The words of sites in the order in which they were said; without the periodic numbers, which are
    many."""
    statement = (
        select(ModelReportRow)
        .where(ModelReportRow.state.notlike("%-report"))
        .order_by(ModelReportRow.place, ModelReportRow.row)
    )
    if sites is not None:
        statement = statement.where(ModelReportRow.site.in_(sites))
    return list(await session.scalars(statement))


async def newest_assignments(session: AsyncSession) -> list[AssignmentRow]:
    """The one of each site with the highest counter: what must stand retained at the broker."""
    newest = (
        select(AssignmentRow.site, func.max(AssignmentRow.counter).label("counter"))
        .group_by(AssignmentRow.site)
        .subquery()
    )
    return list(
        await session.scalars(
            select(AssignmentRow).join(
                newest,
                (AssignmentRow.site == newest.c.site) & (AssignmentRow.counter == newest.c.counter),
            )
        )
    )


async def site_for_update(session: AsyncSession, site: str) -> SiteRow | None:
    return await session.get(SiteRow, site, with_for_update=True)


async def may_fetch(session: AsyncSession, site: str, sha256: str) -> bool:
    """Whether a model with this file was ever assigned to the site."""
    found = await session.scalar(
        select(AssignmentRow.row)
        .join(ModelRow, (ModelRow.name == AssignmentRow.name) & (ModelRow.version == AssignmentRow.version))
        .where(AssignmentRow.site == site, ModelRow.sha256 == sha256)
        .limit(1)
    )
    return found is not None
