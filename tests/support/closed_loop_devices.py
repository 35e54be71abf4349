"""Every device of the closed loop behind one face: read it into a sample, write a permit to it.

Between a device and its sample stands what lies: sensors that freeze, drift, jump, are swapped or tell °F,
samples that are lost or late. The real quality rules and the real board come after, as in the real link.
"""

import math
import random
from collections.abc import Callable

import msgspec

from edge_agent.guardian.arbiter import Permit
from edge_agent.guardian.interlocks import quality
from edge_agent.guardian.polling.board import Board
from firmware_adapters.capabilities import Observation
from firmware_adapters.simulator.gear import Gear
from firmware_adapters.simulator.machine import PlantFeed
from firmware_adapters.simulator.plant_build import BuiltPlant
from firmware_adapters.site import modbus, snmp
from firmware_adapters.site.profile import load_profile
from shared.capabilities import DeviceFacts
from shared.clock import ManualClock
from shared.commands import AnyAction, SetPoint, SwitchOutlet
from shared.errors import DeviceError, DeviceTimeout, Unreachable, Unsupported
from shared.ids import DeviceId
from shared.inventory import DeviceEntry
from shared.telemetry import MISSING, DeviceKind, Reading, Sample
from support.closed_loop_miners import Fleet, SoakMiner

FIRMWARES = ("1.2.0", "1.2.7", "1.2.7", "1.3.4")
Lie = Callable[[Observation, float], Observation | None]
"""(what was read, now in s) → what arrives; None: nothing does."""


class Devices:
    """All devices of one site. Samples go to `board`; `on_sample` sees each with what was read before it was
    judged."""

    def __init__(
        self,
        entries: tuple[DeviceEntry, ...],
        built: BuiltPlant,
        site_gear: dict[str, Gear],
        clock: ManualClock,
        rng: random.Random,
        on_sample: Callable[[Sample, Observation | None], None],
    ) -> None:
        self.entries = {entry.id: entry for entry in entries}
        self._clock = clock
        self._on_sample = on_sample
        self.fleet = Fleet(PlantFeed(built.plant))
        self.miners = {
            entry.id: SoakMiner(self.fleet, built.miners[entry.id], entry, clock, rng.choice(FIRMWARES))
            for entry in entries
            if entry.kind is DeviceKind.MINER
        }
        self.gear = {DeviceId(name): gear for name, gear in site_gear.items()}
        self.silent: set[DeviceId] = set()
        self.ignores: set[DeviceId] = set()
        """Equipment that accepts a write and does nothing."""
        self.lies: dict[DeviceId, dict[str, Lie]] = {}
        self.late_s: dict[DeviceId, float] = {}
        self._waiting: list[tuple[float, Sample, Observation]] = []
        self._numbers = 0
        self.published = 0
        self._profiles = {entry.id: _equipment_facts(entry) for entry in entries if entry.profile is not None}
        self.forget()

    def forget(self) -> None:
        """The guardian's process starts anew: nothing was ever heard."""
        nominal = {device: entry.nominal_w for device, entry in self.entries.items()}
        self.board = Board(nominal)
        self.facts: dict[DeviceId, DeviceFacts] = {}
        self.last_good: dict[DeviceId, Sample] = {}
        self._still: dict[DeviceId, quality.Stillness] = {}
        self._waiting = []

    # ---------------------------------------------------------------- reading

    def read(self, device: DeviceId) -> Sample:
        """Read once, as the link does; the sample is on the board when this returns, unless it is late."""
        now_s = self._clock.monotonic()
        try:
            raw = self._observe(device)
            for lie in self.lies.get(device, {}).values():
                told = lie(raw, now_s)
                if told is None:
                    raise DeviceTimeout("lost on the way")
                raw = told
        except DeviceError as error:
            return self._publish(self._sample(device, failure=error.code), None)
        self._still[device], readings = quality.judge(
            self._still.get(device, {}), raw.readings, now_s, raw.state
        )
        sample = self._sample(device, observation=msgspec.structs.replace(raw, readings=readings))
        late_s = self.late_s.get(device, 0.0)
        if late_s > 0:
            self._waiting.append((now_s + late_s, sample, raw))
            return self._sample(device, failure=DeviceTimeout.code)
        return self._publish(sample, raw)

    def deliver(self) -> None:
        """Publish late samples that are due; each carries the time at which it was taken."""
        now_s = self._clock.monotonic()
        due = [entry for entry in self._waiting if entry[0] <= now_s]
        if due:
            self._waiting = [entry for entry in self._waiting if entry[0] > now_s]
            for _, sample, raw in due:
                newer = self.last_good.get(sample.device)
                if newer is None or newer.at_s <= sample.at_s:
                    self._publish(sample, raw)

    def _observe(self, device: DeviceId) -> Observation:
        if device in self.silent:
            raise Unreachable("cable out")
        miner = self.miners.get(device)
        if miner is not None:
            return miner.read()
        gear = self.gear[device]
        if gear.dark:
            raise Unreachable("no supply")
        points = gear.points()
        return Observation(readings={name: Reading(float(value)) for name, value in points.items()})

    def _sample(
        self, device: DeviceId, observation: Observation | None = None, failure: str | None = None
    ) -> Sample:
        self._numbers += 1
        entry = self.entries[device]
        seen = observation or Observation(readings={})
        return Sample(
            device=device,
            kind=entry.kind,
            at_s=self._clock.monotonic(),
            at_ms=self._clock.utc_ms(),
            boot="soak",
            seq=self._numbers,
            state=seen.state,
            algorithm=seen.algorithm or entry.algorithm,
            readings=seen.readings,
            preset=seen.preset,
            failure=failure,
        )

    def _publish(self, sample: Sample, raw: Observation | None) -> Sample:
        self.board.put(sample)
        self.published += 1
        if sample.failure is None:
            self.last_good[sample.device] = sample
        self._on_sample(sample, raw)
        return sample

    def read_facts(self, device: DeviceId) -> None:
        """The rare read. A miner that does not tell now is asked again at its next good poll."""
        try:
            if device in self.silent:
                return
            miner = self.miners.get(device)
            self.facts[device] = miner.facts() if miner is not None else self._profiles[device]
        except DeviceError:
            return

    # ---------------------------------------------------------------- writing

    def write(self, permit: Permit) -> DeviceError | None:
        """Send a permit's action once. Raises `TypeError` for anything but a permit, as the executor does."""
        if type(permit) is not Permit:
            raise TypeError("the closed loop writes permits only")
        action = permit.action
        if action.device in self.silent:
            return Unreachable("cable out")
        miner = self.miners.get(action.device)
        return miner.write(action) if miner is not None else self._write_gear(action)

    def _write_gear(self, action: AnyAction) -> DeviceError | None:
        if action.device in self.ignores:
            return None
        gear = self.gear[action.device]
        if gear.dark:
            return Unreachable("no supply")
        match action:
            case SetPoint(point=point, value=value):
                gear.write_point(point, value)
            case SwitchOutlet(outlet=outlet, on=on):
                gear.write_point(f"outlet_on.{outlet}", float(on))
                self.fleet.refresh()
            case _:
                return Unsupported("equipment has no such ability")
        return None


