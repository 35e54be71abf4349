"""What ingest tells about commands: the site's word on each, by either way.

`up/res` is the quick way and may lose words; the journal's events are the durable one. Both end in the same
row and the same trail, in whatever order they come and however often.
"""

from collections.abc import Iterable

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.commands import local, repository, trail
from cloud.commands.repository import NO_WORD, SENT
from cloud.commands.trail import Hop, Note, Source
from cloud.kit.changes import Changes
from cloud.kit.upsert import insert_new
from cloud.tables import CommandRow
from shared.alarms import Event
from shared.commands import CommandState, CommandStatus, SignedBy
from shared.ids import SiteId

PREVIEW_OF = "-p"
"""The preview of plan X is asked for under the id `X-p`."""
_RANK: dict[str, int] = {
    SENT: 0,
    CommandState.RECEIVED: 1,
    CommandState.ACCEPTED: 2,
    CommandState.RUNNING: 3,
    CommandState.EXPIRED: 4,
    CommandState.REFUSED: 5,
    CommandState.DONE: 6,
}
"""Later words win over earlier ones, in whatever order they arrive; DONE carries the most."""
_PREFIXES = ("order/", "action/", "refused/", "power-order/")
"""Keys of journal events that may be about a command."""


async def take(
    session: AsyncSession, site: SiteId, status: CommandStatus, changes: Changes, *, now_ms: int | None = None
) -> bool:
    """Store the word; False where nobody here knows of the command and no key vouches for it."""
    received_ms = status.at_ms if now_ms is None else now_ms
    if status.id.endswith(PREVIEW_OF) and await _previewed(session, site, status, received_ms):
        return True
    row = await repository.by_id(session, status.id, lock=True)
    if row is None and status.by is not None:
        row = await _foreign(session, site, status.id, status.by, status.digest, status.at_ms)
    if row is None or row.site != site:
        # Said before anything was verified: if a key vouches for it, the next word says so.
        return row is None and status.state is CommandState.RECEIVED
    word = _Word.of_status(status)
    await _apply(session, row, word, received_ms)
    changes.commands.add(status.id)
    return True


async def events(
    session: AsyncSession, site: SiteId, fresh: Iterable[Event], changes: Changes, *, now_ms: int
) -> None:
    """Join the journal's words about commands into their trails, and what persons did on site."""
    told = [(event, local.deed(event)) for event in fresh if _may_matter(event)]
    ids = {_command_of(event) for event, _ in told} | {deed.command for _, deed in told if deed is not None}
    commands = await repository.known(session, site, {found for found in ids if found})
    notes: list[Note] = []
    for event, deed in told:
        command = _command_of(event)
        if event.key.startswith("order/"):
            await trail.write(session, notes)  # what came first stands first, also within one millisecond
            notes = []
            row = await _ordered(session, site, event, commands.get(command), now_ms)
            if row is not None:
                commands[command] = row
                changes.commands.add(row.id)
        elif deed is not None:
            notes.append(_deed(site, event, deed, commands, now_ms))
        elif command in commands:
            notes.append(_hop(event, commands[command], now_ms))
            changes.commands.add(command)
    await trail.write(session, notes)


def _may_matter(event: Event) -> bool:
    if event.key.startswith(_PREFIXES):
        return bool(_command_of(event))
    return local.deed(event) is not None


class _Word(msgspec.Struct, frozen=True, kw_only=True):
    """One word on a command, whichever way it came."""

    state: CommandState
    at_ms: int
    detail: str
    digest: str
    outcome: str | None = None
    writes: list[object] = []

    @classmethod
    def of_status(cls, status: CommandStatus) -> "_Word":
        return cls(
            state=status.state,
            at_ms=status.at_ms,
            detail=status.detail,
            digest=status.digest,
            outcome=None if status.outcome is None else status.outcome.value,
            writes=msgspec.to_builtins(list(status.writes)),
        )

    @classmethod
    def of_event(cls, event: Event) -> "_Word | None":
        try:
            state = CommandState(str(event.data.get("state")))
        except ValueError:
            return None
        outcome = event.data.get("outcome")
        return cls(
            state=state,
            at_ms=event.at_ms,
            detail=str(event.data.get("detail") or event.data.get("why") or event.title),
            digest=str(event.data.get("digest") or ""),
            outcome=None if outcome is None else str(outcome)[:63],
        )


async def _apply(session: AsyncSession, row: CommandRow, word: _Word, received_ms: int) -> None:
    """A word about this command; one about another message of the same id is only noted."""
    stranger = bool(word.digest) and word.digest != row.digest
    note = Note(
        site=row.site,
        command=row.id,
        source=Source.UNKNOWN if stranger else Source(row.source),
        hop=Hop(word.state.value),
        state=None if stranger else word.state.value,
        actor="" if stranger else row.actor,
        at_ms=word.at_ms,
        received_ms=received_ms,
        detail=f"another message with this id: {word.detail}" if stranger else word.detail,
        key=trail.key_of("word", row.id, word.state, word.digest if stranger else ""),
        data={} if word.outcome is None else {"outcome": word.outcome},
    )
    await trail.write(session, [note])
    if stranger:
        return
    rank, known = _RANK[word.state], _known(row)
    if rank > known or (rank == known and (word.at_ms > row.state_ms or row.state == SENT)):
        row.state, row.state_ms, row.detail = word.state.value, word.at_ms, word.detail
        row.outcome = word.outcome
    if word.writes and (rank >= known or not row.writes):
        row.writes = word.writes


