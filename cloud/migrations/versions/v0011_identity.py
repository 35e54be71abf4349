"""Enrolments, certificates and revocations."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def _row() -> sa.Column[int]:
    return sa.Column(
        "row", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
    )


def upgrade() -> None:
    op.create_table(
        "enrolments",
        _row(),
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("fingerprint", sa.String(length=63), nullable=False),
        sa.Column("request_pem", sa.Text(), nullable=False),
        sa.Column("replace", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=63), nullable=False),
        sa.Column("asked_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("decided_ms", sa.BigInteger(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("serial", sa.String(length=40), nullable=True),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_enrolments")),
    )
    op.create_index("uq_enrolments_id", "enrolments", ["id"], unique=True)
    op.create_index("ix_enrolments_state_expires_ms", "enrolments", ["state", "expires_ms"], unique=False)
    op.create_index("ix_enrolments_site_asked_ms", "enrolments", ["site", "asked_ms"], unique=False)
    op.create_table(
        "certificates",
        _row(),
        sa.Column("serial", sa.String(length=40), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.String(length=63), nullable=False),
        sa.Column("sites", sa.JSON(), nullable=False),
        sa.Column("fingerprint", sa.String(length=63), nullable=False),
        sa.Column("pem", sa.Text(), nullable=False),
        sa.Column("how", sa.String(length=63), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("not_before_ms", sa.BigInteger(), nullable=False),
        sa.Column("not_after_ms", sa.BigInteger(), nullable=False),
        sa.Column("issued_ms", sa.BigInteger(), nullable=False),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.Column("revoked_by", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("cut_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_certificates")),
    )
    op.create_index("uq_certificates_serial", "certificates", ["serial"], unique=True)
    op.create_index(
        "ix_certificates_name_not_after_ms", "certificates", ["name", "not_after_ms"], unique=False
    )


def downgrade() -> None:
    for index in ("ix_certificates_name_not_after_ms", "uq_certificates_serial"):
        op.drop_index(index, table_name="certificates")
    op.drop_table("certificates")
    for index in ("ix_enrolments_site_asked_ms", "ix_enrolments_state_expires_ms", "uq_enrolments_id"):
        op.drop_index(index, table_name="enrolments")
    op.drop_table("enrolments")
