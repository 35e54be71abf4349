"""What ingest tells about events: store each once, then fold alarms anew where they are concerned."""

import uuid
from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.alarms.episodes import CONDITIONS, Episode, fold
from cloud.kit.changes import Changes
from cloud.tables import AlarmRow, EventRow
from shared.alarms import Event, EventKind, Severity
from shared.ids import SiteId

_LOOK_UP = 500


async def take(
    session: AsyncSession, site: SiteId, events: Sequence[Event], now_ms: int, changes: Changes
) -> list[Event]:
    """Store what is new and update the alarms; returns the new events."""
    fresh = await _new_ones(session, site, events)
    if not fresh:
        return []
    session.add_all(_row(site, event, now_ms) for event in fresh)
    await session.flush()
    changes.events.update((site, event.id) for event in fresh)
    first: dict[str, int] = defaultdict(lambda: 2**63 - 1)
    for event in fresh:
        if event.kind in CONDITIONS:
            first[event.key] = min(first[event.key], event.place)
    for key, place in sorted(first.items()):
        await _fold_again(session, site, key, place, changes)
    return fresh


async def own_alarm(
    session: AsyncSession,
    site: str,
    key: str,
    at_ms: int,
    changes: Changes,
    *,
    title: str,
    advice: str = "",
    data: dict[str, str | int | float | bool | None] | None = None,
    cleared: bool = False,
) -> None:
    """Raise (or clear) an alarm of the cloud's own, shown at a site as if the site had raised it."""
    event = Event(
        id=f"cloud-{uuid.uuid4()}",
        kind=EventKind.ALARM_CLEARED if cleared else EventKind.ALARM,
        severity=Severity.HIGH,
        key=key,
        at_ms=at_ms,
        title=title,
        advice=advice,
        data=data or {},
    )
    await take(session, SiteId(site), [event], at_ms, changes)


async def _new_ones(session: AsyncSession, site: SiteId, events: Sequence[Event]) -> list[Event]:
    distinct = {event.id: event for event in events}
    ids = list(distinct)
    for start in range(0, len(ids), _LOOK_UP):
        found = await session.scalars(
            select(EventRow.id).where(EventRow.site == site, EventRow.id.in_(ids[start : start + _LOOK_UP]))
        )
        for known in found:
            del distinct[known]
    return list(distinct.values())


def _row(site: SiteId, event: Event, now_ms: int) -> EventRow:
    return EventRow(
        site=site,
        id=event.id,
        kind=event.kind.value,
        severity=event.severity.value,
        key=event.key,
        at_ms=event.at_ms,
        place=event.place,
        received_ms=now_ms,
        title=event.title,
        advice=event.advice,
        zone=event.zone,
        device=event.device,
        data=dict(event.data),
    )


async def _fold_again(session: AsyncSession, site: SiteId, key: str, place: int, changes: Changes) -> None:
    """Fold the key's events from the episode that `place` may touch; earlier episodes cannot change."""
    start = await session.scalar(
        select(func.max(AlarmRow.opened_place)).where(
            AlarmRow.site == site, AlarmRow.key == key, AlarmRow.opened_place <= place
        )
    )
    since = place if start is None else start
    told = await session.scalars(
        select(EventRow).where(
            EventRow.site == site,
            EventRow.key == key,
            EventRow.place >= since,
            EventRow.kind.in_(sorted(CONDITIONS)),
        )
    )
    stored = await session.scalars(
        select(AlarmRow)
        .where(AlarmRow.site == site, AlarmRow.key == key, AlarmRow.opened_place >= since)
        .order_by(AlarmRow.opened_place, AlarmRow.row)
    )
    rows = list(stored)
    for episode in fold(told):
        end = episode.cleared_place if episode.cleared_place is not None else 2**63 - 1
        inside = [row for row in rows if episode.opened_place <= row.opened_place <= end]
        row = inside[0] if inside else AlarmRow(id=str(uuid.uuid4()), site=site, key=key)
        rows = [other for other in rows if other is not row]
        _write(row, episode)
        if not inside:
            session.add(row)
        changes.alarms.add(row.id)
    for row in rows:
        # Two episodes became one because a raising event between them arrived late.
        await session.execute(delete(AlarmRow).where(AlarmRow.row == row.row))
    await session.flush()


def _write(row: AlarmRow, episode: Episode) -> None:
    told = episode.told
    assert isinstance(told, EventRow)  # noqa: S101 - fold was given rows of this table
    row.kind, row.severity, row.inbox = told.kind, told.severity, episode.inbox
    row.title, row.advice, row.data = told.title, told.advice, told.data
    row.zone, row.device = told.zone, told.device
    row.opened_ms, row.last_ms, row.cleared_ms = episode.opened_ms, episode.last_ms, episode.cleared_ms
    row.opened_place, row.count = episode.opened_place, episode.count
