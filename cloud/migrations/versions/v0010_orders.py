"""Command plans, the trail of commands (takes over `command_steps`), and whose key signed a command."""

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_TAKEN = ("site", "key", "command", "source", "hop", "state", "actor", "at_ms", "received_ms", "detail")
_ROW = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _word(name: str, length: int, default: str) -> sa.Column[str]:
    """A column that the rows that are there get the default in."""
    return sa.Column(name, sa.String(length=length), nullable=False, server_default=default)


def upgrade() -> None:
    op.add_column("commands", _word("source", 63, "cloud"))
    op.add_column("commands", sa.Column("key", sa.Text(), nullable=False, server_default=""))
    op.add_column("commands", _word("digest", 64, ""))
    _fill_digests()
    op.create_table(
        "command_plans",
        sa.Column("row", _ROW, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("order", sa.JSON(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("answered_ms", sa.BigInteger(), nullable=True),
        sa.Column("preview", sa.JSON(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("used_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_command_plans")),
    )
    op.create_index("uq_command_plans_id", "command_plans", ["id"], unique=True)
    op.create_table(
        "command_trail",
        sa.Column("row", _ROW, autoincrement=True, nullable=False),
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("command", sa.String(length=63), nullable=True),
        sa.Column("source", sa.String(length=63), nullable=False),
        sa.Column("hop", sa.String(length=63), nullable=False),
        sa.Column("state", sa.String(length=63), nullable=True),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_command_trail")),
    )
    op.create_index("uq_command_trail_site_key", "command_trail", ["site", "key"], unique=True)
    op.create_index("ix_command_trail_command", "command_trail", ["command"], unique=False)
    op.create_index("ix_command_trail_site_at_ms", "command_trail", ["site", "at_ms"], unique=False)
    op.create_index("ix_command_trail_actor_at_ms", "command_trail", ["actor", "at_ms"], unique=False)
    op.create_index("ix_command_trail_at_ms", "command_trail", ["at_ms"], unique=False)
    _take_over_steps()
    op.drop_index("uq_command_steps", table_name="command_steps")
    op.drop_table("command_steps")


def _fill_digests() -> None:
    """The digest of a command is that of its stored bytes (`Signed.digest`)."""
    connection = op.get_bind()
    commands = sa.table(
        "commands", sa.column("row", sa.BigInteger), sa.column("signed", sa.LargeBinary), sa.column("digest")
    )
    for number, signed in connection.execute(sa.select(commands.c.row, commands.c.signed)).all():
        digest = hashlib.sha256(signed).hexdigest()
        connection.execute(sa.update(commands).where(commands.c.row == number).values(digest=digest))


def _take_over_steps() -> None:
    """The states that commands went through become hops of their trail."""
    number, long, text = sa.BigInteger, sa.Text, sa.String
    steps = sa.table(
        "command_steps", *(sa.column(name) for name in ("row", "command", "state", "at_ms", "detail"))
    )
    commands = sa.table("commands", sa.column("id"), sa.column("site"), sa.column("actor", long))
    trail = sa.table("command_trail", *(sa.column(name) for name in _TAKEN), sa.column("data", sa.JSON))
    key = sa.literal("step/", text) + sa.cast(steps.c.row, text)
    found = sa.select(
        commands.c.site,
        key,
        steps.c.command,
        sa.literal("cloud", text),
        steps.c.state,
        steps.c.state,
        sa.func.substr(commands.c.actor, 1, 255),
        sa.cast(steps.c.at_ms, number),
        sa.cast(steps.c.at_ms, number),
        steps.c.detail,
        sa.literal({}, sa.JSON),
    ).join_from(steps, commands, commands.c.id == steps.c.command)
    op.execute(sa.insert(trail).from_select([*_TAKEN, "data"], found))


def downgrade() -> None:
    op.create_table(
        "command_steps",
        sa.Column("row", _ROW, autoincrement=True, nullable=False),
        sa.Column("command", sa.String(length=63), nullable=False),
        sa.Column("state", sa.String(length=63), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_command_steps")),
    )
    op.execute(
        "INSERT INTO command_steps (command, state, at_ms, detail) SELECT command, state, at_ms,"
        " min(detail) FROM command_trail WHERE command IS NOT NULL AND state IS NOT NULL"
        " GROUP BY command, state, at_ms"
    )
    op.create_index("uq_command_steps", "command_steps", ["command", "state", "at_ms"], unique=True)
    op.drop_table("command_trail")
    op.drop_table("command_plans")
    for name in ("digest", "key", "source"):
        op.drop_column("commands", name)
