"""What devices remember, raw windows, and requests for them."""

from typing import Annotated

from fastapi import APIRouter, Query

from cloud.history import service
from cloud.history.schemas import (
    HistoryView,
    RawRequest,
    RawRequestList,
    RawRequestView,
    RawWindowContents,
    RawWindowList,
)
from cloud.kit.context import Here
from cloud.kit.people import Who
from cloud.kit.problems import BadInput, Forbidden, NotFound, Unauthorized, Unavailable, responses
from cloud.sites.service import must_exist

router = APIRouter(prefix="/api/v1", tags=["history"])
LATEST = 2**62
Time = Annotated[int, Query(ge=0, le=LATEST, description="UTC, milliseconds")]


@router.get("/sites/{site}/devices/{device}/history", responses=responses(NotFound))
async def get_history(
    here: Here,
    site: str,
    device: str,
    from_ms: Time = 0,
    to_ms: Time = LATEST,
    limit: Annotated[int, Query(ge=1, le=5_000)] = 1_000,
) -> HistoryView:
    """The device's own record in `[from_ms, to_ms)`, oldest first: its firmware's numbers, not ours."""
    async with here.database.read() as session:
        await must_exist(session, site)
        return await service.history(session, site, device, from_ms=from_ms, to_ms=to_ms, limit=limit)


@router.get("/sites/{site}/raw-windows", responses=responses(NotFound))
async def list_raw_windows(
    here: Here,
    site: str,
    from_ms: Time = 0,
    to_ms: Time = LATEST,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> RawWindowList:
    """Windows of raw samples that overlap `[from_ms, to_ms)`, newest first."""
    async with here.database.read() as session:
        await must_exist(session, site)
        return await service.windows(session, site, from_ms=from_ms, to_ms=to_ms, limit=limit)


@router.get("/sites/{site}/raw-windows/{number}", responses=responses(NotFound))
async def get_raw_window(here: Here, site: str, number: int) -> RawWindowContents:
    """One window with its samples."""
    async with here.database.read() as session:
        return await service.window(session, site, number)


@router.post(
    "/sites/{site}/raw-requests",
    status_code=202,
    responses=responses(NotFound, BadInput, Unauthorized, Forbidden, Unavailable),
)
async def ask_for_raw(here: Here, who: Who, site: str, request: RawRequest) -> RawRequestView:
    """Ask the site for raw samples; they come as raw windows, as far as it still has them."""
    request = request.model_copy(update={"actor": who.signs_as(request.actor)})
    async with here.database.read() as session:
        await must_exist(session, site)
    return await service.ask(here.database, here.command_link, here.clock, site, request)


@router.get("/sites/{site}/raw-requests", responses=responses(NotFound))
async def list_raw_requests(
    here: Here, site: str, limit: Annotated[int, Query(ge=1, le=500)] = 100
) -> RawRequestList:
    """What was asked of the site, newest first."""
    async with here.database.read() as session:
        await must_exist(session, site)
        return await service.requests(session, site, limit)
