"""What goes wrong in the closed loop: components, sensors, links, firmware (miners.md §1.7), people, mains.

A fault is a function that begins it on targets of its own choice and returns how it ends. `HINDERS` says
which of them keep a miner from obeying: the monitor does not hold the guardian to what a machine refuses,
but still to asking, asking again, and cutting its outlet.
"""

import random
from collections import Counter
from collections.abc import Callable

import msgspec

from edge_agent.config import SiteFile
from firmware_adapters.miners.vnish.emulator_settings import Switcher
from firmware_adapters.simulator.plant_build import BuiltPlant
from shared.clock import ManualClock
from shared.ids import DeviceId
from shared.plant import FaultName
from shared.plant.weather import constant_weather
from support import closed_loop_devices as lies
from support.closed_loop_devices import Devices, Lie
from support.closed_loop_miners import SoakMiner
from support.closed_loop_site import CONTACTS, FEEDS, HYDRO, change_weather, drives

End = Callable[[], None]


class Stage:
    """What faults may touch: plant, devices, disk and clock of one episode."""

    def __init__(
        self, site: SiteFile, built: BuiltPlant, devices: Devices, clock: ManualClock, rng: random.Random
    ) -> None:
        self.site = site
        self.built = built
        self.plant = built.plant
        self.devices = devices
        self.clock = clock
        self.rng = rng
        self.hindered: Counter[DeviceId] = Counter()
        self.dishonest: Counter[DeviceId] = Counter()
        self.disk_full = False
        self.crash_wanted = False
        self.focus: str | None = None
        """Faults of miners fall on this zone only; None: anywhere."""

    def miner(self, *, zone: str | None = None) -> SoakMiner:
        """Any miner, or one of `zone`."""
        wanted = zone or self.focus
        return self.rng.choice(
            [m for m in self.devices.miners.values() if wanted is None or m.entry.zone == wanted]
        )

    def hinder(self, device: DeviceId) -> End:
        """The machine does not do what it is told for a while."""
        self.hindered[device] += 1

        def end() -> None:
            self.hindered[device] -= 1

        return end

    def lie(self, device: DeviceId, name: str, lie: Lie) -> End:
        """Put a lie between a device and its samples; the same lie twice counts once."""
        told = self.devices.lies.setdefault(device, {})
        told[name] = lie
        self.dishonest[device] += 1

        def end() -> None:
            told.pop(name, None)
            self.dishonest[device] -= 1

        return end


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of fault: how it begins, how long it lasts (s), and how often it is drawn."""

    name: str
    begin: Callable[[Stage], End]
    lasts_s: tuple[float, float]
    weight: float
    group: str


FAULTS: dict[str, Fault] = {}


def _fault(
    group: str, lasts_s: tuple[float, float], weight: float = 1.0
) -> Callable[[Callable[[Stage], End]], Callable[[Stage], End]]:
    def add(begin: Callable[[Stage], End]) -> Callable[[Stage], End]:
        name = begin.__name__.replace("_", "-")
        FAULTS[name] = Fault(name=name, begin=begin, lasts_s=lasts_s, weight=weight, group=group)
        return begin

    return add


def both(*ends: End) -> End:
    """End several things."""

    def end() -> None:
        for each in ends:
            each()

    return end


def nothing() -> None:
    """A fault that is over as soon as it happened."""


def _plant(stage: Stage, name: FaultName, target: int, *, part: int | None = None) -> End:
    severity, ramp_s = stage.rng.choice((0.4, 0.7, 1.0)), stage.rng.choice((0.0, 30.0, 300.0))
    stage.plant.inject(name, target, severity, ramp_s=ramp_s, part=part)
    return lambda: stage.plant.clear(name, target, part=part)


# ---------------------------------------------------------------- components


@_fault("component", (120, 1200), 2.0)
def fan_failure(stage: Stage) -> End:
    """One fan of a miner, or all of them, wear out."""
    part = stage.rng.choice((None, 0, 1))
    zone = stage.rng.choice([zone for zone in FEEDS if zone != HYDRO])
    return _plant(stage, FaultName.FAN_WEAR, stage.miner(zone=zone).index, part=part)


@_fault("component", (120, 1800), 2.0)
def clogged_filter(stage: Stage) -> End:
    """Dust: half the air and a worse way from board to air."""
    return _plant(stage, FaultName.DUST, stage.miner().index)


@_fault("component", (60, 900))
def dying_board(stage: Stage) -> End:
    return _plant(stage, FaultName.BOARD_DYING, stage.miner().index)


@_fault("component", (30, 300))
def dead_supply(stage: Stage) -> End:
    miner = stage.miner()
    return both(_plant(stage, FaultName.PSU, miner.index), stage.hinder(miner.entry.id))


@_fault("component", (60, 1200))
def stuck_board_sensor(stage: Stage) -> End:
    """The board's own sensors freeze: the firmware is misled as well."""
    miner = stage.miner()
    end = _plant(stage, FaultName.SENSOR_STUCK, miner.index)
    stage.dishonest[miner.entry.id] += 1

    def ends() -> None:
        end()
        stage.dishonest[miner.entry.id] -= 1

    return ends


