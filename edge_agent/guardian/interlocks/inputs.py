"""What goes into a zone's step and what comes out of it."""

import math
from enum import StrEnum

import msgspec

from edge_agent.ipc import ZoneStatus
from shared.alarms import EventKind, Severity
from shared.commands import AnyAction, Priority
from shared.ids import DeviceId, ZoneId
from shared.telemetry import MinerState


class Frozen(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the core's values."""


class Commanded(Frozen, frozen=True, kw_only=True):
    """A permit that went out since the last step: readings may be odd for `settle_s`."""

    settle_s: float
    start: bool = False


class MinerInput(Frozen, frozen=True, kw_only=True):
    """One miner as last seen. `age_s` is inf where it was never heard since the guardian started.

    Temperatures are the maxima over usable readings in °C; None is unknown, never 0.
    """

    device: DeviceId
    age_s: float = math.inf
    state: MinerState | None = None
    chip_c: float | None = None
    board_c: float | None = None
    commanded: tuple[Commanded, ...] = ()

    @property
    def draws_power(self) -> bool:
        """Unknown counts as drawing power."""
        return self.state is None or self.state.draws_power


class ModelClaim(StrEnum):
    """How far a verified model assignment goes on this site right now."""

    NONE = "none"
    SHADOW = "shadow"
    ACTIVE = "active"


class ZoneInput(Frozen, frozen=True, kw_only=True):
    """One zone at one step. `cooling_value` is None where the proof is unknown or stale."""

    miners: tuple[MinerInput, ...]
    cooling_value: float | None
    cooling_at_fail_safe: tuple[bool, ...] = ()
    """Per cooling actuator of the zone: whether it reads its fail-safe value now."""
    lease_overdue_s: float = 0.0
    model: ModelClaim = ModelClaim.NONE
    at_ms: int = 0
    """UTC, only to name and date a trip; nothing is decided with it."""


class DemandKind(StrEnum):
    """What the core wants done, level by level: repeated each step until it is seen to be so."""

    STOP = "stop"
    LOWER = "lower"
    SAFE_PRESET = "safe-preset"
    START = "start"
    COOLING = "cooling"


class Demand(Frozen, frozen=True, kw_only=True):
    """One wish of the core. LOWER and SAFE_PRESET name no preset: ladders are the arbiter's."""

    kind: DemandKind
    device: DeviceId
    priority: Priority
    why: str
    action: AnyAction | None = None


class Finding(Frozen, frozen=True, kw_only=True):
    """Something to journal and to tell people; the journal stamps id and time on it."""

    kind: EventKind
    severity: Severity
    key: str
    title: str
    advice: str = ""
    zone: ZoneId | None = None
    device: DeviceId | None = None
    data: dict[str, str | int | float | bool | None] = {}


class ZoneOutputs(Frozen, frozen=True, kw_only=True):
    """What one step of a zone wants and knows."""

    demands: tuple[Demand, ...]
    status: ZoneStatus
    durable: bool
    """Something changed that must survive a power cut."""
