"""Events as they came, and the alarms folded from them."""

from typing import Any

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from cloud.tables.base import Base, LongText, Millis, RowNumber, Word


class EventRow(Base):
    """One event of a site; (site, id) is unique, so a repeated delivery changes nothing."""

    __tablename__ = "events"
    __table_args__ = (
        Index("uq_events_site_id", "site", "id", unique=True),
        Index("ix_events_site_key_place", "site", "key", "place"),
        Index("ix_events_site_at_ms", "site", "at_ms"),
        Index("ix_events_at_ms", "at_ms"),
    )

    row: Mapped[RowNumber]
    site: Mapped[Word]
    id: Mapped[str] = mapped_column(String(127))
    kind: Mapped[Word]
    severity: Mapped[Word]
    key: Mapped[str] = mapped_column(String(255))
    at_ms: Mapped[Millis]
    place: Mapped[int] = mapped_column(default=0)
    """`Event.place`: what came first on the site, whatever its clock did."""
    received_ms: Mapped[Millis]
    title: Mapped[LongText]
    advice: Mapped[LongText]
    zone: Mapped[Word | None]
    device: Mapped[Word | None]
    data: Mapped[dict[str, Any]]


class AlarmRow(Base):
    """One episode of a condition: from its first raising event to its clearing one.

    `inbox` is false for conditions that release by themselves and ask nothing of a person (inhibits).
    """

    __tablename__ = "alarms"
    __table_args__ = (
        Index("uq_alarms_id", "id", unique=True),
        Index("ix_alarms_site_key_opened_place", "site", "key", "opened_place"),
        Index("ix_alarms_cleared_ms", "cleared_ms"),
        Index("ix_alarms_opened_ms", "opened_ms"),
    )

    row: Mapped[RowNumber]
    id: Mapped[str] = mapped_column(String(36))
    site: Mapped[Word]
    key: Mapped[str] = mapped_column(String(255))
    kind: Mapped[Word]
    inbox: Mapped[bool]
    severity: Mapped[Word]
    title: Mapped[LongText]
    advice: Mapped[LongText]
    zone: Mapped[Word | None]
    device: Mapped[Word | None]
    opened_ms: Mapped[Millis]
    opened_place: Mapped[int] = mapped_column(default=0)
    """`place` of the first raising event. Times are as the site told them, and may run backwards."""
    last_ms: Mapped[Millis]
    cleared_ms: Mapped[Millis | None]
    count: Mapped[int]
    data: Mapped[dict[str, Any]]
    acknowledged_ms: Mapped[Millis | None]
    acknowledged_by: Mapped[LongText | None]
    note: Mapped[LongText | None]
