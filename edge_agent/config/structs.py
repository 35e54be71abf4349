"""The tables of the site file, as frozen structs. `docs/site-file.md` explains each key."""

from enum import StrEnum
from typing import Literal

import msgspec

from shared.ids import SiteId, ZoneId
from shared.inventory import AcceptedFirmware, DeviceEntry, SimulatorSettings
from shared.telemetry import DeviceKind

SCHEMA = 1


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Unknown keys are refused everywhere in the site file."""


class HighLimits(Strict, frozen=True, kw_only=True):
    """Limits for a value that is dangerous when high: release < warn < shed < trip, with delays in s.

    `on_delay_s` is how long the value must stand above a limit before it counts, `off_delay_s` how long
    below `release` before the effect goes. `tighten` is by how much every limit stands closer while only
    one of several sensors is good (S05); needed where several feed these limits.
    """

    release: float
    warn: float
    shed: float
    trip: float
    on_delay_s: float
    off_delay_s: float
    tighten: float | None = None


class LowLimits(Strict, frozen=True, kw_only=True):
    """Limits for a value that is dangerous when low, the reverse: trip < shed < warn < release."""

    release: float
    warn: float
    shed: float
    trip: float
    on_delay_s: float
    off_delay_s: float
    tighten: float | None = None


class ZoneLimits(Strict, frozen=True, kw_only=True):
    """Limits of one zone: an air zone needs `inlet_air_c`, a hydro zone `water_c` and `flow_m3h`.

    `chip_temp_c` and `board_temp_c` are of each miner; all others are of the zone and fed by the sensors
    whose role says so. `water_min_c` is the low side of the same water.
    """

    chip_temp_c: HighLimits
    board_temp_c: HighLimits
    inlet_air_c: HighLimits | None = None
    water_c: HighLimits | None = None
    water_min_c: LowLimits | None = None
    flow_m3h: LowLimits | None = None
    pressure_pa: LowLimits | None = None
    dew_margin_c: LowLimits | None = None
    """Kelvin between the coldest surface (the water) and the dew point of the air around it."""


class PointRef(Strict, frozen=True, kw_only=True):
    """One point of one device."""

    device: str
    point: str


class SensorRole(StrEnum):
    """What a probe of a zone measures; decides which limits it feeds."""

    INLET_AIR = "inlet_air_c"
    WATER = "water_c"
    """Feeds `water_c` and `water_min_c`."""
    FLOW = "flow_m3h"
    PRESSURE = "pressure_pa"
    DEW = "dew_margin_c"
    """The point is the humidity; the air temperature is read from the same device."""


class ZoneSensor(Strict, frozen=True, kw_only=True):
    """One probe of a zone. Several of one role vote (S05)."""

    role: SensorRole
    device: str
    point: str


class Effect(StrEnum):
    """What a contact does while it is active."""

    ALARM = "alarm"
    INHIBIT = "inhibit"
    TRIP = "trip"


class FansAfterTrip(StrEnum):
    """What a contact's trip does to the zone's cooling: heat wants it on, fire wants it off."""

    ON = "on"
    LEAVE = "leave"
    OFF = "off"


class Contact(Strict, frozen=True, kw_only=True):
    """A discrete input: emergency stop, smoke, water on the floor, a door. Active reads 1.

    `on_unknown` is what happens when the input itself is not known any more; it may not do more than the
    input itself would. A trip also says what happens to the fans.
    """

    name: str
    device: str
    point: str
    effect: Effect
    on_unknown: Effect
    on_delay_s: float
    fans: FansAfterTrip | None = None


class CoolingProof(Strict, frozen=True, kw_only=True):
    """How cooling is proven by feedback: this device's point at or above `proven_above`.

    Cooling is *lost* when the point is below `lost_below` (or unknown) for `lost_after_s`, and *proven*
    when it is above `proven_above` for `proven_for_s`. Units are those of the point. `others` are further
    feedbacks of the same thing: they vote, and the worse of two counts (S05).
    """

    device: str
    point: str
    lost_below: float
    proven_above: float
    lost_after_s: float
    proven_for_s: float
    others: tuple[PointRef, ...] = ()


class CoolingActuator(Strict, frozen=True, kw_only=True):
    """A cooling set-point the guardian drives to its fail-safe value (cooling fails on, S11).

    `off` is what stands it still; needed where a contact's trip wants the fans off (smoke). `low` and `high`
    clamp every write after all other logic (S09); the device's profile clamps as well.
    """

    device: str
    point: str
    fail_safe: float
    low: float
    high: float
    off: float | None = None


class Zone(Strict, frozen=True, kw_only=True):
    """A container, room or aisle that shares air or water."""

    id: ZoneId
    cooling: str
    """`air` or `hydro`."""
    limits: ZoneLimits
    cooling_proof: CoolingProof
    cooling_actuators: tuple[CoolingActuator, ...] = ()
    sensors: tuple[ZoneSensor, ...] = ()
    contacts: tuple[Contact, ...] = ()
    bypass_key: PointRef | None = None
    """The maintenance key switch: one of the two facts of a bypass (S16)."""
    columns: int = 12
    """Slots per rack row, for the heat map only."""


class Rack(Strict, frozen=True, kw_only=True):
    """A rack of `rows` x `slots` places for machines; slots are counted from 1, the bottom row first.

    `position` is where slot 1 is (x, y, z in m, z up), `slot_m` the distance from one slot of a row to the
    next (m), which lies in the direction `along`, `row_m` that from one row to the one above it (m).
    """

    id: str
    zone: ZoneId
    position: tuple[float, float, float]
    rows: int
    slots: int
    slot_m: float
    row_m: float
    along: Literal["x", "-x", "y", "-y"] = "x"


class Site(Strict, frozen=True, kw_only=True):
    """Who this site is, and what it allows. What is allowed has no default."""

    id: SiteId
    name: str
    timezone: str
    ml_may_raise: bool
    ml_may_stop: bool
    """Whether a model or a schedule may switch a miner off."""
    remote_reset: bool
    action_limits: str
    """Name of the shipped profile that bounds models and schedules, or a path to an own one."""
    simulated: bool = False


class Paths(Strict, frozen=True, kw_only=True):
    """Folders and sockets. Relative paths start at the site file's folder."""

    guardian_state: str
    agent_state: str
    guardian_socket: str
    operator_socket: str
    keyring: str
    credentials_key: str
    """File with the master key of the guardian's credential store (systemd: LoadCredential)."""


