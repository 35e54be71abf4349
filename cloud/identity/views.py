"""Rows as the API shows them."""

from collections import Counter
from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from cloud.identity import repository
from cloud.identity.authority import Authority
from cloud.identity.repository import ISSUED, WAITING
from cloud.identity.schemas import CertificateDetail, CertificateView, EnrolmentDetail, EnrolmentView
from cloud.tables import CertificateRow, EnrolmentRow

_DAY_MS = 86_400_000


async def enrolments(session: AsyncSession, rows: Sequence[EnrolmentRow], now_ms: int) -> list[EnrolmentView]:
    """In the order given. A request past its end is shown as expired before anybody has written that down."""
    certified = {row.name for row in await repository.live(session, now_ms, {row.site for row in rows})}
    waiting = Counter(
        row.site for row in await repository.enrolments(session, WAITING) if row.expires_ms > now_ms
    )
    return [_enrolment(row, now_ms, has=row.site in certified, waiting=waiting[row.site]) for row in rows]


async def enrolment(
    session: AsyncSession, row: EnrolmentRow, authority: Authority, now_ms: int
) -> EnrolmentDetail:
    """One request, with its certificate once it is issued."""
    (view,) = await enrolments(session, [row], now_ms)
    made = await repository.certificate(session, row.serial) if row.serial is not None else None
    return EnrolmentDetail(
        **view.model_dump(),
        certificate_pem=made.pem if made is not None else None,
        ca_pem=authority.pem,
        ca_fingerprint=authority.fingerprint,
        now_ms=now_ms,
    )


def certificates(
    rows: Sequence[CertificateRow], live: Sequence[CertificateRow], now_ms: int
) -> list[CertificateView]:
    """In the order given; `live` are all live ones of these names."""
    newest = {row.name: row.row for row in live}
    return [_certificate(row, newest.get(row.name), now_ms) for row in rows]


def certificate(
    row: CertificateRow, live: Sequence[CertificateRow], authority: Authority, now_ms: int
) -> CertificateDetail:
    """One certificate with its text."""
    (view,) = certificates([row], live, now_ms)
    return CertificateDetail(**view.model_dump(), certificate_pem=row.pem, ca_pem=authority.pem)


def _enrolment(row: EnrolmentRow, now_ms: int, *, has: bool, waiting: int) -> EnrolmentView:
    open_ = row.state == WAITING and row.expires_ms > now_ms
    state = "expired" if row.state == WAITING and not open_ else row.state
    return EnrolmentView(
        id=row.id,
        site=row.site,
        fingerprint=row.fingerprint if row.state == ISSUED else None,
        state=state,  # type: ignore[arg-type]  # only the service writes it
        asked_ms=row.asked_ms,
        expires_ms=row.expires_ms,
        replace=row.replace,
        site_has_certificate=has,
        others_waiting=waiting - (1 if open_ else 0),
        decided_ms=row.decided_ms,
        actor=row.actor,
        reason=row.reason,
        serial=row.serial,
    )


def _certificate(row: CertificateRow, newest: int | None, now_ms: int) -> CertificateView:
    left_ms = max(0, row.not_after_ms - now_ms)
    state = "revoked" if row.revoked_ms is not None else "live" if left_ms else "expired"
    superseded = newest is not None and newest > row.row
    life_ms = row.not_after_ms - row.not_before_ms
    return CertificateView(
        serial=row.serial,
        name=row.name,
        role=row.role,  # type: ignore[arg-type]  # only the service writes it
        sites=row.sites,
        fingerprint=row.fingerprint,
        state=state,  # type: ignore[arg-type]  # one of the three above
        how=row.how,
        actor=row.actor,
        issued_ms=row.issued_ms,
        not_before_ms=row.not_before_ms,
        not_after_ms=row.not_after_ms,
        days_left=left_ms // _DAY_MS,
        renewal_due=state == "live" and not superseded and left_ms * 3 <= life_ms,
        superseded=superseded,
        revoked_ms=row.revoked_ms,
        revoked_by=row.revoked_by,
        reason=row.reason,
        cut_ms=row.cut_ms,
    )
