"""Campaigns as the API shows them: what the decision sees, in words."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from cloud.rollouts.approvals import repository as approval_rows
from cloud.rollouts.approvals.service import view as approval_view
from cloud.rollouts.campaigns import repository
from cloud.rollouts.campaigns.decide import Verdict, judge, needed
from cloud.rollouts.campaigns.evidence import Picture, picture
from cloud.rollouts.campaigns.plan import Campaign, CampaignState, Evidence
from cloud.rollouts.campaigns.schemas import (
    CampaignSite,
    CampaignView,
    CriteriaView,
    NumbersView,
    Ring,
    RolloutStep,
)
from cloud.rollouts.campaigns.service import asks_second
from cloud.tables import CampaignRow, CampaignSiteRow, ModelReportRow, RolloutStepRow


async def campaign_view(session: AsyncSession, row: CampaignRow, now_ms: int) -> CampaignView:
    """One campaign with everything that is known of it."""
    seen = await picture(session, row)
    campaign = seen.campaign
    newest_rows = [
        max(numbers)
        for sums in seen.sums.values()
        if (numbers := [one.numbers_row for one in sums if one.since and one.numbers_row is not None])
    ]
    newest = await repository.numbers(session, newest_rows) if newest_rows else {}
    sites = {member.site: _site(member, seen, newest.get(member.site), now_ms) for member in seen.members}
    return CampaignView(
        id=row.id,
        name=row.name,
        version=row.version,
        state=row.state,  # type: ignore[arg-type]  # only `moves` writes it
        held=row.held,
        why=row.why,
        ring=row.ring,
        stage=campaign.stage.value,  # type: ignore[arg-type]  # a plan has no other stages
        stages=[stage.value for stage in campaign.plan.stages],  # type: ignore[misc]  # as above
        entered_ms=row.entered_ms,
        created_ms=row.created_ms,
        created_by=row.created_by,
        ended_ms=row.ended_ms,
        expires_ms=row.expires_ms,
        second_approver=await asks_second(session, row),
        criteria=CriteriaView.model_validate(row.plan["criteria"]),
        rings=[_ring(campaign, number, seen, sites) for number in range(len(campaign.rings))],
        strangers=await repository.strangers(session, row),
        approvals=[approval_view(one) for one in await approval_rows.waiting_for(session, [row.id])],
        history=step_views(await repository.steps(session, row.id)),
    )


def step_views(rows: Sequence[RolloutStepRow]) -> list[RolloutStep]:
    """Lines of the record, in the order given."""
    return [
        RolloutStep(
            at_ms=row.at_ms,
            campaign=row.campaign,
            site=row.site,
            actor=row.actor,
            what=row.what,
            detail=row.detail,
        )
        for row in rows
    ]


def _ring(campaign: Campaign, number: int, seen: Picture, sites: dict[str, CampaignSite]) -> Ring:
    mine = [sites[member.site] for member in seen.members if member.ring == number]
    at = campaign.position.ring
    begun = campaign.state is not CampaignState.PROPOSED
    passed = number < at or campaign.state is CampaignState.DONE
    return Ring(
        number=number + 1,
        state="not-yet" if number > at or not begun else "done" if passed else "open",
        soak_s=campaign.plan.soak_s[number],
        needed=needed(campaign, number),
        good=sum(site.standing == "good" and site.stage == _goal(campaign, number) for site in mine),
        sites=mine,
    )


def _goal(campaign: Campaign, ring: int) -> str:
    return campaign.plan.stages[-1] if ring < campaign.position.ring else campaign.stage


def _site(member: CampaignSiteRow, seen: Picture, newest: ModelReportRow | None, now_ms: int) -> CampaignSite:
    evidence = seen.evidence.get(member.site)
    verdict = judge(evidence, seen.campaign, now_ms) if evidence is not None else None
    standing, why = _words(member, verdict)
    soaked_ms = None
    if evidence is not None and evidence.reached_ms is not None:
        soaked_ms = evidence.reached_ms + round(seen.campaign.plan.soak_s[member.ring] * 1000)
    return CampaignSite(
        site=member.site,
        stage=member.stage,  # type: ignore[arg-type]  # only `moves` writes it
        standing=standing,  # type: ignore[arg-type]  # the words of `Standing` and three more
        why=why,
        said=evidence.said if evidence is not None else "",
        reached_ms=evidence.reached_ms if evidence is not None else None,
        heard_ms=evidence.heard_ms if evidence is not None else None,
        soaked_ms=soaked_ms,
        worst=_worst(evidence),
        newest=_newest(newest) if newest is not None else None,
        before=member.baseline_version,
        intervention_before=member.baseline_intervention,
    )


def _words(member: CampaignSiteRow, verdict: Verdict | None) -> tuple[str, str]:
    """How a site stands: on its way in as the decision sees it, and on its way back."""
    because = f" after: {member.failed}" if member.failed else ""
    if member.returned == "sent":
        return "returning", f"told to let go of the version, no confirmation yet{because}"
    if member.returned == "restored":
        return "returned", f"runs version {member.baseline_version} again{because}"
    if member.returned is not None:
        return "returned", f"no longer runs the version{because}"
    if verdict is None:
        return "not-yet", "its ring is not open yet"
    return verdict.standing.value, verdict.why


def _worst(evidence: Evidence | None) -> NumbersView:
    worst = evidence.worst if evidence is not None else None
    return NumbersView(
        agreement=worst.agreement if worst else None,
        alarm_rate=worst.alarm_rate if worst else None,
        latency_p99_ms=worst.latency_p99_ms if worst else None,
        intervention_rate=worst.intervention_rate if worst else None,
        error_rate=worst.error_rate if worst else None,
        cycles=evidence.cycles if evidence is not None else None,
    )


def _newest(report: ModelReportRow) -> NumbersView:
    of = report.cycles if report.answered is None else max(report.answered, repository.FEWEST)
    rate = report.errors / of if report.errors is not None and of else None
    return NumbersView(
        agreement=report.agreement,
        alarm_rate=report.alarm_rate,
        latency_p99_ms=report.latency_p99_ms,
        intervention_rate=report.intervention_rate,
        error_rate=rate,
        cycles=report.cycles,
    )
