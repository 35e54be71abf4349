"""What ingest tells about sites: first contact, birth, presence, the status of zones."""

from collections.abc import Iterable, Sequence

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.kit.upsert import insert_new, upsert
from cloud.tables import DeviceRow, SiteRow, ZoneStatusRow
from shared.alarms import Event, EventKind
from shared.ids import SiteId
from shared.inventory import DeviceEntry
from shared.wire.envelope import Birth, SiteState

ZONE_STATUS = "zone-status/"
"""Key prefix of the SYSTEM events that carry a zone's mode; shown as state, not as news."""


async def ensure(session: AsyncSession, sites: Iterable[SiteId]) -> None:
    """Make rows for sites that were never heard of; what only a birth tells stays unknown."""
    rows = [
        {"id": site, "name": site, "simulated": False, "command_counter": 0, "assignment_counter": 0}
        for site in sorted(set(sites))
    ]
    await insert_new(session, SiteRow.__table__, rows)  # type: ignore[arg-type]  # a Table at run time


async def seen(session: AsyncSession, sites: Iterable[SiteId], now_ms: int) -> None:
    """Something came from these sites."""
    await session.execute(
        update(SiteRow).where(SiteRow.id.in_(sorted(set(sites)))).values(last_seen_ms=now_ms)
    )


async def born(
    session: AsyncSession,
    site: SiteId,
    birth: Birth,
    devices: Sequence[DeviceEntry],
    now_ms: int,
    *,
    kept: bool = False,
) -> None:
    """Take over who the site is and what stands there.

    What a site says now is its newest word, whatever its clock shows: it has one connection, the broker hands
    on in order, and one lane takes births in. A birth that was `kept` for us, by the broker or in the
    quarantine, may be from any time; of those, one that is not newer than every birth so far changes nothing.
    """
    row = await session.get(SiteRow, site, with_for_update=True)
    if row is None or (kept and row.birth_ms is not None and row.birth_ms >= birth.at_ms):
        return
    row.name, row.simulated = birth.name, birth.simulated
    # Of a clock that runs ahead only the order counts, or every later birth would be taken for an older one;
    # and one that was set back makes no birth of before that newer than those of after it.
    row.birth_ms = max(row.birth_ms or 0, min(birth.at_ms, now_ms))
    row.boot, row.epoch, row.version = birth.boot, birth.epoch, birth.version
    row.protocol, row.step_s = birth.protocol, birth.step_s
    row.inventory_sha256 = birth.inventory_sha256
    await session.execute(update(DeviceRow).where(DeviceRow.site == site).values(present=False))
    await upsert(session, DeviceRow.__table__, [_device(site, device) for device in devices])  # type: ignore[arg-type]  # as above


def _device(site: SiteId, device: DeviceEntry) -> dict[str, object]:
    return {
        "site": site,
        "id": device.id,
        "kind": device.kind.value,
        "adapter": device.adapter,
        "zone": device.zone,
        "rack": device.rack,
        "slot": device.slot,
        "model": device.model or device.profile,
        "algorithm": device.algorithm.value if device.algorithm is not None else None,
        "host": f"{device.host}:{device.port}",
        "nominal_w": device.nominal_w,
        "present": True,
    }


async def presence(session: AsyncSession, site: SiteId, state: SiteState, now_ms: int) -> None:
    """Online or offline, in order of arrival.

    A will carries the time at which it was deposited, so times cannot order it. But the will of an
    earlier boot says nothing about the present one, and may come after the new boot's "online".
    """
    row = await session.get(SiteRow, site, with_for_update=True)
    if row is None or (not state.online and row.online and row.state_boot != state.boot):
        return
    row.online, row.state_boot, row.state_ms = state.online, state.boot, now_ms


async def zone_status(session: AsyncSession, site: SiteId, events: Iterable[Event]) -> bool:
    """Keep the newest status of each zone by its place on the site; whether there was any."""
    newest: dict[str, Event] = {}
    for event in events:
        if event.kind is EventKind.SYSTEM and event.key.startswith(ZONE_STATUS):
            zone = event.key.removeprefix(ZONE_STATUS)
            if 0 < len(zone) <= 63 and (zone not in newest or newest[zone].place <= event.place):
                newest[zone] = event
    rows = [
        {"site": site, "zone": zone, "at_ms": event.at_ms, "place": event.place, "data": event.data}
        for zone, event in sorted(newest.items())
    ]
    await upsert(session, ZoneStatusRow.__table__, rows, newer="place")  # type: ignore[arg-type]  # as above
    return bool(rows)
