"""Approvals, and what sites ask of roll-outs, as the API takes and shows them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Actor = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ApprovalView(BaseModel):
    """Something that one person asked for and another must agree to before `expires_ms`."""

    id: str
    action: str
    campaign: str | None
    site: str | None
    asked_by: str
    asked_ms: int
    expires_ms: int
    reason: str
    body: dict[str, Any]
    state: Literal["waiting", "approved", "refused", "expired", "void"]
    decided_by: str | None
    decided_ms: int | None
    detail: str


class ApprovalList(BaseModel):
    items: list[ApprovalView]


class Decide(_Strict):
    """Who decides; another person than the one who asked."""

    actor: Actor
    reason: str = Field(default="", max_length=1000)


class ModelSettings(BaseModel):
    """What a site asks of roll-outs: whether it may be tried first, and whether two persons must agree."""

    site: str
    canary: bool
    second_approver: bool
    changed_ms: int | None
    changed_by: str | None


class ModelSettingsRequest(_Strict):
    """Ask for something else. To stop asking for a second person takes a second person."""

    actor: Actor
    canary: bool
    second_approver: bool


class ModelSettingsAnswer(BaseModel):
    """The settings now; `approval` is there where a second person must agree first."""

    settings: ModelSettings
    approval: ApprovalView | None
