"""The model registry, training jobs and roll-outs."""

from typing import Any

from sqlalchemy import BigInteger, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from cloud.tables.base import Base, KeyWord, LongText, Millis, RowNumber, Word


class ModelRow(Base):
    """One version of a model; its file lies in the blob store under its hash."""

    __tablename__ = "models"

    name: Mapped[KeyWord]
    version: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    algorithm: Mapped[Word]
    family: Mapped[Word]
    status: Mapped[Word]
    created_ms: Mapped[Millis]
    job: Mapped[str | None] = mapped_column(String(36))
    site: Mapped[Word | None]
    """Whose data it was trained on."""
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    size: Mapped[int]
    data_from_ms: Mapped[Millis]
    data_to_ms: Mapped[Millis]
    metrics: Mapped[dict[str, Any]]
    thresholds: Mapped[dict[str, Any]]
    gate: Mapped[list[Any]]
    manifest: Mapped[bytes] = mapped_column(LargeBinary)
    """msgpack of `shared.artifacts.manifest.Manifest`: what a blessing signs."""
    blessed: Mapped[bytes | None] = mapped_column(LargeBinary)
    """msgpack of the `Signed` manifest once it is blessed."""


class TrainingJobRow(Base):
    """One request to train."""

    __tablename__ = "training_jobs"
    __table_args__ = (Index("uq_training_jobs_id", "id", unique=True),)

    row: Mapped[RowNumber]
    id: Mapped[str] = mapped_column(String(36))
    site: Mapped[Word]
    algorithms: Mapped[list[Any]]
    from_ms: Mapped[Millis | None]
    state: Mapped[Word]
    requested_ms: Mapped[Millis]
    started_ms: Mapped[Millis | None]
    ended_ms: Mapped[Millis | None]
    detail: Mapped[LongText]
    result: Mapped[dict[str, Any] | None]


class AssignmentRow(Base):
    """One signed assignment as it was published; the newest per site is the retained one."""

    __tablename__ = "assignments"
    __table_args__ = (Index("uq_assignments_site_counter", "site", "counter", unique=True),)

    row: Mapped[RowNumber]
    site: Mapped[Word]
    counter: Mapped[int]
    name: Mapped[Word]
    version: Mapped[int]
    stage: Mapped[Word]
    issued_ms: Mapped[Millis]
    signed: Mapped[bytes] = mapped_column(LargeBinary)


class ModelReportRow(Base):
    """What a site reported about a model (an event of kind MODEL); unique per event."""

    __tablename__ = "model_reports"
    __table_args__ = (
        Index("uq_model_reports_site_event", "site", "event", unique=True),
        Index("ix_model_reports_site_name_version", "site", "name", "version"),
        Index("ix_model_reports_name_version_site_state", "name", "version", "site", "state"),
        Index("ix_model_reports_state_at_ms", "state", "at_ms"),
    )

    row: Mapped[RowNumber]
    site: Mapped[Word]
    event: Mapped[str] = mapped_column(String(127))
    name: Mapped[Word]
    version: Mapped[int]
    state: Mapped[Word]
    at_ms: Mapped[Millis]
    place: Mapped[int] = mapped_column(default=0)
    """`Event.place`: decides which report of a version is the newest."""
    detail: Mapped[LongText]
    received_ms: Mapped[Millis | None]
    """When the cloud stored it, by the cloud's clock: soak times never trust a site's. Null in old rows."""
    agreement: Mapped[float | None]
    alarm_rate: Mapped[float | None]
    latency_p99_ms: Mapped[float | None]
    intervention_rate: Mapped[float | None]
    cycles: Mapped[float | None]
    """Of a candidate since its shadow began, of an acting version since its last report."""
    errors: Mapped[float | None]
    answered: Mapped[float | None]
    """Proposals that the guardian answered since the version acts: errors and interventions are of these."""
