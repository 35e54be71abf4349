"""`/sites/{site}/devices` and `/sites/{site}/telemetry`."""

from typing import Annotated

from fastapi import APIRouter, Query

from cloud.devices import service
from cloud.devices.schemas import DeviceList, DeviceView, TelemetryView
from cloud.kit.context import Here
from cloud.kit.problems import NotFound, responses
from cloud.sites.service import must_exist
from cloud.timeseries.store import MAX_POINTS, Tier

router = APIRouter(prefix="/api/v1", tags=["devices"])
LATEST = 2**62
Time = Annotated[int, Query(ge=0, le=LATEST, description="UTC, milliseconds")]


@router.get("/sites/{site}/devices", responses=responses(NotFound))
async def list_devices(here: Here, site: str) -> DeviceList:
    """The site's devices, each with its newest row."""
    async with here.database.read() as session:
        await must_exist(session, site)
        return DeviceList(items=await service.views(session, site, here.clock.utc_ms()))


@router.get("/sites/{site}/devices/{device}", responses=responses(NotFound))
async def get_device(here: Here, site: str, device: str) -> DeviceView:
    """One device with its newest row."""
    async with here.database.read() as session:
        return await service.view(session, site, device, here.clock.utc_ms())


@router.get("/sites/{site}/telemetry", responses=responses(NotFound))
async def get_telemetry(
    here: Here,
    site: str,
    device: str,
    columns: Annotated[str, Query(description="comma-separated column names; empty = all")] = "",
    from_ms: Time = 0,
    to_ms: Time = LATEST,
    limit: Annotated[int, Query(ge=1, le=MAX_POINTS)] = 1_000,
    tier: Annotated[Tier, Query(description="rows, hours, or the finest that fits the span")] = Tier.AUTO,
) -> TelemetryView:
    """One device's history in `[from_ms, to_ms)`, oldest first, at the site's own step or by the hour."""
    async with here.database.read() as session:
        return await service.history(
            session,
            here.series,
            site=site,
            device=device,
            columns=columns,
            from_ms=from_ms,
            to_ms=to_ms,
            limit=limit,
            tier=tier,
        )
