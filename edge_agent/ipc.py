"""The gateway sockets: message types and framing between guardian, agent and operator tools.

A frame is a 4-byte big-endian length (at most 1 MiB) and one msgpack body, a tagged union; an unknown tag
is refused and logged. `guardian.sock` (0660, peer credentials checked) is for the agent, `operator.sock`
(its own group; the agent's uid is refused) for the tools of a person on site.
"""

import asyncio
import struct
from enum import StrEnum
from typing import TypeVar

import msgspec

from shared.alarms import Event
from shared.artifacts.signing import Signed
from shared.capabilities import DeviceFacts
from shared.commands import (
    ActionOutcome,
    AnyAction,
    CommandState,
    Curtail,
    OrderPreview,
    Proposal,
    SignedBy,
    WriteRecord,
)
from shared.details import HistoryMark, HistoryPoint
from shared.errors import WireError
from shared.ids import CommandId, DeviceId, SiteId, ZoneId
from shared.inventory import DeviceEntry
from shared.shown import DeviceShown, ShowDevice
from shared.telemetry import Sample

PROTOCOL = 1
MAX_FRAME_BYTES = 1024 * 1024


class Mode(StrEnum):
    """Mode of a zone (contracts, S15)."""

    MANUAL = "manual"
    LOCAL_AUTO = "local-auto"
    ML_SHADOW = "ml-shadow"
    ML_ACTIVE = "ml-active"
    SAFE = "safe"
    TRIPPED = "tripped"


