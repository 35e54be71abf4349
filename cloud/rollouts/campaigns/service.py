"""Campaigns for people: made from a request, and shown with every ring, site and reason."""

import uuid
from collections.abc import Sequence

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.kit.problems import BadInput, Conflict, NotFound
from cloud.models import repository as models
from cloud.models.service import must_have
from cloud.rollouts.approvals import repository as approval_rows
from cloud.rollouts.campaigns import choose, repository
from cloud.rollouts.campaigns.plan import SHARES, CampaignState, Plan
from cloud.rollouts.campaigns.schemas import CampaignRequest
from cloud.rollouts.service import may_run
from cloud.tables import CampaignRow, CampaignSiteRow
from shared.artifacts.manifest import Manifest


async def create(session: AsyncSession, body: CampaignRequest, now_ms: int) -> CampaignRow:
    """Check a request and store the campaign, proposed and with all its rings; nothing is sent yet.

    Raises `NotFound`, `BadInput` and `Conflict` with what stands in the way.
    """
    model = await must_have(session, body.name, body.version)
    manifest = may_run(model, now_ms)
    eligible = await _eligible(session, body, manifest)
    campaign = str(uuid.uuid4())
    unwilling = {site for site, wish in (await repository.wishes(session)).items() if not wish.canary}
    if body.rings is not None:
        rings = choose.named(body.rings, eligible=eligible, unwilling=unwilling)
    else:
        rings = choose.rings(campaign, eligible, unwilling=unwilling, shares=body.shares or SHARES)
    await _must_be_free(session, body, {site for ring in rings for site in ring})
    row = CampaignRow(
        id=campaign,
        name=body.name,
        version=body.version,
        state=CampaignState.PROPOSED.value,
        held=False,
        ring=0,
        step=0,
        entered_ms=now_ms,
        created_ms=now_ms,
        created_by=body.actor.strip(),
        why="waits for a second person",
        second_approver=body.second_approver,
        expires_ms=manifest.expires_ms,
        plan=msgspec.to_builtins(_plan(body, rings)),
    )
    session.add(row)
    session.add_all(
        CampaignSiteRow(campaign=campaign, site=site, ring=ring, place=place)
        for ring, sites in enumerate(rings)
        for place, site in enumerate(sites)
    )
    await session.flush()
    return row


async def _eligible(session: AsyncSession, body: CampaignRequest, manifest: Manifest) -> list[str]:
    """The sites that the version may run at and that were asked for."""
    if body.rings is not None and (body.shares is not None or body.sites is not None):
        raise BadInput("name either the rings themselves, or shares and sites, not both")
    known = await repository.seen(session)
    asked = set(body.sites or ()) | {site for ring in body.rings or () for site in ring}
    if unknown := sorted(asked - known.keys()):
        raise NotFound(f"there is no site {', '.join(unknown)}")
    allowed = set(manifest.scope.sites) or known.keys()
    if foreign := sorted(asked - allowed):
        raise Conflict(
            f"{manifest.name} version {manifest.version} is not meant for {', '.join(foreign)}; "
            "its manifest names the sites that it is for"
        )
    found = sorted((asked or known.keys()) & allowed)
    if not found:
        raise Conflict("there is no site that this version may run at")
    return found


async def _must_be_free(session: AsyncSession, body: CampaignRequest, sites: set[str]) -> None:
    """No site takes part in two campaigns at once, and none is asked to go back to an older version."""
    if busy := await repository.busy(session, sites):
        site, campaign = sorted(busy.items())[0]
        raise Conflict(f"site {site!r} is in roll-out {campaign}; end that one first")
    for site, standing in sorted((await models.standings(session, sites)).items()):
        here = (version for name, version in standing.here if name == body.name)
        if newer := [version for version in here if version > body.version]:
            raise Conflict(
                f"site {site!r} has version {newer[0]} already, and sites refuse an older one; "
                "roll that one back first"
            )


def _plan(body: CampaignRequest, rings: Sequence[Sequence[str]]) -> Plan:
    soak = body.soak_s if isinstance(body.soak_s, list) else [body.soak_s]
    if len(soak) == 1:
        soak *= len(rings)
    if len(soak) < len(rings):
        raise BadInput(f"soak_s has {len(soak)} times for {len(rings)} rings")
    stages = list(body.stages)
    if stages not in (["shadow"], ["active"], ["shadow", "active"]):
        raise BadInput("stages are shadow, active, or shadow and then active")
    return msgspec.convert(
        {"stages": stages, "soak_s": soak[: len(rings)], "criteria": body.criteria.model_dump()}, Plan
    )


async def must_find(session: AsyncSession, campaign: str, *, lock: bool = False) -> CampaignRow:
    """The campaign; raises `NotFound`."""
    row = await repository.campaign(session, campaign, lock=lock)
    if row is None:
        raise NotFound(f"there is no roll-out {campaign!r}")
    return row


async def asks_second(session: AsyncSession, row: CampaignRow) -> bool:
    """Whether the campaign or one of its sites asks for a second person."""
    if row.second_approver:
        return True
    members = await repository.members(session, row.id)
    return bool(await approval_rows.asking(session, [member.site for member in members]))
