"""What reaches the arbiter, what it may look at, and how it refuses. Values only."""

import math
from collections.abc import Mapping
from enum import StrEnum

import msgspec

from edge_agent.config import Timing
from edge_agent.ipc import Mode
from shared.capabilities import DeviceFacts
from shared.commands import AnyAction, ModelRef, Priority
from shared.ids import CommandId, DeviceId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import MinerState


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
    points: dict[str, float] = {}
    inhibited: str | None = None
    latched: bool = False
    stopped_for_s: float | None = None
    """How long it has been seen stopped; None where it was not."""
    busy: Priority | None = None
    """Priority of the write in flight."""


class CapView(_Value, frozen=True, kw_only=True):
    """One power cap as the arbiter sees it, all in watts of the miners behind it.

    `room_w` is what may still be raised before `warn`: None where the meter is unknown.
    """

    id: str
    devices: frozenset[DeviceId]
    room_w: float | None
    ramp_w_per_min: float


class ZoneView(_Value, frozen=True, kw_only=True):
    """One zone as the core left it. `fail_safe` is (device, point) → value of its cooling actuators."""

    mode: Mode
    cooling_proven: bool
    tripped: bool
    hydro: bool = False
    fail_safe: dict[tuple[DeviceId, str], float] = {}


class Memory(_Value, frozen=True, kw_only=True):
    """What rate limits remember, in s of the monotonic clock; commands in flight count as applied."""

    preset_at: dict[DeviceId, float] = {}
    starts: tuple[tuple[float, float], ...] = ()
    """(when, nominal W) of permitted starts inside the restart window."""
    starts_of: dict[DeviceId, tuple[float, ...]] = {}
    """When each miner was started inside the last hour."""
    raises: tuple[tuple[float, DeviceId, float], ...] = ()
    """(when, device, W) of raises that the meters may not show yet (S18)."""
    points_at: dict[tuple[DeviceId, str], tuple[float, float]] = {}
    """(device, point) → (when, value before) of the last change by a model or schedule."""


class Context(_Value, frozen=True, kw_only=True):
    """Everything the arbiter may look at. `now_s` is monotonic and only compared, never read anew."""

    now_s: float
    timing: Timing
    ml_may_raise: bool
    site_nominal_w: float
    devices: Mapping[DeviceId, DeviceView]
    zones: Mapping[ZoneId, ZoneView]
    memory: Memory
    lease_overdue_s: float
    active_model: ModelRef | None
    journal_ok: bool
    caps: tuple[CapView, ...] = ()


class Refusal(_Value, frozen=True, kw_only=True):
    """Why nothing may be written: every limit that stands against it, as sentences."""

    request: Request
    violations: tuple[str, ...]
