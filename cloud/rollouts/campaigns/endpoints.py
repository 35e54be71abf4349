"""`/campaigns`: a version on its way through the sites, ring by ring."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.kit.context import Here
from cloud.kit.people import Who
from cloud.kit.problems import ApiError, BadInput, Conflict, Forbidden, NotFound, Unauthorized, responses
from cloud.rollouts import record
from cloud.rollouts.approvals import service as approvals
from cloud.rollouts.campaigns import orders, repository, service
from cloud.rollouts.campaigns.hands import Signer
from cloud.rollouts.campaigns.moves import Moves
from cloud.rollouts.campaigns.schemas import (
    CampaignAnswer,
    CampaignList,
    CampaignOrder,
    CampaignRequest,
    CampaignView,
    StepList,
)
from cloud.rollouts.campaigns.views import campaign_view, step_views
from cloud.rollouts.campaigns.worker import publish
from cloud.tables import ApprovalRow, CampaignRow

router = APIRouter(prefix="/api/v1", tags=["rollouts"])
Limit = Annotated[int, Query(ge=1, le=500)]


def moves_of(here: Here, session: AsyncSession) -> Moves:
    """The moves of one transaction; the caller publishes them after the commit."""
    signer = Signer(key=here.keys.assignment, life_days=here.config.training.assignment_life_days)
    return Moves(session, signer, here.clock.utc_ms())


@router.get("/campaigns")
async def list_campaigns(here: Here, limit: Limit = 20) -> CampaignList:
    """Roll-outs ring by ring, newest first."""
    now_ms = here.clock.utc_ms()
    async with here.database.read() as session:
        rows = await repository.campaigns(session, limit)
        return CampaignList(items=[await campaign_view(session, row, now_ms) for row in rows])


@router.get("/campaigns/{campaign}", responses=responses(NotFound))
async def get_campaign(here: Here, campaign: str) -> CampaignView:
    """One roll-out with its rings, its sites and its whole record."""
    async with here.database.read() as session:
        row = await service.must_find(session, campaign)
        return await campaign_view(session, row, here.clock.utc_ms())


@router.post("/campaigns", status_code=201, responses=responses(NotFound, Unauthorized, Conflict, Forbidden))
async def start_campaign(here: Here, who: Who, body: CampaignRequest) -> CampaignAnswer:
    """Begin a roll-out. Where it or one of its sites asks for a second person, it waits for that one.

    What is refused here stands in the record (`/rollouts/record`) with the reason.
    """
    now_ms = here.clock.utc_ms()
    body = body.model_copy(update={"actor": who.signs_as(body.actor)})
    try:
        async with here.database.write() as session:
            moves = moves_of(here, session)
            row = await service.create(session, body, now_ms)
            record.note(
                session,
                now_ms,
                actor=row.created_by,
                what="created",
                detail=f"{row.name} v{row.version}. {body.reason}".strip(),
                campaign=row.id,
            )
            approval = await orders.begin(session, moves, row, body.reason, now_ms)
    except ApiError as error:
        await _record_refusal(here, body.actor, f"{body.name} v{body.version}: {error}", None)
        raise
    return await _answer(here, moves, row, approval)


@router.post(
    "/campaigns/{campaign}/{order}", responses=responses(NotFound, Unauthorized, Conflict, Forbidden)
)
async def order_campaign(
    here: Here,
    who: Who,
    campaign: str,
    order: Literal["promote", "rollback", "pause", "resume"],
    body: CampaignOrder,
) -> CampaignAnswer:
    """Promote by one step, roll back for good, pause, or resume.

    Pausing is done at once. The others wait for a second person where the roll-out or one of its sites asks
    for one. A rollback with `emergency` is done at once all the same; it raises an alarm that stays until a
    second person has reviewed it.
    """
    if body.emergency and order != "rollback":
        raise BadInput("only a rollback can be an emergency")
    if body.emergency and not body.reason.strip():
        raise BadInput("an emergency needs its reason, for whoever reviews it")
    body = body.model_copy(update={"actor": who.signs_as(body.actor)})
    now_ms = here.clock.utc_ms()
    try:
        async with here.database.write() as session:
            moves = moves_of(here, session)
            row = await service.must_find(session, campaign, lock=True)
            approval = await orders.take(session, moves, row, order, body, now_ms)
    except Conflict as error:
        await _record_refusal(here, body.actor, f"{order}: {error}", campaign)
        raise
    return await _answer(here, moves, row, approval)


@router.get("/rollouts/record", responses=responses())
async def list_record(here: Here, campaign: str | None = None, limit: Limit = 100) -> StepList:
    """Who or what moved roll-outs and what was refused, newest first."""
    async with here.database.read() as session:
        return StepList(items=step_views(await repository.steps(session, campaign, limit)))


async def _record_refusal(here: Here, actor: str, why: str, campaign: str | None) -> None:
    async with here.database.write() as session:
        record.note(
            session,
            here.clock.utc_ms(),
            actor=actor.strip(),
            what="not-allowed",
            detail=why,
            campaign=campaign,
        )


async def _answer(here: Here, moves: Moves, row: CampaignRow, approval: ApprovalRow | None) -> CampaignAnswer:
    moves.changes.models.add((row.name, row.version))
    await publish(moves, here.assignments, here.hub.publish)
    async with here.database.read() as session:
        fresh = await service.must_find(session, row.id)
        view = await campaign_view(session, fresh, here.clock.utc_ms())
    return CampaignAnswer(campaign=view, approval=approvals.view(approval) if approval is not None else None)
