"""`/events`: the automation log."""

from typing import Annotated

from fastapi import APIRouter, Query

from cloud.events import service
from cloud.events.schemas import EventList
from cloud.kit import paging
from cloud.kit.context import Here
from cloud.kit.problems import responses
from shared.alarms import EventKind

router = APIRouter(prefix="/api/v1", tags=["events"])


@router.get("/events", responses=responses())
async def list_events(
    here: Here,
    site: str | None = None,
    kind: Annotated[list[EventKind] | None, Query(description="repeat for several kinds")] = None,
    device: str | None = None,
    limit: Annotated[int, Query(ge=1, le=paging.MAX_LIMIT)] = 100,
    cursor: str | None = None,
) -> EventList:
    """What happened and why, newest first."""
    async with here.database.read() as session:
        return await service.log(
            session,
            site=site,
            kinds=[item.value for item in kind or ()],
            device=device,
            cursor=cursor,
            limit=limit,
        )
