"""What has been committed of each stream, and the quarantine."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ledger",
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("epoch", sa.String(length=127), nullable=False),
        sa.Column("stream", sa.String(length=63), nullable=False),
        sa.Column("received", sa.JSON(), nullable=False),
        sa.Column("tombstoned", sa.JSON(), nullable=False),
        sa.Column("batches", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("duplicate_batches", sa.BigInteger(), nullable=False),
        sa.Column("tombstoned_rows", sa.BigInteger(), nullable=False),
        sa.Column("quarantined_batches", sa.BigInteger(), nullable=False),
        sa.Column("first_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("site", "epoch", "stream", name=op.f("pk_ledger")),
    )
    op.create_table(
        "quarantine",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("owed", sa.Boolean(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantine")),
    )
    op.create_index("ix_quarantine_sha256", "quarantine", ["sha256"], unique=True)


def downgrade() -> None:
    op.drop_index("ix_quarantine_sha256", table_name="quarantine")
    op.drop_table("quarantine")
    op.drop_table("ledger")
