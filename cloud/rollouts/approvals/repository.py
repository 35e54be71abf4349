"""SQL about approvals and what sites ask for."""

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.tables import ApprovalRow, SiteModelSettingsRow


async def approval(session: AsyncSession, approval_id: str) -> ApprovalRow | None:
    """Locked: two persons who decide at once must not both count."""
    found: ApprovalRow | None = await session.scalar(
        select(ApprovalRow)
        .where(ApprovalRow.id == approval_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return found


async def approvals(session: AsyncSession, *, state: str | None, limit: int = 200) -> list[ApprovalRow]:
    """Newest first."""
    statement = select(ApprovalRow).order_by(ApprovalRow.row.desc()).limit(limit)
    if state is not None:
        statement = statement.where(ApprovalRow.state == state)
    return list(await session.scalars(statement))


async def waiting_for(session: AsyncSession, campaigns: Collection[str]) -> list[ApprovalRow]:
    """What waits for a second person about these campaigns, oldest first."""
    return list(
        await session.scalars(
            select(ApprovalRow)
            .where(ApprovalRow.campaign.in_(sorted(campaigns)), ApprovalRow.state == "waiting")
            .order_by(ApprovalRow.row)
        )
    )


async def overdue(session: AsyncSession, now_ms: int) -> list[ApprovalRow]:
    return list(
        await session.scalars(
            select(ApprovalRow).where(ApprovalRow.state == "waiting", ApprovalRow.expires_ms <= now_ms)
        )
    )


async def settings(session: AsyncSession, site: str) -> SiteModelSettingsRow | None:
    return await session.get(SiteModelSettingsRow, site, populate_existing=True)


async def asking(session: AsyncSession, sites: Collection[str]) -> list[str]:
    """Which of these sites ask for a second person."""
    return list(
        await session.scalars(
            select(SiteModelSettingsRow.site)
            .where(SiteModelSettingsRow.site.in_(sorted(sites)), SiteModelSettingsRow.second_approver)
            .order_by(SiteModelSettingsRow.site)
        )
    )
