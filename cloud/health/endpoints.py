"""`/health`, for service managers, and `/problems`, where every problem's `type` points."""

from fastapi import APIRouter
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from cloud.kit.context import Here
from cloud.kit.problems import ABOUT, NotFound, Unavailable, responses

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    status: str


class IngestView(BaseModel):
    """What ingest has done since the process started."""

    messages: int
    dropped: int
    commits: int
    rows: int
    new_rows: int
    rows_apart: int
    """Rows that differ from the stored ones of the same device and time, and were put beside them."""
    duplicates: int
    quarantined: int
    failed_commits: int


class Ready(BaseModel):
    """All parts that are needed to serve."""

    database: str
    broker: str
    ingest: IngestView
    refused_http: dict[str, int]
    """HTTP requests that were refused since the process started, by status (400 to 499)."""
    refused_mqtt: dict[str, int] | None
    """What the broker refused since the process started: `publish` and `subscribe` on topics that were not
    the client's, `packet` (malformed or oversize), `connect` (no certificate that counts). Null: not known,
    because the broker's log is not read (`identity.broker_log`)."""


class ProblemType(BaseModel):
    code: str
    about: str


@router.get("/health/live")
async def get_live() -> Alive:
    """The process runs."""
    return Alive(status="ok")


@router.get("/health/ready", responses=responses(Unavailable))
async def get_ready(here: Here) -> Ready:
    """Database and broker can be used, and ingest commits."""
    try:
        await here.database.ping()
    except (SQLAlchemyError, OSError) as error:
        raise Unavailable(f"database: {type(error).__name__}") from error
    if not (here.ingest_link.is_up and here.command_link.is_up):
        raise Unavailable("broker: not connected")
    if here.ingest.trouble is not None:
        raise Unavailable("ingest: cannot commit")
    counters = here.ingest.counters
    return Ready(
        database="ok",
        broker="ok",
        ingest=IngestView(
            messages=counters.messages,
            dropped=counters.dropped,
            commits=counters.commits,
            rows=counters.rows,
            new_rows=counters.new_rows,
            rows_apart=counters.apart,
            duplicates=counters.duplicates,
            quarantined=counters.quarantined,
            failed_commits=counters.failed_commits,
        ),
        refused_http={str(status): count for status, count in sorted(here.refusals.by_status.items())},
        refused_mqtt=None if here.broker_log is None else here.broker_log.counts,
    )


@router.get("/problems/{code}", responses=responses(NotFound))
async def get_problem_type(code: str) -> ProblemType:
    """What a problem's code means."""
    if code not in ABOUT:
        raise NotFound(f"there is no problem code {code!r}")
    return ProblemType(code=code, about=ABOUT[code])
