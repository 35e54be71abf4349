"""Sites, their devices, and the newest word of each."""

from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from cloud.tables.base import Base, KeyWord, LongText, Millis, Word


class SiteRow(Base):
    """One site. Made at its first message; what only the birth tells is null until then."""

    __tablename__ = "sites"

    id: Mapped[KeyWord]
    name: Mapped[LongText]
    simulated: Mapped[bool] = mapped_column(default=False)
    birth_ms: Mapped[Millis | None]
    """The latest time of any birth: one that the broker kept must be newer than this."""
    boot: Mapped[LongText | None]
    epoch: Mapped[LongText | None]
    version: Mapped[LongText | None]
    protocol: Mapped[int | None]
    step_s: Mapped[int | None]
    inventory_sha256: Mapped[LongText | None]
    online: Mapped[bool | None]
    """What the agent (or its will) last said; null before it said anything."""
    state_boot: Mapped[LongText | None]
    state_ms: Mapped[Millis | None]
    last_seen_ms: Mapped[Millis | None]
    command_counter: Mapped[int] = mapped_column(default=0)
    assignment_counter: Mapped[int] = mapped_column(default=0)


class DeviceRow(Base):
    """One device of a site's inventory; `present` turns false when a later inventory lacks it."""

    __tablename__ = "devices"

    site: Mapped[KeyWord]
    id: Mapped[KeyWord]
    kind: Mapped[Word]
    adapter: Mapped[Word | None]
    zone: Mapped[Word | None]
    rack: Mapped[LongText | None]
    slot: Mapped[int | None]
    model: Mapped[LongText | None]
    algorithm: Mapped[Word | None]
    host: Mapped[LongText | None]
    nominal_w: Mapped[float | None]
    present: Mapped[bool]


class DeviceLatestRow(Base):
    """The newest roll-up row of a device, so that a page of thousands needs no search in the series."""

    __tablename__ = "device_latest"

    site: Mapped[KeyWord]
    device: Mapped[KeyWord]
    at_ms: Mapped[Millis]
    step_s: Mapped[int]
    kind: Mapped[Word]
    algorithm: Mapped[Word | None]
    samples: Mapped[int]
    failed: Mapped[int]
    quality: Mapped[int]
    state: Mapped[Word | None]
    preset: Mapped[LongText | None]
    numbers: Mapped[list[Any]]
    """The 36 numbers in the order of `shared.telemetry.ROLLUP_COLUMNS`."""
    received_ms: Mapped[Millis | None]
    """When it came, by the cloud's clock: the only age of a row whose own time lies ahead of that. Null in
    rows from before this column."""


class DeviceScoreRow(Base):
    """The newest anomaly score of a device."""

    __tablename__ = "device_score"

    site: Mapped[KeyWord]
    device: Mapped[KeyWord]
    at_ms: Mapped[Millis]
    model: Mapped[LongText]
    version: Mapped[int]
    score: Mapped[float]
    threshold: Mapped[float]
    top_feature: Mapped[LongText | None]


class ZoneStatusRow(Base):
    """The newest `zone-status/<zone>` event of a zone."""

    __tablename__ = "zone_status"

    site: Mapped[KeyWord]
    zone: Mapped[KeyWord]
    at_ms: Mapped[Millis]
    place: Mapped[int] = mapped_column(default=0)
    """`Event.place`: decides which is the newest."""
    data: Mapped[dict[str, Any]]
