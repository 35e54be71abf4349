"""Anomaly scores over time; roll-up rows live in `cloud.timeseries`."""

from sqlalchemy import BigInteger, Float, Index
from sqlalchemy.orm import Mapped, mapped_column

from cloud.tables.base import Base, KeyWord, LongText


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
