"""What ingest tells about models on sites: events of kind MODEL become the history of a roll-out."""

import math
from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.kit.changes import Changes
from cloud.kit.upsert import insert_new
from cloud.tables import EventRow, ModelReportRow
from shared.alarms import Event, EventKind
from shared.ids import SiteId

NUMBERS = ("agreement", "alarm_rate", "latency_p99_ms", "intervention_rate", "cycles", "errors", "answered")
_MOST = 1e12


async def reports(session: AsyncSession, site: SiteId, events: Iterable[Event], changes: Changes) -> None:
    """Store the reports among these events, once each, with the time at which the events came in."""
    rows = [row for event in events if (row := _report(site, event)) is not None]
    if not rows:
        return
    found = await session.execute(
        select(EventRow.id, EventRow.received_ms).where(
            EventRow.site == site, EventRow.id.in_([row["event"] for row in rows])
        )
    )
    received = {event: received_ms for event, received_ms in found}  # noqa: C416 - mypy wants the pair
    stamped = [row | {"received_ms": received.get(str(row["event"]))} for row in rows]
    await insert_new(session, ModelReportRow.__table__, stamped)  # type: ignore[arg-type]  # a Table at run time
    changes.rollouts.add(site)


def _report(site: SiteId, event: Event) -> dict[str, object] | None:
    """The report in an event, or None where it is not one (it stays in the log as an event)."""
    if event.kind is not EventKind.MODEL:
        return None
    name, version, state = (event.data.get(key) for key in ("name", "version", "state"))
    if not isinstance(name, str) or not isinstance(version, int) or not isinstance(state, str):
        return None
    if not (len(name) <= 63 and len(state) <= 63 and 0 < version < 2**63):
        return None
    return {
        "site": site,
        "event": event.id,
        "name": name,
        "version": version,
        "state": state,
        "at_ms": event.at_ms,
        "place": event.place,
        "detail": str(event.data.get("detail") or event.title),
        **{key: _number(event.data.get(key)) for key in NUMBERS},
    }


def _number(value: object) -> float | None:
    """A finite number that is not below zero; anything else is unknown, and unknown never passes for good."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and 0 <= value <= _MOST else None
