"""SQL about campaigns and what the reports of their sites add up to."""

from collections.abc import Collection, Sequence

import msgspec
from sqlalchemy import and_, case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.models.repository import GONE
from cloud.rollouts.campaigns.plan import OPEN
from cloud.tables import (
    AssignmentRow,
    CampaignRow,
    CampaignSiteRow,
    ModelReportRow,
    RolloutStepRow,
    SiteModelSettingsRow,
    SiteRow,
)

RETURN_WATCH_MS = 30 * 86_400_000
"""How long after its end a campaign still looks whether its sites let go of the version."""
FEWEST = 20.0
"""Rates over fewer proposals than this are taken as if the rest had gone well."""


class ReportSum(msgspec.Struct, frozen=True, kw_only=True):
    """What one site's reports with one word add up to; `since`: they followed its present assignment."""

    site: str
    state: str
    since: bool
    first_ms: int
    numbers_ms: int | None
    numbers_row: int | None
    cycles_most: float | None
    cycles_sum: float | None
    agreement: float | None
    alarm_rate: float | None
    latency_p99_ms: float | None
    intervention_rate: float | None
    error_rate: float | None


async def campaign(session: AsyncSession, campaign_id: str, *, lock: bool = False) -> CampaignRow | None:
    statement = select(CampaignRow).where(CampaignRow.id == campaign_id)
    if lock:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    found: CampaignRow | None = await session.scalar(statement)
    return found


async def campaigns(session: AsyncSession, limit: int = 50) -> list[CampaignRow]:
    """Newest first."""
    return list(await session.scalars(select(CampaignRow).order_by(CampaignRow.row.desc()).limit(limit)))


async def to_work_on(session: AsyncSession, now_ms: int) -> list[str]:
    """Ids of campaigns that may move: open ones, and ended ones whose sites are still on their way back."""
    returning = (
        select(CampaignSiteRow.campaign)
        .where(CampaignSiteRow.returned == "sent")
        .distinct()
        .scalar_subquery()
    )
    statement = (
        select(CampaignRow.id)
        .where(
            CampaignRow.state.in_(("running", "paused"))
            | (CampaignRow.id.in_(returning) & (CampaignRow.ended_ms > now_ms - RETURN_WATCH_MS))
        )
        .order_by(CampaignRow.row)
    )
    return list(await session.scalars(statement))


async def members(session: AsyncSession, campaign_id: str) -> list[CampaignSiteRow]:
    """All sites of a campaign in the order in which they get the version."""
    return list(
        await session.scalars(
            select(CampaignSiteRow)
            .where(CampaignSiteRow.campaign == campaign_id)
            .order_by(CampaignSiteRow.ring, CampaignSiteRow.place)
        )
    )


async def busy(session: AsyncSession, sites: Collection[str]) -> dict[str, str]:
    """Which of these sites are in an open campaign, and in which."""
    found = await session.execute(
        select(CampaignSiteRow.site, CampaignSiteRow.campaign)
        .join(CampaignRow, CampaignRow.id == CampaignSiteRow.campaign)
        .where(CampaignSiteRow.site.in_(sorted(sites)), CampaignRow.state.in_([one.value for one in OPEN]))
    )
    return {site: campaign for site, campaign in found}  # noqa: C416 - a Row is a tuple, mypy wants the pair


async def seen(session: AsyncSession, sites: Collection[str] | None = None) -> dict[str, int | None]:
    """All sites (or these), and when something was last heard of each."""
    statement = select(SiteRow.id, SiteRow.last_seen_ms)
    if sites is not None:
        statement = statement.where(SiteRow.id.in_(sorted(sites)))
    return {site: seen_ms for site, seen_ms in await session.execute(statement)}  # noqa: C416 - as above


async def wishes(session: AsyncSession) -> dict[str, SiteModelSettingsRow]:
    """What sites ask of roll-outs; a site that is not in it asks nothing."""
    return {row.site: row for row in await session.scalars(select(SiteModelSettingsRow))}


async def newest_assignments(
    session: AsyncSession, sites: Collection[str]
) -> dict[str, tuple[int, str, int, str]]:
    """Counter, name, version and stage of what each site was assigned last, by whomever."""
    newest = (
        select(AssignmentRow.site, func.max(AssignmentRow.counter).label("counter"))
        .where(AssignmentRow.site.in_(sorted(sites)))
        .group_by(AssignmentRow.site)
        .subquery()
    )
    found = await session.execute(
        select(
            AssignmentRow.site,
            AssignmentRow.counter,
            AssignmentRow.name,
            AssignmentRow.version,
            AssignmentRow.stage,
        ).join(newest, (AssignmentRow.site == newest.c.site) & (AssignmentRow.counter == newest.c.counter))
    )
    return {row.site: (row.counter, row.name, row.version, row.stage) for row in found}


