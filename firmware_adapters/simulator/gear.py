"""Site equipment in front of the plant: what drives, controllers, meters, probes and PDUs show and take."""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from firmware_adapters.simulator.plant_build import BuiltPlant
from shared.errors import ConfigError
from shared.inventory import DeviceEntry
from shared.plant import SitePlant, ZoneReading
from shared.plant.psychrometrics import humidity_ratio, relative_humidity
from shared.telemetry import DeviceKind

START_BIT, DATA_VALID_BIT = 0x0040, 0x0400
"""Bits of the FC control word (plant.md §6): bit 6 start, bit 10 data valid."""
CONTROL_WORD = 49999


class Gear(ABC):
    """One device's values. `frozen` holds them (a stuck sensor); subclasses fill `_points`."""

    def __init__(self, entry: DeviceEntry, plant: SitePlant, zone: int) -> None:
        self.entry = entry
        self._plant = plant
        self._zone = zone
        self._held: Mapping[str, float] | None = None
        self.contacts: dict[str, float] = {}

    def freeze(self, *, on: bool) -> None:
        """Hold the present values, or let them live again."""
        self._held = dict(self._points()) if on else None

    def points(self) -> Mapping[str, float]:
        """See `PointSource`."""
        return self._points() if self._held is None else self._held

    @abstractmethod
    def _points(self) -> Mapping[str, float]: ...

    def write_point(self, point: str, value: float) -> None:  # noqa: B027 - most equipment takes nothing
        """See `PointSource`."""

    def write_register(self, address: int, value: int) -> None:  # noqa: B027 - most equipment takes nothing
        """See `PointSource`."""

    def tick(self) -> None:  # noqa: B027 - most equipment has no control of its own
        """Run the device's own control once per step."""

    @property
    def _reading(self) -> ZoneReading:
        return self._plant.observe_zone(self._zone)


class Wall(Gear):
    """The exhaust wall's drive (dry cooler in a hydro zone). The reference counts only while started."""

    def __init__(self, entry: DeviceEntry, plant: SitePlant, zone: int) -> None:
        super().__init__(entry, plant, zone)
        self._setpoint = self._reading.drive_command_pct
        self._started = True

    def _points(self) -> Mapping[str, float]:
        actual = self._reading.drive_actual_pct
        lost = self._started and self._setpoint > 5.0 and actual < 0.5 * self._setpoint and self._faulty
        return {
            "speed_setpoint_pct": self._setpoint,
            "speed_pct": actual,
            "running": float(actual > 1.0),
            "fault": float(lost),
            "frequency_hz": actual * 0.5,
            "current_a": 40.0 * (actual / 100.0) ** 2,
        }

    @property
    def _faulty(self) -> bool:
        return any(
            fault.target == self._zone and fault.name == "exhaust_fan_stopped" for fault in self._plant.faults
        )

    def write_point(self, point: str, value: float) -> None:
        """See `PointSource`."""
        self._setpoint = value
        self._command()

    def write_register(self, address: int, value: int) -> None:
        """The control word: ignored without the data-valid bit."""
        if address == CONTROL_WORD and value & DATA_VALID_BIT:
            self._started = bool(value & START_BIT)
            self._command()

    def _command(self) -> None:
        pct = self._setpoint if self._started else 0.0
        if self._reading.kind == "air":
            self._plant.zones.set_exhaust_pct(self._zone, pct)
        else:
            self._plant.zones.set_dry_cooler_pct(self._zone, pct)


class Hvac(Gear):
    """The temperature controller: wets the pads (or runs the spray) above its set-point while it is on."""

    HYSTERESIS_K = 0.5

    def __init__(self, entry: DeviceEntry, plant: SitePlant, zone: int) -> None:
        super().__init__(entry, plant, zone)
        self._setpoint_c = 22.0
        self._on = True
        self._cooling = True

    def _points(self) -> Mapping[str, float]:
        seen = self._reading
        temperatures = {
            f"{metric}.{index}": value
            for metric in ("air_temp_c", "water_temp_c")
            for index, value in ((1, seen.supply_c), (2, seen.return_c))
        }
        wants = self._on and self._cooling
        return {
            "setpoint_c": self._setpoint_c,
            "running": float(self._on),
            "fault": float(wants and seen.kind == "air" and seen.pump_actual_pct < 1.0),
            **temperatures,
        }

    def write_point(self, point: str, value: float) -> None:
        """See `PointSource`."""
        if point == "setpoint_c":
            self._setpoint_c = value
        elif point == "running":
            self._on = value != 0
        self.tick()

    def tick(self) -> None:
        """The thermostat."""
        supply_c = self._reading.supply_c
        if supply_c > self._setpoint_c + self.HYSTERESIS_K:
            self._cooling = True
        elif supply_c < self._setpoint_c - self.HYSTERESIS_K:
            self._cooling = False
        wet = self._on and self._cooling
        if self._reading.kind == "air":
            self._plant.zones.set_pad_pump(self._zone, on=wet)
        else:
            self._plant.zones.set_spray(self._zone, on=wet)