@_fault("component", (10, 200))
def cable_out(stage: Stage) -> End:
    miner = stage.miner()
    severity_end = _plant(stage, FaultName.NETWORK_DROP, miner.index)
    return both(severity_end, stage.hinder(miner.entry.id))


@_fault("component", (20, 240), 0.5)
def fan_wall_stopped(stage: Stage) -> End:
    zone = stage.rng.choice([zone for zone in FEEDS if zone != HYDRO])
    return _plant(stage, FaultName.EXHAUST_FAN_STOPPED, stage.built.zones[zone])


@_fault("component", (60, 900))
def pad_pump_stopped(stage: Stage) -> End:
    zone = stage.rng.choice([zone for zone in FEEDS if zone != HYDRO])
    return _plant(stage, FaultName.PAD_PUMP_STOPPED, stage.built.zones[zone])


@_fault("component", (20, 240), 0.4)
def loop_pump_stopped(stage: Stage) -> End:
    return _plant(stage, FaultName.COOLANT_FLOW_LOST, stage.built.zones[HYDRO])


@_fault("component", (300, 1800), 0.7)
def heat_wave(stage: Stage) -> End:
    before = stage.plant.spec.weather
    change_weather(
        stage.plant, constant_weather(stage.rng.uniform(38.0, 49.0), stage.rng.uniform(10.0, 60.0))
    )
    return lambda: change_weather(stage.plant, before)


@_fault("mains", (10, 120), 0.15)
def mains_lost(stage: Stage) -> End:
    """Everything stands still; when power comes back every miner boots and mines (miners.md §1.6)."""
    stage.plant.set_grid(on=False)
    ends = [stage.hinder(device) for device in stage.devices.miners]

    def end() -> None:
        stage.plant.set_grid(on=True)
        both(*ends)()

    return end


# ---------------------------------------------------------------- sensors and samples


@_fault("sensor", (60, 1500))
def frozen_sensor(stage: Stage) -> End:
    return stage.lie(stage.miner().entry.id, "frozen", lies.frozen())


@_fault("sensor", (300, 3000))
def drift(stage: Stage) -> End:
    rate = stage.rng.choice((-120.0, -40.0, 40.0, 120.0))
    return stage.lie(stage.miner().entry.id, "drift", lies.drifting(rate, stage.clock.monotonic()))


@_fault("sensor", (30, 400), 2.0)
def spike(stage: Stage) -> End:
    share = stage.rng.choice((0.05, 0.3, 1.0))
    return stage.lie(stage.miner().entry.id, "spike", lies.spiking(stage.rng, share))


@_fault("sensor", (60, 900))
def swapped_sensors(stage: Stage) -> End:
    one, other = stage.miner(), stage.miner()
    fleet = stage.devices.fleet
    return both(
        stage.lie(one.entry.id, "swap", lies.swapped_with(lambda: fleet.observation(other.index))),
        stage.lie(other.entry.id, "swap", lies.swapped_with(lambda: fleet.observation(one.index))),
    )


@_fault("sensor", (30, 600))
def unit_error(stage: Stage) -> End:
    """A firmware that tells °F."""
    return stage.lie(stage.miner().entry.id, "fahrenheit", lies.fahrenheit)


