"""Device history and windows of raw samples."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "device_history",
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("device", sa.String(length=63), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("mark", sa.String(length=63), nullable=False),
        sa.Column("hashrate_ths", sa.Double(), nullable=True),
        sa.Column("power_w", sa.Double(), nullable=True),
        sa.Column("chip_temp_max_c", sa.Double(), nullable=True),
        sa.Column("board_temp_max_c", sa.Double(), nullable=True),
        sa.Column("fan_duty_pct", sa.Double(), nullable=True),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("site", "device", "at_ms", "mark", name=op.f("pk_device_history")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_device_history_at_ms", "device_history", ["at_ms"])
    op.create_table(
        "raw_windows",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=63), nullable=False),
        sa.Column("boot", sa.Text(), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("to_ms", sa.BigInteger(), nullable=False),
        sa.Column("samples", sa.BigInteger(), nullable=False),
        sa.Column("devices", sa.JSON(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("frame", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_raw_windows")),
    )
    op.create_index("ix_raw_windows_site_sha256", "raw_windows", ["site", "sha256"], unique=True)
    op.create_index("ix_raw_windows_site_from_ms", "raw_windows", ["site", "from_ms"])
    op.create_index("ix_raw_windows_received_ms", "raw_windows", ["received_ms"])
    op.create_table(
        "raw_requests",
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("to_ms", sa.BigInteger(), nullable=False),
        sa.Column("devices", sa.JSON(), nullable=False),
        sa.Column("max_bytes", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("asked_ms", sa.BigInteger(), nullable=False),
        sa.Column("sent", sa.Boolean(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_raw_requests")),
    )
    op.create_index("ix_raw_requests_site_asked_ms", "raw_requests", ["site", "asked_ms"])


def downgrade() -> None:
    for table in ("raw_requests", "raw_windows", "device_history"):
        op.drop_table(table)
