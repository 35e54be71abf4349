"""Enrolments, certificates and revocations."""

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Filled with the tables that this step brings."""


def downgrade() -> None:
    """The reverse."""