@_fault("link", (30, 400), 2.0)
def dropped_samples(stage: Stage) -> End:
    share = stage.rng.choice((0.3, 0.7, 1.0))
    zone = stage.rng.choice((None, None, None, *FEEDS))
    some = (
        [stage.miner()]
        if zone is None
        else [m for m in stage.devices.miners.values() if m.entry.zone == zone]
    )
    return both(*(stage.lie(m.entry.id, "drop", lies.dropping(stage.rng, share)) for m in some))


@_fault("link", (30, 400))
def delayed_samples(stage: Stage) -> End:
    device = stage.miner().entry.id
    stage.devices.late_s[device] = stage.rng.choice((2.0, 7.0, 30.0))
    stage.dishonest[device] += 1

    def end() -> None:
        stage.devices.late_s.pop(device, None)
        stage.dishonest[device] -= 1

    return end


@_fault("link", (5, 60), 0.5)
def equipment_silent(stage: Stage) -> End:
    """A drive, a probe, inputs, the PDU or the meter does not answer."""
    device = stage.rng.choice(list(stage.devices.gear))
    stage.devices.silent.add(device)
    return lambda: stage.devices.silent.discard(device)


@_fault("link", (10, 120), 0.2)
def network_of_a_zone_down(stage: Stage) -> End:
    zone = stage.rng.choice(list(FEEDS))
    inside = [entry.id for entry in stage.site.devices if entry.zone == zone]
    stage.devices.silent.update(inside)
    ends = [stage.hinder(device) for device in inside]

    def end() -> None:
        stage.devices.silent.difference_update(inside)
        both(*ends)()

    return end


@_fault("sensor", (10, 120), 0.5)
def equipment_lies(stage: Stage) -> End:
    """Probes, proofs and meters spike, freeze or lose samples."""
    device = stage.rng.choice(list(stage.devices.gear))
    kinds: list[tuple[str, Lie]] = [
        ("frozen", lies.frozen()),
        ("drop", lies.dropping(stage.rng, 0.5)),
        ("nan", lambda seen, _now: lies.changed(seen, lambda _: float("nan"), tuple(seen.readings))),
        ("high", lambda seen, _now: lies.changed(seen, lambda _: 1e9, tuple(seen.readings))),
    ]
    name, lie = stage.rng.choice(kinds)
    return stage.lie(device, name, lie)


@_fault("equipment", (60, 600), 0.5)
def drive_ignores_writes(stage: Stage) -> End:
    zone = stage.rng.choice(list(FEEDS))
    device = DeviceId(stage.rng.choice(drives(zone)))
    stage.devices.ignores.add(device)
    return lambda: stage.devices.ignores.discard(device)


@_fault("equipment", (30, 300), 0.3)
def outlet_ignores_writes(stage: Stage) -> End:
    stage.devices.ignores.add(DeviceId("pdu-1"))
    return lambda: stage.devices.ignores.discard(DeviceId("pdu-1"))


# ---------------------------------------------------------------- contacts, people, disk


@_fault("contact", (5, 60), 0.3)
def contact_closed(stage: Stage) -> End:
    """Emergency stop, smoke, leak or door."""
    inputs = stage.devices.gear[DeviceId(f"io-{stage.rng.choice(list(FEEDS))}")]
    _, point, *_ = stage.rng.choice(CONTACTS)
    inputs.contacts[point] = 1.0
    return lambda: inputs.contacts.pop(point, None) and None


@_fault("person", (1, 1), 1.0)
def started_by_hand(stage: Stage) -> End:
    """Somebody starts a machine at its own web page, whatever the guardian thinks of it."""
    stage.miner().by_hand("/mining/start")
    return nothing


@_fault("person", (1, 1), 0.5)
def stopped_by_hand(stage: Stage) -> End:
    stage.miner().by_hand("/mining/stop")
    return nothing


@_fault("guardian", (20, 200), 0.5)
def disk_full(stage: Stage) -> End:
    stage.disk_full = True

    def end() -> None:
        stage.disk_full = False

    return end


@_fault("guardian", (1, 1), 0.8)
def guardian_killed(stage: Stage) -> End:
    stage.crash_wanted = True
    return nothing


