"""Events and alarms."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alarms",
        sa.Column(
            "row", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=63), nullable=False),
        sa.Column("inbox", sa.Boolean(), nullable=False),
        sa.Column("severity", sa.String(length=63), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("advice", sa.Text(), nullable=False),
        sa.Column("zone", sa.String(length=63), nullable=True),
        sa.Column("device", sa.String(length=63), nullable=True),
        sa.Column("opened_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.Column("cleared_ms", sa.BigInteger(), nullable=True),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("acknowledged_ms", sa.BigInteger(), nullable=True),
        sa.Column("acknowledged_by", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_alarms")),
    )
    op.create_index("ix_alarms_cleared_ms", "alarms", ["cleared_ms"], unique=False)
    op.create_index("ix_alarms_opened_ms", "alarms", ["opened_ms"], unique=False)
    op.create_index("ix_alarms_site_key_opened_ms", "alarms", ["site", "key", "opened_ms"], unique=False)
    op.create_index("uq_alarms_id", "alarms", ["id"], unique=True)
    op.create_table(
        "events",
        sa.Column(
            "row", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("id", sa.String(length=127), nullable=False),
        sa.Column("kind", sa.String(length=63), nullable=False),
        sa.Column("severity", sa.String(length=63), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("advice", sa.Text(), nullable=False),
        sa.Column("zone", sa.String(length=63), nullable=True),
        sa.Column("device", sa.String(length=63), nullable=True),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_events")),
    )
    op.create_index("ix_events_at_ms", "events", ["at_ms"], unique=False)
    op.create_index("ix_events_site_at_ms", "events", ["site", "at_ms"], unique=False)
    op.create_index("ix_events_site_key_at_ms", "events", ["site", "key", "at_ms"], unique=False)
    op.create_index("uq_events_site_id", "events", ["site", "id"], unique=True)


def downgrade() -> None:
    op.drop_index("uq_events_site_id", table_name="events")
    op.drop_index("ix_events_site_key_at_ms", table_name="events")
    op.drop_index("ix_events_site_at_ms", table_name="events")
    op.drop_index("ix_events_at_ms", table_name="events")
    op.drop_table("events")
    op.drop_index("uq_alarms_id", table_name="alarms")
    op.drop_index("ix_alarms_site_key_opened_ms", table_name="alarms")
    op.drop_index("ix_alarms_opened_ms", table_name="alarms")
    op.drop_index("ix_alarms_cleared_ms", table_name="alarms")
    op.drop_table("alarms")
