"""Commands as the API takes and shows them; the words are those of `shared.commands`."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


Actor = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^ *[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$")]
"""Who asks, for the record: one line of text. Sites refuse anything else."""


class SetPresetIn(_Strict):
    do: Literal["set-preset"]
    device: str
    preset: str


class StopIn(_Strict):
    do: Literal["stop"]
    device: str


class StartIn(_Strict):
    do: Literal["start"]
    device: str


class SetPointIn(_Strict):
    do: Literal["set-point"]
    device: str
    point: str
    value: float


class OutletIn(_Strict):
    do: Literal["outlet"]
    device: str
    outlet: int
    on: bool


ActionIn = Annotated[SetPresetIn | StopIn | StartIn | SetPointIn | OutletIn, Field(discriminator="do")]


class ActionsOrder(_Strict):
    """Carry out these actions, each through the site's arbiter."""

    order: Literal["actions"]
    actions: list[ActionIn] = Field(min_length=1, max_length=500)


class SafeStopIn(_Strict):
    """Stop mining in a zone, or everywhere where `zone` is null."""

    order: Literal["safe-stop"]
    zone: str | None = None


class CurtailIn(_Strict):
    """Bring the site's metered power down to `target_w` (W) in time, hold it, restore in stages.

    `signal_s`: ends by itself when no `renew` came for so long. The site confirms by its meter.
    """

    order: Literal["curtail"]
    target_w: float = Field(ge=0)
    deadline_s: float = Field(gt=0, le=86_400)
    duration_s: float = Field(gt=0, le=7 * 86_400)
    ramp_w_per_min: float | None = Field(default=None, gt=0)
    signal_s: float | None = Field(default=None, gt=0)


class PowerCapIn(_Strict):
    """Hold the site at or below `cap_w` (W) until further notice; null takes the cap away."""

    order: Literal["power-cap"]
    cap_w: float | None = Field(ge=0)


class ScheduleIn(_Strict):
    """Do `what` from `start_ms` to `end_ms` (UTC). Stored on site; runs without the cloud."""

    order: Literal["schedule"]
    start_ms: int
    end_ms: int
    what: Annotated[CurtailIn | ActionsOrder, Field(discriminator="order")]
    revert: list[ActionIn] = Field(default=[], max_length=500)


class CancelIn(_Strict):
    """Take a standing order back; what it lowered is restored in stages."""

    order: Literal["cancel"]
    target: str


class RenewIn(_Strict):
    """The signal behind a running curtailment is still there."""

    order: Literal["renew"]
    target: str


OrderIn = Annotated[
    ActionsOrder | SafeStopIn | CurtailIn | PowerCapIn | ScheduleIn | CancelIn | RenewIn,
    Field(discriminator="order"),
]


class CommandRequest(_Strict):
    """A command to a site. A trip is reset on site only; there is no order for it here.

    Only a safe-stop and a renewal go out at once; everything else needs a confirmed plan (409 `plan-needed`).
    """

    site: str
    order: OrderIn
    actor: Actor
    expires_s: int = Field(default=30, ge=1, le=60)


PlannedIn = Annotated[
    ActionsOrder | CurtailIn | PowerCapIn | ScheduleIn | CancelIn,
    Field(discriminator="order"),
]


class PlanRequest(_Strict):
    """What would this order do? Nothing is done before the plan is confirmed."""

    site: str
    order: PlannedIn
    actor: Actor


class ConfirmRequest(_Strict):
    """Send the planned order, exactly as it was planned.

    `blind` states that it is sent although the site did not say what it would do.
    """

    actor: Actor
    expires_s: int = Field(default=30, ge=1, le=60)
    blind: bool = False


class PreviewStep(BaseModel):
    """One thing that would be done, what it saves, and the arbiter's word on it."""

    action: dict[str, Any]
    saves_w: float | None = None
    words: str = ""


class Preview(BaseModel):
    """What the site said it would do; powers in W by its meter, null where unknown."""

    steps: list[PreviewStep] = []
    total_steps: int = 0
    refused: int = 0
    now_w: float | None = None
    expected_w: float | None = None
    reaches_target: bool | None = None
    takes_s: float | None = None
    detail: str = ""


class PlanView(BaseModel):
    """A plan. `ready`: the site said what it would do; `blind`: it did not (yet), and `detail` says why."""

    id: str
    site: str
    actor: str
    order: dict[str, Any]
    created_ms: int
    expires_ms: int
    state: Literal["ready", "blind", "used", "expired"]
    answered: bool
    preview: Preview | None
    detail: str


class TrailEntry(BaseModel):
    """One hop: of a command on its way, or a deed of a person on site."""

    site: str
    command: str | None
    source: Literal["cloud", "third-party", "operator", "local", "unknown"]
    hop: str
    actor: str
    address: str | None
    at_ms: int
    received_ms: int
    detail: str
    data: dict[str, Any]


class AuditPage(BaseModel):
    items: list[TrailEntry]
    next_cursor: str | None


class Step(BaseModel):
    """One state that the command went through."""

    state: str
    at_ms: int
    detail: str


class CommandView(BaseModel):
    """A command with the site's newest word on it and every write that came of it.

    `source` is `cloud` for what this cloud signed; the others were sent by somebody with a key of his own and
    are told by the site.
    """

    id: str
    site: str
    source: Literal["cloud", "third-party", "operator"]
    key: str
    actor: str
    order: dict[str, Any]
    issued_ms: int
    expires_ms: int
    state: Literal["sent", "received", "accepted", "refused", "running", "done", "expired"]
    detail: str
    outcome: str | None
    writes: list[dict[str, Any]]
    history: list[Step]


class CommandTrail(CommandView):
    """A command with its whole trail, from the click to each read-back."""

    trail: list[TrailEntry]


class CommandList(BaseModel):
    items: list[CommandView]