class Timing(Strict, frozen=True, kw_only=True):
    """Our own waits, in seconds; all safety-relevant, so none has a default."""

    poll_s: float
    safety_poll_s: float
    """Cadence of the devices that decide trips by themselves: proofs, probes, contacts, meters of caps."""
    request_timeout_s: float
    stale_after_s: float
    """Older than this: inhibit, alarm after 30 s more."""
    lost_after_s: float
    """Older than this: unknown, counts as running and hot."""
    step_s: int
    lease_max_s: float
    lease_hold_s: float
    """T1: no lease for this long → hold."""
    lease_safe_s: float
    """T2: no lease for this long → safe set-points."""
    settle_s: float
    """How long readings are expected to be odd after a preset change or start."""
    stop_confirm_s: float
    write_confirm_s: float
    restart_after_stop_s: float
    """Least time between a stop and the start that follows (miners.md §5.7: 120 s)."""
    restart_window_s: float
    restart_power_pct: float
    """At most this share of the site's nominal power is started per window (S08: 5 % per 30 s)."""
    preset_dwell_s: float
    """Least time between two preset changes of one miner."""
    starts_per_hour: int
    """At most so many starts of one miner in an hour (S08)."""
    bypass_max_s: float
    """Longest life of a local bypass (S16)."""
    proof_test_every_s: float
    """How often every interlock is tested without acting (S24)."""


class Cadence(Strict, frozen=True, kw_only=True):
    """How often one group of devices is asked, in s: three cadences, by what is asked.

    A device is in the first group whose `zones`, `adapters` and `devices` all fit it; an empty one fits every
    device. *fast* is the read that control needs, *slow* boards and pools, *rare* what it is and its chips.
    """

    name: str
    zones: tuple[ZoneId, ...] = ()
    adapters: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    fast_s: float | None = None
    """Stands in for `timing.poll_s`; what decides trips keeps `timing.safety_poll_s`."""
    slow_s: float = 300.0
    rare_s: float = 600.0

    def fits(self, device: DeviceEntry) -> bool:
        """Whether the device may be in this group."""
        return (
            (not self.zones or device.zone in self.zones)
            and (not self.adapters or device.adapter in self.adapters)
            and (not self.devices or device.id in self.devices)
        )


