"""What ingest tells about models on sites: events of kind MODEL become the history of a roll-out."""

from collections.abc import Iterable

from sqlalchemy.ext.asyncio import AsyncSession

from cloud.kit.changes import Changes
from cloud.kit.upsert import insert_new
from cloud.tables import ModelReportRow
from shared.alarms import Event, EventKind
from shared.ids import SiteId


async def reports(session: AsyncSession, site: SiteId, events: Iterable[Event], changes: Changes) -> None:
    """Store the reports among these events, once each."""
    rows = [row for event in events if (row := _report(site, event)) is not None]
    await insert_new(session, ModelReportRow.__table__, rows)  # type: ignore[arg-type]  # a Table at run time
    if rows:
        changes.rollouts.add(site)


def _report(site: SiteId, event: Event) -> dict[str, object] | None:
    """The report in an event, or None where it is not one (it stays in the log as an event)."""
    if event.kind is not EventKind.MODEL:
        return None
    name, version, state = (event.data.get(key) for key in ("name", "version", "state"))
    if not isinstance(name, str) or not isinstance(version, int) or not isinstance(state, str):
        return None
    if not (len(name) <= 63 and len(state) <= 63):
        return None
    return {
        "site": site,
        "event": event.id,
        "name": name,
        "version": version,
        "state": state,
        "at_ms": event.at_ms,
        "detail": str(event.data.get("detail") or event.title),
    }
