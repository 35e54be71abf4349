"""Command plans, confirmations, enrolled third-party keys."""

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Filled with the tables that this step brings."""


def downgrade() -> None:
    """The reverse."""
