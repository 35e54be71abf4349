"""`SitePlant`: fleet, zones, weather, meters and faults as one deterministic system.

There is deliberately no site-wide hashrate: `totals()` answers per algorithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.plant.air import AirParams
from shared.plant.fault_board import FaultBoard
from shared.plant.faults import AgeingParts, Fault, FaultName
from shared.plant.ladders import (
    ALGORITHMS,
    HASHES_PER_UNIT,
    UNIT_OF_ALGORITHM,
    Algorithm,
    MinerModel,
    load_ladders,
)
from shared.plant.meter import Meter, MeterReading
from shared.plant.miner import MinerFleet
from shared.plant.sensors import ZoneReading, read_zone, zone_bias
from shared.plant.site_spec import SiteSpec
from shared.plant.states import MinerState
from shared.plant.ups import Ups
from shared.plant.weather import WeatherPoint
from shared.plant.zones import Zones

HAZARD_EVERY_S = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class AlgorithmTotals:
    """True totals of one algorithm: hashrate in `unit` (TH/s for sha256d, GH/s for scrypt), W at the wall,
    counts."""

    algorithm: Algorithm
    hashrate: float
    unit: str
    power_w: float
    miners: int
    hashing: int


def _expand(spec: SiteSpec) -> tuple[list[MinerModel], list[int], list[int]]:
    """Model, rung and zone of every machine, in slot order."""
    ladders = load_ladders()
    models: list[MinerModel] = []
    presets: list[int] = []
    zone_of: list[int] = []
    for number, zone in enumerate(spec.zones):
        wanted = "air" if isinstance(zone.cooling, AirParams) else "hydro"
        for group in zone.miners:
            model = ladders[group.model]
            if model.cooling != wanted:
                raise ValueError(f"zone {zone.name} is {wanted}, {model.name} is {model.cooling}")
            models += [model] * group.count
            presets += [model.stock_preset if group.preset is None else group.preset] * group.count
            zone_of += [number] * group.count
    return models, presets, zone_of


class SitePlant:
    """A site. Miners and zones are numbered in the order of the specification; time begins at 0 s.

    Commands to miners go to `fleet`, commands to cooling equipment to `zones`. `zone_of` (n,) is each miner's
    zone.
    """

    def __init__(self, spec: SiteSpec, *, seed: int = 0) -> None:
        """Build a site.

        Raises:
            KeyError: an unknown model. ValueError: no miners, a rung off the ladder, a hydro machine in an
            air zone or the reverse.
        """
        self.spec = spec
        self._seed = seed
        self.time_s = 0.0
        self._steps = 0
        self.zone_names = tuple(zone.name for zone in spec.zones)
        models, presets, zone_of = _expand(spec)
        self.fleet = MinerFleet(models, presets=presets, params=spec.fleet, seed=seed)
        self.zone_of = np.array(zone_of, dtype=np.intp)
        rng = np.random.default_rng([seed, 4])
        # Slots near the containment's gaps breathe more hot air (Beta around the mean, plant.md §2.2a).
        position = 2.0 * rng.beta(6.0, 6.0, self.fleet.n)
        self.zones = Zones([zone.cooling for zone in spec.zones], self.zone_of, position)
        self._phase = np.arange(self.fleet.n) % 3
        self._meters = [Meter(rng, spec.meter) for _ in spec.zones]
        self._site_meter = Meter(rng, spec.meter)
        self._bias = zone_bias(rng, len(spec.zones))
        self.ups = Ups(spec.ups) if spec.ups else None
        self._ups_w = 0.0
        self.grid_on = True
        self._faults = FaultBoard(self.fleet, self.zones)
        self._ageing = (
            AgeingParts(self.fleet.n, rng=np.random.default_rng([seed, 5]), speed=spec.hazard_speed)
            if spec.hazard_speed > 0.0
            else None
        )
        self._next_hazard_s = HAZARD_EVERY_S

    # -- time ----------------------------------------------------------------------------------------------

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
        self.fleet.time_s = began
        for meter in (*self._meters, self._site_meter):
            meter.forget()

    def _advance(self, dt_s: float) -> None:
        self.time_s += dt_s
        self._faults.apply(self.time_s)
        self.fleet.advance(dt_s, self.zones.surroundings)
        self.zones.advance(dt_s, self.weather, self.fleet.heat_w, self.fleet.flow_m3s)
        self._ups_w = self.ups.advance(dt_s, grid=self.grid_on) if self.ups else 0.0
        zone_w = self.zones.sum_of(self.fleet.power_w) + self.zones.power_w
        for meter, watts in zip(self._meters, zone_w, strict=True):
            meter.count(float(watts), dt_s)
        self._site_meter.count(float(zone_w.sum()) + self._ups_w, dt_s)
        if self._ageing is not None and self.time_s >= self._next_hazard_s:
            begun = self._ageing.advance(HAZARD_EVERY_S, self.zones.inlet_c)
            self._faults.begin_drawn(begun, self.time_s)
            self._next_hazard_s = self.time_s + HAZARD_EVERY_S

    # -- commands ------------------------------------------------------------------------------------------

    def set_grid(self, *, on: bool) -> None:
        """Take the grid away from miners and cooling, or give it back; the UPS keeps the controls alive
        meanwhile."""
        self.grid_on = on
        self.fleet.set_supply(np.arange(self.fleet.n), on=on)
        self.zones.set_supply(on=on)

    def inject(
        self,
        name: FaultName | str,
        target: int,
        severity: float = 1.0,
        *,
        ramp_s: float = 0.0,
        part: int | None = None,
    ) -> Fault:
        """Begin a fault now, growing to `severity` in (0, 1] over `ramp_s`; replaces the same fault on the
        same part.

        `part` is one fan or board, None all of them (the usual case for a worn fan set).

        Raises:
            ValueError: an unknown name, target or part, or a severity outside (0, 1].
        """
        return self._faults.inject(
            FaultName(name), target, severity, ramp_s=ramp_s, part=part, time_s=self.time_s
        )

    def clear(self, name: FaultName | str, target: int, *, part: int | None = None) -> None:
        """End a fault, on one part or (None) wherever it runs; what heat destroyed stays so.

        Raises:
            ValueError: an unknown name.
        """
        self._faults.clear(FaultName(name), target, part, time_s=self.time_s)

    @property
    def faults(self) -> Sequence[Fault]:
        """Faults running now: the labels of training data."""
        return self._faults.active

    # -- views ---------------------------------------------------------------------------------------------

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
        return float(self.fleet.power_w.sum() + self.zones.power_w.sum()) + self._ups_w

    @property
    def pue(self) -> float:
        """True power over miner power; NaN while the miners draw nothing."""
        it_w = float(self.fleet.power_w.sum())
        return self.power_w / it_w if it_w > 0.0 else float("nan")

    def meter(self, zone: int | None = None) -> MeterReading:
        """Read the site's feeder meter, or a zone's. Class 1; repeated calls within a step agree.

        Raises:
            IndexError: no such zone.
        """
        if zone is not None and not 0 <= zone < len(self._meters):
            raise IndexError(f"no zone {zone}")
        mine = slice(None) if zone is None else self.zone_of == zone
        watts = self.fleet.power_w[mine]
        phases = np.bincount(self._phase[mine], weights=watts, minlength=3).astype(np.float64)
        aux = self.zones.power_w
        phases += (aux.sum() if zone is None else aux[zone]) / 3.0
        if zone is None:
            phases[0] += self._ups_w
        meter = self._site_meter if zone is None else self._meters[zone]
        number = len(self._meters) if zone is None else zone
        rng = np.random.default_rng([self._seed, 6, self._steps, number])
        return meter.read(phases, live=self.grid_on, rng=rng)

    def observe_zone(self, zone: int) -> ZoneReading:
        """What the zone's probes and drives report: bias, noise, resolution.

        Raises:
            ValueError: an unknown zone.
        """
        rng = np.random.default_rng([self._seed, 7, self._steps, zone])
        return read_zone(self.zones.truth(zone), self._bias[zone], rng)

    @property
    def hottest_chip_c(self) -> float:
        """Hottest chip temperature that any firmware works with, deg C."""
        return float(self.fleet.firmware_chip_max_c.max())

    @property
    def mining(self) -> int:
        """Machines in state `mining`."""
        return int((self.fleet.phases.state == MinerState.MINING).sum())
