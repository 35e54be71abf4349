"""What time series leave beside the roll-up rows, which live in `cloud.timeseries`."""

from typing import Any

from sqlalchemy import BigInteger, Float, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from cloud.tables.base import Base, KeyWord, LongText, Millis, RowNumber, Word


class ScoreRowTable(Base):
    """One model's score of one device at one time."""

    __tablename__ = "scores"
    __table_args__ = (
        Index("ix_scores_site_at_ms", "site", "at_ms"),
        {"sqlite_with_rowid": False},
    )

    site: Mapped[KeyWord]
    device: Mapped[KeyWord]
    at_ms: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    model: Mapped[KeyWord]
    version: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    score: Mapped[float] = mapped_column(Float)
    threshold: Mapped[float] = mapped_column(Float)
    top_feature: Mapped[LongText | None]


class DeviceHistoryRow(Base):
    """What a device remembered of a moment in which nobody asked it; the numbers are its firmware's own."""

    __tablename__ = "device_history"
    __table_args__ = (Index("ix_device_history_at_ms", "at_ms"), {"sqlite_with_rowid": False})

    site: Mapped[KeyWord]
    device: Mapped[KeyWord]
    at_ms: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    mark: Mapped[KeyWord]
    """What the device noted (start, reboot, …); empty where the row is a measurement."""
    hashrate_ths: Mapped[float | None]
    power_w: Mapped[float | None]
    chip_temp_max_c: Mapped[float | None]
    board_temp_max_c: Mapped[float | None]
    fan_duty_pct: Mapped[float | None]
    received_ms: Mapped[Millis]


class RawWindowRow(Base):
    """One frame of raw samples, deflated as it came."""

    __tablename__ = "raw_windows"
    __table_args__ = (
        Index("ix_raw_windows_site_sha256", "site", "sha256", unique=True),
        Index("ix_raw_windows_site_from_ms", "site", "from_ms"),
        Index("ix_raw_windows_received_ms", "received_ms"),
    )

    id: Mapped[RowNumber]
    site: Mapped[Word]
    sha256: Mapped[str] = mapped_column(String(64))
    """Of the frame's msgpack, so that a restored store does not bring it twice."""
    kind: Mapped[Word]
    boot: Mapped[LongText]
    from_ms: Mapped[Millis]
    to_ms: Mapped[Millis]
    """Time of the newest sample (UTC, inclusive)."""
    samples: Mapped[int]
    devices: Mapped[list[Any]]
    received_ms: Mapped[Millis]
    frame: Mapped[bytes] = mapped_column(LargeBinary)
    """zlib of the msgpack of a `shared.frames.Frame`."""


class RawRequestRow(Base):
    """A window of raw samples that somebody asked a site for."""

    __tablename__ = "raw_requests"
    __table_args__ = (Index("ix_raw_requests_site_asked_ms", "site", "asked_ms"),)

    id: Mapped[KeyWord]
    site: Mapped[Word]
    from_ms: Mapped[Millis]
    to_ms: Mapped[Millis]
    devices: Mapped[list[Any]]
    max_bytes: Mapped[int]
    actor: Mapped[LongText]
    asked_ms: Mapped[Millis]
    sent: Mapped[bool | None]
    """Whether the broker took it; null where that is not known."""


class RollupMarkRow(Base):
    """An hour of a site whose rows changed since it was last rolled up."""

    __tablename__ = "rollup_marks"
    __table_args__ = (Index("ix_rollup_marks_hour_ms", "hour_ms"),)

    site: Mapped[KeyWord]
    hour_ms: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    touched: Mapped[int]
    """How many transactions wrote into it since."""


class RollupAgainRow(Base):
    """A roll-up row that differs from the one that is stored of its device and time.

    The site lived through that time twice, because its clock was set back (`cloud.timeseries.again`).
    """

    __tablename__ = "rollup_again"
    __table_args__ = (Index("ix_rollup_again_at_ms", "at_ms"), {"sqlite_with_rowid": False})

    site: Mapped[KeyWord]
    device: Mapped[KeyWord]
    at_ms: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Of the row's content, so that the same row again is the same row."""
    row: Mapped[dict[str, Any]]
    """Column of the roll-up table → value, without the keys; what is not in it is unknown."""
    received_ms: Mapped[Millis | None]
    """When it was first committed; null where the writer did not say."""


class GoneDayRow(Base):
    """A UTC day of roll-up rows that was dropped here; its hours are all that is left of it.

    Rows of it that come later are merged into those hours, which nothing else could explain any more.
    """

    __tablename__ = "gone_days"

    day: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """Days since 1970-01-01."""
    dropped_ms: Mapped[Millis | None]
    """When rows of it were last dropped; null where that was before this table."""


class ColdDayRow(Base):
    """A UTC day of roll-up rows that was written to the cold tier, counted there, and dropped here.

    A day of which rows came late is written again under the next generation.
    """

    __tablename__ = "cold_days"

    day: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """Days since 1970-01-01."""
    generation: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    path: Mapped[LongText]
    rows: Mapped[int]
    size: Mapped[int]
    dropped_ms: Mapped[Millis]
