"""Sites, devices, and their newest words."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "device_latest",
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("device", sa.String(length=63), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("step_s", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=63), nullable=False),
        sa.Column("algorithm", sa.String(length=63), nullable=True),
        sa.Column("samples", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("quality", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=63), nullable=True),
        sa.Column("preset", sa.Text(), nullable=True),
        sa.Column("numbers", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("site", "device", name=op.f("pk_device_latest")),
    )
    op.create_table(
        "device_score",
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("device", sa.String(length=63), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("threshold", sa.Double(), nullable=False),
        sa.Column("top_feature", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("site", "device", name=op.f("pk_device_score")),
    )
    op.create_table(
        "devices",
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("kind", sa.String(length=63), nullable=False),
        sa.Column("adapter", sa.String(length=63), nullable=True),
        sa.Column("zone", sa.String(length=63), nullable=True),
        sa.Column("rack", sa.Text(), nullable=True),
        sa.Column("slot", sa.BigInteger(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("algorithm", sa.String(length=63), nullable=True),
        sa.Column("host", sa.Text(), nullable=True),
        sa.Column("nominal_w", sa.Double(), nullable=True),
        sa.Column("present", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("site", "id", name=op.f("pk_devices")),
    )
    op.create_table(
        "sites",
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("birth_ms", sa.BigInteger(), nullable=True),
        sa.Column("boot", sa.Text(), nullable=True),
        sa.Column("epoch", sa.Text(), nullable=True),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("protocol", sa.BigInteger(), nullable=True),
        sa.Column("step_s", sa.BigInteger(), nullable=True),
        sa.Column("inventory_sha256", sa.Text(), nullable=True),
        sa.Column("online", sa.Boolean(), nullable=True),
        sa.Column("state_boot", sa.Text(), nullable=True),
        sa.Column("state_ms", sa.BigInteger(), nullable=True),
        sa.Column("last_seen_ms", sa.BigInteger(), nullable=True),
        sa.Column("command_counter", sa.BigInteger(), nullable=False),
        sa.Column("assignment_counter", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sites")),
    )
    op.create_table(
        "zone_status",
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("zone", sa.String(length=63), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("site", "zone", name=op.f("pk_zone_status")),
    )


def downgrade() -> None:
    op.drop_table("zone_status")
    op.drop_table("sites")
    op.drop_table("devices")
    op.drop_table("device_score")
    op.drop_table("device_latest")
