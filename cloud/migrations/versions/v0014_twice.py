"""Rows of a time that was lived twice, beside the first ones."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rollup_again",
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("device", sa.String(length=63), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("row", sa.JSON(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("site", "device", "at_ms", "sha256", name=op.f("pk_rollup_again")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_rollup_again_at_ms", "rollup_again", ["at_ms"])


def downgrade() -> None:
    op.drop_table("rollup_again")
