"""What the keeper of the ladder looks for: regular model reports and command plans by their age."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_model_reports_state_at_ms", "model_reports", ["state", "at_ms"])
    op.create_index("ix_command_plans_created_ms", "command_plans", ["created_ms"])


def downgrade() -> None:
    op.drop_index("ix_command_plans_created_ms", table_name="command_plans")
    op.drop_index("ix_model_reports_state_at_ms", table_name="model_reports")
