"""Commands to sites and every word about them."""

from typing import Any

from sqlalchemy import Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from cloud.tables.base import Base, LongText, Millis, RowNumber, Word


class CommandRow(Base):
    """One signed command as it was sent, with the newest word of the site."""

    __tablename__ = "commands"
    __table_args__ = (
        Index("uq_commands_id", "id", unique=True),
        Index("ix_commands_site_issued_ms", "site", "issued_ms"),
        Index("ix_commands_state_expires_ms", "state", "expires_ms"),
    )

    row: Mapped[RowNumber]
    id: Mapped[str] = mapped_column(String(63))
    site: Mapped[Word]
    actor: Mapped[LongText]
    order: Mapped[dict[str, Any]]
    counter: Mapped[int]
    issued_ms: Mapped[Millis]
    expires_ms: Mapped[Millis]
    signed: Mapped[bytes] = mapped_column(LargeBinary)
    state: Mapped[Word]
    state_ms: Mapped[Millis]
    detail: Mapped[LongText]
    outcome: Mapped[Word | None]
    writes: Mapped[list[Any]]


class CommandStepRow(Base):
    """One state that a command went through; repeated deliveries of the same word are one row."""

    __tablename__ = "command_steps"
    __table_args__ = (Index("uq_command_steps", "command", "state", "at_ms", unique=True),)

    row: Mapped[RowNumber]
    command: Mapped[str] = mapped_column(String(63))
    state: Mapped[Word]
    at_ms: Mapped[Millis]
    detail: Mapped[LongText]
