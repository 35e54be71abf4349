"""The automation log as the API shows it."""

from pydantic import BaseModel

from cloud.alarms.schemas import Evidence


class EventView(BaseModel):
    """One thing that happened on a site."""

    id: str
    site: str
    kind: str
    severity: str
    key: str
    at_ms: int
    title: str
    advice: str
    zone: str | None
    device: str | None
    data: Evidence


class EventList(BaseModel):
    items: list[EventView]
    next_cursor: str | None
