"""Roll-outs ring by ring: campaigns, approvals, what sites ask for, the record, numbers in model reports."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

NUMBERS = ("agreement", "alarm_rate", "latency_p99_ms", "intervention_rate", "cycles", "errors", "answered")


def _row() -> sa.Column[int]:
    return sa.Column(
        "row", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
    )


def upgrade() -> None:
    op.add_column("model_reports", sa.Column("received_ms", sa.BigInteger(), nullable=True))
    for name in NUMBERS:
        op.add_column("model_reports", sa.Column(name, sa.Double(), nullable=True))
    op.create_index(
        "ix_model_reports_name_version_site_state", "model_reports", ["name", "version", "site", "state"]
    )
    _campaigns()
    _approvals()
    op.create_table(
        "site_model_settings",
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("canary", sa.Boolean(), nullable=False),
        sa.Column("second_approver", sa.Boolean(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("site", name=op.f("pk_site_model_settings")),
    )
    op.create_table(
        "rollout_steps",
        _row(),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("campaign", sa.String(length=36), nullable=True),
        sa.Column("site", sa.String(length=63), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("what", sa.String(length=63), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_rollout_steps")),
    )
    op.create_index("ix_rollout_steps_campaign_row", "rollout_steps", ["campaign", "row"])


def _campaigns() -> None:
    op.create_table(
        "campaigns",
        _row(),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=63), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("ring", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("entered_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("second_approver", sa.Boolean(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_campaigns")),
    )
    op.create_index("uq_campaigns_id", "campaigns", ["id"], unique=True)
    op.create_index("ix_campaigns_state", "campaigns", ["state"])
    op.create_index("ix_campaigns_name_version", "campaigns", ["name", "version"])
    op.create_table(
        "campaign_sites",
        sa.Column("campaign", sa.String(length=36), nullable=False),
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("ring", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("stage", sa.String(length=63), nullable=True),
        sa.Column("counter", sa.BigInteger(), nullable=True),
        sa.Column("joined_ms", sa.BigInteger(), nullable=True),
        sa.Column("assigned_ms", sa.BigInteger(), nullable=True),
        sa.Column("baseline_version", sa.BigInteger(), nullable=True),
        sa.Column("baseline_intervention", sa.Double(), nullable=True),
        sa.Column("failed", sa.Text(), nullable=True),
        sa.Column("returned", sa.String(length=63), nullable=True),
        sa.Column("returned_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("campaign", "site", name=op.f("pk_campaign_sites")),
    )
    op.create_index(op.f("ix_campaign_sites_site"), "campaign_sites", ["site"])


def _approvals() -> None:
    op.create_table(
        "approvals",
        _row(),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("action", sa.String(length=63), nullable=False),
        sa.Column("campaign", sa.String(length=36), nullable=True),
        sa.Column("site", sa.String(length=63), nullable=True),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("asked_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=63), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_ms", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_approvals")),
    )
    op.create_index("uq_approvals_id", "approvals", ["id"], unique=True)
    op.create_index("ix_approvals_state_expires_ms", "approvals", ["state", "expires_ms"])
    op.create_index("ix_approvals_campaign", "approvals", ["campaign"])


def downgrade() -> None:
    for name in ("ix_approvals_campaign", "ix_approvals_state_expires_ms", "uq_approvals_id"):
        op.drop_index(name, table_name="approvals")
    op.drop_table("approvals")
    op.drop_index("ix_rollout_steps_campaign_row", table_name="rollout_steps")
    op.drop_table("rollout_steps")
    op.drop_table("site_model_settings")
    op.drop_index(op.f("ix_campaign_sites_site"), table_name="campaign_sites")
    op.drop_table("campaign_sites")
    for name in ("ix_campaigns_name_version", "ix_campaigns_state", "uq_campaigns_id"):
        op.drop_index(name, table_name="campaigns")
    op.drop_table("campaigns")
    op.drop_index("ix_model_reports_name_version_site_state", table_name="model_reports")
    for name in ("received_ms", *NUMBERS):
        op.drop_column("model_reports", name)
