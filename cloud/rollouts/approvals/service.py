"""Two persons: one asks, another agrees, and only then it is done. Also what sites ask of roll-outs.

Who they are is said by their own tokens where the configuration has such, else by their names
(`cloud.kit.people`).
"""

import uuid
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from cloud.kit.people import same_person
from cloud.kit.problems import Conflict, Forbidden, NotFound
from cloud.rollouts import record
from cloud.rollouts.approvals import repository
from cloud.rollouts.approvals.schemas import ApprovalView, ModelSettings, ModelSettingsRequest
from cloud.tables import ApprovalRow, SiteModelSettingsRow

LIFE_MS = 3_600_000
"""How long a request waits for the second person."""
REVIEW_LIFE_MS = 30 * 86_400_000
"""How long an emergency waits to be looked at."""
_MAX_WAITING = 20


async def ask(
    session: AsyncSession,
    *,
    action: str,
    actor: str,
    reason: str,
    now_ms: int,
    campaign: str | None = None,
    site: str | None = None,
    body: dict[str, Any] | None = None,
    life_ms: int = LIFE_MS,
) -> ApprovalRow:
    """Make a request; the same one that waits already is returned. Raises `Conflict` where too many wait."""
    waiting = await repository.approvals(session, state="waiting")
    mine = [row for row in waiting if (row.campaign, row.site) == (campaign, site)]
    for row in mine:
        same = row.action == action and row.body == (body or {}) and row.expires_ms > now_ms
        if same and same_person(row.asked_by, actor):
            return row
    if len(mine) >= _MAX_WAITING:
        raise Conflict(f"{_MAX_WAITING} requests wait already; decide on those first")
    row = ApprovalRow(
        id=str(uuid.uuid4()),
        action=action,
        campaign=campaign,
        site=site,
        asked_by=actor.strip(),
        asked_ms=now_ms,
        expires_ms=now_ms + life_ms,
        reason=reason,
        body=body or {},
        state="waiting",
        detail="",
    )
    session.add(row)
    await session.flush()
    detail = f"{action}: a second person must agree. {reason}".strip()
    record.note(
        session, now_ms, actor=row.asked_by, what="asked", detail=detail, campaign=campaign, site=site
    )
    return row


async def decide(
    session: AsyncSession, approval_id: str, actor: str, now_ms: int, *, agreed: bool, reason: str
) -> ApprovalRow:
    """Note the second person's word; the caller then does what was asked.

    Raises `NotFound`, `Conflict` where it is decided or too late, and `Forbidden` for the person who asked
    (who may take it back, but not agree to it).
    """
    row = await repository.approval(session, approval_id)
    if row is None:
        raise NotFound(f"there is no approval {approval_id!r}")
    if row.state == "waiting" and now_ms >= row.expires_ms:
        raise Conflict("nobody agreed in time; ask again")
    if row.state != "waiting":
        raise Conflict(f"it is {row.state} already")
    if agreed and same_person(row.asked_by, actor):
        raise Forbidden(f"{row.asked_by} asked for it, so another person must agree")
    row.state, row.decided_by, row.decided_ms = "approved" if agreed else "refused", actor.strip(), now_ms
    row.detail = reason
    what = "agreed" if agreed else "disagreed"
    detail = f"{row.action}, asked by {row.asked_by}. {reason}".strip()
    record.note(
        session, now_ms, actor=row.decided_by, what=what, detail=detail, campaign=row.campaign, site=row.site
    )
    return row


async def any_overdue(session: AsyncSession, now_ms: int) -> bool:
    """Whether `expire` has anything to do."""
    return bool(await repository.overdue(session, now_ms))


async def expire(session: AsyncSession, now_ms: int) -> int:
    """Close requests that nobody agreed to in time."""
    rows = await repository.overdue(session, now_ms)
    for row in rows:
        row.state, row.detail = "expired", "nobody agreed in time"
        record.note(
            session,
            now_ms,
            actor=record.MACHINE,
            what="expired",
            detail=f"{row.action}, asked by {row.asked_by}: nobody agreed in time",
            campaign=row.campaign,
            site=row.site,
        )
    return len(rows)


def view(row: ApprovalRow) -> ApprovalView:
    """An approval as the API shows it."""
    return ApprovalView(
        id=row.id,
        action=row.action,
        campaign=row.campaign,
        site=row.site,
        asked_by=row.asked_by,
        asked_ms=row.asked_ms,
        expires_ms=row.expires_ms,
        reason=row.reason,
        body=row.body,
        state=row.state,  # type: ignore[arg-type]  # only this module writes it
        decided_by=row.decided_by,
        decided_ms=row.decided_ms,
        detail=row.detail,
    )


# ---------------------------------------------------------------- what sites ask for


async def settings(session: AsyncSession, site: str) -> ModelSettings:
    """What a site asks for; one that never said anything may be a canary and asks for no second person."""
    row = await repository.settings(session, site)
    if row is None:
        return ModelSettings(site=site, canary=True, second_approver=False, changed_ms=None, changed_by=None)
    return ModelSettings(
        site=site,
        canary=row.canary,
        second_approver=row.second_approver,
        changed_ms=row.changed_ms,
        changed_by=row.changed_by,
    )


async def loosens(session: AsyncSession, site: str, body: ModelSettingsRequest) -> bool:
    """Whether this change gives up what protects the site: then two persons must agree to it."""
    now = await settings(session, site)
    return now.second_approver and (not body.second_approver or (body.canary and not now.canary))


async def settle(
    session: AsyncSession, site: str, *, canary: bool, second_approver: bool, actor: str, now_ms: int
) -> None:
    """Store what a site asks for."""
    row = await repository.settings(session, site)
    if row is None:
        row = SiteModelSettingsRow(site=site)
        session.add(row)
    row.canary, row.second_approver = canary, second_approver
    row.changed_ms, row.changed_by = now_ms, actor.strip()
    wishes = ["may be a canary" if canary else "never a canary"]
    wishes.append("asks for a second person" if second_approver else "asks for no second person")
    record.note(session, now_ms, actor=row.changed_by, what="settings", detail=", ".join(wishes), site=site)
    await session.flush()
