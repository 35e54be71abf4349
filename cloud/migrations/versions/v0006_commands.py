"""Commands and the states they went through."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "command_steps",
        sa.Column(
            "row", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("command", sa.String(length=63), nullable=False),
        sa.Column("state", sa.String(length=63), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_command_steps")),
    )
    op.create_index("uq_command_steps", "command_steps", ["command", "state", "at_ms"], unique=True)
    op.create_table(
        "commands",
        sa.Column(
            "row", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("order", sa.JSON(), nullable=False),
        sa.Column("counter", sa.BigInteger(), nullable=False),
        sa.Column("issued_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("signed", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(length=63), nullable=False),
        sa.Column("state_ms", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("outcome", sa.String(length=63), nullable=True),
        sa.Column("writes", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_commands")),
    )
    op.create_index("ix_commands_site_issued_ms", "commands", ["site", "issued_ms"], unique=False)
    op.create_index("ix_commands_state_expires_ms", "commands", ["state", "expires_ms"], unique=False)
    op.create_index("uq_commands_id", "commands", ["id"], unique=True)


def downgrade() -> None:
    op.drop_index("uq_commands_id", table_name="commands")
    op.drop_index("ix_commands_state_expires_ms", table_name="commands")
    op.drop_index("ix_commands_site_issued_ms", table_name="commands")
    op.drop_table("commands")
    op.drop_index("uq_command_steps", table_name="command_steps")
    op.drop_table("command_steps")
