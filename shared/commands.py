"""Actions, proposals, signed orders and the words for their outcomes.

Nobody sets a device. A policy makes a `Proposal`, a person or the cloud an order; the guardian's arbiter
narrows either to a permit, its executor acts and reads back. The three families of outcome words are
those of the contracts: `WriteResult` per device write, `ActionOutcome` per proposal or order,
`CommandState` towards the cloud.
"""

from enum import IntEnum, StrEnum

import msgspec

from shared.ids import CommandId, DeviceId, SiteId, ZoneId

# ---------------------------------------------------------------- actions


class Action(msgspec.Struct, frozen=True, kw_only=True, tag_field="do"):
    """One thing to be done to one device."""

    device: DeviceId


class SetPreset(Action, frozen=True, kw_only=True, tag="set-preset"):
    """Run this step of the device's own ladder."""

    preset: str


class StopMining(Action, frozen=True, kw_only=True, tag="stop"):
    """Stop hashing; the miner stays reachable."""


class StartMining(Action, frozen=True, kw_only=True, tag="start"):
    """Start hashing at the preset the device has."""


class SetPoint(Action, frozen=True, kw_only=True, tag="set-point"):
    """Write one named point, in that point's unit (`speed_setpoint_pct`, `setpoint_c`)."""

    point: str
    value: float


class SwitchOutlet(Action, frozen=True, kw_only=True, tag="outlet"):
    """Switch one PDU outlet."""

    outlet: int
    on: bool


AnyAction = SetPreset | StopMining | StartMining | SetPoint | SwitchOutlet


# ---------------------------------------------------------------- outcomes


class WriteResult(StrEnum):
    """What became of one device write. Only a later read says APPLIED; an HTTP 200 never does."""

    APPLIED = "applied"
    REJECTED = "rejected"
    UNSUPPORTED = "unsupported"
    UNREACHABLE = "unreachable"
    UNCONFIRMED = "unconfirmed"


class ActionOutcome(StrEnum):
    """What became of a proposal or an order as a whole."""

    APPLIED = "applied"
    PARTIAL = "partial"
    REJECTED = "rejected"
    FAILED = "failed"
    UNCONFIRMED = "unconfirmed"


class CommandState(StrEnum):
    """Where a cloud command stands."""

    RECEIVED = "received"
    """The agent has it and handed it to the guardian."""
    ACCEPTED = "accepted"
    """The guardian verified it, and its counter is on the disk."""
    REFUSED = "refused"
    RUNNING = "running"
    DONE = "done"
    EXPIRED = "expired"


def outcome_of(results: list[WriteResult]) -> ActionOutcome:
    """The one mapping from write results to an outcome.

    ============================================  ===========
    write results                                 outcome
    ============================================  ===========
    none                                          rejected
    all applied                                   applied
    some applied                                  partial
    none applied, at least one unconfirmed        unconfirmed
    all rejected or unsupported                   rejected
    otherwise (some unreachable)                  failed
    ============================================  ===========
    """
    if not results:
        return ActionOutcome.REJECTED
    applied = sum(result is WriteResult.APPLIED for result in results)
    if applied == len(results):
        return ActionOutcome.APPLIED
    if applied:
        return ActionOutcome.PARTIAL
    if WriteResult.UNCONFIRMED in results:
        return ActionOutcome.UNCONFIRMED
    if all(result in (WriteResult.REJECTED, WriteResult.UNSUPPORTED) for result in results):
        return ActionOutcome.REJECTED
    return ActionOutcome.FAILED


def outcome_of_parts(parts: list[ActionOutcome]) -> ActionOutcome:
    """One outcome for several parts that belong together, such as the zones of one order.

    ============================================  ===========
    parts                                         outcome
    ============================================  ===========
    none, or all rejected                         rejected
    all applied                                   applied
    some applied or partial                       partial
    none applied, at least one unconfirmed        unconfirmed
    otherwise                                     failed
    ============================================  ===========
    """
    if all(part is ActionOutcome.REJECTED for part in parts):
        return ActionOutcome.REJECTED
    if all(part is ActionOutcome.APPLIED for part in parts):
        return ActionOutcome.APPLIED
    if ActionOutcome.APPLIED in parts or ActionOutcome.PARTIAL in parts:
        return ActionOutcome.PARTIAL
    return ActionOutcome.UNCONFIRMED if ActionOutcome.UNCONFIRMED in parts else ActionOutcome.FAILED


# ---------------------------------------------------------------- proposals


class Priority(IntEnum):
    """Who wins (S17): trip > local manual > safe mode > grid order > ML > schedule."""

    SCHEDULE = 0
    ML = 1
    ORDER = 2
    SAFE = 3
    MANUAL = 4
    TRIP = 5


class ModelRef(msgspec.Struct, frozen=True, kw_only=True):
    """Which model a proposal came from: provenance; the guardian's bounds are the protection."""

    name: str
    version: int
    sha256: str


MAX_PROPOSED_ACTIONS = 64
"""The guardian answers a longer proposal with a sentence, so the wire lets it through."""


