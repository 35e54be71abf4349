"""The state of a zone's core: everything that a step remembers, and what of it survives a restart."""

from enum import StrEnum

import msgspec

from edge_agent.config import SensorRole
from edge_agent.guardian.interlocks.bypass import NONE, Bypasses
from edge_agent.guardian.interlocks.contacts import ContactTrack
from edge_agent.guardian.interlocks.cooling import UNPROVEN, Cooling
from edge_agent.guardian.interlocks.inputs import FeederClaim, MainsClaim
from edge_agent.guardian.interlocks.levels import CLEAR, Standing
from edge_agent.guardian.interlocks.probes import Group
from edge_agent.guardian.interlocks.proof import UNTOLD, Proof
from edge_agent.guardian.interlocks.stale import UNSEEN, Watch
from edge_agent.ipc import Mode, TripInfo
from shared.ids import DeviceId, ZoneId

ZONE_COOLING = "cooling-lost"
ZONE_HOT = "several-hot"
ZONE_BLIND = "all-sensors-bad"
CHIP = "chip-temp"
BOARD = "board-temp"
DAMAGED = "latch-file"
"""Further interlocks of a zone are named by what they are of: limits of its probes (`inlet_air_c`),
`contact/<name>`, `cap/<id>`."""

CAP = "cap/"


class SafeWhy(StrEnum):
    """Why a zone is in SAFE; decides what the baseline does and how the zone leaves it."""

    START = "start"
    LEASE = "lease"
    STOP = "stop"
    RESET = "reset"

    @property
    def words(self) -> str:
        """Why, and how it goes on, for people."""
        return {
            SafeWhy.START: "the guardian has started; goes on by itself once cooling is proven",
            SafeWhy.LEASE: "the agent is silent; goes on by itself once it is back and cooling is proven",
            SafeWhy.STOP: "stopped by a safe-stop; stands until a person hands it back",
            SafeWhy.RESET: "reset or handed back; goes on by itself once cooling is proven",
        }[self]


class Trip(msgspec.Struct, frozen=True, kw_only=True):
    """One latch. `device` None: the whole zone is tripped; else that miner only."""

    id: str
    interlock: str
    at_ms: int
    first_out: str
    device: DeviceId | None = None
    cause_present: bool = True

    def info(self, zone: ZoneId) -> TripInfo:
        """As the sockets tell it."""
        return TripInfo(
            id=self.id,
            zone=zone,
            interlock=self.interlock,
            at_ms=self.at_ms,
            first_out=self.first_out,
            cause_present=self.cause_present,
            device=self.device,
        )


class MinerTrack(msgspec.Struct, frozen=True):
    """What is remembered of one miner."""

    watch: Watch = UNSEEN
    chip: Standing = CLEAR
    board: Standing = CLEAR
    settle_left_s: float = 0.0
    firmware_settling: bool = False
    """The firmware itself said so at the last step; a new settling state opens a window."""
    shed_wait_s: float = 0.0
    """Until the next step down may be asked for."""
    heard: bool = False
    stopped: bool = False
    """Seen stopped, and not seen drawing power since."""
    over_trip_s: float = -1.0
    """Seconds since it last tripped by itself; negative: never."""
    starts: int = 0
    """Starts that were permitted and not yet confirmed."""
    shed_stop_s: float = 0.0
    """For how much longer a stop that is seen counts as that of a shed, which ends by itself."""
    left: bool = False
    """Somebody else stopped it, or is about to: the guardian's restart does not start it."""


NEW_MINER = MinerTrack()


class ZoneState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one zone remembers between steps."""

    mode: Mode = Mode.SAFE
    safe_why: SafeWhy = SafeWhy.START
    cooling: Cooling = UNPROVEN
    miners: dict[DeviceId, MinerTrack] = {}
    trips: tuple[Trip, ...] = ()
    pending: tuple[DeviceId, ...] = ()
    """Miners that the guardian stopped and will start again."""
    starting: tuple[DeviceId, ...] = ()
    """Those of `pending` whose start was permitted and not yet confirmed."""
    batch: int = 0
    """Starts confirmed since the last batch was told."""
    batches: int = 0
    """Batches told since the zone entered SAFE."""
    blind_for_s: float = 0.0
    silent_for_s: float = 0.0
    silent_alarmed: bool = False
    proof: Proof = UNTOLD
    probes: dict[SensorRole, Group] = {}
    contacts: dict[str, ContactTrack] = {}
    bypasses: Bypasses = NONE
    feeders: tuple[FeederClaim, ...] = ()
    """What the power caps wanted at this step."""
    mains: MainsClaim = MainsClaim.NONE

    @property
    def zone_trips(self) -> tuple[Trip, ...]:
        return tuple(trip for trip in self.trips if trip.device is None)

    @property
    def latched(self) -> frozenset[DeviceId]:
        return frozenset(trip.device for trip in self.trips if trip.device is not None)


class Durable(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a zone's state that survives a restart and a power cut (S07)."""

    mode: Mode = Mode.SAFE
    safe_why: SafeWhy = SafeWhy.START
    trips: tuple[Trip, ...] = ()
    pending: tuple[DeviceId, ...] = ()


def durable(state: ZoneState) -> Durable:
    """What must be on disk for this state. Model modes are not kept: the agent claims them again."""
    keeps = state.mode in (Mode.MANUAL, Mode.TRIPPED) or (
        state.mode is Mode.SAFE and state.safe_why in (SafeWhy.STOP, SafeWhy.RESET)
    )
    return Durable(
        mode=state.mode if keeps else Mode.SAFE,
        safe_why=state.safe_why if keeps else SafeWhy.START,
        trips=state.trips,
        pending=state.pending,
    )


def restored(kept: Durable) -> ZoneState:
    """The state to start from: what was kept, with nothing proven and every miner unseen."""
    tripped = any(trip.device is None for trip in kept.trips)
    return ZoneState(
        mode=Mode.TRIPPED if tripped else kept.mode,
        safe_why=kept.safe_why,
        trips=tuple(msgspec.structs.replace(trip, cause_present=True) for trip in kept.trips),
        pending=kept.pending,
    )
