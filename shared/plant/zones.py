"""All zones of a site behind one numbering: what they do to their miners, and the commands to their
equipment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.plant.air import AirParams, AirZones
from shared.plant.fleet_params import Surroundings
from shared.plant.hydro import HydroLoops, HydroParams
from shared.plant.sensors import ZoneTruth
from shared.plant.weather import WeatherPoint

Floats = NDArray[np.float64]


class Zones:
    """Air containers and hydro loops in the order of `cooling`; `zone_of` (n,) gives each miner's zone.

    `position` (n,) multiplies the zone's mean recirculation for each slot. Commands raise ValueError for a
    zone of the other kind (or none) and for a speed outside 0..100 %.
    """

    def __init__(
        self, cooling: Sequence[AirParams | HydroParams], zone_of: NDArray[np.intp], position: Floats
    ) -> None:
        self.count = len(cooling)
        self.zone_of = zone_of
        self._position = position
        is_air = np.array([isinstance(params, AirParams) for params in cooling])
        self.air = AirZones([params for params in cooling if isinstance(params, AirParams)])
        self.hydro = HydroLoops([params for params in cooling if isinstance(params, HydroParams)])
        self._air_zones, self._hydro_zones = np.flatnonzero(is_air), np.flatnonzero(~is_air)
        self.air_index = {int(zone): j for j, zone in enumerate(self._air_zones)}
        self.hydro_index = {int(zone): j for j, zone in enumerate(self._hydro_zones)}
        self._share = 1.0 / np.bincount(zone_of, minlength=self.count).astype(np.float64)[zone_of]

    def advance(self, dt_s: float, weather: WeatherPoint, heat_w: Floats, flow_m3s: Floats) -> None:
        """Step all zones with the heat and the air flow of every miner, each (n,)."""
        heat, flow = self.sum_of(heat_w), self.sum_of(flow_m3s)
        if self._air_zones.size:
            self.air.advance(dt_s, weather, heat[self._air_zones], flow[self._air_zones])
        if self._hydro_zones.size:
            self.hydro.advance(dt_s, weather, heat[self._hydro_zones])

    def sum_of(self, values: Floats) -> Floats:
        """Sum a (n,) array of the miners by zone, (zones,)."""
        sums = np.bincount(self.zone_of, weights=values, minlength=self.count)
        return sums.astype(np.float64, copy=False)

    def _merge(self, air: Floats, hydro: Floats) -> Floats:
        values = np.empty(self.count)
        values[self._air_zones] = air
        values[self._hydro_zones] = hydro
        return values

    @property
    def power_w(self) -> Floats:
        """(zones,) power of the cooling equipment."""
        return self._merge(self.air.power_w, self.hydro.power_w)

    @property
    def inlet_c(self) -> Floats:
        """(n,) true inlet temperature of every miner: air with its share of recirculation, or supply
        water."""
        cold = self._merge(self.air.cold_c, self.hydro.supply_c)
        hot = self._merge(self.air.hot_c, self.hydro.return_c)
        mean = self._merge(self.air.mean_recirculation, np.zeros(self._hydro_zones.size))
        zone = self.zone_of
        own: Floats = cold[zone] + np.clip(mean[zone] * self._position, 0.0, 1.0) * (hot - cold)[zone]
        return own

    @property
    def surroundings(self) -> Surroundings:
        """What the zones do to the miners now; a loop's flow divides evenly over its machines."""
        nothing = np.zeros(self._air_zones.size)
        draught = self._merge(self.air.draught, np.ones(self._hydro_zones.size))
        kgs = self._merge(nothing, self.hydro.flow_kgs)
        fraction = self._merge(nothing, self.hydro.flow_fraction)
        zone = self.zone_of
        return Surroundings(
            inlet_c=self.inlet_c,
            draught=draught[zone],
            coolant_kgs=kgs[zone] * self._share,
            coolant_fraction=fraction[zone],
        )

    def air_number(self, zone: int) -> int:
        """Index of `zone` in `air`."""
        if zone not in self.air_index:
            raise ValueError(f"zone {zone} is not an air zone")
        return self.air_index[zone]

    def hydro_number(self, zone: int) -> int:
        """Index of `zone` in `hydro`."""
        if zone not in self.hydro_index:
            raise ValueError(f"zone {zone} is not a hydro zone")
        return self.hydro_index[zone]

    def set_exhaust_pct(self, zone: int, pct: float) -> None:
        """Command the exhaust wall of an air zone, 0..100 %."""
        self.air.wall.command(self.air_number(zone), pct)

    def set_pad_pump(self, zone: int, *, on: bool) -> None:
        """Switch the pad pump of an air zone."""
        self.air.pump_on[self.air_number(zone)] = on

    def set_dry_cooler_pct(self, zone: int, pct: float | None) -> None:
        """Command a hydro zone's dry cooler, 0..100 %; None gives it back to the skid's own PI."""
        number = self.hydro_number(zone)
        if pct is not None:
            self.hydro.cooler.command(number, pct)
        self.hydro.cooler_auto[number] = pct is None

    def set_loop_pump_pct(self, zone: int, pct: float) -> None:
        """Command the circulation pump of a hydro zone, 0..100 %."""
        self.hydro.pump.command(self.hydro_number(zone), pct)

    def set_spray(self, zone: int, *, on: bool) -> None:
        """Switch the adiabatic spray of a hydro zone."""
        self.hydro.spray_on[self.hydro_number(zone)] = on

    def set_supply(self, *, on: bool) -> None:
        """Feed all cooling equipment, or cut it off."""
        for drives in (self.air.wall, self.hydro.cooler, self.hydro.pump):
            drives.supplied[:] = on

    def truth(self, zone: int) -> ZoneTruth:
        """The real state of a zone. Raises ValueError for an unknown zone."""
        if zone in self.air_index:
            j, air = self.air_index[zone], self.air
            return ZoneTruth(
                kind="air",
                supply_c=float(air.cold_c[j]),
                return_c=float(air.hot_c[j]),
                supply_rh_pct=float(air.cold_rh_pct[j]),
                flow=float(air.flow_m3s[j]),
                drive_command_pct=float(air.wall.command_pct[j]),
                drive_actual_pct=float(air.wall.actual_pct[j]),
                pump_actual_pct=float(100.0 * air.pump_running[j]),
                power_w=float(air.power_w[j]),
                wetness=float(air.wetness[j]),
            )
        j, loop = self.hydro_number(zone), self.hydro
        return ZoneTruth(
            kind="hydro",
            supply_c=float(loop.supply_c[j]),
            return_c=float(loop.return_c[j]),
            supply_rh_pct=None,
            flow=float(loop.flow_kgs[j]),
            drive_command_pct=float(loop.cooler.command_pct[j]),
            drive_actual_pct=float(loop.cooler.actual_pct[j]),
            pump_actual_pct=float(loop.pump.actual_pct[j]),
            power_w=float(loop.power_w[j]),
            wetness=None,
        )
