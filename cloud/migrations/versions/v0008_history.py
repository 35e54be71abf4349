"""Device history and windows of raw samples."""

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Filled with the tables that this step brings."""


def downgrade() -> None:
    """The reverse."""
