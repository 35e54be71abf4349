"""Commands: signed here, stored before they are sent, and followed until the site's last word."""

import uuid
from collections.abc import Sequence
from typing import Any

import msgspec
from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.commands import repository, trail
from cloud.commands.repository import NO_WORD, SENT
from cloud.commands.schemas import AuditPage, CommandTrail, CommandView, Step, TrailEntry
from cloud.commands.signing import seal
from cloud.commands.trail import Hop, Note, Source
from cloud.kit import paging
from cloud.kit.keys import Keys
from cloud.kit.problems import NotFound
from cloud.tables import CommandRow, PlanRow, TrailRow
from shared.commands import AnyOrder, CommandState
from shared.ids import CommandId

GRACE_MS = 15_000
"""How long after its expiry a command may still be answered before it counts as unanswered."""
MAX_TRAIL = 2_000
MAX_FORWARDED = 200


class Asker(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, by the name given, and from where."""

    actor: str
    address: str

    @classmethod
    def of(cls, request: Request, actor: str) -> "Asker":
        """The peer's address; what a proxy claims stands beside it, as a claim."""
        peer = request.client.host if request.client is not None else "unknown"
        claimed = request.headers.get("x-forwarded-for", "")[:MAX_FORWARDED]
        return cls(actor=actor, address=f"{peer}, forwarded for {claimed}" if claimed else peer)


def note(
    row: CommandRow | PlanRow,
    hop: Hop,
    asker: Asker | None,
    now_ms: int,
    detail: str,
    *,
    state: str | None = None,
    data: dict[str, Any] | None = None,
    key: str | None = None,
) -> Note:
    """A hop inside this cloud."""
    return Note(
        site=row.site,
        command=row.id,
        source=Source.CLOUD,
        hop=hop,
        state=state,
        actor=row.actor if asker is None else asker.actor,
        address=None if asker is None else asker.address,
        at_ms=now_ms,
        received_ms=now_ms,
        detail=detail,
        data=data or {},
        key=key,
    )


async def asked(
    session: AsyncSession, command: CommandId, site: str, asker: Asker, what: str, now_ms: int
) -> None:
    """Note the request for an order that needs no plan."""
    request = Note(
        site=site,
        command=command,
        source=Source.CLOUD,
        hop=Hop.ASKED,
        actor=asker.actor,
        address=asker.address,
        at_ms=now_ms,
        received_ms=now_ms,
        detail=f"{what}, which needs no plan",
    )
    await trail.write(session, [request])


def new_id() -> CommandId:
    return CommandId(str(uuid.uuid4()))


async def sign(
    session: AsyncSession,
    keys: Keys,
    *,
    command: str,
    site: str,
    actor: str,
    order: AnyOrder,
    life_s: int,
    now_ms: int,
) -> CommandRow:
    """Sign and store a command; raises `NotFound`."""
    sealed = await seal(
        session,
        keys,
        command=CommandId(command),
        site=site,
        actor=actor,
        order=order,
        life_s=life_s,
        now_ms=now_ms,
    )
    row = CommandRow(
        id=command,
        site=site,
        source=Source.CLOUD.value,
        key=keys.command.key_id,
        actor=actor,
        order=msgspec.to_builtins(order),
        counter=sealed.body.counter,
        issued_ms=sealed.body.issued_ms,
        expires_ms=sealed.body.expires_ms,
        digest=sealed.signed.digest,
        signed=msgspec.msgpack.encode(sealed.signed),
        state=SENT,
        state_ms=now_ms,
        detail="signed",
        writes=[],
    )
    session.add(row)
    words = f"by {actor}, with key {row.key}, counter {row.counter}"
    signed = note(row, Hop.SIGNED, None, now_ms, words, state=SENT, data={"order": row.order})
    await trail.write(session, [signed])
    await session.flush()
    return row


async def note_sending(session: AsyncSession, command: str, detail: str, now_ms: int, *, sure: bool) -> None:
    """What the broker said; the site's own word, if it is there already, stays."""
    row = await repository.by_id(session, command)
    if row is None:
        return
    if row.state == SENT:
        row.detail = detail
    await trail.write(session, [note(row, Hop.SENT if sure else Hop.UNSENT, None, now_ms, detail)])


async def views(session: AsyncSession, rows: Sequence[CommandRow]) -> list[CommandView]:
    """Commands as the API shows them, in the order given."""
    steps = await repository.trails(session, [row.id for row in rows], states=True)
    return [CommandView(**_shown(row, steps[row.id])) for row in rows]


async def view(session: AsyncSession, command: str) -> CommandView:
    """One command; raises `NotFound`."""
    return (await views(session, [await _found(session, command)]))[0]


async def with_trail(session: AsyncSession, command: str) -> CommandTrail:
    """One command with everything that is known of its way; raises `NotFound`."""
    row = await _found(session, command)
    hops = [hop for hop in (await repository.trails(session, [row.id]))[row.id] if hop.site == row.site]
    steps = [hop for hop in hops if hop.state is not None]
    return CommandTrail(**_shown(row, steps), trail=[entry(hop) for hop in hops[:MAX_TRAIL]])


async def _found(session: AsyncSession, command: str) -> CommandRow:
    row = await repository.by_id(session, command)
    if row is None:
        raise NotFound(f"there is no command {command!r}")
    return row


def _shown(row: CommandRow, steps: Sequence[TrailRow]) -> dict[str, Any]:
    return {
        "id": row.id,
        "site": row.site,
        "source": row.source,
        "key": row.key,
        "actor": row.actor,
        "order": row.order,
        "issued_ms": row.issued_ms,
        "expires_ms": row.expires_ms,
        "state": row.state,
        "detail": row.detail,
        "outcome": row.outcome,
        "writes": row.writes,
        "history": [
            Step(state=str(hop.state), at_ms=hop.at_ms, detail=hop.detail)
            for hop in steps
            if hop.site == row.site
        ],
    }


def entry(hop: TrailRow) -> TrailEntry:
    """A hop as the API shows it."""
    return TrailEntry(
        site=hop.site,
        command=hop.command,
        source=hop.source,  # type: ignore[arg-type]  # only `trail.write` fills it
        hop=hop.hop,
        actor=hop.actor,
        address=hop.address,
        at_ms=hop.at_ms,
        received_ms=hop.received_ms,
        detail=hop.detail,
        data=hop.data,
    )


async def audit(
    session: AsyncSession,
    *,
    site: str | None,
    actor: str | None,
    source: str | None,
    command: str | None,
    from_ms: int | None,
    to_ms: int | None,
    cursor: str | None,
    limit: int,
) -> AuditPage:
    """One page of the audit, newest first; raises `BadInput` for a foreign cursor."""
    rows = await repository.audit_page(
        session,
        site=site,
        actor=actor,
        source=source,
        command=command,
        from_ms=from_ms,
        to_ms=to_ms,
        after=paging.decode(cursor) if cursor is not None else None,
        limit=limit + 1,
    )
    more = paging.encode(rows[limit - 1].at_ms, rows[limit - 1].row) if len(rows) > limit else None
    return AuditPage(items=[entry(row) for row in rows[:limit]], next_cursor=more)


async def expire(session: AsyncSession, now_ms: int) -> int:
    """Mark commands as expired on which no word came; a late word of the site still overrides it."""
    rows = await repository.overdue(session, now_ms - GRACE_MS)
    for row in rows:
        row.state, row.state_ms = CommandState.EXPIRED.value, row.expires_ms
        row.detail = NO_WORD
        told = note(row, Hop.EXPIRED, None, row.expires_ms, row.detail, state=row.state)
        await trail.write(session, [told])
    return len(rows)
