"""Whether a campaign goes on, waits or is halted: a pure function of what the sites reported and the time.

Silence is never success: only sites that were on the stage for the soak time and whose fresh reports hold
every criterion count as good. Never more than one step at once. A halt is final. What an earlier ring
reports still counts, because a slow fault shows there first. Sources: edge.md §6 (staged activation with
automatic return).
"""

import math
from collections.abc import Iterator, Sequence
from enum import StrEnum

import msgspec

from cloud.rollouts.campaigns.plan import Campaign, CampaignState, Criteria, Evidence, Position
from shared.artifacts.manifest import Stage

_NAMED = 3
"""How many sites a reason names before it only counts them."""


class Standing(StrEnum):
    """How one site stands on its stage."""

    GOOD = "good"
    SOAKING = "soaking"
    YOUNG = "young"
    COMING = "coming"
    SILENT = "silent"
    STUCK = "stuck"
    OFFLINE = "offline"
    TAKEN = "taken"
    BAD = "bad"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How a site stands, and why in words."""

    site: str
    standing: Standing
    why: str


class Advance(msgspec.Struct, frozen=True, kw_only=True):
    """Go one step on; `to` None means that the campaign is done."""

    to: Position | None
    why: str


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """Do nothing. `held`: a person should look, because waiting alone may not help."""

    why: str
    held: bool = False


class Halt(msgspec.Struct, frozen=True, kw_only=True):
    """Take the version back from every site that has it."""

    why: str


Decision = Advance | Wait | Halt


def decide(campaign: Campaign, reports: Sequence[Evidence], now_ms: int) -> Decision:
    """What to do now. `reports` has one entry for each site of each open ring."""
    if campaign.state is CampaignState.HALTED:
        return Halt(why=campaign.why)
    if campaign.state in (CampaignState.DONE, CampaignState.PROPOSED):
        return Wait(why=campaign.why)
    verdicts = [judge(evidence, campaign, now_ms) for evidence in reports]
    if why := _must_halt(campaign, reports, verdicts, now_ms):
        return Halt(why=why)
    if campaign.state is CampaignState.PAUSED:
        return Wait(why=campaign.why)
    if why := _must_hold(campaign, reports, verdicts):
        return Wait(why=why, held=True)
    return _ring(campaign, reports, verdicts)


_HOLDING = {
    Standing.TAKEN: "given something else by hand",
    Standing.OFFLINE: "offline",
    Standing.STUCK: "stuck on the way",
}


def _must_halt(
    campaign: Campaign, reports: Sequence[Evidence], verdicts: Sequence[Verdict], now_ms: int
) -> str:
    if now_ms >= campaign.expires_ms:
        return "the blessing of this version has expired"
    for ring, size in enumerate(campaign.rings):
        bad = _of(ring, Standing.BAD, reports, verdicts)
        if len(bad) > campaign.plan.criteria.max_bad_share * size + 1e-9:
            return f"{len(bad)} of {size} sites of ring {ring + 1} went wrong: {_reasons(bad)}"
    return ""


def _must_hold(campaign: Campaign, reports: Sequence[Evidence], verdicts: Sequence[Verdict]) -> str:
    for standing, words in _HOLDING.items():
        if held := [one for one in verdicts if one.standing is standing]:
            return f"{_sites(held)} {words}: {held[0].why}"
    for ring in range(campaign.position.ring):
        silent = _of(ring, Standing.SILENT, reports, verdicts)
        if len(silent) > campaign.rings[ring] - needed(campaign, ring):
            return f"ring {ring + 1} has gone silent: {_reasons(silent)}"
    return ""


def _of(
    ring: int, standing: Standing, reports: Sequence[Evidence], verdicts: Sequence[Verdict]
) -> list[Verdict]:
    pairs = zip(reports, verdicts, strict=True)
    return [verdict for one, verdict in pairs if one.ring == ring and verdict.standing is standing]


def needed(campaign: Campaign, ring: int) -> int:
    """How many good sites a ring needs, at least one."""
    return max(1, math.ceil(campaign.plan.criteria.min_reporting * campaign.rings[ring] - 1e-9))


def _ring(campaign: Campaign, reports: Sequence[Evidence], verdicts: Sequence[Verdict]) -> Decision:
    """The open ring: enough good sites, or what is missing."""
    at = campaign.position
    mine = [
        verdict
        for evidence, verdict in zip(reports, verdicts, strict=True)
        if evidence.ring == at.ring and evidence.stage is campaign.stage
    ]
    size, least = campaign.rings[at.ring], needed(campaign, at.ring)
    good = sum(verdict.standing is Standing.GOOD for verdict in mine)
    where = f"ring {at.ring + 1}, {campaign.stage}"
    if good >= least:
        return Advance(to=campaign.next, why=f"{where}: {good} of {size} sites held every criterion")
    for standing in (Standing.SILENT, Standing.COMING, Standing.YOUNG, Standing.SOAKING):
        if found := [verdict for verdict in mine if verdict.standing is standing]:
            return Wait(why=f"{where}: {good} of {least} needed sites are good; {_reasons(found)}")
    return Wait(
        why=f"{where}: {good} of {least} needed sites are good, and no other can become it", held=True
    )


def judge(evidence: Evidence, campaign: Campaign, now_ms: int) -> Verdict:
    """How one site stands, worst first."""
    standing, why = next(_findings(evidence, campaign, now_ms))
    return Verdict(site=evidence.site, standing=standing, why=why)


def _findings(evidence: Evidence, campaign: Campaign, now_ms: int) -> Iterator[tuple[Standing, str]]:
    criteria, stage = campaign.plan.criteria, evidence.stage
    if evidence.failed:
        yield Standing.BAD, evidence.failed
    if broken := next(_broken(evidence, criteria), None):
        yield Standing.BAD, broken
    if evidence.taken:
        yield Standing.TAKEN, "its newest assignment is not of this roll-out"
    seen_ms = max(evidence.assigned_ms, evidence.seen_ms or 0)
    if now_ms - seen_ms > criteria.offline_after_s * 1000:
        yield Standing.OFFLINE, f"nothing was heard of it for more than {_span(criteria.offline_after_s)}"
    if evidence.reached_ms is None:
        if now_ms - evidence.assigned_ms > criteria.stuck_after_s * 1000:
            yield Standing.STUCK, f"not on {stage} after {_span(criteria.stuck_after_s)} ({_said(evidence)})"
        yield Standing.COMING, f"on its way to {stage} ({_said(evidence)})"
        return
    if now_ms - max(evidence.reached_ms, evidence.heard_ms or 0) > criteria.silent_after_s * 1000:
        yield Standing.SILENT, f"no numbers for more than {_span(criteria.silent_after_s)}"
    if evidence.heard_ms is None or evidence.cycles < criteria.min_cycles:
        yield Standing.YOUNG, f"reported fewer than {criteria.min_cycles} cycles"
    if unknown := list(_unknown(evidence, criteria)):
        yield Standing.YOUNG, f"does not say {', '.join(unknown)}"
    if now_ms - evidence.reached_ms < campaign.plan.soak_s[evidence.ring] * 1000:
        yield Standing.SOAKING, f"soaks for {_span(campaign.plan.soak_s[evidence.ring])}"
    yield Standing.GOOD, "held every criterion"


def _broken(evidence: Evidence, criteria: Criteria) -> Iterator[str]:
    """Criteria that a number breaks; what is unknown breaks nothing here and holds nothing either."""
    worst = evidence.worst
    if (
        criteria.min_agreement is not None
        and worst.agreement is not None
        and worst.agreement < criteria.min_agreement
    ):
        yield f"agreement {worst.agreement:.1%}, at least {criteria.min_agreement:.1%} is asked"
    if worst.alarm_rate is not None and worst.alarm_rate > criteria.max_alarm_rate:
        yield f"alarm rate {worst.alarm_rate:.1%}, at most {criteria.max_alarm_rate:.1%} is allowed"
    if worst.latency_p99_ms is not None and worst.latency_p99_ms > criteria.max_latency_p99_ms:
        yield f"latency {worst.latency_p99_ms:.0f} ms, at most {criteria.max_latency_p99_ms:.0f} is allowed"
    if worst.error_rate is not None and worst.error_rate > criteria.max_error_rate:
        yield f"errors {worst.error_rate:.1%}, at most {criteria.max_error_rate:.1%} is allowed"
    before = evidence.baseline_intervention or 0.0
    allowed = before + criteria.max_intervention_rise
    acts = evidence.stage is Stage.ACTIVE  # in the shadow the guardian bounds what others propose
    if acts and worst.intervention_rate is not None and worst.intervention_rate > allowed:
        yield (
            f"the guardian stepped in at {worst.intervention_rate:.1%}, before it was {before:.1%}; "
            f"at most {allowed:.1%} is allowed"
        )


def _unknown(evidence: Evidence, criteria: Criteria) -> Iterator[str]:
    """Numbers that this stage needs and no report carries."""
    worst = evidence.worst
    if worst.alarm_rate is None:
        yield "its alarm rate"
    if worst.latency_p99_ms is None:
        yield "its latency"
    if worst.error_rate is None:
        yield "its errors"
    if evidence.stage is Stage.ACTIVE and worst.intervention_rate is None:
        yield "how often the guardian stepped in"
    asks_agreement = criteria.min_agreement is not None and evidence.has_baseline
    if evidence.stage is Stage.SHADOW and asks_agreement and worst.agreement is None:
        yield "its agreement"


def _said(evidence: Evidence) -> str:
    return f"last word: {evidence.said}" if evidence.said else "no word yet"


def _reasons(verdicts: Sequence[Verdict]) -> str:
    shown = "; ".join(f"{one.site}: {one.why}" for one in verdicts[:_NAMED])
    more = len(verdicts) - _NAMED
    return shown + (f"; and {more} more" if more > 0 else "")


def _sites(verdicts: Sequence[Verdict]) -> str:
    names = ", ".join(one.site for one in verdicts[:_NAMED])
    more = len(verdicts) - _NAMED
    return names + (f" and {more} more" if more > 0 else "") + (" is" if len(verdicts) == 1 else " are")


def _span(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:g} s"
