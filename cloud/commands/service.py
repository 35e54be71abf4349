"""Commands: signed here, stored before they are sent, and followed until the site's last word."""

import uuid
from collections.abc import Sequence

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.commands import repository
from cloud.commands.intake import SENT
from cloud.commands.schemas import CommandRequest, CommandView, Step
from cloud.kit.keys import Keys
from cloud.kit.problems import BadInput, NotFound
from cloud.tables import CommandRow, CommandStepRow, SiteRow
from shared.artifacts.signing import Purpose
from shared.commands import MAX_COMMAND_LIFE_MS, AnyOrder, CommandBody, CommandState
from shared.ids import CommandId, SiteId

GRACE_MS = 15_000
"""How long after its expiry a command may still be answered before it counts as unanswered."""


async def make(session: AsyncSession, body: CommandRequest, keys: Keys, now_ms: int) -> CommandRow:
    """Sign and store a command; raises `NotFound` and `BadInput`."""
    site = await session.get(SiteRow, body.site, with_for_update=True)
    if site is None:
        raise NotFound(f"there is no site {body.site!r}")
    try:
        order: AnyOrder = msgspec.convert(body.order.model_dump(), type=AnyOrder)
    except msgspec.ValidationError as error:
        raise BadInput(f"order: {error}") from error
    # Time as the floor: a database restored from an old copy must not re-use counters that sites have seen.
    site.command_counter = max(site.command_counter + 1, now_ms)
    command = CommandBody(
        id=CommandId(str(uuid.uuid4())),
        site=SiteId(body.site),
        issued_ms=now_ms,
        expires_ms=now_ms + min(body.expires_s * 1000, MAX_COMMAND_LIFE_MS),
        counter=site.command_counter,
        actor=body.actor,
        order=order,
    )
    signed = keys.command.sign(Purpose.COMMAND, msgspec.msgpack.encode(command))
    row = CommandRow(
        id=command.id,
        site=body.site,
        actor=body.actor,
        order=msgspec.to_builtins(order),
        counter=command.counter,
        issued_ms=command.issued_ms,
        expires_ms=command.expires_ms,
        signed=msgspec.msgpack.encode(signed),
        state=SENT,
        state_ms=now_ms,
        detail="signed",
        writes=[],
    )
    session.add(row)
    session.add(CommandStepRow(command=row.id, state=SENT, at_ms=now_ms, detail=f"by {body.actor}"))
    await session.flush()
    return row


async def note_sending(session: AsyncSession, command: str, detail: str) -> None:
    """What the broker said; the site's own word, if it is there already, stays."""
    row = await repository.by_id(session, command)
    if row is not None and row.state == SENT:
        row.detail = detail


async def views(session: AsyncSession, rows: Sequence[CommandRow]) -> list[CommandView]:
    """Commands as the API shows them, in the order given."""
    steps = await repository.steps(session, [row.id for row in rows])
    return [
        CommandView(
            id=row.id,
            site=row.site,
            actor=row.actor,
            order=row.order,
            issued_ms=row.issued_ms,
            expires_ms=row.expires_ms,
            state=row.state,  # type: ignore[arg-type]  # only `make` and the intake write it
            detail=row.detail,
            outcome=row.outcome,
            writes=row.writes,
            history=[Step(state=step.state, at_ms=step.at_ms, detail=step.detail) for step in steps[row.id]],
        )
        for row in rows
    ]


async def view(session: AsyncSession, command: str) -> CommandView:
    """One command; raises `NotFound`."""
    row = await repository.by_id(session, command)
    if row is None:
        raise NotFound(f"there is no command {command!r}")
    return (await views(session, [row]))[0]


async def expire(session: AsyncSession, now_ms: int) -> int:
    """Mark commands as expired on which no word came; a late word of the site still overrides it."""
    rows = await repository.overdue(session, now_ms - GRACE_MS)
    for row in rows:
        row.state, row.state_ms = CommandState.EXPIRED.value, row.expires_ms
        row.detail = "no word from the site"
        session.add(CommandStepRow(command=row.id, state=row.state, at_ms=row.expires_ms, detail=row.detail))
    return len(rows)
