"""Events that the agent itself has to tell: losses, models, store. Built in one place, so wording agrees."""

import uuid

from shared.alarms import Event, EventKind, Severity
from shared.ids import DeviceId, ZoneId

Evidence = dict[str, str | int | float | bool | None]


def new_id() -> str:
    """A fresh event or proposal id."""
    return str(uuid.uuid4())


def event(
    kind: EventKind,
    key: str,
    title: str,
    *,
    at_ms: int,
    severity: Severity = Severity.LOW,
    advice: str = "",
    device: DeviceId | None = None,
    zone: ZoneId | None = None,
    data: Evidence | None = None,
    event_id: str | None = None,
) -> Event:
    """An event, with a fresh id unless the caller has one that names the same thing for ever."""
    return Event(
        id=event_id or new_id(),
        kind=kind,
        severity=severity,
        key=key,
        at_ms=at_ms,
        title=title,
        advice=advice,
        device=device,
        zone=zone,
        data=data or {},
    )
