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
    shed_stop: bool = False
    """A shed at the bottom of the ladder: it comes back with the zone's restart once it was seen stopped."""


class MinerInput(Frozen, frozen=True, kw_only=True):
    """One miner as last seen. `age_s` is inf where it was never heard since the guardian started.

    Temperatures are the maxima over usable readings in °C; None is unknown, never 0.
    """

    device: DeviceId
    age_s: float = math.inf
    state: MinerState | None = None
    chip_c: float | None = None
    board_c: float | None = None
    power_w: float | None = None
    hashrate_ths: float | None = None
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


class SensorInput(Frozen, frozen=True, kw_only=True):
    """One probe of a zone at one step; `value` is None where it is unknown, stale or bad."""

    device: DeviceId
    value: float | None


class ContactInput(Frozen, frozen=True, kw_only=True):
    """One contact at one step; `active` is None where the input is not known."""

    name: str
    active: bool | None


class FeederClaim(Frozen, frozen=True, kw_only=True):
    """What one power cap of the site wants of a zone; worked out by the site's step before the zones'.

    `miners` None: the whole zone. `lower` are the miners to lower now, worst first. `trip` is the first
    condition, in words, where the cap's trip limit is exceeded; `cause` whether it still is.
    """

    cap: str
    miners: frozenset[DeviceId] | None = None
    inhibit: str | None = None
    """Why nothing may be raised (above `warn`, or the meter is unknown); None where nothing stands."""
    lower: tuple[DeviceId, ...] = ()
    trip: str | None = None
    cause: bool = False


class MainsClaim(StrEnum):
    """What the loss of mains asks of every zone."""

    NONE = "none"
    HOLD = "hold"
    """On battery: nothing is raised."""
    SAFE_PRESET = "safe-preset"
    STOP = "stop"


class ZoneInput(Frozen, frozen=True, kw_only=True):
    """One zone at one step. `cooling_value` is None where the proof is unknown or stale."""

    miners: tuple[MinerInput, ...]
    cooling_value: float | None
    cooling_others: tuple[float | None, ...] = ()
    """Further feedbacks of the same cooling, in the order of the site file."""
    cooling_points: tuple[float | None, ...] = ()
    """Per cooling actuator of the zone: what it reads now."""
    cooling_at_fail_safe: tuple[bool, ...] = ()
    """Per cooling actuator of the zone: whether it reads its fail-safe value now."""
    cooling_at_off: tuple[bool, ...] = ()
    """The same for its `off` value; false where it has none."""
    sensors: dict[str, tuple[SensorInput, ...]] = {}
    """Role → its probes, in the order of the site file; those of `dew_margin_c` already as margins (K)."""
    contacts: tuple[ContactInput, ...] = ()
    bypass_key: bool | None = None
    feeders: tuple[FeederClaim, ...] = ()
    mains: MainsClaim = MainsClaim.NONE
    held: frozenset[DeviceId] = frozenset()
    """Miners that a power order keeps stopped: they are not restarted."""
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