class PowerCap(Strict, frozen=True, kw_only=True):
    """A limit on what a phase, a PDU, a feeder or the site draws (S18).

    The `points` are added up and compared with `limits`, in their unit (W or A). `zones` or `pdu` says whose
    load it is. `w_per_unit` turns the unit into watts of one miner (1 for W, the phase voltage for A).
    Raises stop where the measured value with everything in flight would pass `warn`.
    """

    id: str
    points: tuple[PointRef, ...]
    limits: HighLimits
    w_per_unit: float
    ramp_w_per_min: float
    """Load may rise at most this fast below this cap."""
    zones: tuple[ZoneId, ...] = ()
    pdu: str | None = None


class MainsStage(Strict, frozen=True, kw_only=True):
    """What happens while the UPS carries the site and promises less than `runtime_below_s`."""

    runtime_below_s: float
    stop: bool
    """False: miners go to their `safe_preset`; true: they stop."""


class Mains(Strict, frozen=True, kw_only=True):
    """The UPS that tells whether mains are there. `stages` by falling runtime."""

    device: str
    on_battery_point: str
    runtime_point: str
    on_delay_s: float
    restore_after_s: float
    """Mains must be back for this long before anything is restored."""
    stages: tuple[MainsStage, ...]


class Curtailment(Strict, frozen=True, kw_only=True):
    """How power orders are carried out and proven. Without this table they are refused.

    `meter` points are added up (W). A target counts as met at or below it plus the larger of `within_pct`
    of it and `within_w` (plant.md §5: ±2 % or ±50 kW) for `confirm_for_s`.
    """

    meter: tuple[PointRef, ...]
    within_pct: float
    within_w: float
    confirm_for_s: float
    restore_jitter_s: float
    """Restarts are spread at random over so many seconds."""


class Uplink(Strict, frozen=True, kw_only=True):
    """The agent's way to the cloud."""

    broker_host: str
    broker_port: int
    keep_alive_s: int = 20
    username: str | None = None
    password_file: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    model_url: str | None = None
    """HTTPS base of the cloud, for model files; without it they come in chunks over MQTT."""


class AgentSettings(Strict, frozen=True, kw_only=True):
    """What only the agent needs."""

    status_port: int
    """Loopback port of the local status page."""
    shadow_cycles: int
    score_every_s: float
    raw_keep_mb: int = 2048
    raw_keep_days: float = 14.0
    """Age second: a device's profile may say otherwise for its kind."""
    outbox_keep_mb: int = 512
    outbox_keep_days: float = 90.0
    """What the cloud has not confirmed for so long is given up, events excepted."""
    flush_every_s: float = 2.0
    model_budget_ms: float = 1000.0
    """What scoring all miners once may take, as p99; a model that needs more goes back by itself."""
    confirm_within_s: float = 3600.0
    """A model that was swapped in must have proved itself within this time, or it goes back."""


class SiteFile(Strict, frozen=True, kw_only=True):
    """The whole site file, checked."""

    schema: int
    site: Site
    paths: Paths
    timing: Timing
    uplink: Uplink
    agent: AgentSettings
    zones: tuple[Zone, ...]
    devices: tuple[DeviceEntry, ...]
    cadences: tuple[Cadence, ...] = ()
    racks: tuple[Rack, ...] = ()
    power_caps: tuple[PowerCap, ...] = ()
    mains: Mains | None = None
    curtailment: Curtailment | None = None
    firmware_accepted: tuple[AcceptedFirmware, ...] = ()
    simulator: SimulatorSettings | None = None

    def zone(self, zone: ZoneId) -> Zone:
        """The zone of that id; KeyError where there is none."""
        for entry in self.zones:
            if entry.id == zone:
                return entry
        raise KeyError(zone)

    def cadence_of(self, device: DeviceEntry) -> Cadence | None:
        """The group that the device is in, or None: then the plain cadences count."""
        return next((group for group in self.cadences if group.fits(device)), None)

    def fast_s(self, device: DeviceEntry) -> float:
        """How often the device is read (s), before profiles and interlocks have their say."""
        group = self.cadence_of(device)
        own_s = group.fast_s if group is not None else None
        return device.poll_s or own_s or self.timing.poll_s

    @property
    def miners(self) -> tuple[DeviceEntry, ...]:
        return tuple(device for device in self.devices if device.kind is DeviceKind.MINER)
