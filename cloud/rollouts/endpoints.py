"""`/rollouts`: which site runs which version, and how far."""

import logging

from fastapi import APIRouter

from cloud.kit.changes import Changes
from cloud.kit.context import Here
from cloud.kit.problems import Conflict, NotFound, Unauthorized, Unavailable, responses
from cloud.rollouts import service
from cloud.rollouts.schemas import RolloutList, RolloutRequest, RolloutView
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


@router.post("/rollouts", status_code=201, responses=responses(NotFound, Unauthorized, Conflict))
async def assign_model(here: Here, body: RolloutRequest) -> RolloutView:
    """Sign an assignment and publish it retained.

    If the broker cannot be reached now, the assignment stands and goes out at the next connect.
    """
    async with here.database.write() as session:
        row = await service.make(
            session, body, here.keys, here.clock.utc_ms(), here.config.training.assignment_life_days
        )
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
