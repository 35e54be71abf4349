"""Who asked for a certificate, every certificate that was made, and the keyrings that sites are to take."""

from typing import Any

from sqlalchemy import Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from cloud.tables.base import Base, LongText, Millis, RowNumber, Word


class EnrolmentRow(Base):
    """One request of a gateway, kept after it was decided."""

    __tablename__ = "enrolments"
    __table_args__ = (
        Index("uq_enrolments_id", "id", unique=True),
        Index("ix_enrolments_state_expires_ms", "state", "expires_ms"),
        Index("ix_enrolments_site_asked_ms", "site", "asked_ms"),
    )

    row: Mapped[RowNumber]
    id: Mapped[Word]
    site: Mapped[Word]
    fingerprint: Mapped[Word]
    request_pem: Mapped[LongText]
    replace: Mapped[bool]
    """The gateway's person said that a live certificate of this site is to be replaced."""
    state: Mapped[Word]
    asked_ms: Mapped[Millis]
    expires_ms: Mapped[Millis]
    decided_ms: Mapped[Millis | None]
    actor: Mapped[LongText | None]
    reason: Mapped[LongText]
    serial: Mapped[str | None] = mapped_column(String(40))


class CertificateRow(Base):
    """One certificate. `cut_ms`: when the broker had obeyed its revocation, live sessions included."""

    __tablename__ = "certificates"
    __table_args__ = (
        Index("uq_certificates_serial", "serial", unique=True),
        Index("ix_certificates_name_not_after_ms", "name", "not_after_ms"),
    )

    row: Mapped[RowNumber]
    serial: Mapped[str] = mapped_column(String(40))
    name: Mapped[LongText]
    """The CN: the broker's user name."""
    role: Mapped[Word]
    sites: Mapped[list[Any]]
    """Which sites a third party may command; `*` is all. Empty for every other role."""
    fingerprint: Mapped[Word]
    pem: Mapped[LongText]
    how: Mapped[Word]
    actor: Mapped[LongText]
    not_before_ms: Mapped[Millis]
    not_after_ms: Mapped[Millis]
    issued_ms: Mapped[Millis]
    revoked_ms: Mapped[Millis | None]
    revoked_by: Mapped[LongText | None]
    reason: Mapped[LongText]
    cut_ms: Mapped[Millis | None]


class KeyringRow(Base):
    """A root-signed keyring that stands at the broker for sites; dropped once a newer one covers them all."""

    __tablename__ = "keyrings"
    __table_args__ = (Index("uq_keyrings_sha256", "sha256", unique=True),)

    row: Mapped[RowNumber]
    version: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    """Of the signed payload."""
    sites: Mapped[list[Any]]
    """Whom it is left for; empty is every site, those that come later included."""
    stored_ms: Mapped[Millis]
    signed: Mapped[bytes] = mapped_column(LargeBinary)
    """As it goes to the broker."""
