"""Commands to sites, the plans before them, and the trail of every word about them."""

from typing import Any

from sqlalchemy import Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from cloud.tables.base import Base, LongText, Millis, RowNumber, Word


class CommandRow(Base):
    """One signed command with the newest word of the site: this cloud's own, or a third party's as told."""

    __tablename__ = "commands"
    __table_args__ = (
        Index("uq_commands_id", "id", unique=True),
        Index("ix_commands_site_issued_ms", "site", "issued_ms"),
        Index("ix_commands_state_expires_ms", "state", "expires_ms"),
    )

    row: Mapped[RowNumber]
    id: Mapped[str] = mapped_column(String(63))
    site: Mapped[Word]
    source: Mapped[Word]
    """`cloud`, or whose key the site verified: `third-party`, `operator`."""
    key: Mapped[LongText]
    """Id of the key that signed it."""
    actor: Mapped[LongText]
    order: Mapped[dict[str, Any]]
    counter: Mapped[int]
    issued_ms: Mapped[Millis]
    expires_ms: Mapped[Millis]
    digest: Mapped[str] = mapped_column(String(64))
    """`Signed.digest`: words about another message of the same id are not about this command."""
    signed: Mapped[bytes] = mapped_column(LargeBinary)
    """The message as it was sent; empty for what others signed."""
    state: Mapped[Word]
    state_ms: Mapped[Millis]
    detail: Mapped[LongText]
    outcome: Mapped[Word | None]
    writes: Mapped[list[Any]]


class PlanRow(Base):
    """An order that was asked for and is not confirmed yet. Its id becomes the command's."""

    __tablename__ = "command_plans"
    __table_args__ = (
        Index("uq_command_plans_id", "id", unique=True),
        Index("ix_command_plans_created_ms", "created_ms"),
    )

    row: Mapped[RowNumber]
    id: Mapped[str] = mapped_column(String(63))
    site: Mapped[Word]
    actor: Mapped[LongText]
    order: Mapped[dict[str, Any]]
    created_ms: Mapped[Millis]
    expires_ms: Mapped[Millis]
    digest: Mapped[str] = mapped_column(String(64))
    """Of the signed preview order; empty where none could be sent."""
    answered_ms: Mapped[Millis | None]
    preview: Mapped[dict[str, Any] | None]
    """What the site says the order would do; null where it did not say, and `detail` says why."""
    detail: Mapped[LongText]
    used_ms: Mapped[Millis | None]


class TrailRow(Base):
    """One hop on a command's way, or one deed of a person on site; (site, key) makes repetitions one row."""

    __tablename__ = "command_trail"
    __table_args__ = (
        Index("uq_command_trail_site_key", "site", "key", unique=True),
        Index("ix_command_trail_command", "command"),
        Index("ix_command_trail_site_at_ms", "site", "at_ms"),
        Index("ix_command_trail_actor_at_ms", "actor", "at_ms"),
        Index("ix_command_trail_at_ms", "at_ms"),
    )

    row: Mapped[RowNumber]
    site: Mapped[Word]
    key: Mapped[str] = mapped_column(String(255))
    command: Mapped[str | None] = mapped_column(String(63))
    source: Mapped[Word]
    hop: Mapped[Word]
    state: Mapped[Word | None]
    """The command's state that this hop tells; null where it tells none."""
    actor: Mapped[str] = mapped_column(String(255))
    address: Mapped[LongText | None]
    """Where the request came from."""
    at_ms: Mapped[Millis]
    """By the clock of whoever tells."""
    received_ms: Mapped[Millis]
    detail: Mapped[LongText]
    data: Mapped[dict[str, Any]]
