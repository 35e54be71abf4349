"""Messages that could not be used: kept with the reason, counted, never in the way, never without bound.

A batch whose envelope is sound is *owed*: it is kept whole, and the site is told that it may forget it. There
is a budget of bytes for that, one per site and one for all; where it is spent, batches stay with their sites,
which have bounds of their own. What was owed for as long as rows are kept is dropped, and counted as lost.
"""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

import cloud.alarms.intake
from cloud.kit.changes import Changes
from cloud.kit.problems import NotFound
from cloud.kit.upsert import insert_new
from cloud.tables import QuarantineRow, QuarantineSiteRow, SiteRow
from shared.ids import SiteId

MAX_ROWS = 10_000
"""The newest this many stay; a batch that was acknowledged because it is here stays longer (`expire`)."""
MAX_STRAY_BYTES = 64 * 1024
"""Of a message that nobody is owed, only the head is kept."""
MAX_REASON = 1_000
SITE_BYTES = 256 * 1024 * 1024
"""Owed to one site. A batch of 1,000 devices is about 100 kB: two days of a site that sends nothing else."""
ALL_BYTES = 4 * 1024 * 1024 * 1024
"""Owed to all sites: as much as a cloud's disk should always have to spare."""
ROW_BYTES = 1024
"""What a message costs besides its payload: topic, reason, hash, indexes."""
REOPEN_SHARE = 0.9
"""A budget that was spent is open again when so much of it is in use, so that it does not flutter."""
EXPIRE_AT_ONCE = 500
ALARM_KEY = "cloud/quarantine-full"
_log = logging.getLogger(__name__)


def weight(size: int) -> int:
    """What a message of `size` bytes counts in a budget, in bytes."""
    return size + ROW_BYTES


async def admit(
    session: AsyncSession, site: SiteId, topic: str, payload: bytes, *, now_ms: int, changes: Changes
) -> bool:
    """Whether this site's batch may be kept here, and then its room is taken. The site's row is locked.

    False: it must stay with the site, so nobody may tell the site to forget it. The first time is an alarm.
    """
    known = await _known(session, topic, payload)
    if known is not None and known.owed:
        return True
    books = await _books(session, site)
    more = weight(len(payload))
    if await _fits(session, books, more):
        books.held += 1
        books.held_bytes += more
        if books.full_since_ms is not None:
            await _reopen(session, books, now_ms, changes)
        return True
    books.turned_away += 1
    if books.full_since_ms is None:
        books.full_since_ms = now_ms
        await _say_full(session, site, now_ms, changes)
    return False


async def _fits(session: AsyncSession, books: QuarantineSiteRow, more: int) -> bool:
    share = 1.0 if books.full_since_ms is None else REOPEN_SHARE
    if books.held_bytes + more > SITE_BYTES * share:
        return False
    return await _held_bytes(session) + more <= ALL_BYTES * share


async def _held_bytes(session: AsyncSession) -> int:
    return int(await session.scalar(select(func.sum(QuarantineSiteRow.held_bytes))) or 0)


async def _books(session: AsyncSession, site: SiteId | str) -> QuarantineSiteRow:
    """The site's row, made where it is new, and locked."""
    empty = dict.fromkeys(("held", "held_bytes", "turned_away", "expired", "expired_bytes"), 0)
    await insert_new(session, QuarantineSiteRow.__table__, [{"site": site, **empty}])  # type: ignore[arg-type]  # a Table at run time
    return await session.get_one(QuarantineSiteRow, site, with_for_update=True)


async def _say_full(session: AsyncSession, site: SiteId | str, now_ms: int, changes: Changes) -> None:
    _log.error("the quarantine has no room left for %s: what cannot be used stays on site", site)
    await cloud.alarms.intake.own_alarm(
        session,
        site,
        ALARM_KEY,
        now_ms,
        changes,
        title="The cloud cannot use this site's batches and has no room left to keep them",
        advice="Look at the reasons (minewarden cloud quarantine list), mend the cause (often the gateway's "
        "clock, or a cloud older than the agent), then replay what is held. Until then these batches stay on "
        "site, within the bounds of its outbox.",
    )


async def _reopen(session: AsyncSession, books: QuarantineSiteRow, now_ms: int, changes: Changes) -> None:
    _log.warning("the quarantine takes batches of %s again", books.site)
    at_ms = max(now_ms, (books.full_since_ms or 0) + 1)  # after the alarm, whatever our clock did
    books.full_since_ms = None
    await cloud.alarms.intake.own_alarm(
        session,
        books.site,
        ALARM_KEY,
        at_ms,
        changes,
        title="The quarantine has room for this site's batches again",
        cleared=True,
    )


async def _known(session: AsyncSession, topic: str, payload: bytes) -> QuarantineRow | None:
    found: QuarantineRow | None = await session.scalar(
        select(QuarantineRow).where(QuarantineRow.sha256 == _digest(topic, payload))
    )
    return found


def _digest(topic: str, payload: bytes) -> str:
    return hashlib.sha256(topic.encode() + b"\0" + payload).hexdigest()


