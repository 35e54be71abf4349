"""The retention ladder: minute and hour rows, and what was written to the cold tier."""

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Filled with the tables that this step brings."""


def downgrade() -> None:
    """The reverse."""
