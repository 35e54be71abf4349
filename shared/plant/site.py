"""`SitePlant`: fleet, zones, weather, meters and faults as one deterministic system.

There is deliberately no site-wide hashrate: `totals()` answers per algorithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.plant.air import AirParams, AirZones
from shared.plant.fault_board import FaultBoard
from shared.plant.faults import AgeingParts, Fault, FaultName
from shared.plant.hydro import HydroLoops, HydroParams
from shared.plant.ladders import ALGORITHMS, HASHES_PER_UNIT, UNIT_OF_ALGORITHM, Algorithm, load_ladders
from shared.plant.meter import Meter, MeterReading
from shared.plant.miner import MinerFleet, Surroundings
from shared.plant.sensors import ZoneReading, ZoneTruth, read_zone, zone_bias
from shared.plant.site_spec import SiteSpec
from shared.plant.states import MinerState
from shared.plant.ups import Ups
from shared.plant.weather import WeatherPoint

Floats = NDArray[np.float64]

HAZARD_EVERY_S = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class AlgorithmTotals:
    """True totals of one algorithm: hashrate in `unit` (TH/s for sha256d, GH/s for scrypt), W at the wall, counts."""

    algorithm: Algorithm
    hashrate: float
    unit: str
    power_w: float
    miners: int
    hashing: int


class SitePlant:
    """A site. Miners and zones are numbered in the order of the specification; time begins at 0 s.

    Attributes for reading: `fleet` (commands to miners go there), `air`, `hydro`, `ups`, `time_s`, `zone_of` (n,).
    """

    def __init__(self, spec: SiteSpec, *, seed: int = 0) -> None:
        """Build a site.

        Raises:
            KeyError: an unknown model. ValueError: no miners, a rung off the ladder, a hydro machine in an air zone or
            the reverse.
        """
        self.spec = spec
        self._seed = seed
        self.time_s = 0.0
        self._steps = 0
        self.zone_names = tuple(zone.name for zone in spec.zones)
        ladders = load_ladders()
        models, presets, zone_of = [], [], []
        for number, zone in enumerate(spec.zones):
            wanted = "air" if isinstance(zone.cooling, AirParams) else "hydro"
            for group in zone.miners:
                model = ladders[group.model]
                if model.cooling != wanted:
                    raise ValueError(f"zone {zone.name} is {wanted}, {model.name} is {model.cooling}")
                models += [model] * group.count
                presets += [model.stock_preset if group.preset is None else group.preset] * group.count
                zone_of += [number] * group.count
        self.fleet = MinerFleet(models, presets=presets, params=spec.fleet, seed=seed)
        self.zone_of = np.array(zone_of, dtype=np.intp)
        self._build_zones(spec)
        rng = np.random.default_rng([seed, 4])
        # Slots near the containment's gaps breathe more hot air (Beta around the mean, plant.md §2.2a).
        self._position = 2.0 * rng.beta(6.0, 6.0, self.fleet.n)
        self._phase = np.arange(self.fleet.n) % 3
        self._meters = [Meter(rng, spec.meter) for _ in spec.zones]
        self._site_meter = Meter(rng, spec.meter)
        self._bias = zone_bias(rng, len(spec.zones))
        self.ups = Ups(spec.ups) if spec.ups else None
        self._ups_w = 0.0
        self.grid_on = True
        self._faults = FaultBoard(self.fleet, self.air, self.hydro, self._air_index, self._hydro_index)
        self._ageing = (
            AgeingParts(self.fleet.n, rng=np.random.default_rng([seed, 5]), speed=spec.hazard_speed)
            if spec.hazard_speed > 0.0
            else None
        )
        self._next_hazard_s = HAZARD_EVERY_S

    def _build_zones(self, spec: SiteSpec) -> None:
        air = [zone.cooling for zone in spec.zones if isinstance(zone.cooling, AirParams)]
        hydro = [zone.cooling for zone in spec.zones if isinstance(zone.cooling, HydroParams)]
        is_air = np.array([isinstance(zone.cooling, AirParams) for zone in spec.zones])
        self.air, self.hydro = AirZones(air), HydroLoops(hydro)
        self._air_zones, self._hydro_zones = np.flatnonzero(is_air), np.flatnonzero(~is_air)
        self._air_index = {int(zone): j for j, zone in enumerate(self._air_zones)}
        self._hydro_index = {int(zone): j for j, zone in enumerate(self._hydro_zones)}
        count = np.bincount(self.zone_of, minlength=len(spec.zones)).astype(np.float64)
        self._share = 1.0 / count[self.zone_of]

    # -- time ----------------------------------------------------------------------------------------------------

    @property
    def weather(self) -> WeatherPoint:
        """Outside air now."""
        return self.spec.weather.at(self.time_s)

    @property
    def price_per_mwh(self) -> float | None:
        """Electricity price now, None without a tariff."""
        return None if self.spec.tariff is None else self.spec.tariff.at(self.time_s)

    def step(self, dt_s: float) -> None:
        """Advance the site by `dt_s`; sub-stepped, stable and equally seeded for 0.1..5 s.

        Raises:
            ValueError: a step that is not positive.
        """
        if not dt_s > 0.0:
            raise ValueError("time only moves forward")
        parts = max(1, int(np.ceil(dt_s / self.spec.max_substep_s - 1e-9)))
        for _ in range(parts):
            self._advance(dt_s / parts)
        self.fleet.settle_counts()
        self._steps += 1

    def settle(self, seconds: float) -> None:
        """Run towards a steady state, then forget the counters; the clock goes back to where it was."""
        began = self.time_s
        for _ in range(int(np.ceil(seconds))):
            self._advance(1.0)
            self.time_s = began
        self.fleet.forget_counters()

    def _advance(self, dt_s: float) -> None:
        self.time_s += dt_s
        self._faults.apply(self.time_s)
        weather = self.weather
        self.fleet.advance(dt_s, self._surroundings())
        zones = len(self.spec.zones)
        heat = np.bincount(self.zone_of, weights=self.fleet.heat_w, minlength=zones)
        if self._air_zones.size:
            flow = np.bincount(self.zone_of, weights=self.fleet.flow_m3s, minlength=zones)
            self.air.advance(dt_s, weather, heat[self._air_zones], flow[self._air_zones])
        if self._hydro_zones.size:
            self.hydro.advance(dt_s, weather, heat[self._hydro_zones])
        self._ups_w = self.ups.advance(dt_s, grid=self.grid_on) if self.ups else 0.0
        self._zone_w = np.bincount(self.zone_of, weights=self.fleet.power_w, minlength=zones) + self._aux_w()
        for meter, watts in zip(self._meters, self._zone_w, strict=True):
            meter.count(float(watts), dt_s)
        self._site_meter.count(float(self._zone_w.sum()) + self._ups_w, dt_s)
        if self._ageing is not None and self.time_s >= self._next_hazard_s:
            self._faults.begin_drawn(self._ageing.advance(HAZARD_EVERY_S, self.inlet_c), self.time_s)
            self._next_hazard_s = self.time_s + HAZARD_EVERY_S

    def _by_zone(self, air: Floats, hydro: Floats) -> Floats:
        values = np.empty(len(self.spec.zones))
        values[self._air_zones] = air
        values[self._hydro_zones] = hydro
        return values

    def _aux_w(self) -> Floats:
        return self._by_zone(self.air.power_w, self.hydro.power_w)

    def _surroundings(self) -> Surroundings:
        nothing = np.zeros(self._air_zones.size)
        draught = self._by_zone(self.air.draught, np.ones(self._hydro_zones.size))
        kgs = self._by_zone(nothing, self.hydro.flow_kgs)
        fraction = self._by_zone(nothing, self.hydro.flow_fraction)
        zone = self.zone_of
        return Surroundings(
            inlet_c=self.inlet_c,
            draught=draught[zone],
            coolant_kgs=kgs[zone] * self._share,
            coolant_fraction=fraction[zone],
        )

    @property
    def inlet_c(self) -> Floats:
        """(n,) true inlet temperature of every miner: air with its share of recirculation, or supply water."""
        cold = self._by_zone(self.air.cold_c, self.hydro.supply_c)
        hot = self._by_zone(self.air.hot_c, self.hydro.return_c)
        mean = self._by_zone(self.air.mean_recirculation, np.zeros(self._hydro_zones.size))
        zone = self.zone_of
        own: Floats = cold[zone] + np.clip(mean[zone] * self._position, 0.0, 1.0) * (hot - cold)[zone]
        return own

    # -- commands ------------------------------------------------------------------------------------------------

    def _air_number(self, zone: int) -> int:
        if zone not in self._air_index:
            raise ValueError(f"zone {zone} is not an air zone")
        return self._air_index[zone]

    def _hydro_number(self, zone: int) -> int:
        if zone not in self._hydro_index:
            raise ValueError(f"zone {zone} is not a hydro zone")
        return self._hydro_index[zone]

    def set_exhaust_pct(self, zone: int, pct: float) -> None:
        """Command the exhaust wall of an air zone, 0..100 %. Raises ValueError."""
        self.air.wall.command(self._air_number(zone), pct)

    def set_pad_pump(self, zone: int, on: bool) -> None:
        """Switch the pad pump of an air zone. Raises ValueError."""
        self.air.pump_on[self._air_number(zone)] = on

    def set_dry_cooler_pct(self, zone: int, pct: float | None) -> None:
        """Command the dry-cooler fans of a hydro zone, 0..100 %; None gives them back to the skid's PI. Raises ValueError."""
        number = self._hydro_number(zone)
        self.hydro.cooler_auto[number] = pct is None
        if pct is not None:
            self.hydro.cooler.command(number, pct)

    def set_loop_pump_pct(self, zone: int, pct: float) -> None:
        """Command the circulation pump of a hydro zone, 0..100 %. Raises ValueError."""
        self.hydro.pump.command(self._hydro_number(zone), pct)

    def set_spray(self, zone: int, on: bool) -> None:
        """Switch the adiabatic spray of a hydro zone. Raises ValueError."""
        self.hydro.spray_on[self._hydro_number(zone)] = on

    def set_grid(self, on: bool) -> None:
        """Take the grid away from miners and cooling, or give it back; the UPS keeps the controls alive meanwhile."""
        self.grid_on = on
        self.fleet.set_supply(np.arange(self.fleet.n), on)
        for drives in (self.air.wall, self.hydro.cooler, self.hydro.pump):
            drives.supplied[:] = on

    def inject(
        self, name: FaultName | str, target: int, severity: float = 1.0, *, ramp_s: float = 0.0, part: int = 0
    ) -> Fault:
        """Begin a fault now, growing to `severity` (0..1] over `ramp_s`; replaces the same fault on the same part.

        Raises:
            ValueError: an unknown name, target or part, or a severity outside (0, 1].
        """
        return self._faults.inject(
            FaultName(name), target, severity, ramp_s=ramp_s, part=part, time_s=self.time_s
        )

    def clear(self, name: FaultName | str, target: int, *, part: int | None = None) -> None:
        """End a fault (all parts by default); what heat destroyed stays destroyed. Raises ValueError for a name."""
        self._faults.clear(FaultName(name), target, part)

    @property
    def faults(self) -> Sequence[Fault]:
        """Faults running now: the labels of training data."""
        return self._faults.active

    # -- views ---------------------------------------------------------------------------------------------------

    def totals(self) -> dict[Algorithm, AlgorithmTotals]:
        """True totals per algorithm present on the site. Algorithms are never added up."""
        answer: dict[Algorithm, AlgorithmTotals] = {}
        hashing = self.fleet.hashrate_hs > 0.0
        for algorithm in ALGORITHMS:
            mine = self.fleet.algorithm == algorithm
            if not mine.any():
                continue
            unit = UNIT_OF_ALGORITHM[algorithm]
            answer[algorithm] = AlgorithmTotals(
                algorithm=algorithm,
                hashrate=float(self.fleet.hashrate_hs[mine].sum()) / HASHES_PER_UNIT[unit],
                unit=unit,
                power_w=float(self.fleet.power_w[mine].sum()),
                miners=int(mine.sum()),
                hashing=int((hashing & mine).sum()),
            )
        return answer

    @property
    def power_w(self) -> float:
        """True total power: miners, cooling and UPS, W."""
        return float(self.fleet.power_w.sum() + self._aux_w().sum()) + self._ups_w

    @property
    def pue(self) -> float:
        """True power over miner power; NaN while the miners draw nothing."""
        it_w = float(self.fleet.power_w.sum())
        return self.power_w / it_w if it_w > 0.0 else float("nan")

    def meter(self, zone: int | None = None) -> MeterReading:
        """Read the site's feeder meter, or a zone's. Class 1; repeated calls within a step agree. Raises IndexError."""
        if zone is not None and not 0 <= zone < len(self._meters):
            raise IndexError(f"no zone {zone}")
        mine = slice(None) if zone is None else self.zone_of == zone
        phases = np.bincount(self._phase[mine], weights=self.fleet.power_w[mine], minlength=3)
        aux = self._aux_w()
        phases += (aux.sum() if zone is None else aux[zone]) / 3.0
        if zone is None:
            phases[0] += self._ups_w
        meter = self._site_meter if zone is None else self._meters[zone]
        number = len(self._meters) if zone is None else zone
        rng = np.random.default_rng([self._seed, 6, self._steps, number])
        return meter.read(phases, live=self.grid_on, rng=rng)

    def zone_truth(self, zone: int) -> ZoneTruth:
        """The real state of a zone. Raises ValueError for an unknown zone."""
        if zone in self._air_index:
            j, air = self._air_index[zone], self.air
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
        j, loop = self._hydro_number(zone), self.hydro
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

    def observe_zone(self, zone: int) -> ZoneReading:
        """What the zone's probes and drives report: bias, noise, resolution. Raises ValueError for an unknown zone."""
        rng = np.random.default_rng([self._seed, 7, self._steps, zone])
        return read_zone(self.zone_truth(zone), self._bias[zone], rng)

    @property
    def hottest_chip_c(self) -> float:
        """Hottest chip temperature that any firmware works with, deg C."""
        return float(self.fleet.firmware_chip_max_c.max())

    @property
    def mining(self) -> int:
        """Machines in state `mining`."""
        return int((self.fleet.phases.state == MinerState.MINING).sum())