class FeederMeter(Gear):
    """The site's feeder meter; a site with several zones and meters gives each its zone."""

    def __init__(self, entry: DeviceEntry, plant: SitePlant, zone: int, *, whole_site: bool) -> None:
        super().__init__(entry, plant, zone)
        self._of = None if whole_site else zone

    def _points(self) -> Mapping[str, float]:
        seen = self._plant.meter(self._of)
        phases = enumerate(zip(seen.phase_v, seen.phase_a, strict=True), start=1)
        values = {"power_w": seen.power_w, "frequency_hz": seen.frequency_hz, "energy_kwh": seen.energy_kwh}
        for number, (volts, amperes) in phases:
            values |= {f"voltage_v.{number}": volts, f"current_a.{number}": amperes}
        return values


class Probe(Gear):
    """A temperature and humidity probe at the inlet; `model = "return"` hangs it into the hot aisle."""

    def __init__(self, entry: DeviceEntry, plant: SitePlant, zone: int) -> None:
        super().__init__(entry, plant, zone)
        # Two probes in one aisle never agree: a fixed offset within ±0.3 K, from the name.
        self._bias_k = round((zlib.crc32(entry.id.encode()) % 601 - 300) / 1000.0, 1)

    def _points(self) -> Mapping[str, float]:
        seen = self._reading
        hot = self.entry.model == "return"
        values = {"air_temp_c": (seen.return_c if hot else seen.supply_c) + self._bias_k}
        if seen.supply_rh_pct is not None:
            # Heated air keeps its water: the hot aisle is as much drier as it is warmer.
            supply, warm = np.array([seen.supply_c]), np.array([seen.return_c])
            water = humidity_ratio(supply, np.array([seen.supply_rh_pct]))
            hot_rh = float(relative_humidity(warm, water)[0])
            values["humidity_pct"] = hot_rh if hot else seen.supply_rh_pct
        return values


class Contacts(Gear):
    """Emergency stop and door; people press and open them through the fault API."""

    def _points(self) -> Mapping[str, float]:
        return {"estop_pressed": 0.0, "door_open": 0.0, **self.contacts}


class Pdu(Gear):
    """A switched PDU: an outlet feeds the miner that names it, and cuts it off."""

    LEAST_OUTLETS = 8

    def __init__(self, entry: DeviceEntry, plant: SitePlant, zone: int, *, feeds: Mapping[int, int]) -> None:
        """`feeds`: outlet → miner's number in the plant."""
        super().__init__(entry, plant, zone)
        self._feeds = dict(feeds)
        self._on = dict.fromkeys(range(1, max([self.LEAST_OUTLETS, *feeds]) + 1), True)
        self._energy_base_j = self._energy_j()

    def _energy_j(self) -> float:
        return float(sum(self._plant.fleet.energy_j[index] for index in self._feeds.values()))

    def _points(self) -> Mapping[str, float]:
        watts = float(sum(self._plant.fleet.power_w[index] for index in self._feeds.values()))
        values = {f"outlet_on.{outlet}": float(on) for outlet, on in self._on.items()}
        values |= {f"current_a.{phase}": watts / 3.0 / 230.0 for phase in (1, 2, 3)}
        energy_kwh = (self._energy_j() - self._energy_base_j) / 3.6e6
        return {"power_w": watts, "energy_kwh": energy_kwh, **values}

    def write_point(self, point: str, value: float) -> None:
        """See `PointSource`."""
        outlet = int(point.removeprefix("outlet_on."))
        self._on[outlet] = value != 0
        if outlet in self._feeds:
            self._plant.fleet.set_supply([self._feeds[outlet]], on=self._on[outlet])


def make_gear(entry: DeviceEntry, built: BuiltPlant, devices: Sequence[DeviceEntry]) -> Gear:
    """The equipment behind one entry. Raises `ConfigError` for a kind that cannot be simulated."""
    plant = built.plant
    if entry.zone not in built.zones:
        raise ConfigError(f"device {entry.id}: zone {entry.zone} has no miners to stand beside")
    zone = built.zones[entry.zone]
    match entry.kind:
        case DeviceKind.DRIVE:
            return Wall(entry, plant, zone)
        case DeviceKind.HVAC:
            return Hvac(entry, plant, zone)
        case DeviceKind.METER:
            meters = sum(other.kind is DeviceKind.METER for other in devices)
            return FeederMeter(entry, plant, zone, whole_site=meters == 1)
        case DeviceKind.PROBE:
            return Probe(entry, plant, zone)
        case DeviceKind.CONTACTS:
            return Contacts(entry, plant, zone)
        case DeviceKind.PDU:
            feeds = {
                other.outlet: built.miners[other.id]
                for other in devices
                if other.pdu == entry.id and other.outlet is not None
            }
            return Pdu(entry, plant, zone, feeds=feeds)
    raise ConfigError(f"device {entry.id}: a {entry.kind} cannot be simulated yet")
