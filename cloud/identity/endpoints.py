"""`/enrolments`, `/certificates`, `/identity`: who may connect to the broker.

`POST /enrolments` is the one write without a token: a new gateway has none. It is bounded by size, rate and
number of open requests, and it achieves nothing until a person confirms it.
"""

from typing import Literal, TypeVar

from fastapi import APIRouter
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.identity import repository, service, views
from cloud.identity.repository import WAITING
from cloud.identity.schemas import (
    BrokerView,
    CertificateDetail,
    CertificateList,
    CertificateView,
    Confirmation,
    ControlRequest,
    EnrolmentDetail,
    EnrolmentList,
    EnrolmentRequest,
    EnrolmentView,
    IdentityView,
    Refusal,
    Revocation,
)
from cloud.kit.context import Here
from cloud.kit.people import Caller, Who
from cloud.kit.problems import Conflict, Forbidden, NotFound, TooLarge, TooMany, Unauthorized, responses
from cloud.tables import EnrolmentRow

Signed = TypeVar("Signed", Confirmation, Refusal, Revocation, ControlRequest)

router = APIRouter(prefix="/api/v1", tags=["identity"])


@router.get("/identity", responses=responses())
async def identity(here: Here) -> IdentityView:
    """Whether this cloud issues certificates, how many wait for a person, and what the broker has of it."""
    registrar = here.registrar
    async with here.database.read() as session:
        waiting = await repository.enrolments(session, WAITING)
    now_ms = here.clock.utc_ms()
    broker = registrar.broker
    return IdentityView(
        enabled=registrar.authority is not None,
        ca_fingerprint=registrar.authority.fingerprint if registrar.authority is not None else None,
        ca_not_after_ms=registrar.authority.not_after_ms if registrar.authority is not None else None,
        waiting=sum(row.expires_ms > now_ms for row in waiting),
        renewals=registrar.renewals,
        refused_renewals=registrar.refused_renewals,
        broker=None
        if broker is None
        else BrokerView(applied_ms=broker.outcome.applied_ms, trouble=broker.outcome.trouble),
    )


@router.post("/enrolments", status_code=202, responses=responses(Conflict, TooLarge, TooMany))
async def ask_for_certificate(here: Here, body: EnrolmentRequest) -> EnrolmentDetail:
    """A gateway asks for its first certificate. The same key asking again finds its first request."""
    authority, _ = here.registrar.must()
    here.registrar.bucket.take()
    now_ms = here.clock.utc_ms()
    async with here.database.write() as session:
        row = await service.ask(session, body, now_ms)
        return await views.enrolment(session, row, authority, now_ms)


@router.get("/enrolments", responses=responses())
async def list_enrolments(
    here: Here, state: Literal["waiting", "issued", "refused", "expired"] | None = None
) -> EnrolmentList:
    """Requests, newest first, at most 500."""
    now_ms = here.clock.utc_ms()
    async with here.database.read() as session:
        rows = await repository.enrolments(session, None)
        shown = await views.enrolments(session, rows, now_ms)
    return EnrolmentList(items=[view for view in shown if state in (None, view.state)])


@router.get("/enrolments/{enrolment}", responses=responses(Conflict, NotFound))
async def get_enrolment(here: Here, enrolment: str) -> EnrolmentDetail:
    """One request; the gateway looks here for its certificate."""
    async with here.database.read() as session:
        row = await repository.enrolment(session, enrolment)
        if row is None:
            raise NotFound(f"there is no enrolment {enrolment!r}")
        authority, _ = here.registrar.must()
        return await views.enrolment(session, row, authority, here.clock.utc_ms())


@router.post(
    "/enrolments/{enrolment}/confirm", responses=responses(Conflict, Forbidden, NotFound, Unauthorized)
)
async def confirm_enrolment(here: Here, who: Who, enrolment: str, body: Confirmation) -> EnrolmentView:
    """A person heard the fingerprint from whoever stands at the gateway: sign."""
    authority, settings = here.registrar.must()
    now_ms = here.clock.utc_ms()
    async with here.database.write() as session:
        row = await service.confirm(
            session, enrolment, _signed(who, body), authority, now_ms, days=settings.site_days
        )
        view = await _view(here, session, row)
    here.registrar.poke()
    return view


@router.post(
    "/enrolments/{enrolment}/refuse", responses=responses(Conflict, Forbidden, NotFound, Unauthorized)
)
async def refuse_enrolment(here: Here, who: Who, enrolment: str, body: Refusal) -> EnrolmentView:
    """A person says no."""
    async with here.database.write() as session:
        row = await service.refuse(session, enrolment, _signed(who, body), here.clock.utc_ms())
        return await _view(here, session, row)


@router.get("/certificates", responses=responses())
async def list_certificates(here: Here, name: str | None = None) -> CertificateList:
    """Certificates of sites, roles and third parties, newest first, at most 500."""
    now_ms = here.clock.utc_ms()
    async with here.database.read() as session:
        rows = await repository.certificates(session, name)
        live = await repository.live(session, now_ms, {row.name for row in rows})
    return CertificateList(items=views.certificates(rows, live, now_ms))


@router.get("/certificates/{serial}", responses=responses(Conflict, NotFound))
async def get_certificate(here: Here, serial: str) -> CertificateDetail:
    """One certificate with its text."""
    now_ms = here.clock.utc_ms()
    async with here.database.read() as session:
        row = await repository.certificate(session, serial)
        if row is None:
            raise NotFound(f"there is no certificate with the serial {serial!r}")
        authority, _ = here.registrar.must()
        return views.certificate(row, await repository.live(session, now_ms, [row.name]), authority, now_ms)


@router.post("/certificates", status_code=201, responses=responses(Conflict, Forbidden, Unauthorized))
async def admit_third_party(here: Here, who: Who, body: ControlRequest) -> CertificateDetail:
    """A certificate for a third party with the control role; its commands still need its own signing key."""
    authority, settings = here.registrar.must()
    now_ms = here.clock.utc_ms()
    async with here.database.write() as session:
        row = await service.admit_third_party(
            session, _signed(who, body), authority, now_ms, days=settings.role_days
        )
        detail = views.certificate(row, [row], authority, now_ms)
    here.registrar.poke()
    return detail


@router.post(
    "/certificates/{serial}/revoke",
    status_code=202,
    responses=responses(Conflict, Forbidden, NotFound, Unauthorized),
)
async def revoke_certificate(here: Here, who: Who, serial: str, body: Revocation) -> CertificateView:
    """Take a certificate back, a site's others too. 202: the broker obeys in seconds, `cut_ms` says when."""
    here.registrar.must()
    now_ms = here.clock.utc_ms()
    async with here.database.write() as session:
        row = await service.revoke(session, serial, _signed(who, body), now_ms)
        live = await repository.live(session, now_ms, [row.name])
        (view,) = views.certificates([row], live, now_ms)
    here.registrar.poke()
    return view


async def _view(here: Here, session: AsyncSession, row: EnrolmentRow) -> EnrolmentView:
    (view,) = await views.enrolments(session, [row], here.clock.utc_ms())
    return view


def _signed(who: Caller, body: Signed) -> Signed:
    """The body under the name that its token stands for; raises `Forbidden`."""
    return body.model_copy(update={"actor": who.signs_as(body.actor)})
