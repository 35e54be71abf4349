"""The retention ladder: hour rows, which hours wait to be rolled up, and what was written to the cold tier.

On PostgreSQL the key of the roll-up table compares bytes from now on (COLLATE "C"): names are lower-case
ASCII, and a language's rules cost most of an index insert.
"""

import sqlalchemy as sa
from alembic import op

from cloud.migrations.versions.v0001_series import NUMBERS

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    postgres = op.get_bind().dialect.name == "postgresql"
    _hours(postgres)
    op.create_table(
        "rollup_marks",
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("hour_ms", sa.BigInteger(), nullable=False),
        sa.Column("touched", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("site", "hour_ms", name=op.f("pk_rollup_marks")),
    )
    op.create_index("ix_rollup_marks_hour_ms", "rollup_marks", ["hour_ms"])
    op.create_table(
        "cold_days",
        sa.Column("day", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("dropped_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "generation", name=op.f("pk_cold_days")),
    )
    op.execute(
        "INSERT INTO rollup_marks (site, hour_ms, touched) "
        "SELECT DISTINCT site, at_ms - at_ms % 3600000, 0 FROM rollup"
    )
    if postgres:
        _collate('"C"')
        # Its rows change all the time: room in each page keeps an update beside the row that it replaces.
        op.execute("ALTER TABLE device_latest SET (fillfactor = 50)")


def _hours(postgres: bool) -> None:  # noqa: FBT001 - which engine
    number = "double precision" if postgres else "REAL"
    word = 'varchar(63) COLLATE "C"' if postgres else "varchar(63)"
    numbers = ", ".join(f"{name} {number}" for name in NUMBERS)
    op.execute(
        "CREATE TABLE rollup_hour ("
        f"site {word} NOT NULL, device {word} NOT NULL, at_ms bigint NOT NULL, "
        "step_s integer NOT NULL, kind varchar(63) NOT NULL, algorithm varchar(63), "
        "samples integer NOT NULL, failed integer NOT NULL, quality smallint NOT NULL, "
        f"state varchar(63), preset text, {numbers}, PRIMARY KEY (site, device, at_ms)) "
        + ("" if postgres else "WITHOUT ROWID")
    )


def _collate(collation: str) -> None:
    op.execute(
        f"ALTER TABLE rollup ALTER COLUMN site TYPE varchar(63) COLLATE {collation}, "
        f"ALTER COLUMN device TYPE varchar(63) COLLATE {collation}"
    )


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE device_latest RESET (fillfactor)")
        _collate('"default"')
    for table in ("cold_days", "rollup_marks", "rollup_hour"):
        op.drop_table(table)
