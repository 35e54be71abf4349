"""One trail per command, from the click to the read-back, and of what persons did on site.

Every hop is a row; a repetition of the same word is the same row. Times are those of whoever tells, so a word
that comes days later stands where it belongs.
"""

import uuid
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.kit.upsert import insert_new
from cloud.tables import TrailRow

MAX_ACTOR = 255
MAX_DETAIL = 2_000
_PLACE = uuid.UUID("9a4b4d0e-53a5-4c0b-9d39-6b0b6a1c1d21")


class Source(StrEnum):
    """Whose command, or whose deed, a hop belongs to."""

    CLOUD = "cloud"
    THIRD_PARTY = "third-party"
    OPERATOR = "operator"
    """Signed with a person's own key."""
    LOCAL = "local"
    """Done on site: operator.sock or the agent's local page."""
    UNKNOWN = "unknown"
    """Claims a command that nobody here knows of, and no key vouches for it."""


class Hop(StrEnum):
    """Where on its way a command is; states of the site are hops under their own word."""

    ASKED = "asked"
    PLANNED = "planned"
    CONFIRMED = "confirmed"
    SIGNED = "signed"
    SENT = "sent"
    UNSENT = "unsent"
    """Whether the broker has it is not known."""
    RECEIVED = "received"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    RUNNING = "running"
    WRITE = "write"
    STANDING = "standing"
    """A word about an order that stands by itself: its meter, its end."""
    DONE = "done"
    EXPIRED = "expired"
    ACTED = "acted"
    """A person on site did something."""


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """One hop to be written. `key` names it within its site for ever; None makes it one of its own."""

    site: str
    command: str | None
    source: Source
    hop: Hop
    actor: str
    at_ms: int
    received_ms: int
    detail: str
    state: str | None = None
    address: str | None = None
    key: str | None = None
    data: dict[str, Any] = {}


async def write(session: AsyncSession, notes: Sequence[Note]) -> None:
    """Add hops; those whose key is there already change nothing."""
    rows = [
        {
            "site": note.site,
            "key": note.key or f"hop/{uuid.uuid4()}",
            "command": note.command,
            "source": note.source.value,
            "hop": note.hop.value,
            "state": note.state,
            "actor": note.actor[:MAX_ACTOR],
            "address": note.address,
            "at_ms": note.at_ms,
            "received_ms": note.received_ms,
            "detail": note.detail[:MAX_DETAIL],
            "data": note.data,
        }
        for note in notes
    ]
    await insert_new(session, TrailRow.__table__, rows)  # type: ignore[arg-type]  # a Table at run time


def key_of(*parts: str) -> str:
    """A short name for what these parts name together, however long they are."""
    return f"{parts[0]}/{uuid.uuid5(_PLACE, chr(0).join(parts))}"