class _Frame(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", omit_defaults=True):
    """Base of every message on the sockets."""


# ---------------------------------------------------------------- guardian → agent


class Hello(_Frame, frozen=True, kw_only=True, tag="hello"):
    """First frame from the guardian."""

    protocol: int
    site: SiteId
    boot: str
    config_sha256: str
    next_seq: int


class Inventory(_Frame, frozen=True, kw_only=True, tag="inventory"):
    """What the guardian knows of each device; sent after Hello, and of some devices again when facts change.

    A site that does not fit into one frame comes in `parts` frames: part 0 starts anew, the others add.
    With `change` true no part starts anew: it is only about the devices that it names.
    """

    devices: tuple[DeviceEntry, ...]
    facts: dict[DeviceId, DeviceFacts]
    part: int = 0
    parts: int = 1
    change: bool = False
    keep_days: dict[DeviceId, float] = {}
    """For how long raw values are worth keeping (days), for devices whose profile says so."""


class Samples(_Frame, frozen=True, kw_only=True, tag="samples"):
    """New samples in order of `seq`. A jump from the last one means loss, which the agent records."""

    boot: str
    samples: tuple[Sample, ...]


class PackedSamples(_Frame, frozen=True, kw_only=True, tag="samples"):
    """`Samples` as the guardian sends them: each sample was packed when it was taken."""

    boot: str
    samples: tuple[msgspec.Raw, ...]


class TripInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One latched trip."""

    id: str
    zone: ZoneId
    interlock: str
    at_ms: int
    first_out: str
    """The first condition that fired, with its value and limit, for people."""
    cause_present: bool
    device: DeviceId | None = None
    """Set where one miner is latched and the zone keeps running."""


class ZoneStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One zone as the guardian sees it."""

    mode: Mode
    cooling_proven: bool
    trips: tuple[TripInfo, ...] = ()
    inhibited: dict[DeviceId, str] = {}
    """Device → why nothing may be raised there."""
    restarting: bool = False
    levels: dict[str, str] = {}
    """Zone interlock → its level in words, where it is not normal (`inlet_air_c` → `warn`)."""
    bypassed: dict[str, int] = {}
    """Zone interlock → whole seconds until its bypass ends."""
    bypass_asked: dict[str, str] = {}
    """Zone interlock → whose request waits for its second fact, and which fact that is, in words."""
    why: str = ""
    """In `safe`: why the zone stands there and how it goes on, in words."""


class StandingState(StrEnum):
    """Where a standing order is."""

    SCHEDULED = "scheduled"
    RUNNING = "running"
    """On its way to the target."""
    HOLDING = "holding"
    """The meter confirmed it."""
    RESTORING = "restoring"
    ENDED = "ended"
    CANCELLED = "cancelled"


class StandingOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One order with a life of its own, as people see it: a cap, a curtailment, a schedule."""

    id: CommandId
    state: StandingState
    words: str
    actor: str
    start_ms: int | None = None
    end_ms: int | None = None
    target_w: float | None = None
    meter_w: float | None = None
    """The meter's last word, None where it is unknown."""
    confirmed_ms: int | None = None
    """When the meter first confirmed the target."""


class CapStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One power cap of the site file, in its own unit."""

    value: float | None
    level: str
    limit: float
    """The `warn` limit: nothing is raised beyond it."""
    unit: str = ""


class Status(_Frame, frozen=True, kw_only=True, tag="status"):
    """Sent on every change, and every few seconds."""

    zones: dict[ZoneId, ZoneStatus]
    lease_left_s: float | None
    """None where no agent has ever held a lease since the guardian started."""
    journal_head: int
    assignment: str | None = None
    """`name v7 active` of the model that the guardian accepts proposals from."""
    orders: tuple[StandingOrder, ...] = ()
    caps: dict[str, CapStatus] = {}
    on_battery: bool | None = None
    """None where the site file names no UPS, or it is not heard."""
    battery_left_s: float | None = None
    """The runtime that the UPS promises, None where it is not known or mains are present."""
    refused: dict[str, int] = {}
    """What was refused since the start, by kind: bad frames, proposals, orders, operators' requests."""
    keyring: int | None = None
    """Version of the keyring that the guardian has stored, 0 for the file; None from a guardian of before."""


class Result(_Frame, frozen=True, kw_only=True, tag="result"):
    """What became of a proposal or an order; repeated for the same id when it is asked again."""

    id: CommandId
    outcome: ActionOutcome
    detail: str
    violations: tuple[str, ...] = ()
    """Every limit that stood against it."""
    writes: tuple[WriteRecord, ...] = ()
    asked: tuple[AnyAction, ...] = ()
    applied: tuple[AnyAction, ...] = ()
    next_steps: tuple[AnyAction, ...] = ()
    """Where the arbiter narrowed a change to a step: what to propose next to get to what was asked."""
    command_state: CommandState | None = None
    """Set for orders: what to publish on `up/res`."""
    at_ms: int
    digest: str = ""
    """Set for orders: `Signed.digest` of the message that this is about."""
    preview: OrderPreview | None = None
    by: SignedBy | None = None
    """Set for orders of another key than the cloud's, once verified."""


class Progress(_Frame, frozen=True, kw_only=True, tag="progress"):
    """Where a signed order is on its way; its `Result` comes at the end."""

    id: CommandId
    state: CommandState
    detail: str
    at_ms: int
    digest: str = ""
    by: SignedBy | None = None


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """What one device did over a window: means, None where unknown."""

    hashrate_ths: float | None = None
    power_w: float | None = None
    chip_temp_c: float | None = None
    j_per_th: float | None = None
    rejects_pct: float | None = None
    """Rejected of all shares inside the window."""


class Outcome(_Frame, frozen=True, kw_only=True, tag="outcome"):
    """Before and after one applied action, once it settled. Follow-ups after hours are the agent's."""

    id: CommandId
    action: AnyAction
    before: Effect
    after: Effect
    window_s: float
    rolled_back: str | None = None
    """Why the guardian took it back at once: a limit was involved."""
    disturbed: str | None = None
    """What came in between (a trip, a safe-stop): then `after` is unknown, it is not this action's effect."""
    at_ms: int


class PlanStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a power plan: what would be done, and how much it saves (W)."""

    action: AnyAction
    saves_w: float


class PlanPreview(_Frame, frozen=True, kw_only=True, tag="plan-preview"):
    """What a curtailment would do now; nothing was done."""

    id: CommandId
    steps: tuple[PlanStep, ...]
    now_w: float | None
    """The meter, None where it is unknown."""
    expected_w: float | None
    reaches_target: bool
    takes_s: float
    """Until the last step should show on the meter."""
    detail: str = ""


class Tripped(_Frame, frozen=True, kw_only=True, tag="tripped"):
    """A trip fired."""

    trip: TripInfo


class Cleared(_Frame, frozen=True, kw_only=True, tag="cleared"):
    """A person reset a trip."""

    trip: TripInfo
    by: str
    reason: str


class JournalEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One link of the hash chain. `event` is what the agent forwards; `seq` is the cursor."""

    seq: int
    at_ms: int
    at_s: float
    event: Event
    previous: str
    hash: str


class JournalPage(_Frame, frozen=True, kw_only=True, tag="journal"):
    """Entries after the asked cursor, oldest first."""

    entries: tuple[JournalEntry, ...]
    head: int
    """Highest `seq` that exists."""


class DeviceHistory(_Frame, frozen=True, kw_only=True, tag="device-history"):
    """What a device itself remembers of a gap `[from_ms, to_ms]` (UTC ms, our clock) in its samples.

    `number` counts these frames within one `boot` of the guardian. It sends those that it still holds again
    at each connection; an agent that has committed up to a number leaves the repetitions out.
    """

    boot: str
    number: int
    device: DeviceId
    from_ms: int
    to_ms: int
    points: tuple[HistoryPoint, ...] = ()
    marks: tuple[HistoryMark, ...] = ()


class Health(_Frame, frozen=True, kw_only=True, tag="health"):
    """The guardian's own health, for the status page and for metrics."""

    cycle_ms_p50: float
    cycle_ms_max: float
    polls: int
    poll_failures: dict[str, int]
    """Failure code → count since start."""
    journal_ok: bool


FromGuardian = (
    Hello
    | Inventory
    | Samples
    | Status
    | Result
    | Progress
    | Outcome
    | PlanPreview
    | Tripped
    | Cleared
    | JournalPage
    | DeviceHistory
    | Health
)


# ---------------------------------------------------------------- agent → guardian


class Lease(_Frame, frozen=True, kw_only=True, tag="lease"):
    """The agent's word that it completed a policy cycle; capped by `timing.lease_max_s`."""

    ttl_s: float
    cycle: int


class Propose(_Frame, frozen=True, kw_only=True, tag="propose"):
    proposal: Proposal


class Order(_Frame, frozen=True, kw_only=True, tag="order"):
    """A signed command from the cloud (a `CommandBody`), passed on untouched."""

    signed: Signed


class Assign(_Frame, frozen=True, kw_only=True, tag="assign"):
    """A signed model assignment, passed on untouched. `swapped` once the agent really runs it."""

    signed: Signed
    swapped: bool = False


class Unassign(_Frame, frozen=True, kw_only=True, tag="unassign"):
    """The agent stopped trusting its model (load error, NaN, drift): the zone falls back to rules."""

    reason: str


class Keys(_Frame, frozen=True, kw_only=True, tag="keys"):
    """A signed keyring update, untouched: the guardian verifies it against the keys that it holds."""

    signed: Signed


class SafeStop(_Frame, frozen=True, kw_only=True, tag="safe-stop"):
    """Stop mining, in one zone or everywhere. Always allowed: it is the safe direction."""

    zone: ZoneId | None = None
    reason: str


class PlanRequest(_Frame, frozen=True, kw_only=True, tag="plan-request"):
    """Show what this curtailment would do, without acting."""

    id: CommandId
    order: Curtail


class SamplesSince(_Frame, frozen=True, kw_only=True, tag="samples-since"):
    """Resume the sample stream after `seq` of this boot; a foreign boot starts at the ring's oldest."""

    boot: str
    seq: int


class JournalSince(_Frame, frozen=True, kw_only=True, tag="journal-since"):
    cursor: int


FromAgent = (
    Lease | Propose | Order | Assign | Unassign | Keys | SafeStop | PlanRequest | SamplesSince | JournalSince
)


# ---------------------------------------------------------------- operator.sock


class StatusRequest(_Frame, frozen=True, kw_only=True, tag="status-request"):
    pass


class ResetTrip(_Frame, frozen=True, kw_only=True, tag="reset-trip"):
    """Reset one latched trip by its id, or every one of a zone, where the cause is gone."""

    zone: ZoneId | None = None
    trip: str | None = None
    reason: str
    operator: str


class SetMode(_Frame, frozen=True, kw_only=True, tag="set-mode"):
    zone: ZoneId
    mode: Mode
    operator: str
    reason: str


class OpenBypass(_Frame, frozen=True, kw_only=True, tag="open-bypass"):
    """Set one interlock of a zone aside for a while: needs the key switch or `ConfirmBypass` as well."""

    zone: ZoneId
    interlock: str
    seconds: float
    reason: str
    operator: str


class ConfirmBypass(_Frame, frozen=True, kw_only=True, tag="confirm-bypass"):
    """The second fact from a second person: another account than the one that asked."""

    zone: ZoneId
    interlock: str
    operator: str


class CloseBypass(_Frame, frozen=True, kw_only=True, tag="close-bypass"):
    """End a bypass early. Always allowed."""

    zone: ZoneId
    interlock: str
    operator: str


class Explain(_Frame, frozen=True, kw_only=True, tag="explain"):
    """What happened around a trip or an event, by its id."""

    event: str


class ProofTest(_Frame, frozen=True, kw_only=True, tag="proof-test"):
    """Test the interlocks of a zone without acting; or, with `actuate`, one of them for real."""

    zone: ZoneId
    interlock: str | None = None
    actuate: bool = False
    reason: str
    operator: str


class CancelStanding(_Frame, frozen=True, kw_only=True, tag="cancel-standing"):
    """A person on site takes a standing order back."""

    target: CommandId
    reason: str
    operator: str


class Lines(_Frame, frozen=True, kw_only=True, tag="lines"):
    """An answer to be read: one string per line. `good` false makes the exit code 1."""

    lines: tuple[str, ...]
    good: bool = True


class Refused(_Frame, frozen=True, kw_only=True, tag="refused"):
    """The request was not carried out, and why."""

    why: str


class Done(_Frame, frozen=True, kw_only=True, tag="done"):
    detail: str


FromOperator = (
    StatusRequest
    | ResetTrip
    | SetMode
    | SafeStop
    | OpenBypass
    | ConfirmBypass
    | CloseBypass
    | Explain
    | ProofTest
    | PlanRequest
    | CancelStanding
    | ShowDevice
)
ToOperator = Status | Done | Refused | Lines | PlanPreview | DeviceShown


# ---------------------------------------------------------------- framing

T = TypeVar("T")
_encoder = msgspec.msgpack.Encoder()
_length = struct.Struct(">I")


def encode_frame(message: _Frame | ShowDevice | DeviceShown) -> bytes:
    """Length and body; raises `WireError` for a message over 1 MiB (split it)."""
    body = _encoder.encode(message)
    if len(body) > MAX_FRAME_BYTES:
        raise WireError(f"frame of {len(body)} bytes is larger than {MAX_FRAME_BYTES}")
    return _length.pack(len(body)) + body


async def read_frame(reader: asyncio.StreamReader, decoder: "msgspec.msgpack.Decoder[T]") -> T | None:
    """The next message, or None when the peer closed between frames. Raises `WireError`."""
    try:
        head = await reader.readexactly(_length.size)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise WireError("connection closed inside a frame header") from error
        return None
    (size,) = _length.unpack(head)
    if size > MAX_FRAME_BYTES:
        raise WireError(f"peer announces a frame of {size} bytes, the limit is {MAX_FRAME_BYTES}")
    try:
        return decoder.decode(await reader.readexactly(size))
    except asyncio.IncompleteReadError as error:
        raise WireError("connection closed inside a frame") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WireError(f"frame does not decode: {error}") from error
