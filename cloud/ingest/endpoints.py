"""One message of the quarantine, and using it after all. The list is among the sites' endpoints."""

from fastapi import APIRouter

from cloud.ingest import quarantine
from cloud.ingest.committer import Committer
from cloud.ingest.replay import replay
from cloud.ingest.schemas import QuarantinedMessage, Replayed
from cloud.kit.context import Here
from cloud.kit.problems import Conflict, NotFound, Unauthorized, responses

router = APIRouter(prefix="/api/v1", tags=["sites"])
HEAD_BYTES = 256


@router.get("/quarantine/{number}", responses=responses(NotFound))
async def get_quarantined(here: Here, number: int) -> QuarantinedMessage:
    """One message that could not be used."""
    async with here.database.read() as session:
        row = await quarantine.one(session, number)
    if row is None:
        raise NotFound(f"there is no message {number} in the quarantine")
    return QuarantinedMessage(
        id=row.id,
        at_ms=row.at_ms,
        last_ms=row.last_ms,
        topic=row.topic,
        reason=row.reason,
        size=row.size,
        count=row.count,
        owed=row.owed,
        whole=row.size == len(row.payload),
        head=row.payload[:HEAD_BYTES].hex(),
    )


@router.post("/quarantine/{number}/replay", responses=responses(NotFound, Conflict, Unauthorized))
async def replay_quarantined(here: Here, number: int) -> Replayed:
    """Try the message again, with this version and these settings; it stays where it still cannot be used."""
    committer = Committer(here.database, here.series, here.clock)
    committed = await replay(here.database, committer, here.clock, number)
    if committed.changes:
        here.hub.publish(committed.changes)
    return Replayed(
        id=number,
        rows=committed.rows,
        new_rows=committed.new_rows,
        duplicate=committed.duplicates > 0,
    )