async def put(
    session: AsyncSession, *, topic: str, payload: bytes, reason: str, owed_to: SiteId | None, now_ms: int
) -> None:
    """Keep a message; the same bytes again only raise the count.

    `owed_to` names the site that is told to forget the batch, so the whole payload is kept; see `admit`.
    """
    owed = owed_to is not None
    known = await _known(session, topic, payload)
    if known is not None:
        known.count += 1
        known.last_ms = now_ms
        if owed and not known.owed:
            known.owed, known.site, known.payload = True, owed_to, payload
        return
    session.add(
        QuarantineRow(
            at_ms=now_ms,
            last_ms=now_ms,
            topic=topic.replace("\0", "?"),
            reason=reason[:MAX_REASON].replace("\0", "?"),
            size=len(payload),
            sha256=_digest(topic, payload),
            count=1,
            owed=owed,
            payload=payload if owed else payload[:MAX_STRAY_BYTES],
            site=owed_to,
        )
    )
    await session.flush()


async def prune(session: AsyncSession) -> None:
    """Drop the oldest strays over `MAX_ROWS`."""
    newest = await session.scalar(select(func.max(QuarantineRow.id)))
    if newest is not None and newest > MAX_ROWS:
        await session.execute(
            delete(QuarantineRow).where(QuarantineRow.id <= newest - MAX_ROWS, QuarantineRow.owed.is_(False))
        )


async def due(session: AsyncSession, before_ms: int) -> dict[str, list[int]]:
    """Sites that `expire` has work for, each with the numbers of some owed messages from before that time."""
    rows = await session.execute(
        select(QuarantineRow.id, QuarantineRow.site, QuarantineRow.at_ms)
        .where(QuarantineRow.owed.is_(True))
        .order_by(QuarantineRow.id)
        .limit(EXPIRE_AT_ONCE)
    )
    found: dict[str, list[int]] = defaultdict(list)
    for number, site, at_ms in rows:
        if at_ms < before_ms and site is not None:
            found[site].append(number)
    full = select(QuarantineSiteRow.site).where(QuarantineSiteRow.full_since_ms.is_not(None))
    for site in await session.scalars(full):
        found[site].extend(())
    return dict(found)


async def expire(session: AsyncSession, site: str, numbers: Sequence[int], now_ms: int) -> int:
    """Drop these messages of a site and count them as lost; how many. Opens a spent budget that has room."""
    await _lock_site(session, site)
    mine = QuarantineRow.id.in_(numbers), QuarantineRow.owed.is_(True), QuarantineRow.site == site
    sizes = list(await session.scalars(select(QuarantineRow.size).where(*mine)))
    await session.execute(delete(QuarantineRow).where(*mine))
    books = await _books(session, site)
    lost = sum(weight(size) for size in sizes)
    books.held -= len(sizes)
    books.held_bytes -= lost
    if sizes:
        books.expired += len(sizes)
        books.expired_bytes += sum(sizes)
        books.expired_ms = now_ms
        _log.error("%s messages of %s were too old for the quarantine and are lost", len(sizes), site)
    if books.full_since_ms is not None and await _fits(session, books, 0):
        await _reopen(session, books, now_ms, Changes())
    return len(sizes)


async def _lock_site(session: AsyncSession, site: str) -> None:
    """First of all locks, as in a commit: two that lock in two orders would wait for each other."""
    await session.execute(select(SiteRow.id).where(SiteRow.id == site).with_for_update())


async def books(session: AsyncSession) -> list[QuarantineSiteRow]:
    """What is and was held for each site, the fullest first."""
    found = await session.scalars(
        select(QuarantineSiteRow).order_by(QuarantineSiteRow.held_bytes.desc(), QuarantineSiteRow.site)
    )
    return list(found)


async def one(session: AsyncSession, number: int) -> QuarantineRow | None:
    """The message with this number, or None."""
    return await session.get(QuarantineRow, number)


async def take_out(session: AsyncSession, number: int) -> QuarantineRow:
    """Remove the message in this transaction; raises `NotFound` where somebody else just did."""
    site = await session.scalar(select(QuarantineRow.site).where(QuarantineRow.id == number))
    if site is not None:
        await _lock_site(session, site)
    row = await session.get(QuarantineRow, number, with_for_update=True)
    if row is None:
        raise NotFound(f"there is no message {number} in the quarantine any more")
    await session.delete(row)
    if row.owed and row.site is not None:
        books = await _books(session, row.site)
        books.held -= 1
        books.held_bytes -= weight(row.size)
    return row


async def still_refused(session: AsyncSession, number: int, reason: str) -> None:
    """Keep the reason why it cannot be used now."""
    row = await session.get(QuarantineRow, number)
    if row is not None:
        row.reason = reason[:MAX_REASON].replace("\0", "?")


async def whole(session: AsyncSession) -> list[int]:
    """Numbers of messages of which all bytes are here, oldest first."""
    found = await session.scalars(
        select(QuarantineRow.id)
        .where(func.length(QuarantineRow.payload) == QuarantineRow.size)
        .order_by(QuarantineRow.id)
    )
    return list(found)


async def newest(session: AsyncSession, limit: int) -> list[QuarantineRow]:
    """The newest rows first."""
    found = await session.scalars(select(QuarantineRow).order_by(QuarantineRow.id.desc()).limit(limit))
    return list(found)
