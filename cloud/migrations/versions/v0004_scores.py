"""Anomaly scores over time."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "scores",
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("device", sa.String(length=63), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("threshold", sa.Float(), nullable=False),
        sa.Column("top_feature", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("site", "device", "at_ms", "model", "version", name=op.f("pk_scores")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_scores_site_at_ms", "scores", ["site", "at_ms"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_scores_site_at_ms", table_name="scores")
    op.drop_table("scores")
