"""Who may fetch a model file over HTTPS: the site whose newest assignment names it.

The ticket is `<site>.<counter>.<signature>` of that assignment. The cloud made the signature and sent it over
the site's own MQTT connection, so nobody else has it; a newer assignment, a withdrawal or its expiry ends it.
"""

import base64
import hmac

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.kit.problems import Forbidden, Unauthorized
from cloud.rollouts import repository
from cloud.tables import AssignmentRow, CertificateRow, ModelRow
from shared.artifacts.manifest import Assignment, Stage
from shared.artifacts.signing import Signed

SCHEME = "assignment"
_HOW = "fetch a model file with 'Authorization: Assignment <site>.<counter>.<signature>'"


async def admit(session: AsyncSession, authorization: str, sha256: str, now_ms: int) -> str:
    """The site that may fetch this file; raises `Unauthorized` or `Forbidden`."""
    scheme, _, ticket = authorization.partition(" ")
    site, _, rest = ticket.strip().rpartition(".")[0].rpartition(".")
    counter, given = rest, ticket.strip().rpartition(".")[2]
    if scheme.lower() != SCHEME or not site or not counter.isdecimal() or len(counter) > 19:
        raise Unauthorized(_HOW)
    row = await _newest(session, site)
    # The same answer for a foreign site, an old counter and a wrong signature: nothing to learn by trying.
    if row is None or row.counter != int(counter) or not _matches(row, given):
        raise Unauthorized("this ticket is not that of the site's newest assignment")
    if row.stage == Stage.WITHDRAWN.value or now_ms >= _expires_ms(row):
        raise Forbidden("the assignment was withdrawn or has expired")
    model = await session.scalar(
        select(ModelRow.sha256).where(ModelRow.name == row.name, ModelRow.version == row.version)
    )
    if model != sha256:
        raise Forbidden("this file is not the one that is assigned to the site")
    if await _shut_out(session, site):
        raise Forbidden("every certificate of this site is revoked")
    return site


async def _shut_out(session: AsyncSession, site: str) -> bool:
    """Whether the site had certificates and none is left; a site without any speaks by other means."""
    revoked = list(
        await session.scalars(select(CertificateRow.revoked_ms).where(CertificateRow.name == site))
    )
    return bool(revoked) and all(at_ms is not None for at_ms in revoked)


async def _newest(session: AsyncSession, site: str) -> AssignmentRow | None:
    rows = await repository.assignments(session, [site])
    return rows[-1] if rows else None


def _matches(row: AssignmentRow, given: str) -> bool:
    signed = msgspec.msgpack.decode(row.signed, type=Signed)
    expected = base64.urlsafe_b64encode(signed.signatures[0].value).decode().rstrip("=")
    return hmac.compare_digest(expected.encode(), given.encode())


def _expires_ms(row: AssignmentRow) -> int:
    signed = msgspec.msgpack.decode(row.signed, type=Signed)
    return msgspec.msgpack.decode(signed.payload, type=Assignment).expires_ms
