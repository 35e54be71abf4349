"""Messages that could not be used: kept with the reason, counted, never in the way."""

import hashlib

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.kit.problems import NotFound
from cloud.tables import QuarantineRow

MAX_ROWS = 10_000
"""The newest this many stay; a batch that was acknowledged because it is here always stays."""
MAX_STRAY_BYTES = 64 * 1024
"""Of a message that nobody is owed, only the head is kept."""
MAX_REASON = 1_000


async def put(
    session: AsyncSession, *, topic: str, payload: bytes, reason: str, owed: bool, now_ms: int
) -> None:
    """Keep a message; the same bytes again only raise the count.

    `owed` says that the site was told to forget the batch, so the whole payload is kept.
    """
    digest = hashlib.sha256(topic.encode() + b"\0" + payload).hexdigest()
    known = await session.scalar(select(QuarantineRow).where(QuarantineRow.sha256 == digest))
    if known is not None:
        known.count += 1
        known.last_ms = now_ms
        return
    session.add(
        QuarantineRow(
            at_ms=now_ms,
            last_ms=now_ms,
            topic=topic.replace("\0", "?"),
            reason=reason[:MAX_REASON].replace("\0", "?"),
            size=len(payload),
            sha256=digest,
            count=1,
            owed=owed,
            payload=payload if owed else payload[:MAX_STRAY_BYTES],
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


async def one(session: AsyncSession, number: int) -> QuarantineRow | None:
    """The message with this number, or None."""
    return await session.get(QuarantineRow, number)


async def take_out(session: AsyncSession, number: int) -> QuarantineRow:
    """Remove the message in this transaction; raises `NotFound` where somebody else just did."""
    row = await session.get(QuarantineRow, number, with_for_update=True)
    if row is None:
        raise NotFound(f"there is no message {number} in the quarantine any more")
    await session.delete(row)
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