def _equipment_facts(entry: DeviceEntry) -> DeviceFacts:
    profile = load_profile(entry.profile or "")
    if profile.modbus is not None:
        return DeviceFacts(model=profile.model, capabilities=modbus.capabilities_of(profile))
    return DeviceFacts(model=profile.model, capabilities=snmp.capabilities_of(profile, may_write=True))


def make_devices(
    entries: tuple[DeviceEntry, ...],
    built: BuiltPlant,
    gear: dict[str, Gear],
    clock: ManualClock,
    rng: random.Random,
    on_sample: Callable[[Sample, Observation | None], None],
) -> Devices:
    """All devices; a zone's probes are worked out once per plant step, within which they agree anyway."""
    plant = built.plant
    real, cache = plant.observe_zone, {}

    def once(zone: int) -> object:
        key = (zone, plant._steps)
        if key not in cache:
            for old in [kept for kept in cache if kept[1] != plant._steps]:
                del cache[old]
            cache[key] = real(zone)
        return cache[key]

    plant.observe_zone = once  # type: ignore[method-assign,assignment] # a cache around the same method
    return Devices(entries, built, gear, clock, rng, on_sample)


# ---------------------------------------------------------------- lies

_TEMPERATURES = ("chip_temp_min_c", "chip_temp_max_c", "board_temp_min_c", "board_temp_max_c")


def changed(
    observation: Observation, change: Callable[[float], float], points: tuple[str, ...] = ()
) -> Observation:
    """The observation with every temperature (or every point of `points`) put through `change`."""
    readings = dict(observation.readings)
    for name in points or [n for n in readings if n.split(".")[0].endswith("_c")]:
        reading = readings.get(name)
        if reading is not None and reading.value is not None:
            readings[name] = Reading(change(reading.value), reading.quality)
    return msgspec.structs.replace(observation, readings=readings)


def frozen() -> Lie:
    """Every reading stays what it was at the first look."""
    kept: dict[str, Reading] = {}

    def lie(observation: Observation, _now_s: float) -> Observation:
        if not kept:
            kept.update(observation.readings)
        return msgspec.structs.replace(
            observation,
            readings={**observation.readings, **{k: v for k, v in kept.items() if k != "power_w"}},
        )

    return lie


def drifting(rate_c_per_h: float, began_s: float) -> Lie:
    """Temperatures drift, by at most 30 °C."""

    def lie(observation: Observation, now_s: float) -> Observation:
        off_c = max(-30.0, min(30.0, rate_c_per_h * (now_s - began_s) / 3600.0))
        return changed(observation, lambda value: value + off_c)

    return lie


BOGUS = (math.nan, math.inf, -math.inf, 255.0, -40.0, -273.0, 1e308, 149.9, 0.0)


def spiking(rng: random.Random, share: float) -> Lie:
    """Now and then every temperature is nonsense."""

    def lie(observation: Observation, _now_s: float) -> Observation:
        if rng.random() >= share:
            return observation
        bogus = rng.choice(BOGUS)
        return changed(observation, lambda _: bogus)

    return lie


def fahrenheit(observation: Observation, _now_s: float) -> Observation:
    """The unit is wrong."""
    return changed(observation, lambda value: value * 9.0 / 5.0 + 32.0)


def zeroed(observation: Observation, _now_s: float) -> Observation:
    """0/0 pairs: the firmware has no data (miners.md §1.7)."""
    return changed(observation, lambda _: 0.0, _TEMPERATURES)


def without_power(observation: Observation, _now_s: float) -> Observation:
    """No `power_consumption`."""
    return msgspec.structs.replace(observation, readings={**observation.readings, "power_w": MISSING})


def dropping(rng: random.Random, share: float) -> Lie:
    """Samples are lost on the way."""

    def lie(observation: Observation, _now_s: float) -> Observation | None:
        return None if rng.random() < share else observation

    return lie


def swapped_with(other: Callable[[], Observation | None]) -> Lie:
    """The temperatures of another device arrive in place of its own."""

    def lie(observation: Observation, _now_s: float) -> Observation:
        theirs = other()
        if theirs is None:
            return observation
        mixed = {name: theirs.readings.get(name, MISSING) for name in _TEMPERATURES}
        return msgspec.structs.replace(observation, readings={**observation.readings, **mixed})

    return lie
