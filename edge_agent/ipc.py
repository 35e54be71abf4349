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
from shared.commands import ActionOutcome, AnyAction, CommandState, Proposal, WriteRecord
from shared.errors import WireError
from shared.ids import CommandId, DeviceId, SiteId, ZoneId
from shared.inventory import DeviceEntry
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
    """What the guardian knows of each device; sent after Hello and again when facts change.

    A site that does not fit into one frame comes in `parts` frames: part 0 starts anew, the others add.
    """

    devices: tuple[DeviceEntry, ...]
    facts: dict[DeviceId, DeviceFacts]
    part: int = 0
    parts: int = 1


class Samples(_Frame, frozen=True, kw_only=True, tag="samples"):
    """New samples in order of `seq`. A jump from the last one means loss, which the agent records."""

    boot: str
    samples: tuple[Sample, ...]


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


class Status(_Frame, frozen=True, kw_only=True, tag="status"):
    """Sent on every change, and every few seconds."""

    zones: dict[ZoneId, ZoneStatus]
    lease_left_s: float | None
    """None where no agent has ever held a lease since the guardian started."""
    journal_head: int
    assignment: str | None = None
    """`name v7 active` of the model that the guardian accepts proposals from."""


class Result(_Frame, frozen=True, kw_only=True, tag="result"):
    """What became of a proposal or an order; repeated for the same id when it is asked again."""

    id: CommandId
    outcome: ActionOutcome
    detail: str
    violations: tuple[str, ...] = ()
    """Every limit that stood against it."""
    writes: tuple[WriteRecord, ...] = ()
    asked: AnyAction | None = None
    applied: AnyAction | None = None
    command_state: CommandState | None = None
    """Set for orders: what to publish on `up/res`."""
    at_ms: int


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


class Health(_Frame, frozen=True, kw_only=True, tag="health"):
    """The guardian's own health, for the status page and for metrics."""

    cycle_ms_p50: float
    cycle_ms_max: float
    polls: int
    poll_failures: dict[str, int]
    """Failure code → count since start."""
    journal_ok: bool


FromGuardian = Hello | Inventory | Samples | Status | Result | Tripped | Cleared | JournalPage | Health


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


class SafeStop(_Frame, frozen=True, kw_only=True, tag="safe-stop"):
    """Stop mining, in one zone or everywhere. Always allowed: it is the safe direction."""

    zone: ZoneId | None = None
    reason: str


class SamplesSince(_Frame, frozen=True, kw_only=True, tag="samples-since"):
    """Resume the sample stream after `seq` of this boot; a foreign boot starts at the ring's oldest."""

    boot: str
    seq: int


class JournalSince(_Frame, frozen=True, kw_only=True, tag="journal-since"):
    cursor: int


FromAgent = Lease | Propose | Order | Assign | Unassign | SafeStop | SamplesSince | JournalSince


# ---------------------------------------------------------------- operator.sock


class StatusRequest(_Frame, frozen=True, kw_only=True, tag="status-request"):
    pass


class ResetTrip(_Frame, frozen=True, kw_only=True, tag="reset-trip"):
    """Reset every latched trip of a zone whose cause is gone."""

    zone: ZoneId
    reason: str
    operator: str


class SetMode(_Frame, frozen=True, kw_only=True, tag="set-mode"):
    zone: ZoneId
    mode: Mode
    operator: str
    reason: str


class Refused(_Frame, frozen=True, kw_only=True, tag="refused"):
    """The request was not carried out, and why."""

    why: str


class Done(_Frame, frozen=True, kw_only=True, tag="done"):
    detail: str


FromOperator = StatusRequest | ResetTrip | SetMode | SafeStop
ToOperator = Status | Done | Refused


# ---------------------------------------------------------------- framing

T = TypeVar("T")
_encoder = msgspec.msgpack.Encoder()
_length = struct.Struct(">I")


def encode_frame(message: _Frame) -> bytes:
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
