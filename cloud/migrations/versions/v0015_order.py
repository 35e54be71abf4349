"""The order of events on site, whatever its clock did; which days are gone, and what their hours hold.

`place` is an event's order; events from before it have their time there, as they were folded until now.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

DAY_MS = 86_400_000
_PLACES = (
    ("events", "place", "at_ms"),
    ("zone_status", "place", "at_ms"),
    ("model_reports", "place", "at_ms"),
    ("alarms", "opened_place", "opened_ms"),
)


def upgrade() -> None:
    for table, name, time in _PLACES:
        op.add_column(table, sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
        op.execute(f"UPDATE {table} SET {name} = {time}")  # noqa: S608 - constant names
    op.drop_index("ix_events_site_key_at_ms", table_name="events")
    op.create_index("ix_events_site_key_place", "events", ["site", "key", "place"])
    op.drop_index("ix_alarms_site_key_opened_ms", table_name="alarms")
    op.create_index("ix_alarms_site_key_opened_place", "alarms", ["site", "key", "opened_place"])
    op.add_column("device_latest", sa.Column("received_ms", sa.BigInteger(), nullable=True))
    op.add_column("rollup_hour", sa.Column("minutes", sa.BigInteger(), nullable=True))
    op.create_table(
        "gone_days",
        sa.Column("day", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("dropped_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_gone_days")),
    )
    gone = _gone()
    if gone:
        days = sa.table("gone_days", sa.column("day", sa.BigInteger()))
        op.bulk_insert(days, [{"day": day} for day in sorted(gone)])


def _gone() -> set[int]:
    """Days with hours and without rows. PostgreSQL answers for a day from its partition alone."""
    db = op.get_bind()
    days = set(db.execute(sa.text(f"SELECT DISTINCT at_ms / {DAY_MS} FROM rollup_hour")).scalars())  # noqa: S608 - constant
    if db.dialect.name != "postgresql":
        return days - set(db.execute(sa.text(f"SELECT DISTINCT at_ms / {DAY_MS} FROM rollup")).scalars())  # noqa: S608 - constant
    return {
        day
        for day in days
        if not db.execute(
            sa.text(
                f"SELECT EXISTS (SELECT 1 FROM rollup WHERE at_ms >= {day * DAY_MS} "  # noqa: S608 - numbers
                f"AND at_ms < {(day + 1) * DAY_MS})"
            )
        ).scalar_one()
    }


def downgrade() -> None:
    op.drop_table("gone_days")
    op.drop_column("rollup_hour", "minutes")
    op.drop_column("device_latest", "received_ms")
    op.drop_index("ix_alarms_site_key_opened_place", table_name="alarms")
    op.create_index("ix_alarms_site_key_opened_ms", "alarms", ["site", "key", "opened_ms"])
    op.drop_index("ix_events_site_key_place", table_name="events")
    op.create_index("ix_events_site_key_at_ms", "events", ["site", "key", "at_ms"])
    for table, name, _ in _PLACES:
        op.drop_column(table, name)
