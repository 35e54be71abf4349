"""`/approvals` and `/sites/{site}/model-settings`: what takes two persons, and who asks for it."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.kit.context import Here
from cloud.kit.people import Who
from cloud.kit.problems import Conflict, Forbidden, NotFound, Unauthorized, responses
from cloud.rollouts import service as rollouts
from cloud.rollouts.approvals import repository, service
from cloud.rollouts.approvals.schemas import (
    ApprovalList,
    ApprovalView,
    Decide,
    ModelSettings,
    ModelSettingsAnswer,
    ModelSettingsRequest,
)
from cloud.rollouts.campaigns import orders
from cloud.rollouts.campaigns.endpoints import moves_of
from cloud.rollouts.campaigns.moves import Moves
from cloud.rollouts.campaigns.plan import Position
from cloud.rollouts.campaigns.service import must_find
from cloud.rollouts.campaigns.worker import publish
from cloud.rollouts.schemas import RolloutRequest
from cloud.sites.service import must_exist
from cloud.tables import ApprovalRow
from shared.ids import SiteId

router = APIRouter(prefix="/api/v1", tags=["rollouts"])
State = Literal["waiting", "approved", "refused", "expired", "void"]
SiteName = Annotated[str, Path(max_length=63)]


@router.get("/approvals", responses=responses())
async def list_approvals(here: Here, state: Annotated[State | None, Query()] = None) -> ApprovalList:
    """Requests for a second person, newest first."""
    async with here.database.read() as session:
        rows = await repository.approvals(session, state=state)
        return ApprovalList(items=[service.view(row) for row in rows])


@router.post("/approvals/{approval}/{word}", responses=responses(NotFound, Unauthorized, Conflict, Forbidden))
async def decide_approval(
    here: Here, who: Who, approval: str, word: Literal["approve", "refuse"], body: Decide
) -> ApprovalView:
    """Agree, and it is done at once; or refuse. Only another person than the one who asked can agree.

    What does not fit any more (the roll-out has moved on) becomes `void`, and nothing is done.
    """
    now_ms = here.clock.utc_ms()
    agreed, actor = word == "approve", who.signs_as(body.actor)
    async with here.database.write() as session:
        moves = moves_of(here, session)
        row = await service.decide(session, approval, actor, now_ms, agreed=agreed, reason=body.reason)
        if agreed:
            try:
                async with session.begin_nested():
                    await _do(here, session, moves, row, now_ms)
            except (Conflict, NotFound) as error:
                row.state, row.detail = "void", str(error)
                moves.to_publish.clear()
    await publish(moves, here.assignments, here.hub.publish)
    return service.view(row)


@router.get("/sites/{site}/model-settings", responses=responses(NotFound))
async def get_model_settings(here: Here, site: SiteName) -> ModelSettings:
    """What the site asks of roll-outs."""
    async with here.database.read() as session:
        await must_exist(session, site)
        return await service.settings(session, site)


@router.post("/sites/{site}/model-settings", responses=responses(NotFound, Unauthorized, Conflict))
async def set_model_settings(
    here: Here, who: Who, site: SiteName, body: ModelSettingsRequest
) -> ModelSettingsAnswer:
    """Whether the site may be tried first, and whether two persons must agree to what moves its models."""
    now_ms = here.clock.utc_ms()
    actor = who.signs_as(body.actor)
    approval: ApprovalRow | None = None
    async with here.database.write() as session:
        await must_exist(session, site)
        wish = {"canary": body.canary, "second_approver": body.second_approver}
        if await service.loosens(session, site, body):
            approval = await service.ask(
                session, action="settings", actor=actor, reason="", now_ms=now_ms, site=site, body=wish
            )
        else:
            await service.settle(session, site, **wish, actor=actor, now_ms=now_ms)
        settings = await service.settings(session, site)
    return ModelSettingsAnswer(
        settings=settings, approval=service.view(approval) if approval is not None else None
    )


async def _do(here: Here, session: AsyncSession, moves: Moves, row: ApprovalRow, now_ms: int) -> None:
    """What two persons agreed to."""
    both = f"{row.asked_by} and {row.decided_by}"
    if row.campaign is not None:
        campaign = await must_find(session, row.campaign, lock=True)
        at = Position(ring=int(row.body.get("ring", 0)), step=int(row.body.get("step", 0)))
        await orders.carry_out(moves, campaign, row.action, at, actor=both, reason=row.reason)
        moves.changes.models.add((campaign.name, campaign.version))
    elif row.action == "settings" and row.site is not None:
        await service.settle(
            session,
            row.site,
            canary=bool(row.body["canary"]),
            second_approver=bool(row.body["second_approver"]),
            actor=both,
            now_ms=now_ms,
        )
    elif row.action == "assign":
        body = RolloutRequest.model_validate(row.body)
        life_days = here.config.training.assignment_life_days
        given = await rollouts.make(session, body, here.keys, now_ms, life_days, actor=both)
        moves.to_publish.append(given)
        moves.changes.rollouts.add(SiteId(body.site))
