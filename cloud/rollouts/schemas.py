"""Roll-outs as the API shows them."""

from pydantic import BaseModel, Field

from cloud.rollouts.approvals.schemas import ApprovalView
from shared.artifacts.manifest import Stage


class RolloutRequest(BaseModel):
    """Which version a site should run, and how far. A site that asks for a second person needs `actor`."""

    site: str
    name: str
    version: int = Field(ge=1, lt=2**63)
    stage: Stage
    actor: str = Field(default="", max_length=200)


class Report(BaseModel):
    """One state: `published` by the cloud, all others as the site reports them.

    downloaded, verified, shadow, active, rolled-back, refused, withdrawn.
    """

    state: str
    at_ms: int
    detail: str


class RolloutView(BaseModel):
    """One model version on one site. `current` marks the site's newest assignment."""

    site: str
    name: str
    version: int
    stage: Stage | None
    current: bool
    reported: Report | None
    assigned_ms: int | None
    history: list[Report]


class RolloutList(BaseModel):
    items: list[RolloutView]


class AssignmentAsked(BaseModel):
    """The site asks for a second person: nothing is assigned until another one agrees."""

    approval: ApprovalView
