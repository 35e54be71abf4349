"""What the live view shows: a snapshot, then what changed."""

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.alarms import repository as alarm_rows
from cloud.alarms import service as alarms
from cloud.alarms.schemas import AlarmView
from cloud.commands import service as commands
from cloud.devices import service as devices
from cloud.devices.schemas import DeviceView
from cloud.events import repository as event_rows
from cloud.events import service as events
from cloud.events.schemas import EventView
from cloud.kit.changes import Changes
from cloud.kit.database import Database
from cloud.live.hub import Update
from cloud.models import repository as model_rows
from cloud.models import service as models
from cloud.rollouts import service as rollouts
from cloud.sites import repository as site_rows
from cloud.sites import service as sites
from cloud.sites.schemas import SiteSummary
from shared.clock import Clock

MAX_ALARMS, MAX_EVENTS = 200, 100


class Snapshot(BaseModel):
    """Everything that a page needs to start."""

    sites: list[SiteSummary]
    devices: dict[str, list[DeviceView]]
    alarms: list[AlarmView]
    events: list[EventView]


class SiteDevices(BaseModel):
    """All devices of one site, after a change of any."""

    site: str
    items: list[DeviceView]


class LiveReader:
    """Reads views for the hub and for a viewer's start."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def snapshot(self) -> Update:
        """The whole picture as one event."""
        now_ms = self._clock.utc_ms()
        async with self._database.read() as session:
            summaries = await sites.summaries(session, now_ms)
            inbox = await alarms.inbox(session, site=None, only_open=True, cursor=None, limit=MAX_ALARMS)
            log = await events.log(session, site=None, kinds=(), device=None, cursor=None, limit=MAX_EVENTS)
            found = Snapshot(
                sites=summaries,
                devices={site.id: await devices.views(session, site.id, now_ms) for site in summaries},
                alarms=inbox.items,
                events=log.items,
            )
        return _update("snapshot", found)

    async def read(self, changes: Changes) -> list[Update]:
        """One event per thing that changed (devices: one per site)."""
        now_ms = self._clock.utc_ms()
        async with self._database.read() as session:
            updates = [
                _update("site", view)
                for view in await sites.summaries(session, now_ms, sorted(changes.sites))
            ]
            for site in sorted(changes.devices):
                items = await devices.views(session, site, now_ms)
                updates.append(_update("devices", SiteDevices(site=site, items=items)))
            return updates + await _news(session, changes)

    async def site_ids(self) -> list[str]:
        """All sites, to show their age anew even when nothing comes from them."""
        async with self._database.read() as session:
            return [row.id for row in await site_rows.sites(session)]


async def _news(session: AsyncSession, changes: Changes) -> list[Update]:
    updates = []
    if changes.alarms:
        rows = await alarm_rows.by_ids(session, sorted(changes.alarms))
        updates += [_update("alarm", alarms.view(row)) for row in rows]
    if changes.events:
        found = await event_rows.by_ids(session, changes.events)
        updates += [_update("event", events.view(row)) for row in found]
    if changes.models:
        versions = await model_rows.by_versions(session, changes.models)
        updates += [_update("model", models.view(row)) for row in versions]
    if changes.rollouts:
        views = await rollouts.views(session, sorted(changes.rollouts))
        updates += [_update("rollout", view) for view in views]
    for command in sorted(changes.commands):
        updates.append(_update("command", await commands.view(session, command)))
    return updates


def _update(event: str, body: BaseModel) -> Update:
    return Update(event=event, data=body.model_dump_json())
