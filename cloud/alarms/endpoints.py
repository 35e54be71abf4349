"""`/alarms`: the inbox."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from cloud.alarms import service
from cloud.alarms.schemas import Acknowledge, AlarmList, AlarmView
from cloud.kit import paging
from cloud.kit.changes import Changes
from cloud.kit.context import Here
from cloud.kit.people import Who
from cloud.kit.problems import Forbidden, NotFound, Unauthorized, responses
from shared.ids import SiteId

router = APIRouter(prefix="/api/v1", tags=["alarms"])


@router.get("/alarms", responses=responses())
async def list_alarms(
    here: Here,
    site: str | None = None,
    state: Literal["open", "all"] = "open",
    limit: Annotated[int, Query(ge=1, le=paging.MAX_LIMIT)] = 100,
    cursor: str | None = None,
) -> AlarmList:
    """Alarms that ask something of a person, newest first."""
    async with here.database.read() as session:
        return await service.inbox(session, site=site, only_open=state == "open", cursor=cursor, limit=limit)


@router.post("/alarms/{alarm}/acknowledge", responses=responses(NotFound, Unauthorized, Forbidden))
async def acknowledge_alarm(here: Here, who: Who, alarm: str, body: Acknowledge) -> AlarmView:
    """Say that somebody has seen it; this clears nothing on the site."""
    body = body.model_copy(update={"by": who.signs_as(body.by)})
    async with here.database.write() as session:
        seen = await service.acknowledge(session, alarm, body, here.clock.utc_ms())
    changes = Changes()
    changes.alarms.add(seen.id)
    changes.sites.add(SiteId(seen.site))
    here.hub.publish(changes)
    return seen