@_fault("guardian", (1, 1), 0.3)
def wall_clock_jumps(stage: Stage) -> End:
    stage.clock.step_wall(stage.rng.choice((-86_400_000, 86_400_000, 3_600_000, -1)))
    return nothing


# ---------------------------------------------------------------- firmware (miners.md §1.7)


def _trap(stage: Stage, miner: SoakMiner, **traps: object) -> End:
    miner.trap(**traps)
    stage.dishonest[miner.entry.id] += 1

    def end() -> None:
        miner.trap()
        stage.dishonest[miner.entry.id] -= 1

    return end


@_fault("firmware", (30, 300), 2.0)
def empty_200(stage: Stage) -> End:
    """Commands are accepted with an empty body and nothing happens."""
    miner = stage.miner()
    miner.witness.deaf = frozenset({"stop", "start", "preset", "restart"})

    def end() -> None:
        miner.witness.deaf = frozenset()

    return both(end, stage.hinder(miner.entry.id))


@_fault("firmware", (1, 1), 2.0)
def state_conflict_500(stage: Stage) -> End:
    """The machine has just done what it will be told: every command for that is a 500."""
    miner = stage.miner()
    stopped = not miner.witness.view().state.draws_power
    miner.by_hand("/mining/start" if stopped else "/mining/stop")
    return nothing


@_fault("firmware", (60, 600))
def session_401(stage: Stage) -> End:
    """Sessions are forgotten in mid-run."""
    return _trap(stage, stage.miner(), drop_session_every=stage.rng.choice((2, 3, 5)))


@_fault("firmware", (30, 300))
def lockout_429(stage: Stage) -> End:
    """The login is locked and the machine says for how long: nothing can be written meanwhile."""
    miner = stage.miner()
    trap = _trap(stage, miner, lockout_s=60, drop_session_every=1)
    hinder = stage.hinder(miner.entry.id)

    def end() -> None:
        both(trap, hinder)()
        miner.adapter._session._refused_until_s = None  # the lock-out is over for both sides

    return end


@_fault("firmware", (60, 600), 1.5)
def settings_ignored(stage: Stage) -> End:
    """POST /settings says 200 and changes nothing."""
    return _trap(stage, stage.miner(), settings_ignored=True)


