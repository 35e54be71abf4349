"""Device history and raw windows as people see them, and asking a site for raw samples."""

import uuid
import zlib

import msgspec
from sqlalchemy.exc import NoResultFound
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.devices import repository as devices
from cloud.history import repository
from cloud.history.schemas import (
    MAX_WINDOW_MS,
    HistoryPoint,
    HistoryView,
    RawRequest,
    RawRequestList,
    RawRequestView,
    RawSample,
    RawWindowContents,
    RawWindowList,
    RawWindowView,
)
from cloud.kit.broker import Link
from cloud.kit.database import Database
from cloud.kit.problems import BadInput, NotFound, Unavailable
from cloud.tables import DeviceHistoryRow, RawRequestRow, RawWindowRow
from shared.clock import Clock
from shared.frames import Frame, unpack
from shared.ids import DeviceId, SiteId
from shared.wire import codec, topics
from shared.wire.envelope import RawWanted

WANTED_EXPIRY_S = 86_400
"""How long the broker keeps the request for a site that is away."""


async def history(
    session: AsyncSession, site: str, device: str, *, from_ms: int, to_ms: int, limit: int
) -> HistoryView:
    """What the device itself remembers; raises `NotFound`."""
    if not await devices.inventory(session, site, device):
        raise NotFound(f"there is no device {device!r} on site {site!r}")
    rows = await repository.history(session, site, device, from_ms, to_ms, limit + 1)
    kept, cut = rows, None
    if len(rows) > limit:
        # The next page begins at a time, and marks share times: cut between two of them.
        cut = rows[limit].at_ms
        kept = [row for row in rows[:limit] if row.at_ms < cut] or rows[:limit]
        cut = cut if kept[-1].at_ms < cut else cut + 1
    return HistoryView(device=device, items=[_point(row) for row in kept], next_from_ms=cut)


def _point(row: DeviceHistoryRow) -> HistoryPoint:
    return HistoryPoint(
        at_ms=row.at_ms,
        hashrate_ths=row.hashrate_ths,
        power_w=row.power_w,
        chip_temp_max_c=row.chip_temp_max_c,
        board_temp_max_c=row.board_temp_max_c,
        fan_duty_pct=row.fan_duty_pct,
        mark=row.mark or None,
    )


async def windows(session: AsyncSession, site: str, *, from_ms: int, to_ms: int, limit: int) -> RawWindowList:
    """Raw windows that overlap the span, newest first."""
    found = await repository.windows(session, site, from_ms, to_ms, limit)
    return RawWindowList(items=[_window(row, size) for row, size in found])


async def window(session: AsyncSession, site: str, number: int) -> RawWindowContents:
    """One window with its samples; raises `NotFound`."""
    row = await repository.window(session, site, number)
    if row is None:
        raise NotFound(f"there is no raw window {number} of site {site!r}")
    frame = msgspec.msgpack.decode(zlib.decompress(row.frame), type=Frame)
    samples = [
        RawSample(
            device=sample.device,
            at_ms=sample.at_ms,
            seq=sample.seq,
            state=sample.state.value if sample.state is not None else None,
            preset=sample.preset,
            failure=sample.failure,
            readings={name: (r.value, int(r.quality)) for name, r in sample.readings.items()},
        )
        for sample in unpack(frame)
    ]
    return RawWindowContents(window=_window(row, len(row.frame)), samples=samples)


def _window(row: RawWindowRow, size: int) -> RawWindowView:
    return RawWindowView(
        id=row.id,
        kind=row.kind,
        from_ms=row.from_ms,
        to_ms=row.to_ms,
        samples=row.samples,
        devices=row.devices,
        size=size,
        received_ms=row.received_ms,
    )


async def ask(database: Database, link: Link, clock: Clock, site: str, request: RawRequest) -> RawRequestView:
    """Note the request, then send it; raises `BadInput` and `Unavailable`, and the note says which.

    The answer comes as raw windows on the stream `raw`, as far as the site still has the samples.
    """
    if not request.from_ms < request.to_ms <= request.from_ms + MAX_WINDOW_MS:
        raise BadInput("to_ms must be after from_ms, by a day at most; ask for a longer time in parts")
    row = RawRequestRow(
        id=str(uuid.uuid4()),
        site=site,
        from_ms=request.from_ms,
        to_ms=request.to_ms,
        devices=list(request.devices),
        max_bytes=request.max_bytes,
        actor=request.actor,
        asked_ms=clock.utc_ms(),
        sent=None,
    )
    async with database.write() as session:
        session.add(row)
    wanted = RawWanted(
        id=row.id,
        from_ms=row.from_ms,
        to_ms=row.to_ms,
        devices=tuple(DeviceId(name) for name in request.devices),
        max_bytes=row.max_bytes,
    )
    try:
        await link.send(topics.raw_wanted(SiteId(site)), codec.encode(wanted), expiry_s=WANTED_EXPIRY_S)
    except Unavailable:
        await _note(database, row.id, sent=False)
        raise
    await _note(database, row.id, sent=True)
    row.sent = True
    return request_view(row)


async def _note(database: Database, number: str, *, sent: bool) -> None:
    async with database.write() as session:
        row = await session.get(RawRequestRow, number)
        if row is None:
            raise NoResultFound(f"raw request {number} is gone")
        row.sent = sent


def request_view(row: RawRequestRow) -> RawRequestView:
    """A request as the API shows it."""
    return RawRequestView(
        id=row.id,
        site=row.site,
        from_ms=row.from_ms,
        to_ms=row.to_ms,
        devices=row.devices,
        max_bytes=row.max_bytes,
        actor=row.actor,
        asked_ms=row.asked_ms,
        sent=row.sent,
    )


async def requests(session: AsyncSession, site: str, limit: int) -> RawRequestList:
    """What was asked of a site, newest first."""
    return RawRequestList(
        items=[request_view(row) for row in await repository.requests(session, site, limit)]
    )
