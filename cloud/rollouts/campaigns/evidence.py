"""From what sites reported to what the decision sees of each of them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.rollouts.campaigns import repository
from cloud.rollouts.campaigns.plan import Campaign, CampaignState, Evidence, Numbers, Plan, Position
from cloud.rollouts.campaigns.repository import ReportSum
from cloud.tables import CampaignRow, CampaignSiteRow, ModelReportRow
from shared.artifacts.manifest import Stage

WAY = ("downloaded", "verified", "shadow", "active")
"""The words of a site on its way, in order."""
_ON_STAGE: Mapping[Stage, tuple[str, ...]] = {
    Stage.SHADOW: ("shadow", "shadow-report", "active", "active-report"),
    Stage.ACTIVE: ("active", "active-report"),
}


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign with all that is known of its sites at one moment."""

    campaign: Campaign
    members: list[CampaignSiteRow]
    evidence: dict[str, Evidence]
    """Of the sites that have the version from here."""
    sums: dict[str, list[ReportSum]]
    gone: dict[str, ModelReportRow]
    newest: dict[str, tuple[int, str, int, str]]


async def picture(session: AsyncSession, row: CampaignRow) -> Picture:
    """Read everything that a decision about this campaign needs."""
    members = await repository.members(session, row.id)
    campaign = _campaign(row, members)
    sums: dict[str, list[ReportSum]] = defaultdict(list)
    for one in await repository.report_sums(session, row, campaign.plan.criteria.min_cycles):
        sums[one.site].append(one)
    names = [member.site for member in members]
    seen = await repository.seen(session, names)
    newest = await repository.newest_assignments(session, names)
    gone = await repository.gone(session, row)
    evidence = {
        member.site: _evidence(
            row, member, sums.get(member.site, []), gone.get(member.site), seen.get(member.site), newest
        )
        for member in members
        if member.stage is not None
    }
    return Picture(
        campaign=campaign, members=members, evidence=evidence, sums=dict(sums), gone=gone, newest=newest
    )


def is_taken(
    row: CampaignRow, member: CampaignSiteRow, newest: Mapping[str, tuple[int, str, int, str]]
) -> bool:
    """Whether a person assigned something else at the site since this campaign last did."""
    found = newest.get(member.site)
    return member.returned is None and found is not None and found[0] != member.counter


def _campaign(row: CampaignRow, members: Sequence[CampaignSiteRow]) -> Campaign:
    sizes: dict[int, int] = defaultdict(int)
    for member in members:
        sizes[member.ring] += 1
    return Campaign(
        state=CampaignState(row.state),
        position=Position(ring=row.ring, step=row.step),
        rings=tuple(sizes[ring] for ring in sorted(sizes)),
        plan=msgspec.convert(row.plan, Plan),
        expires_ms=row.expires_ms,
        why=row.why,
    )


def _evidence(
    row: CampaignRow,
    member: CampaignSiteRow,
    sums: Sequence[ReportSum],
    gone: ModelReportRow | None,
    seen_ms: int | None,
    newest: Mapping[str, tuple[int, str, int, str]],
) -> Evidence:
    assert member.stage is not None  # noqa: S101 - only sites that were assigned a stage are asked for
    assert member.assigned_ms is not None  # noqa: S101 - as above
    stage = Stage(member.stage)
    since = [one for one in sums if one.since]
    on_stage = [one for one in since if one.state in _ON_STAGE[stage]]
    failed = member.failed or (f"it says {gone.state}: {gone.detail}" if gone is not None else "")
    said = {one.state.removesuffix("-report") for one in sums}
    return Evidence(
        site=member.site,
        ring=member.ring,
        stage=stage,
        assigned_ms=member.assigned_ms,
        taken=is_taken(row, member, newest),
        reached_ms=min((one.first_ms for one in on_stage), default=None),
        heard_ms=max((one.numbers_ms for one in on_stage if one.numbers_ms is not None), default=None),
        cycles=_cycles(on_stage),
        worst=_worst(since),
        said=next((word for word in reversed(WAY) if word in said), ""),
        failed=failed,
        seen_ms=seen_ms,
        has_baseline=member.baseline_version is not None,
        baseline_intervention=member.baseline_intervention,
    )


def _cycles(sums: Sequence[ReportSum]) -> float:
    """A candidate's reports say how many cycles it had so far; those of an acting one, how many were new."""
    shadow = max((one.cycles_most or 0 for one in sums if one.state == "shadow-report"), default=0)
    return max(shadow, sum(one.cycles_sum or 0 for one in sums if one.state == "active-report"))


def _worst(sums: Sequence[ReportSum]) -> Numbers:
    def highest(name: str, states: tuple[str, ...] | None = None) -> float | None:
        found = (getattr(one, name) for one in sums if states is None or one.state in states)
        return max((value for value in found if value is not None), default=None)

    return Numbers(
        agreement=min((one.agreement for one in sums if one.agreement is not None), default=None),
        alarm_rate=highest("alarm_rate"),
        latency_p99_ms=highest("latency_p99_ms"),
        # In the shadow the guardian bounds what others propose, which says nothing about this version.
        intervention_rate=highest("intervention_rate", ("active", "active-report")),
        error_rate=highest("error_rate"),
    )
