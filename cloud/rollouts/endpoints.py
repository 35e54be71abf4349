"""`/rollouts`: which site runs which version, and how far."""

import logging

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.kit.changes import Changes
from cloud.kit.context import Here
from cloud.kit.people import Who
from cloud.kit.problems import BadInput, Conflict, Forbidden, NotFound, Unauthorized, Unavailable, responses
from cloud.models.service import must_have
from cloud.rollouts import service
from cloud.rollouts.approvals import service as approvals
from cloud.rollouts.approvals.repository import asking
from cloud.rollouts.schemas import AssignmentAsked, RolloutList, RolloutRequest, RolloutView
from cloud.sites.service import must_exist
from shared.ids import SiteId

router = APIRouter(prefix="/api/v1", tags=["rollouts"])
_log = logging.getLogger(__name__)


@router.get("/rollouts", responses=responses(NotFound))
async def list_rollouts(here: Here, site: str | None = None) -> RolloutList:
    """What was assigned, and what the sites report of it, newest first."""
    async with here.database.read() as session:
        if site is not None:
            await must_exist(session, site)
        return RolloutList(items=await service.views(session, None if site is None else [site]))


@router.post(
    "/rollouts",
    status_code=201,
    responses={**responses(NotFound, Unauthorized, Conflict, Forbidden), 202: {"model": AssignmentAsked}},
    response_model=RolloutView,
)
async def assign_model(here: Here, who: Who, body: RolloutRequest) -> RolloutView | Response:
    """Sign an assignment and publish it retained.

    If the broker cannot be reached now, the assignment stands and goes out later. 202: the site asks for a
    second person, and nothing is assigned until that one agrees.
    """
    now_ms = here.clock.utc_ms()
    async with here.database.write() as session:
        asks = await asking(session, [body.site])
        if body.actor.strip() or who.person is not None or asks:
            # The name may be left out: a person's own token says it, and a machine has none.
            body = body.model_copy(update={"actor": who.signs_as(body.actor or who.person or "")})
        if asks:
            asked = await _ask(session, body, now_ms)
            return JSONResponse(asked.model_dump(mode="json"), status_code=202)
        row = await service.make(session, body, here.keys, now_ms, here.config.training.assignment_life_days)
    try:
        await here.assignments.publish(row)
    except Unavailable as error:
        _log.warning("assignment %s waits for the broker: %s", row.counter, error)
    changes = Changes()
    changes.rollouts.add(SiteId(body.site))
    here.hub.publish(changes)
    async with here.database.read() as session:
        views = await service.views(session, [body.site])
    return next(view for view in views if (view.name, view.version) == (body.name, body.version))


async def _ask(session: AsyncSession, body: RolloutRequest, now_ms: int) -> AssignmentAsked:
    """Ask for the second person that the site wants; raises `BadInput` without a name, and `Conflict`."""
    if not body.actor.strip():
        raise BadInput("this site asks for a second person, so `actor` must say who asks")
    model = await must_have(session, body.name, body.version)
    service.check_scope(model, service.may_run(model, now_ms, body.stage), body.site)
    row = await approvals.ask(
        session,
        action="assign",
        actor=body.actor,
        reason=f"{body.name} v{body.version}: {body.stage}",
        now_ms=now_ms,
        site=body.site,
        body=body.model_dump(mode="json", exclude={"actor"}),
    )
    return AssignmentAsked(approval=approvals.view(row))
