"""SQL about enrolments and certificates."""

from collections.abc import Iterable, Sequence

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.tables import CertificateRow, EnrolmentRow

WAITING, ISSUED, REFUSED, EXPIRED = "waiting", "issued", "refused", "expired"
"""States of an enrolment."""
MAX_SHOWN = 500


async def enrolment(session: AsyncSession, name: str, *, lock: bool = False) -> EnrolmentRow | None:
    statement = select(EnrolmentRow).where(EnrolmentRow.id == name)
    found: EnrolmentRow | None = await session.scalar(statement.with_for_update() if lock else statement)
    return found


async def enrolments(session: AsyncSession, state: str | None) -> list[EnrolmentRow]:
    """Newest first."""
    statement = select(EnrolmentRow).order_by(EnrolmentRow.row.desc()).limit(MAX_SHOWN)
    if state is not None:
        statement = statement.where(EnrolmentRow.state == state)
    return list(await session.scalars(statement))


async def with_key(session: AsyncSession, fingerprint: str) -> EnrolmentRow | None:
    """The newest request of this very key."""
    found: EnrolmentRow | None = await session.scalar(
        select(EnrolmentRow)
        .where(EnrolmentRow.fingerprint == fingerprint)
        .order_by(EnrolmentRow.row.desc())
        .limit(1)
    )
    return found


async def count_waiting(session: AsyncSession) -> int:
    return await session.scalar(select(func.count()).where(EnrolmentRow.state == WAITING)) or 0


async def expire_waiting(session: AsyncSession, now_ms: int) -> None:
    """Requests that nobody decided in time cannot be confirmed any more."""
    await session.execute(
        update(EnrolmentRow)
        .where(EnrolmentRow.state == WAITING, EnrolmentRow.expires_ms <= now_ms)
        .values(state=EXPIRED, reason="nobody confirmed it in time; run 'minewarden enroll' again")
    )


async def certificate(session: AsyncSession, serial: str) -> CertificateRow | None:
    found: CertificateRow | None = await session.scalar(
        select(CertificateRow).where(CertificateRow.serial == serial)
    )
    return found


async def certificates(session: AsyncSession, name: str | None) -> list[CertificateRow]:
    """Newest first."""
    statement = select(CertificateRow).order_by(CertificateRow.row.desc()).limit(MAX_SHOWN)
    if name is not None:
        statement = statement.where(CertificateRow.name == name)
    return list(await session.scalars(statement))


async def sites_among(session: AsyncSession, names: Iterable[str]) -> set[str]:
    """Those of the names that a certificate was ever made for as a site's."""
    found = await session.scalars(
        select(CertificateRow.name)
        .where(CertificateRow.role == "site", CertificateRow.name.in_(list(names)))
        .distinct()
    )
    return set(found)


async def live(
    session: AsyncSession, now_ms: int, names: Iterable[str] | None = None
) -> list[CertificateRow]:
    """Certificates that are neither revoked nor past their end, oldest first."""
    statement = (
        select(CertificateRow)
        .where(CertificateRow.revoked_ms.is_(None), CertificateRow.not_after_ms > now_ms)
        .order_by(CertificateRow.row)
    )
    if names is not None:
        statement = statement.where(CertificateRow.name.in_(list(names)))
    return list(await session.scalars(statement))


async def live_for_change(session: AsyncSession, now_ms: int, name: str) -> list[CertificateRow]:
    """As `live`, of one name, locked until the end of the transaction.

    All who change them lock them oldest first, so that no two wait for each other. And look a second time: a
    statement that waited for a lock does not see what was added meanwhile.
    """
    statement = (
        select(CertificateRow)
        .where(
            CertificateRow.name == name,
            CertificateRow.revoked_ms.is_(None),
            CertificateRow.not_after_ms > now_ms,
        )
        .order_by(CertificateRow.row)
        .with_for_update()
    )
    await session.execute(statement)
    return list(await session.scalars(statement))


async def revoked(session: AsyncSession, now_ms: int) -> list[CertificateRow]:
    """Revoked certificates that would still be valid otherwise: what a revocation list has to name."""
    return list(
        await session.scalars(
            select(CertificateRow)
            .where(CertificateRow.revoked_ms.is_not(None), CertificateRow.not_after_ms > now_ms)
            .order_by(CertificateRow.serial)
        )
    )


async def note_cut(session: AsyncSession, serials: Sequence[str], now_ms: int) -> None:
    """The broker has obeyed these revocations."""
    await session.execute(
        update(CertificateRow).where(CertificateRow.serial.in_(serials)).values(cut_ms=now_ms)
    )
