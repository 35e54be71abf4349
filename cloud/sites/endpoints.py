"""`/sites`, the ledger of a site, and the quarantine."""

from typing import Annotated

from fastapi import APIRouter, Query

from cloud.ingest import quarantine
from cloud.kit import paging
from cloud.kit.context import Here
from cloud.kit.problems import NotFound, responses
from cloud.sites import apart, service
from cloud.sites.schemas import (
    LedgerView,
    QuarantineList,
    QuarantineView,
    RowApartList,
    SiteList,
    SiteSummary,
)

router = APIRouter(prefix="/api/v1", tags=["sites"])
LATEST = 2**62
Time = Annotated[int, Query(ge=0, le=LATEST, description="UTC, milliseconds")]


@router.get("/sites")
async def list_sites(here: Here) -> SiteList:
    """All sites at a glance."""
    async with here.database.read() as session:
        return SiteList(items=await service.summaries(session, here.clock.utc_ms()))


@router.get("/sites/{site}", responses=responses(NotFound))
async def get_site(here: Here, site: str) -> SiteSummary:
    """One site at a glance."""
    async with here.database.read() as session:
        return await service.summary(session, site, here.clock.utc_ms())


@router.get("/sites/{site}/ledger", responses=responses(NotFound))
async def get_ledger(here: Here, site: str) -> LedgerView:
    """Which batches of which streams are committed, and what is missing between them."""
    async with here.database.read(patient=True) as session:  # counts all rows of the site
        return await service.ledger(session, here.series, site)


@router.get("/sites/{site}/rows-apart", responses=responses(NotFound))
async def list_rows_apart(
    here: Here,
    site: str,
    device: str | None = None,
    from_ms: Time = 0,
    to_ms: Time = LATEST,
    limit: Annotated[int, Query(ge=1, le=paging.MAX_LIMIT)] = 100,
    cursor: str | None = None,
) -> RowApartList:
    """Rows of `[from_ms, to_ms)` that differ from the stored ones of the same device and time.

    The site's clock was set back and it lived that time twice; what came first is in the telemetry.
    """
    async with here.database.read() as session:
        return await apart.rows(
            session,
            here.series,
            site=site,
            device=device,
            from_ms=from_ms,
            to_ms=to_ms,
            cursor=cursor,
            limit=limit,
        )


@router.get("/quarantine", responses=responses())
async def list_quarantine(here: Here, limit: Annotated[int, Query(ge=1, le=500)] = 100) -> QuarantineList:
    """Messages that could not be used, newest first, with the reason."""
    async with here.database.read() as session:
        rows = await quarantine.newest(session, limit)
    return QuarantineList(
        items=[
            QuarantineView(
                id=row.id,
                at_ms=row.at_ms,
                last_ms=row.last_ms,
                topic=row.topic,
                reason=row.reason,
                size=row.size,
                count=row.count,
            )
            for row in rows
        ]
    )
