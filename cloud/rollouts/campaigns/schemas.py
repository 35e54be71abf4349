"""Campaigns as the API takes and shows them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from cloud.rollouts.approvals.schemas import ApprovalView

Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, le=90 * 86_400)]
Actor = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]
SiteName = Annotated[str, Field(min_length=1, max_length=63)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class CriteriaView(_Strict):
    """What every report of a site must hold while a stage soaks. Rates and shares are fractions of 1.

    `min_agreement` null: agreement is not asked. `max_intervention_rise`: over what the guardian did before.
    `min_reporting`: share of the ring that must be good. More than `max_bad_share` of a ring bad: halted.
    """

    min_agreement: Share | None = 0.95
    max_alarm_rate: Share = 0.05
    max_latency_p99_ms: float = Field(default=500.0, gt=0, le=600_000)
    max_intervention_rise: Share = 0.02
    max_error_rate: Share = 0.05
    min_cycles: int = Field(default=20, ge=1, le=1_000_000)
    min_reporting: float = Field(default=0.9, gt=0, le=1)
    max_bad_share: float = Field(default=0.1, ge=0, lt=1)
    silent_after_s: float = Field(default=3600.0, gt=0, le=90 * 86_400)
    offline_after_s: float = Field(default=1800.0, gt=0, le=90 * 86_400)
    stuck_after_s: float = Field(default=21_600.0, gt=0, le=90 * 86_400)


class CampaignRequest(_Strict):
    """Take a blessed version through the sites.

    `shares`: rings as rising shares of the sites, added up, or `rings`: the sites themselves. `sites`
    narrows shares down to these sites; without it, all that the version may run at. `soak_s`: one for all
    rings, or one per ring. `stages`: what each ring goes through, in this order.
    """

    name: str = Field(max_length=63)
    version: int = Field(ge=1, lt=2**63)
    actor: Actor
    reason: str = Field(default="", max_length=1000)
    shares: list[Share] | None = Field(default=None, min_length=1, max_length=20)
    rings: list[list[SiteName]] | None = Field(default=None, min_length=1, max_length=20)
    sites: list[SiteName] | None = Field(default=None, min_length=1, max_length=10_000)
    stages: list[Literal["shadow", "active"]] = Field(
        default=["shadow", "active"], min_length=1, max_length=2
    )
    soak_s: Seconds | list[Seconds] = 86_400.0
    criteria: CriteriaView = CriteriaView()
    second_approver: bool = False


class CampaignOrder(_Strict):
    """Who wants it and why. `emergency` (rollback only): at once and alone; raises an alarm."""

    actor: Actor
    reason: str = Field(default="", max_length=1000)
    emergency: bool = False


class NumbersView(BaseModel):
    """Numbers of reports; null is unknown."""

    agreement: float | None
    alarm_rate: float | None
    latency_p99_ms: float | None
    intervention_rate: float | None
    error_rate: float | None
    cycles: float | None


class CampaignSite(BaseModel):
    """One site of a campaign. `standing` is how it counts now, `why` says so in words."""

    site: str
    stage: Literal["shadow", "active"] | None
    standing: Literal[
        "good",
        "soaking",
        "young",
        "coming",
        "silent",
        "stuck",
        "offline",
        "taken",
        "bad",
        "not-yet",
        "returning",
        "returned",
    ]
    why: str
    said: str
    reached_ms: int | None
    heard_ms: int | None
    soaked_ms: int | None
    """When it will have been on its stage for long enough."""
    worst: NumbersView
    newest: NumbersView | None
    before: int | None
    """Version that it goes back to."""
    intervention_before: float | None


class Ring(BaseModel):
    """Sites that get the version together."""

    number: int
    state: Literal["done", "open", "not-yet"]
    soak_s: float
    needed: int
    good: int
    sites: list[CampaignSite]


class RolloutStep(BaseModel):
    """One line of the record."""

    at_ms: int
    campaign: str | None
    site: str | None
    actor: str
    what: str
    detail: str


class StepList(BaseModel):
    items: list[RolloutStep]


class CampaignView(BaseModel):
    """A roll-out with its rings. `why` says what it waits for, or why it was halted.

    `held`: waiting alone may not help, a person should look. `strangers` report the version without having
    got it from this cloud; they never count.
    """

    id: str
    name: str
    version: int
    state: Literal["proposed", "running", "paused", "halted", "done"]
    held: bool
    why: str
    ring: int
    stage: Literal["shadow", "active"]
    stages: list[Literal["shadow", "active"]]
    entered_ms: int
    created_ms: int
    created_by: str
    ended_ms: int | None
    expires_ms: int
    second_approver: bool
    """Whether it, or a site in it, asks for a second person."""
    criteria: CriteriaView
    rings: list[Ring]
    strangers: list[str]
    approvals: list[ApprovalView]
    history: list[RolloutStep]


class CampaignList(BaseModel):
    items: list[CampaignView]


class CampaignAnswer(BaseModel):
    """The roll-out after an order; `approval` is there where a second person must agree first."""

    campaign: CampaignView
    approval: ApprovalView | None
