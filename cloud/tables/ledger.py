"""What has been committed of each stream, and what could not be used."""

from typing import Any

from sqlalchemy import Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from cloud.tables.base import Base, KeyWord, LongText, Millis, RowNumber, Word


class LedgerRow(Base):
    """One (site, epoch, stream): which batch numbers are in, in the transaction that brought their rows.

    `received` and `tombstoned` are lists of closed intervals. They are kept apart so that a batch that
    arrives after the tombstone which gave it up is still stored: the outcome does not depend on order.
    """

    __tablename__ = "ledger"

    site: Mapped[KeyWord]
    epoch: Mapped[str] = mapped_column(String(127), primary_key=True)
    stream: Mapped[KeyWord]
    received: Mapped[list[Any]]
    tombstoned: Mapped[list[Any]]
    batches: Mapped[int] = mapped_column(default=0)
    rows: Mapped[int] = mapped_column(default=0)
    """Rows in first deliveries, as the batches counted them."""
    duplicate_batches: Mapped[int] = mapped_column(default=0)
    tombstoned_rows: Mapped[int] = mapped_column(default=0)
    quarantined_batches: Mapped[int] = mapped_column(default=0)
    first_ms: Mapped[Millis]
    """When the first batch of this stream arrived."""


class QuarantineRow(Base):
    """A message that could not be used, with the reason; the same bytes again only raise `count`."""

    __tablename__ = "quarantine"
    __table_args__ = (
        Index("ix_quarantine_sha256", "sha256", unique=True),
        Index("ix_quarantine_owed_id", "owed", "id"),
    )

    id: Mapped[RowNumber]
    at_ms: Mapped[Millis]
    last_ms: Mapped[Millis]
    topic: Mapped[LongText]
    reason: Mapped[LongText]
    size: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    """Of topic and payload."""
    count: Mapped[int]
    owed: Mapped[bool]
    """The batch was acknowledged because it is kept here; such a row leaves by replay or by age only."""
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    site: Mapped[Word | None]
    """Whose batch it is, where it is owed."""


class QuarantineSiteRow(Base):
    """What the quarantine holds for a site that was told to forget it, and what became of the rest."""

    __tablename__ = "quarantine_sites"

    site: Mapped[KeyWord]
    held: Mapped[int] = mapped_column(default=0)
    """Owed messages in the quarantine now."""
    held_bytes: Mapped[int] = mapped_column(default=0)
    """Their weight (`cloud.ingest.quarantine.weight`)."""
    full_since_ms: Mapped[Millis | None]
    """Since when batches are left with the site, because the budget is spent; None while they are taken."""
    turned_away: Mapped[int] = mapped_column(default=0)
    """Deliveries that were left with the site; it sends the same batch again and again."""
    expired: Mapped[int] = mapped_column(default=0)
    """Owed messages that were dropped because of their age: these are lost."""
    expired_bytes: Mapped[int] = mapped_column(default=0)
    expired_ms: Mapped[Millis | None]
    """When the last of them was dropped."""