def _known(row: CommandRow) -> int:
    """The rank of what the site has said; what the cloud gave up by itself is as if only sent."""
    given_up = row.state == CommandState.EXPIRED and row.detail == NO_WORD
    return _RANK[SENT if given_up else row.state]


async def _foreign(
    session: AsyncSession, site: SiteId, command: str, by: SignedBy, digest: str, at_ms: int
) -> CommandRow | None:
    """A command that this cloud did not sign becomes one that it follows; None where the id is taken."""
    values = {
        "id": command,
        "site": site,
        "source": (Source.THIRD_PARTY if by.role == "control" else Source.OPERATOR).value,
        "key": by.key,
        "actor": by.actor,
        "order": msgspec.to_builtins(by.order),
        "counter": by.counter,
        "issued_ms": by.issued_ms,
        "expires_ms": by.expires_ms,
        "digest": digest,
        "signed": b"",
        "state": CommandState.RECEIVED.value,
        "state_ms": by.issued_ms,
        "detail": f"signed by key {by.key}",
        "outcome": None,
        "writes": [],
    }
    await insert_new(session, CommandRow.__table__, [values])  # type: ignore[arg-type]  # a Table at run time
    row = await repository.by_id(session, command, lock=True)
    if row is None or row.site != site:
        return None
    signed = Note(
        site=site,
        command=command,
        source=Source(row.source),
        hop=Hop.SIGNED,
        actor=row.actor,
        at_ms=by.issued_ms,
        received_ms=at_ms,
        detail=f"with key {by.key} ({by.role}), not by this cloud",
        key=trail.key_of("signed", command),
    )
    await trail.write(session, [signed])
    return row


async def _ordered(
    session: AsyncSession, site: SiteId, event: Event, row: CommandRow | None, now_ms: int
) -> CommandRow | None:
    """A word of the journal about a signed order; the row that it is about, None where nobody knows it."""
    word, command = _Word.of_event(event), _command_of(event)
    if word is None:
        return row
    by = _signed_by(event)
    if row is None and by is not None:
        row = await _foreign(session, site, command, by, word.digest, now_ms)
    if row is not None:
        await _apply(session, row, word, now_ms)
        return row
    if not command.endswith(PREVIEW_OF) or word.state is CommandState.REFUSED:
        await trail.write(session, [_unknown(site, event, word, now_ms)])
    return None


def _unknown(site: SiteId, event: Event, word: _Word, now_ms: int) -> Note:
    return Note(
        site=site,
        command=_command_of(event),
        source=Source.UNKNOWN,
        hop=Hop(word.state.value),
        actor="",
        at_ms=event.at_ms,
        received_ms=now_ms,
        detail=word.detail,
        key=f"event/{event.id}",
        data=dict(event.data),
    )


def _hop(event: Event, row: CommandRow, now_ms: int) -> Note:
    """A write with its read-back, a refusal of one, or a word about the standing order."""
    return Note(
        site=row.site,
        command=row.id,
        source=Source(row.source),
        hop=Hop.STANDING if event.key.startswith("power-order/") else Hop.WRITE,
        actor=row.actor,
        at_ms=event.at_ms,
        received_ms=now_ms,
        detail=event.title,
        key=f"event/{event.id}",
        data=dict(event.data),
    )


def _deed(site: SiteId, event: Event, deed: local.Deed, commands: dict[str, CommandRow], now_ms: int) -> Note:
    """What a person did on site; or what the guardian did in a person's name because of a signed order."""
    ordered = commands.get(deed.command or "")
    return Note(
        site=site,
        command=ordered.id if ordered is not None else _command_of(event) or None,
        source=Source.LOCAL if ordered is None else Source(ordered.source),
        hop=Hop.ACTED,
        actor=deed.by if ordered is not None or deed.command is None else f"{deed.by} (order {deed.command})",
        at_ms=event.at_ms,
        received_ms=now_ms,
        detail=event.title,
        key=f"event/{event.id}",
        data={**event.data, "reason": deed.reason},
    )


async def _previewed(session: AsyncSession, site: SiteId, status: CommandStatus, now_ms: int) -> bool:
    """The site's answer to a preview; True where the id is that of a plan for this site."""
    plan = await repository.plan_by_id(session, status.id.removesuffix(PREVIEW_OF), lock=True)
    if plan is None or plan.site != site:
        return False
    final = status.state in (CommandState.DONE, CommandState.REFUSED, CommandState.EXPIRED)
    if not final or plan.answered_ms is not None or (status.digest and status.digest != plan.digest):
        return True
    plan.answered_ms = now_ms
    plan.detail = status.detail
    if status.preview is not None:
        plan.preview = msgspec.to_builtins(status.preview)
        plan.detail = status.preview.detail
    told = Note(
        site=site,
        command=plan.id,
        source=Source.CLOUD,
        hop=Hop.PLANNED,
        actor=plan.actor,
        at_ms=status.at_ms,
        received_ms=now_ms,
        detail=plan.detail
        if plan.preview is None
        else f"the site says what it would do. {plan.detail}".strip(),
        key=trail.key_of("planned", plan.id),
        data=plan.preview or {},
    )
    await trail.write(session, [told])
    return True


def _command_of(event: Event) -> str:
    found = event.data.get("id")
    return found if isinstance(found, str) and len(found) <= 63 else ""


def _signed_by(event: Event) -> SignedBy | None:
    """Whose order the event is about, where the guardian verified another key than the cloud's."""
    data = dict(event.data)
    try:
        order = msgspec.json.decode(str(data.get("order", "")))
        return msgspec.convert({**data, "order": order}, type=SignedBy)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
