"""Electrical equipment in front of the plant: feeder meters, switched PDUs, the UPS."""

import math
from collections.abc import Mapping
from typing import Final

from firmware_adapters.simulator.gear import Gear
from shared.errors import ConfigError
from shared.inventory import DeviceEntry
from shared.plant import SitePlant
from shared.plant.ups import Ups


class FeederMeter(Gear):
    """The site's feeder meter; a site with several zones and meters gives each its zone, but for one with
    `model = "site"`. It has an auxiliary supply: without the grid it reads zero volts.
    """

    def __init__(self, entry: DeviceEntry, plant: SitePlant, zone: int, *, whole_site: bool) -> None:
        super().__init__(entry, plant, zone)
        self._of = None if whole_site else zone

    def _points(self) -> Mapping[str, float]:
        seen = self.plant.meter(self._of)
        phases = enumerate(zip(seen.phase_v, seen.phase_a, strict=True), start=1)
        values = {"power_w": seen.power_w, "frequency_hz": seen.frequency_hz, "energy_kwh": seen.energy_kwh}
        for number, (volts, amperes) in phases:
            values |= {f"voltage_v.{number}": volts, f"current_a.{number}": amperes}
        apparent_va = sum(volts * amperes for volts, amperes in zip(seen.phase_v, seen.phase_a, strict=True))
        factor = min(1.0, seen.power_w / apparent_va) if apparent_va > 0 else 1.0
        lines = enumerate(zip(seen.phase_v, seen.phase_a, strict=True), start=1)
        values |= {f"line_power_w.{number}": volts * amperes * factor for number, (volts, amperes) in lines}
        return values | {
            "apparent_power_va": apparent_va,
            "reactive_power_var": apparent_va * math.sqrt(1.0 - factor**2),
            "power_factor": factor,
        }


class Pdu(Gear):
    """A switched PDU: an outlet feeds the miner that names it, or cuts it off. Outlets alternate phases."""

    needs_mains = True

    LEAST_OUTLETS = 8

    def __init__(self, entry: DeviceEntry, plant: SitePlant, zone: int, *, feeds: Mapping[int, int]) -> None:
        """`feeds`: outlet → miner's number in the plant."""
        super().__init__(entry, plant, zone)
        self._feeds = dict(feeds)
        self._on = dict.fromkeys(range(1, max([self.LEAST_OUTLETS, *feeds]) + 1), True)
        self._energy_base_j = self._energy_j()

    def _energy_j(self) -> float:
        return float(sum(self.plant.fleet.energy_j[index] for index in self._feeds.values()))

    def _points(self) -> Mapping[str, float]:
        watts = float(sum(self.plant.fleet.power_w[index] for index in self._feeds.values()))
        values = {f"outlet_on.{outlet}": float(on) for outlet, on in self._on.items()}
        for phase in (1, 2, 3):
            mine = (index for outlet, index in self._feeds.items() if (outlet - 1) % 3 == phase - 1)
            phase_w = float(sum(self.plant.fleet.power_w[index] for index in mine))
            values[f"current_a.{phase}"] = phase_w / 230.0
        energy_kwh = (self._energy_j() - self._energy_base_j) / 3.6e6
        return {"power_w": watts, "energy_kwh": energy_kwh, **values}

    def write_point(self, point: str, value: float) -> None:
        """See `PointSource`."""
        outlet = int(point.removeprefix("outlet_on."))
        self._on[outlet] = value != 0
        if outlet in self._feeds:
            self.plant.fleet.set_supply([self._feeds[outlet]], on=self._on[outlet])

    def tick(self) -> None:
        """A grid that comes back feeds the PDU, not the machines behind its open outlets."""
        cut = [self._feeds[outlet] for outlet, on in self._on.items() if not on and outlet in self._feeds]
        if cut:
            self.plant.fleet.set_supply(cut, on=False)


class UpsGear(Gear):
    """The UPS of gateway and network. Runtime comes in whole minutes, as in RFC 1628; sizes are [default]."""

    LOW_PCT: Final = 20.0
    RATED_W: Final = 1000.0

    def __init__(self, entry: DeviceEntry, plant: SitePlant, zone: int) -> None:
        """Raises `ConfigError` for a plant that was built without a UPS."""
        super().__init__(entry, plant, zone)
        if plant.ups is None:
            raise ConfigError(f"device {entry.id}: the plant has no UPS")
        self.ups: Ups = plant.ups

    @property
    def dark(self) -> bool:
        """An empty battery takes the agent with it."""
        return not self.ups.alive

    def drain(self, share: float) -> None:
        """Take `share` (0..1) of what is in the battery: it was older than thought."""
        self.ups.charge_wh *= 1.0 - share

    def _points(self) -> Mapping[str, float]:
        ups, load_w = self.ups, self.ups.params.load_w
        return {
            "on_battery": float(ups.on_battery),
            "battery_low": float(ups.charge_pct < self.LOW_PCT),
            "runtime_s": 60.0 * int(ups.minutes_left + 1e-6),
            "battery_charge_pct": float(round(ups.charge_pct)),
            "on_battery_s": ups.battery_s,
            "battery_temp_c": 25.0,
            "input_voltage_v.1": 0.0 if ups.on_battery else 230.0,
            "voltage_v.1": 230.0,
            "current_a.1": load_w / 230.0,
            "line_power_w.1": load_w,
            "load_pct.1": 100.0 * load_w / self.RATED_W,
        }
