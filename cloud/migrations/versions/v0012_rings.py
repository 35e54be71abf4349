"""Roll-outs ring by ring, approvals and outcomes."""

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Filled with the tables that this step brings."""


def downgrade() -> None:
    """The reverse."""
