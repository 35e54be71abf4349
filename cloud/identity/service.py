"""Who gets a certificate. Every function runs inside the caller's transaction.

A gateway asks, a person compares the fingerprint with whoever stands there and confirms, and only then is
anything signed. A renewal needs no person: the present key vouches for the next one.
"""

import secrets
from collections.abc import Sequence
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.identity import repository
from cloud.identity.authority import Authority
from cloud.identity.repository import ISSUED, REFUSED, WAITING
from cloud.identity.schemas import Confirmation, ControlRequest, EnrolmentRequest, Refusal, Revocation
from cloud.kit.problems import BadInput, Conflict, NotFound, TooMany
from cloud.tables import CertificateRow, EnrolmentRow
from shared.errors import SecurityError
from shared.identity import RESERVED, fingerprint, heard, is_proven, read_request, site_name
from shared.ids import SiteId

MAX_WAITING: Final = 50
WAIT_MS: Final = 7 * 86_400_000
"""How long a person has to confirm; also how old an uploaded request may be."""
AHEAD_MS: Final = 10 * 60_000
"""How far a gateway's clock may run ahead when it asks."""
RENEWAL_PAUSE_MS: Final = 10 * 60_000
"""A site gets one new key certified in this time: a gateway that asks in a loop is ill."""
CONTROL: Final = f"{RESERVED}control-"
ROLE_NAMES: Final = {"ingest": f"{RESERVED}ingest", "command": f"{RESERVED}command"}


async def ask(session: AsyncSession, body: EnrolmentRequest, now_ms: int) -> EnrolmentRow:
    """Note a request; the same key asking again finds its first one. Raises what the API answers with."""
    try:
        name, key = read_request(body.request_pem)
        site = site_name(name)
    except SecurityError as error:
        raise BadInput(str(error)) from error
    _check_age(body.made_ms, now_ms)
    print_ = fingerprint(site, key)
    await repository.expire_waiting(session, now_ms)
    present = await repository.live(session, now_ms, [site])
    known = await repository.with_key(session, print_)
    if known is not None and known.state == WAITING:
        known.replace = known.replace or body.replace
        return known
    if known is not None and any(row.serial == known.serial for row in present):
        return known  # the gateway lost power between the person's word and its certificate
    if present and not body.replace:
        raise Conflict(
            f"site {site!r} HAS a valid certificate already (serial {present[-1].serial}). If its gateway "
            "was exchanged or its key was lost, ask again with --replace: the old certificate is revoked as "
            "soon as a person confirms. If you did not expect this, somebody uses this site's id: stop, call."
        )
    if await repository.count_waiting(session) >= MAX_WAITING:
        raise TooMany(f"{MAX_WAITING} requests wait for a person already; refuse or confirm some first")
    row = EnrolmentRow(
        id=secrets.token_hex(16),
        site=site,
        fingerprint=print_,
        request_pem=body.request_pem,
        replace=body.replace,
        state=WAITING,
        asked_ms=now_ms,
        expires_ms=now_ms + WAIT_MS,
        reason="",
    )
    session.add(row)
    await session.flush()
    return row


async def confirm(
    session: AsyncSession, name: str, body: Confirmation, authority: Authority, now_ms: int, *, days: int
) -> EnrolmentRow:
    """Sign what waits, if the person heard the right fingerprint; revokes what it replaces."""
    row = await _undecided(session, name, now_ms)
    if not secrets.compare_digest(heard(body.fingerprint).encode(), row.fingerprint.encode()):
        raise BadInput(
            "this is not the fingerprint of the request. Have it read out again; if it stays different, "
            "refuse the request: it did not come from that gateway"
        )
    present = await repository.live_for_change(session, now_ms, row.site)
    if present and not (row.replace and body.replace):
        raise Conflict(
            f"site {row.site!r} HAS a valid certificate (serial {present[-1].serial}); confirming this would "
            "revoke it. Both sides must say so: 'minewarden enroll --replace' there, and replace here"
        )
    for old in present:
        _revoke(old, body.actor, "replaced by a new enrolment", now_ms)
    _, key = read_request(row.request_pem)
    made = _issue(
        session, authority, row.site, key, now_ms, days=days, role="site", how="enrolment", actor=body.actor
    )
    row.state, row.decided_ms, row.actor, row.serial = ISSUED, now_ms, body.actor, made.serial
    await session.flush()
    return row


async def refuse(session: AsyncSession, name: str, body: Refusal, now_ms: int) -> EnrolmentRow:
    """A person's no; the gateway is told the reason."""
    row = await _undecided(session, name, now_ms)
    row.state, row.decided_ms, row.actor = REFUSED, now_ms, body.actor
    row.reason = body.reason or "a person refused it"
    return row