class Proposal(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What one policy would like. Never sent to a device. `ttl_s` counts from arrival at the guardian.

    Several actions belong together (the fans of a zone): their outcome is one, and cooling actions are
    grouped and verified zone by zone.
    """

    id: CommandId
    policy: str
    actions: tuple[AnyAction, ...]
    reason: str
    ttl_s: float
    model: ModelRef | None = None
    confidence: float | None = None
    """0..1, or None from a rule-based policy."""


# ---------------------------------------------------------------- signed orders


class DoActions(msgspec.Struct, frozen=True, kw_only=True, tag="actions", tag_field="order"):
    """Carry out these actions, each through the arbiter."""

    actions: tuple[AnyAction, ...]


class SafeStopOrder(msgspec.Struct, frozen=True, kw_only=True, tag="safe-stop", tag_field="order"):
    """Stop mining in a zone, or everywhere where `zone` is None."""

    zone: ZoneId | None = None


class ResetTripOrder(msgspec.Struct, frozen=True, kw_only=True, tag="reset-trip", tag_field="order"):
    """Reset a latched trip: needs an operator key and `remote_reset = true` on the site."""

    zone: ZoneId
    reason: str


class Curtail(msgspec.Struct, frozen=True, kw_only=True, tag="curtail", tag_field="order"):
    """Bring the site's metered power to `target_w` (W) within `deadline_s`, hold it, then restore in stages.

    `ramp_w_per_min` bounds how fast load goes down, where the contract asks for it. With `signal_s` the order
    ends by itself when no `RenewOrder` came for so long: the signal is lost.
    """

    target_w: float
    deadline_s: float
    duration_s: float
    ramp_w_per_min: float | None = None
    signal_s: float | None = None


class StandingCap(msgspec.Struct, frozen=True, kw_only=True, tag="power-cap", tag_field="order"):
    """Hold the site's metered power at or below `cap_w` (W) until further notice; None takes the cap away."""

    cap_w: float | None


class Schedule(msgspec.Struct, frozen=True, kw_only=True, tag="schedule", tag_field="order"):
    """Do `what` from `start_ms` to `end_ms` (UTC): stored on site, runs without the cloud, can be cancelled.

    A curtailment's own duration is then the window's. Actions are taken back at the end: by `revert` where
    it names any, else by what ran before.
    """

    start_ms: int
    end_ms: int
    what: Curtail | DoActions
    revert: tuple[AnyAction, ...] = ()


class CancelOrder(msgspec.Struct, frozen=True, kw_only=True, tag="cancel", tag_field="order"):
    """Take a scheduled or running order back; what it lowered is restored in stages."""

    target: CommandId


class RenewOrder(msgspec.Struct, frozen=True, kw_only=True, tag="renew", tag_field="order"):
    """The signal behind a running curtailment is still there."""

    target: CommandId


class PreviewOrder(msgspec.Struct, frozen=True, kw_only=True, tag="preview", tag_field="order"):
    """Say what this order would do now. Signed and counted like any other; nothing is done."""

    of: DoActions | Curtail | StandingCap | Schedule | CancelOrder


AnyOrder = (
    DoActions
    | SafeStopOrder
    | ResetTripOrder
    | Curtail
    | StandingCap
    | Schedule
    | CancelOrder
    | RenewOrder
    | PreviewOrder
)


def tag_of(tagged: AnyOrder | AnyAction) -> str:
    """The word that an order or an action has on the wire (`curtail`, `set-preset`)."""
    return str(tagged.__struct_config__.tag)


ORDER_WORDS = frozenset(kind.__struct_config__.tag for kind in AnyOrder.__args__)
ACTION_WORDS = frozenset(kind.__struct_config__.tag for kind in AnyAction.__args__)


class CommandBody(msgspec.Struct, frozen=True, kw_only=True):
    """What is signed. `counter` rises per site and is stored before execution; times are UTC ms."""

    id: CommandId
    site: SiteId
    issued_ms: int
    expires_ms: int
    counter: int
    actor: str
    order: AnyOrder


class WriteRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One device write as it went: the audit's smallest piece."""

    action: AnyAction
    result: WriteResult
    detail: str
    before: str = ""
    after: str = ""
    took_s: float = 0.0


class PreviewStep(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that would be done, what it saves (W, None where unknown), and the arbiter's word on it."""

    action: AnyAction
    saves_w: float | None = None
    words: str = ""


class OrderPreview(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an order would do at the moment it was asked; nothing was done.

    `steps` holds the first ones of `total_steps`. Powers in W by the site's meter, None where unknown.
    `reaches_target` is None where the order has no target.
    """

    steps: tuple[PreviewStep, ...] = ()
    total_steps: int = 0
    refused: int = 0
    """How many of the actions the arbiter would refuse now."""
    now_w: float | None = None
    expected_w: float | None = None
    reaches_target: bool | None = None
    takes_s: float | None = None
    detail: str = ""


class SignedBy(msgspec.Struct, frozen=True, kw_only=True):
    """Whose order it was, where the cloud did not sign it: what was verified, for everybody's audit."""

    key: str
    role: str
    actor: str
    order: AnyOrder
    counter: int
    issued_ms: int
    expires_ms: int


class CommandStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The agent's word on one command, published on `up/res/<command>`; may be repeated."""

    id: CommandId
    state: CommandState
    detail: str
    at_ms: int
    outcome: ActionOutcome | None = None
    writes: tuple[WriteRecord, ...] = ()
    digest: str = ""
    """`Signed.digest` of the message that this is about: an id can be claimed by anybody."""
    preview: OrderPreview | None = None
    """The answer to a `PreviewOrder`."""
    by: SignedBy | None = None
    """Set where another key than the cloud's signed it."""


MAX_COMMAND_BYTES = 256 * 1024
"""Largest signed command: a thousand actions need half of it."""
MAX_PREVIEW_STEPS = 200
"""So many steps of a preview travel; `total_steps` says how many there are."""
MAX_COMMAND_LIFE_MS = 60_000
"""Longest life of an actuating command (contracts, MQTT commands)."""
