"""What reaches the arbiter, what it may look at, and how it refuses. Values only."""

import math
from collections.abc import Mapping
from enum import StrEnum

import msgspec

from edge_agent.config import CoolingActuator, Timing
from edge_agent.guardian.action_limits import ActionLimits
from edge_agent.ipc import Mode
from shared.capabilities import DeviceFacts
from shared.commands import AnyAction, ModelRef, Priority
from shared.ids import CommandId, DeviceId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import MinerState

SETTLING = "settling after a change"
"""The one inhibit that a permit brings about itself; it is told only where nothing else stands (S10)."""


class _Value(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the arbiter's values."""


class Source(StrEnum):
    """Who asks; for the journal and for the few rules that depend on it."""

    INTERLOCK = "interlock"
    RESTART = "restart"
    BASELINE = "baseline"
    ESCALATION = "escalation"
    ORDER = "order"
    POLICY = "policy"
    ROLLBACK = "rollback"
    """The guardian takes back what led to a limit."""

    @property
    def is_own(self) -> bool:
        """The guardian itself, not an agent, a cloud or a person: its values are clamped, not refused."""
        return self not in (Source.ORDER, Source.POLICY)


class Request(_Value, frozen=True, kw_only=True):
    """One action that somebody wants. `id` groups the writes of one proposal or order."""

    id: CommandId
    action: AnyAction
    priority: Priority
    source: Source
    why: str
    model: ModelRef | None = None
    confidence: float | None = None
    ttl_left_s: float = math.inf


class DeviceView(_Value, frozen=True, kw_only=True):
    """One device as last seen; None is unknown and counts as running, hot and at full power."""

    entry: DeviceEntry
    facts: DeviceFacts | None = None
    age_s: float = math.inf
    state: MinerState | None = None
    preset: str | None = None
    chip_c: float | None = None
    points: dict[str, float] = {}
    inhibited: str | None = None
    latched: bool = False
    stopped_for_s: float | None = None
    """How long it has been seen stopped; None where it was not."""
    busy: Priority | None = None
    """Priority of the write in flight."""
    busy_stop: bool = False
    """Whether it stops mining."""
    busy_with: str = ""
    """Whose it is and what it does, in words."""


class CapView(_Value, frozen=True, kw_only=True):
    """One power cap as the arbiter sees it, all in watts of the miners behind it.

    `room_w` is what may still be raised before `warn`: None where the meter is unknown.
    """

    id: str
    devices: frozenset[DeviceId]
    room_w: float | None
    ramp_w_per_min: float


class Claim(_Value, frozen=True, kw_only=True):
    """Who holds a device, or a zone's cooling, until its proposal or order has its result."""

    id: CommandId
    priority: Priority
    words: str


class ZoneView(_Value, frozen=True, kw_only=True):
    """One zone as the core left it, with its cooling actuators by (device, point).

    `chip_c` is the hottest chip that a running miner tells (°C), `swing_k` by how much the zone's voted
    temperature moved within the action limits' window (K); None is unknown, and forbids less cooling.
    """

    mode: Mode
    cooling_proven: bool
    tripped: bool
    hydro: bool = False
    cooling: dict[tuple[DeviceId, str], CoolingActuator] = {}
    chip_c: float | None = None
    swing_k: float | None = None


class Raise(_Value, frozen=True, kw_only=True):
    """A permitted raise that the meters may not show before `settle_s` have passed (S18)."""

    at_s: float
    device: DeviceId
    watts: float
    settle_s: float


class Memory(_Value, frozen=True, kw_only=True):
    """What rate limits remember, in s of the monotonic clock; commands in flight count as applied."""

    preset_at: dict[DeviceId, float] = {}
    starts: tuple[tuple[float, float], ...] = ()
    """(when, nominal W) of permitted starts inside the restart window."""
    starts_of: dict[DeviceId, tuple[float, ...]] = {}
    """When each miner was started inside the last hour."""
    raises: tuple[Raise, ...] = ()
    changed_at: dict[DeviceId, float] = {}
    """When each miner was last told another hashrate: a preset, a stop or a start, by whomever."""
    cooled_at: dict[ZoneId, tuple[float, CommandId]] = {}
    """When each zone's cooling was last told something, and by which request."""


class Context(_Value, frozen=True, kw_only=True):
    """Everything the arbiter may look at. `now_s` is monotonic and only compared, never read anew."""

    now_s: float
    timing: Timing
    ml_may_raise: bool
    ml_may_stop: bool
    limits: ActionLimits
    site_nominal_w: float
    devices: Mapping[DeviceId, DeviceView]
    zones: Mapping[ZoneId, ZoneView]
    memory: Memory
    lease_overdue_s: float
    active_model: ModelRef | None
    journal_ok: bool
    caps: tuple[CapView, ...] = ()
    claims: Mapping[DeviceId, Claim] = {}
    cooling_claims: Mapping[ZoneId, Claim] = {}


class RefusalKind(StrEnum):
    """What sort of limit stood against a request; refusals are counted by it."""

    UNKNOWN = "unknown device or ability"
    INVALID = "impossible value"
    EXPIRED = "not fresh"
    NEEDLESS = "nothing to change"
    CONFLICT = "conflict"
    AUTHORITY = "no say in this mode"
    MODEL = "model"
    LIMIT = "action limit"
    RAISE = "raise not allowed"
    CAP = "power cap"
    RATE = "too fast"


class Refusal(_Value, frozen=True, kw_only=True):
    """Why nothing may be written: every limit that stands against it, as sentences."""

    request: Request
    violations: tuple[str, ...]
    kinds: tuple[RefusalKind, ...] = ()