async def renew(
    session: AsyncSession,
    site: SiteId,
    request_pem: str,
    proof: bytes,
    authority: Authority,
    now_ms: int,
    *,
    days: int,
) -> CertificateRow:
    """The site's next certificate, asked for over its own connection; raises `SecurityError`.

    The same request again is answered with the same certificate, so a lost answer costs nothing.
    """
    name, key = read_request(request_pem)
    if name != site:
        raise SecurityError(f"a request for {name!r} came from the site {site!r}")
    site_name(name)
    # Locked against a revocation at the same moment, which would not see the certificate made here.
    present = await repository.live_for_change(session, now_ms, site)
    if not any(is_proven(request_pem, proof, _public_key(row)) for row in present):
        raise SecurityError("no valid certificate's key of this site vouches for the request")
    print_ = fingerprint(site, key)
    for row in present:
        if row.fingerprint == print_:
            return row
    if any(row.how == "renewal" and now_ms - row.issued_ms < RENEWAL_PAUSE_MS for row in present):
        raise SecurityError("it had another key certified within the last ten minutes")
    made = _issue(
        session, authority, site, key, now_ms, days=days, role="site", how="renewal", actor=f"site {site}"
    )
    await session.flush()
    return made


async def admit_third_party(
    session: AsyncSession, body: ControlRequest, authority: Authority, now_ms: int, *, days: int
) -> CertificateRow:
    """A certificate for a third party, whose person with the token vouches for the request."""
    try:
        _, key = read_request(body.request_pem)
        sites = [site if site == "*" else str(site_name(site)) for site in body.sites]
    except SecurityError as error:
        raise BadInput(str(error)) from error
    made = _issue(
        session,
        authority,
        f"{CONTROL}{body.name}",
        key,
        now_ms,
        days=days,
        role="control",
        how="by hand",
        actor=body.actor,
        sites=sites,
    )
    await session.flush()
    return made


async def issue_role(
    session: AsyncSession,
    authority: Authority,
    role: str,
    key: ec.EllipticCurvePublicKey,
    now_ms: int,
    *,
    days: int,
    hosts: Sequence[str] = (),
) -> CertificateRow:
    """A certificate for the cloud's own `ingest` or `command`, or for the broker (`hosts`: its names)."""
    made = _issue(
        session,
        authority,
        ROLE_NAMES.get(role, hosts[0] if hosts else role),
        key,
        now_ms,
        days=days,
        role=role,
        how="command line",
        actor="command line",
        hosts=hosts,
    )
    await session.flush()
    return made


async def revoke(session: AsyncSession, serial: str, body: Revocation, now_ms: int) -> CertificateRow:
    """Take a certificate back, and a site's others with it; what the broker makes of it shows in `cut_ms`."""
    row = await repository.certificate(session, serial)
    if row is None:
        raise NotFound(f"there is no certificate with the serial {serial!r}")
    present = await repository.live_for_change(session, now_ms, row.name)
    await session.refresh(row)
    if row.revoked_ms is not None:
        raise Conflict(f"certificate {serial} was revoked already, by {row.revoked_by}")
    if row.not_after_ms <= now_ms:
        raise Conflict(f"certificate {serial} has expired; there is nothing to revoke")
    too = row.role == "site" and not body.only_this
    for taken in present if too else [row]:
        _revoke(taken, body.actor, body.reason or "no reason given", now_ms)
    await session.flush()
    return row


async def _undecided(session: AsyncSession, name: str, now_ms: int) -> EnrolmentRow:
    await repository.expire_waiting(session, now_ms)
    row = await repository.enrolment(session, name, lock=True)
    if row is None:
        raise NotFound(f"there is no enrolment {name!r}")
    await session.refresh(row)
    if row.state != WAITING:
        raise Conflict(f"enrolment {name} is {row.state} already. {row.reason}".rstrip())
    return row


def _check_age(made_ms: int, now_ms: int) -> None:
    if made_ms > now_ms + AHEAD_MS:
        ahead_min = (made_ms - now_ms) // 60_000
        raise BadInput(
            f"the request was made {ahead_min} minutes in the future: the gateway's clock is wrong. Set it "
            "('timedatectl' must say that it is synchronized), then enrol again"
        )
    if made_ms < now_ms - WAIT_MS:
        days = (now_ms - made_ms) // 86_400_000
        raise BadInput(
            f"the request is {days} days old, at most {WAIT_MS // 86_400_000} are taken: it was forgotten, "
            "or the gateway's clock is wrong. Check the clock there and run 'minewarden enroll' again"
        )


def _issue(
    session: AsyncSession,
    authority: Authority,
    name: str,
    key: ec.EllipticCurvePublicKey,
    now_ms: int,
    *,
    days: int,
    role: str,
    how: str,
    actor: str,
    sites: Sequence[str] = (),
    hosts: Sequence[str] = (),
) -> CertificateRow:
    made = authority.issue(name, key, now_ms, days=days, hosts=hosts)
    row = CertificateRow(
        serial=made.serial,
        name=name,
        role=role,
        sites=list(sites),
        fingerprint=fingerprint(name, key),
        pem=made.pem,
        how=how,
        actor=actor,
        not_before_ms=made.not_before_ms,
        not_after_ms=made.not_after_ms,
        issued_ms=now_ms,
        reason="",
    )
    session.add(row)
    return row


def _revoke(row: CertificateRow, actor: str, reason: str, now_ms: int) -> None:
    row.revoked_ms, row.revoked_by, row.reason = now_ms, actor, reason


def _public_key(row: CertificateRow) -> ec.EllipticCurvePublicKey:
    key = x509.load_pem_x509_certificate(row.pem.encode()).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)  # noqa: S101 - we made the certificate
    return key
