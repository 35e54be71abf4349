"""What the quarantine may hold: whose batch a message is, and one row per site that says how much is held."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

ROW_BYTES = 1024
"""`cloud.ingest.quarantine.ROW_BYTES` when this was written."""
_HEAD = "mw/1/"
_ROWS = sa.table(
    "quarantine",
    *(sa.column(name) for name in ("site", "topic", "owed", "size")),
    sa.column("id", sa.BigInteger),
)
_SITES = sa.table(
    "quarantine_sites",
    *(sa.column(name) for name in ("site", "held", "held_bytes", "turned_away", "expired", "expired_bytes")),
)


def upgrade() -> None:
    op.add_column("quarantine", sa.Column("site", sa.String(length=63), nullable=True))
    op.create_index("ix_quarantine_owed_id", "quarantine", ["owed", "id"])
    op.create_table(
        "quarantine_sites",
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("held_bytes", sa.BigInteger(), nullable=False),
        sa.Column("full_since_ms", sa.BigInteger(), nullable=True),
        sa.Column("turned_away", sa.BigInteger(), nullable=False),
        sa.Column("expired", sa.BigInteger(), nullable=False),
        sa.Column("expired_bytes", sa.BigInteger(), nullable=False),
        sa.Column("expired_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("site", name=op.f("pk_quarantine_sites")),
    )
    _fill()


def _fill() -> None:
    """An owed message came on a sound topic, so its third word is a site's id."""
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        rest = sa.func.substr(_ROWS.c.topic, len(_HEAD) + 1)
        site = sa.func.substr(rest, 1, sa.func.instr(rest, "/") - 1)
    else:
        site = sa.func.split_part(_ROWS.c.topic, "/", 3)
    owed = sa.column("owed", sa.Boolean)
    connection.execute(
        sa.update(_ROWS).where(owed.is_(True), _ROWS.c.topic.like(f"{_HEAD}%/up/%")).values(site=site)
    )
    zero = sa.literal(0, sa.BigInteger)
    sums = (
        sa.select(_ROWS.c.site, sa.func.count(), sa.func.sum(_ROWS.c.size + ROW_BYTES), zero, zero, zero)
        .where(_ROWS.c.site.is_not(None))
        .group_by(_ROWS.c.site)
    )
    connection.execute(sa.insert(_SITES).from_select([column.name for column in _SITES.c], sums))


def downgrade() -> None:
    op.drop_table("quarantine_sites")
    op.drop_index("ix_quarantine_owed_id", table_name="quarantine")
    op.drop_column("quarantine", "site")
