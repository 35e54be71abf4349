"""Roll-outs ring by ring: campaigns, their sites, approvals, what a site asks for, and the record of it."""

from typing import Any

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from cloud.tables.base import Base, LongText, Millis, RowNumber, Word


class CampaignRow(Base):
    """One model version on its way through the sites. `ring` and `step` say how far the machine has gone.

    The row is locked while it is decided on, so that two deciders never move it twice.
    """

    __tablename__ = "campaigns"
    __table_args__ = (
        Index("uq_campaigns_id", "id", unique=True),
        Index("ix_campaigns_state", "state"),
        Index("ix_campaigns_name_version", "name", "version"),
    )

    row: Mapped[RowNumber]
    id: Mapped[str] = mapped_column(String(36))
    name: Mapped[Word]
    version: Mapped[int]
    state: Mapped[Word]
    """proposed, running, paused (by a person), halted, done."""
    held: Mapped[bool]
    """The machine waits and a person should look: a site is offline, stuck or was taken over."""
    ring: Mapped[int]
    step: Mapped[int]
    """Which stage of the plan's path the open ring is on, from 0."""
    entered_ms: Mapped[Millis]
    created_ms: Mapped[Millis]
    created_by: Mapped[LongText]
    ended_ms: Mapped[Millis | None]
    why: Mapped[LongText]
    """Why it waits, is paused, or was halted, in words for a person."""
    second_approver: Mapped[bool]
    expires_ms: Mapped[Millis]
    """When the blessing of the version ends."""
    plan: Mapped[dict[str, Any]]
    """Stages, soak times and criteria: `cloud.rollouts.campaigns.plan.Plan`."""


class CampaignSiteRow(Base):
    """One site of a campaign: its ring, what it ran before, and what it was given."""

    __tablename__ = "campaign_sites"

    campaign: Mapped[str] = mapped_column(String(36), primary_key=True)
    site: Mapped[str] = mapped_column(String(63), primary_key=True, index=True)
    ring: Mapped[int]
    place: Mapped[int]
    """Order within the ring."""
    stage: Mapped[Word | None]
    counter: Mapped[int | None]
    """Of the assignment that this campaign made last; another one at the site means a person stepped in."""
    joined_ms: Mapped[Millis | None]
    """When the campaign first assigned the version here."""
    assigned_ms: Mapped[Millis | None]
    baseline_version: Mapped[int | None]
    baseline_intervention: Mapped[float | None]
    """How often the guardian had to step in before, as the site last said; null = unknown."""
    failed: Mapped[LongText | None]
    """Why the site counts as bad; once set it stays."""
    returned: Mapped[Word | None]
    """null; sent (withdrawn); once it let go: restored (earlier version assigned) or back (there is none)."""
    returned_ms: Mapped[Millis | None]


class ApprovalRow(Base):
    """Something that one person asked for and another one must agree to."""

    __tablename__ = "approvals"
    __table_args__ = (
        Index("uq_approvals_id", "id", unique=True),
        Index("ix_approvals_state_expires_ms", "state", "expires_ms"),
        Index("ix_approvals_campaign", "campaign"),
    )

    row: Mapped[RowNumber]
    id: Mapped[str] = mapped_column(String(36))
    action: Mapped[Word]
    campaign: Mapped[str | None] = mapped_column(String(36))
    site: Mapped[Word | None]
    asked_by: Mapped[LongText]
    asked_ms: Mapped[Millis]
    expires_ms: Mapped[Millis]
    reason: Mapped[LongText]
    body: Mapped[dict[str, Any]]
    """What exactly was asked; approving it does this and nothing that has changed since."""
    state: Mapped[Word]
    """waiting, approved, refused, expired, void."""
    decided_by: Mapped[LongText | None]
    decided_ms: Mapped[Millis | None]
    detail: Mapped[LongText]


class SiteModelSettingsRow(Base):
    """What a site asks of roll-outs; a site without a row may be a canary and asks nobody."""

    __tablename__ = "site_model_settings"

    site: Mapped[str] = mapped_column(String(63), primary_key=True)
    canary: Mapped[bool]
    second_approver: Mapped[bool]
    changed_ms: Mapped[Millis]
    changed_by: Mapped[LongText]


class RolloutStepRow(Base):
    """The record: who or what moved a roll-out, and what was refused. Rows are only ever added."""

    __tablename__ = "rollout_steps"
    __table_args__ = (Index("ix_rollout_steps_campaign_row", "campaign", "row"),)

    row: Mapped[RowNumber]
    at_ms: Mapped[Millis]
    campaign: Mapped[str | None] = mapped_column(String(36))
    site: Mapped[Word | None]
    actor: Mapped[LongText]
    """A person's name, or `machine`."""
    what: Mapped[Word]
    detail: Mapped[LongText]