async def report_sums(session: AsyncSession, row: CampaignRow, min_cycles: int) -> Sequence[ReportSum]:
    """What each site's reports of the version add up to, per word and per whether they followed the stage.

    Sums that do not depend on the order of arrival: a backlog may bring old reports after new ones.
    Errors and interventions are of answered proposals, and of at least `FEWEST`: one in two is not half.
    """
    report, member = ModelReportRow, CampaignSiteRow
    since = (report.received_ms >= member.assigned_ms).label("since")
    # A candidate counts from its first cycle on, so its young reports are noise; an acting one from its last.
    old_enough = case((report.state == "shadow-report", report.cycles >= min_cycles), else_=report.cycles > 0)
    proposals = case((report.answered > FEWEST, report.answered), else_=FEWEST)
    errors = report.errors / case((report.answered.is_(None), report.cycles), else_=proposals)
    interventions = case(
        (report.answered.is_(None), report.intervention_rate),
        else_=func.coalesce(report.intervention_rate, 0.0) * report.answered / proposals,
    )
    found = await session.execute(
        select(
            report.site,
            report.state,
            since,
            func.min(report.received_ms).label("first_ms"),
            func.max(case((report.cycles.is_not(None), report.received_ms))).label("numbers_ms"),
            func.max(case((report.cycles.is_not(None), report.row))).label("numbers_row"),
            func.max(report.cycles).label("cycles_most"),
            func.sum(report.cycles).label("cycles_sum"),
            func.min(case((old_enough, report.agreement))).label("agreement"),
            func.max(case((old_enough, report.alarm_rate))).label("alarm_rate"),
            func.max(case((old_enough, report.latency_p99_ms))).label("latency_p99_ms"),
            func.max(case((old_enough, interventions))).label("intervention_rate"),
            func.max(case((old_enough, errors))).label("error_rate"),
        )
        .join(member, and_(member.site == report.site, member.campaign == row.id))
        .where(
            report.name == row.name,
            report.version == row.version,
            report.received_ms >= member.joined_ms,
        )
        .group_by(report.site, report.state, since)
    )
    return [ReportSum(**one._mapping) for one in found]  # noqa: SLF001 - SQLAlchemy's public name for it


async def gone(session: AsyncSession, row: CampaignRow) -> dict[str, ModelReportRow]:
    """The first word of each site that it does not run the version (any more), since it got it here."""
    member = CampaignSiteRow
    found = await session.scalars(
        select(ModelReportRow)
        .join(member, and_(member.site == ModelReportRow.site, member.campaign == row.id))
        .where(
            ModelReportRow.name == row.name,
            ModelReportRow.version == row.version,
            ModelReportRow.state.in_(GONE),
            ModelReportRow.received_ms >= member.joined_ms,
        )
        .order_by(ModelReportRow.row.desc())
    )
    return {report.site: report for report in found}


async def strangers(session: AsyncSession, row: CampaignRow) -> list[str]:
    """Sites that report the version although this campaign has not given it to them; they never count."""
    mine = select(CampaignSiteRow.site).where(
        CampaignSiteRow.campaign == row.id, CampaignSiteRow.joined_ms.is_not(None)
    )
    given = select(AssignmentRow.site).where(
        AssignmentRow.name == row.name, AssignmentRow.version == row.version
    )
    found = await session.scalars(
        select(ModelReportRow.site)
        .where(
            ModelReportRow.name == row.name,
            ModelReportRow.version == row.version,
            ModelReportRow.site.not_in(mine),
            ModelReportRow.site.not_in(given),
        )
        .distinct()
        .order_by(ModelReportRow.site)
    )
    return list(found)


async def numbers(session: AsyncSession, rows: Collection[int]) -> dict[str, ModelReportRow]:
    """These reports by their site."""
    found = await session.scalars(select(ModelReportRow).where(ModelReportRow.row.in_(sorted(rows))))
    return {report.site: report for report in found}


async def last_interventions(
    session: AsyncSession, name: str, sites: Collection[str]
) -> dict[tuple[str, int], float]:
    """How often the guardian stepped in at (site, version), as the sites last said."""
    newest = (
        select(func.max(ModelReportRow.row))
        .where(
            ModelReportRow.name == name,
            ModelReportRow.site.in_(sorted(sites)),
            ModelReportRow.state == "active-report",
            ModelReportRow.intervention_rate.is_not(None),
        )
        .group_by(ModelReportRow.site, ModelReportRow.version)
    )
    found = await session.execute(
        select(ModelReportRow.site, ModelReportRow.version, ModelReportRow.intervention_rate).where(
            ModelReportRow.row.in_(newest)
        )
    )
    return {(site, version): rate for site, version, rate in found if rate is not None}


async def steps(session: AsyncSession, campaign_id: str | None, limit: int = 200) -> list[RolloutStepRow]:
    """The record, newest first; of one campaign, or of everything."""
    statement = select(RolloutStepRow).order_by(RolloutStepRow.row.desc()).limit(limit)
    if campaign_id is not None:
        statement = statement.where(RolloutStepRow.campaign == campaign_id)
    return list(await session.scalars(statement))
