"""Alarms as the API shows them."""

from pydantic import BaseModel, Field

Evidence = dict[str, str | int | float | bool | None]


class AlarmView(BaseModel):
    """One episode of an alarm: open until `cleared_ms`."""

    id: str
    site: str
    key: str
    kind: str
    severity: str
    title: str
    advice: str
    zone: str | None
    device: str | None
    opened_ms: int
    last_ms: int
    cleared_ms: int | None
    acknowledged_ms: int | None
    acknowledged_by: str | None
    note: str | None
    count: int
    data: Evidence


class AlarmList(BaseModel):
    items: list[AlarmView]
    next_cursor: str | None


class Acknowledge(BaseModel):
    """Who has seen the alarm."""

    by: str = Field(min_length=1, max_length=200, pattern=r"\S")
    note: str | None = Field(default=None, max_length=2_000)
