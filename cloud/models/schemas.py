"""Models and training jobs as the API shows them."""

from typing import Any, Literal

from pydantic import BaseModel, Field

Algorithm = Literal["pca", "lstm-ae"]


class GateRule(BaseModel):
    """One rule of the gate and how the candidate did."""

    rule: str
    ok: bool
    detail: str


class ModelView(BaseModel):
    """One version of a model. `rejected` did not pass the gate and can never be blessed."""

    name: str
    version: int
    algorithm: str
    family: str
    status: Literal["rejected", "registered", "blessed"]
    site: str | None
    created_ms: int
    data_from_ms: int
    data_to_ms: int
    size: int
    sha256: str
    metrics: dict[str, float]
    gate: list[GateRule]
    thresholds: dict[str, float]


class ModelList(BaseModel):
    items: list[ModelView]


class TrainingRequest(BaseModel):
    """Train on what the site sent, or on its last `minutes` only."""

    site: str
    algorithms: list[Algorithm] | None = None
    minutes: int | None = Field(default=None, ge=1, le=525_600)


class TrainingView(BaseModel):
    """One training job; `result` is the run's own report, versions included."""

    id: str
    site: str
    algorithms: list[str]
    state: Literal["queued", "running", "done", "failed"]
    requested_ms: int
    started_ms: int | None
    ended_ms: int | None
    detail: str
    result: dict[str, Any] | None


class TrainingList(BaseModel):
    items: list[TrainingView]