@_fault("firmware", (60, 600), 1.5)
def requested_is_not_running(stage: Stage) -> End:
    """A watt limit of the machine holds it below what is asked."""
    miner = stage.miner()
    watts = sorted(rung.power_w for rung in miner.witness.view().presets)
    miner.emulator.settings._limit_w = watts[len(watts) // 3]

    def end() -> None:
        miner.emulator.settings._limit_w = None

    return end


@_fault("firmware", (200, 1200), 1.5)
def auto_tuning(stage: Stage) -> End:
    """A tuning run: full power in a state that is not "mining"."""
    miner = stage.miner()
    phases = stage.plant.fleet.phases
    phases.untuned[miner.index] = True
    if stage.plant.fleet.listening[miner.index]:
        miner.witness.foreign = True
        miner.witness.restart()
        miner.witness.foreign = False

    def end() -> None:
        phases.untuned[miner.index] = False

    return end


@_fault("firmware", (30, 400), 2.0)
def zero_zero_temperatures(stage: Stage) -> End:
    zone = stage.rng.choice((None, None, None, None, *FEEDS))
    some = (
        [stage.miner()]
        if zone is None
        else [m for m in stage.devices.miners.values() if m.entry.zone == zone]
    )
    return both(*(stage.lie(m.entry.id, "zero", lies.zeroed) for m in some))


@_fault("firmware", (60, 600))
def fans_lost_on_immersion(stage: Stage) -> End:
    miner = stage.miner(zone=HYDRO)
    miner.witness.fans_lost = True
    miner.witness._cached = None

    def end() -> None:
        miner.witness.fans_lost = False
        miner.witness._cached = None

    return end


@_fault("firmware", (60, 600), 1.5)
def one_sensor_reads_13(stage: Stage) -> End:
    return _trap(stage, stage.miner(), sensor_error=True)


@_fault("firmware", (60, 400))
def all_sensors_in_error(stage: Stage) -> End:
    return _trap(stage, stage.miner(), all_sensors_error=True)


@_fault("firmware", (30, 400))
def miner_null(stage: Stage) -> End:
    return _trap(stage, stage.miner(), miner_null=True)


@_fault("firmware", (60, 600))
def missing_power(stage: Stage) -> End:
    miner = stage.miner()
    if stage.rng.random() < 0.5:
        return _trap(stage, miner, power_usage_only=True)
    return stage.lie(miner.entry.id, "no-power", lies.without_power)


@_fault("firmware", (60, 600))
def chains_gone_on_134(stage: Stage) -> End:
    """The machine is upgraded under way: other pages, other names."""
    miner = stage.miner()
    before = miner.emulator.version
    miner.emulator.version, miner.emulator._v13 = "1.3.4", True

    def end() -> None:
        miner.emulator.version, miner.emulator._v13 = before, before.startswith("1.3")

    return end


@_fault("firmware", (60, 600))
def throttle_delay(stage: Stage) -> End:
    """Somebody throttled the machine and took it back; both arrive 80 s later."""
    miner = stage.miner()
    fleet, index = stage.plant.fleet, miner.index
    fleet.throttle(index, stage.rng.choice((20.0, 60.0)))
    return lambda: fleet.throttle(index, 100.0)


@_fault("firmware", (1, 1), 2.0)
def reboot_mines_again(stage: Stage) -> End:
    """A control board restarts; whatever it was told before, it mines afterwards."""
    stage.plant.fleet.reboot(stage.miner().index)
    return nothing


@_fault("firmware", (200, 1500), 1.5)
def preset_switcher_climbs(stage: Stage) -> End:
    """The firmware's own switcher goes up when it finds the machine cool, and down when hot."""
    miner = stage.miner()
    rungs = [rung.name for rung in miner.witness.view().presets if rung.tuned and not rung.needs_modded_psu]
    miner.emulator.settings.switcher = Switcher(
        enabled=True,
        top_preset=rungs[-1],
        min_preset=rungs[0],
        decrease_temp=80,
        rise_temp=75,
        check_time=60,
    )
    miner.witness._cached = None

    def end() -> None:
        miner.emulator.settings.switcher = Switcher()

    return end


@_fault("firmware", (30, 300))
def web_server_hangs(stage: Stage) -> End:
    miner = stage.miner()
    return both(_trap(stage, miner, hang=True), stage.hinder(miner.entry.id))


@_fault("firmware", (30, 300))
def garbage_replies(stage: Stage) -> End:
    miner = stage.miner()
    return both(_trap(stage, miner, garbage=True), stage.hinder(miner.entry.id))


FIRMWARE_FAULTS = tuple(name for name, fault in FAULTS.items() if fault.group == "firmware")


class Director:
    """Begins and ends faults at random; `counts` is how often each began."""

    def __init__(self, stage: Stage, *, every_s: float, only: tuple[str, ...] = ()) -> None:
        self._stage = stage
        self._rate = 1.0 / every_s if every_s > 0 else 0.0
        self._only = only
        self._running: list[tuple[float, str, End]] = []
        self.counts: Counter[str] = Counter()

    def tick(self, dt_s: float) -> None:
        """End what is over, perhaps begin another."""
        now_s = self._stage.clock.monotonic()
        for entry in [entry for entry in self._running if entry[0] <= now_s]:
            self._running.remove(entry)
            entry[2]()
        if self._stage.rng.random() < self._rate * dt_s:
            names = self._only or tuple(FAULTS)
            weights = [FAULTS[name].weight for name in names]
            self.begin(self._stage.rng.choices(names, weights)[0])

    def begin(self, name: str, lasts_s: float | None = None) -> None:
        """Begin this fault now."""
        fault = FAULTS[name]
        until_s = lasts_s if lasts_s is not None else self._stage.rng.uniform(*fault.lasts_s)
        end = fault.begin(self._stage)
        self.counts[name] += 1
        self._running.append((self._stage.clock.monotonic() + until_s, name, end))

    @property
    def running(self) -> tuple[str, ...]:
        """Names of what goes wrong right now."""
        return tuple(name for _, name, _ in self._running)
