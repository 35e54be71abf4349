"""Plan, then confirm: what touches power is shown by the site itself before it is signed.

A plan keeps the order as it was asked and, where the site answers in time, what the site says it would do.
Confirming signs exactly that order, once, while the plan is fresh. A safe-stop needs no plan, because
stopping is the safe direction; neither does the renewal of a running curtailment: it changes nothing.
"""

import uuid

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.commands import repository, service, trail
from cloud.commands.intake import PREVIEW_OF
from cloud.commands.schemas import ConfirmRequest, PlanRequest, PlanView, Preview
from cloud.commands.service import Asker
from cloud.commands.signing import order_from, order_of, seal
from cloud.commands.trail import Hop
from cloud.kit.keys import Keys
from cloud.kit.problems import Conflict, NotFound
from cloud.tables import CommandRow, PlanRow, SiteRow
from shared.artifacts.signing import Signed
from shared.commands import AnyOrder, PreviewOrder, RenewOrder, ResetTripOrder, SafeStopOrder
from shared.ids import CommandId

PLAN_LIFE_MS = 120_000
PREVIEW_LIFE_S = 15
HOW = (
    "POST the same site, order and actor to /api/v1/commands/plans, read what the site says it would do, "
    "then POST to /api/v1/commands/plans/{id}/confirm within 120 s"
)


def needs_no_plan(order: AnyOrder) -> bool:
    """Whether an order may be sent at once."""
    return isinstance(order, SafeStopOrder | RenewOrder)


async def make(
    session: AsyncSession, body: PlanRequest, keys: Keys, asker: Asker, now_ms: int, *, broker_is_up: bool
) -> tuple[PlanRow, Signed | None]:
    """Keep the plan; with it the signed question to the site, or None where nobody is there to ask.

    Raises `NotFound` and `BadInput`.
    """
    order = order_of(body.order)
    site = await session.get(SiteRow, body.site)
    if site is None:
        raise NotFound(f"there is no site {body.site!r}")
    why = _unasked(site, broker_is_up=broker_is_up)
    row = PlanRow(
        id=str(uuid.uuid4()),
        site=body.site,
        actor=asker.actor,
        order=msgspec.to_builtins(order),
        created_ms=now_ms,
        expires_ms=now_ms + PLAN_LIFE_MS,
        digest="",
        detail=why or "the site has not answered yet",
    )
    signed = await _question(session, row, order, keys, now_ms) if why is None else None
    row.digest = signed.digest if signed is not None else ""
    session.add(row)
    notes = [service.note(row, Hop.ASKED, asker, now_ms, f"a plan: {body.order.order}", data=row.order)]
    if why is not None:
        notes.append(service.note(row, Hop.PLANNED, asker, now_ms, why))
    await trail.write(session, notes)
    await session.flush()
    return row, signed


def _unasked(site: SiteRow, *, broker_is_up: bool) -> str | None:
    if not broker_is_up:
        return "the MQTT broker is not connected, so the site could not be asked"
    return None if site.online else "the site is offline, so it could not be asked"


async def _question(
    session: AsyncSession, plan: PlanRow, order: AnyOrder, keys: Keys, now_ms: int
) -> Signed | None:
    if isinstance(order, SafeStopOrder | RenewOrder | ResetTripOrder | PreviewOrder):
        return None  # the schema lets none of them through
    sealed = await seal(
        session,
        keys,
        command=CommandId(plan.id + PREVIEW_OF),
        site=plan.site,
        actor=plan.actor,
        order=PreviewOrder(of=order),
        life_s=PREVIEW_LIFE_S,
        now_ms=now_ms,
    )
    return sealed.signed


async def unanswered(session: AsyncSession, plan: str, why: str) -> None:
    """The site did not answer while the request waited; a later answer is still taken."""
    row = await repository.plan_by_id(session, plan, lock=True)
    if row is not None and row.answered_ms is None:
        row.detail = why


async def confirm(
    session: AsyncSession, plan: str, body: ConfirmRequest, keys: Keys, asker: Asker, now_ms: int
) -> CommandRow:
    """Sign the plan's order under the plan's id; raises `NotFound` and `Conflict`."""
    row = await repository.plan_by_id(session, plan, lock=True)
    if row is None:
        raise NotFound(f"there is no plan {plan!r}")
    if row.used_ms is not None:
        raise Conflict(f"plan {plan} was confirmed before; look at /api/v1/commands/{plan}")
    if now_ms >= row.expires_ms:
        raise Conflict(f"plan {plan} expired {(now_ms - row.expires_ms) / 1000:.0f} s ago; plan again")
    if row.preview is None and not body.blind:
        raise Conflict(
            f"the site did not say what this would do ({row.detail}); plan again, or state with "
            '"blind": true that you send it without knowing'
        )
    row.used_ms = now_ms
    words = "without a preview, as stated" if row.preview is None else "after the site's preview"
    await trail.write(session, [service.note(row, Hop.CONFIRMED, asker, now_ms, words)])
    return await service.sign(
        session,
        keys,
        command=row.id,
        site=row.site,
        actor=asker.actor,
        order=order_from(row.order),
        life_s=body.expires_s,
        now_ms=now_ms,
    )


async def view(session: AsyncSession, plan: str, now_ms: int) -> PlanView:
    """One plan as it stands; raises `NotFound`."""
    row = await repository.plan_by_id(session, plan)
    if row is None:
        raise NotFound(f"there is no plan {plan!r}")
    if row.used_ms is not None:
        state = "used"
    elif now_ms >= row.expires_ms:
        state = "expired"
    else:
        state = "blind" if row.preview is None else "ready"
    return PlanView(
        id=row.id,
        site=row.site,
        actor=row.actor,
        order=row.order,
        created_ms=row.created_ms,
        expires_ms=row.expires_ms,
        state=state,  # type: ignore[arg-type]  # one of the four words above
        answered=row.answered_ms is not None,
        preview=None if row.preview is None else Preview.model_validate(row.preview),
        detail=row.detail,
    )
