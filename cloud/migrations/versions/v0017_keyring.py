"""Root-signed keyrings: what stands retained at a broker is gone with the broker's memory."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "keyrings",
        sa.Column(
            "row",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("sites", sa.JSON(), nullable=False),
        sa.Column("stored_ms", sa.BigInteger(), nullable=False),
        sa.Column("signed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_keyrings")),
    )
    op.create_index("uq_keyrings_sha256", "keyrings", ["sha256"], unique=True)


def downgrade() -> None:
    op.drop_index("uq_keyrings_sha256", table_name="keyrings")
    op.drop_table("keyrings")
