"""`/commands`: orders to sites, planned, confirmed and signed here; `/audit`: every hop of each."""

from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Query, Request

from cloud.commands import plans, repository, service
from cloud.commands.schemas import (
    AuditPage,
    CommandList,
    CommandRequest,
    CommandTrail,
    CommandView,
    ConfirmRequest,
    PlanRequest,
    PlanView,
)
from cloud.commands.service import Asker
from cloud.commands.signing import order_of
from cloud.kit import paging
from cloud.kit.context import Context, Here
from cloud.kit.people import Who
from cloud.kit.problems import (
    Conflict,
    Forbidden,
    NotFound,
    PlanNeeded,
    Unauthorized,
    Unavailable,
    responses,
)
from cloud.tables import CommandRow
from shared.artifacts.signing import Signed
from shared.commands import SafeStopOrder
from shared.ids import SiteId
from shared.wire import codec, topics

PREVIEW_WAIT_S = 5.0
"""How long a request for a plan waits for the site's answer; a later one is kept with the plan."""
LOOK_EVERY_S = 0.1

router = APIRouter(prefix="/api/v1", tags=["commands"])
Millis = Annotated[int | None, Query(ge=0, lt=2**63)]


@router.post(
    "/commands",
    status_code=202,
    responses=responses(NotFound, Unauthorized, Forbidden, PlanNeeded, Unavailable),
)
async def send_command(here: Here, who: Who, request: Request, body: CommandRequest) -> CommandView:
    """Sign a safe-stop or a renewal and send it; 202 means sent, what becomes of it shows in its state.

    Whatever else touches power is refused with `plan-needed`: plan it, look, confirm. Where the broker is not
    connected nothing is signed. Where it does not answer in time the command may still go out until it
    expires, and its detail says so.
    """
    order = order_of(body.order)
    stops = isinstance(order, SafeStopOrder)
    asker = Asker.of(request, who.stops_as(body.actor) if stops else who.signs_as(body.actor))
    if not plans.needs_no_plan(order):
        raise PlanNeeded(f"{body.order.order!r} touches power and needs a plan: {plans.HOW}")
    _must_be_up(here)
    now_ms = here.clock.utc_ms()
    command = service.new_id()
    async with here.database.write() as session:
        await service.asked(session, command, body.site, asker, body.order.order, now_ms)
        row = await service.sign(
            session,
            here.keys,
            command=command,
            site=body.site,
            actor=asker.actor,
            order=order,
            life_s=body.expires_s,
            now_ms=now_ms,
        )
    return await _send(here, row, body.expires_s)


@router.post("/commands/plans", status_code=201, responses=responses(NotFound, Unauthorized, Forbidden))
async def plan_command(here: Here, who: Who, request: Request, body: PlanRequest) -> PlanView:
    """Ask the site what an order would do; nothing is done. Waits a few seconds for the answer.

    Where the site is offline or silent the plan is `blind` and its detail says why.
    """
    now_ms = here.clock.utc_ms()
    asker = Asker.of(request, who.signs_as(body.actor))
    async with here.database.write() as session:
        row, question = await plans.make(
            session,
            body,
            here.keys,
            asker,
            now_ms,
            broker_is_up=here.command_link.is_up,
        )
    if question is not None:
        await _ask(here, row.id, SiteId(row.site), question)
    async with here.database.read() as session:
        return await plans.view(session, row.id, here.clock.utc_ms())


@router.get("/commands/plans/{plan}", responses=responses(NotFound))
async def get_plan(here: Here, plan: str) -> PlanView:
    """A plan as it stands; a site's late answer shows here."""
    async with here.database.read() as session:
        return await plans.view(session, plan, here.clock.utc_ms())


@router.post(
    "/commands/plans/{plan}/confirm",
    status_code=202,
    responses=responses(NotFound, Unauthorized, Forbidden, Conflict, Unavailable),
)
async def confirm_plan(
    here: Here, who: Who, request: Request, plan: str, body: ConfirmRequest
) -> CommandView:
    """Sign the planned order and send it, once; the command has the plan's id."""
    asker = Asker.of(request, who.signs_as(body.actor))
    _must_be_up(here)
    async with here.database.write() as session:
        row = await plans.confirm(session, plan, body, here.keys, asker, here.clock.utc_ms())
    return await _send(here, row, body.expires_s)


@router.get("/commands", responses=responses())
async def list_commands(
    here: Here, site: str | None = None, limit: Annotated[int, Query(ge=1, le=500)] = 100
) -> CommandList:
    """Commands with everything that became of them, newest first; third parties' as the sites tell them."""
    async with here.database.read() as session:
        return CommandList(items=await service.views(session, await repository.newest(session, site, limit)))


@router.get("/commands/{command}", responses=responses(NotFound))
async def get_command(here: Here, command: str) -> CommandTrail:
    """One command with its whole trail, from the click to each read-back."""
    async with here.database.read() as session:
        return await service.with_trail(session, command)


@router.get("/audit", responses=responses())
async def list_audit(
    here: Here,
    site: str | None = None,
    actor: str | None = None,
    source: Literal["cloud", "third-party", "operator", "local", "unknown"] | None = None,
    command: str | None = None,
    from_ms: Millis = None,
    to_ms: Millis = None,
    limit: Annotated[int, Query(ge=1, le=paging.MAX_LIMIT)] = 100,
    cursor: str | None = None,
) -> AuditPage:
    """Every hop of every command, and what persons did on site; newest first."""
    async with here.database.read() as session:
        return await service.audit(
            session,
            site=site,
            actor=actor,
            source=source,
            command=command,
            from_ms=from_ms,
            to_ms=to_ms,
            cursor=cursor,
            limit=limit,
        )


def _must_be_up(here: Context) -> None:
    if not here.command_link.is_up:
        raise Unavailable("the MQTT broker is not connected; nothing was sent")


async def _send(here: Context, row: CommandRow, life_s: int) -> CommandView:
    signed = msgspec.msgpack.decode(row.signed, type=Signed)
    try:
        await here.command_link.send(topics.command(SiteId(row.site)), codec.encode(signed), expiry_s=life_s)
        sure, detail = True, "the broker has it"
    except Unavailable as error:
        sure, detail = False, f"sending is unconfirmed: {error}"
    async with here.database.write() as session:
        await service.note_sending(session, row.id, detail, here.clock.utc_ms(), sure=sure)
        return await service.view(session, row.id)


async def _ask(here: Context, plan: str, site: SiteId, question: Signed) -> None:
    """Send the question and wait a while for the answer, which ingest writes into the plan."""
    why = f"the site did not answer within {PREVIEW_WAIT_S:.0f} s"
    try:
        await here.command_link.send(
            topics.command(site), codec.encode(question), expiry_s=plans.PREVIEW_LIFE_S
        )
    except Unavailable as error:
        why = f"the question is not known to have left: {error}"
    until_s = here.clock.monotonic() + PREVIEW_WAIT_S
    while here.clock.monotonic() < until_s:
        async with here.database.read() as session:
            row = await repository.plan_by_id(session, plan)
            if row is None or row.answered_ms is not None:
                return
        await here.clock.sleep(LOOK_EVERY_S)
    async with here.database.write() as session:
        await plans.unanswered(session, plan, why)
