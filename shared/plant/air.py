"""Air containers: wetted pads, a cold and a hot aisle, an exhaust wall. Vectorised over zones.

The states and sizes are plant.md §2.2(a), scaled from its 300-miner container. Its energy equations assume
that the wall moves at least the miners' air; here the air that the wall does not take returns to the cold
aisle, so that mass and energy also balance with the wall stopped [default]. Both aisles are stepped by
backward Euler, stable at any step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.plant.cooling import AIR_J_PER_M3K
from shared.plant.drive import Drives
from shared.plant.psychrometrics import humidity_ratio, relative_humidity
from shared.plant.weather import WeatherPoint

Floats = NDArray[np.float64]

REFERENCE_MINERS = 300.0
AIR_KG_PER_M3 = 1.16


@dataclass(frozen=True, kw_only=True, slots=True)
class AirParams:
    """One container, sized for `miners` (plant.md §2.2a for the 300-miner totals; the rest [default]).

    `flow_margin` is wall flow at full speed over 0.18 m3/s per miner; `stopped_flow` the share of the miners'
    own air that still leaves through a stopped wall; `back_pressure` the share of miner air lost when the
    wall takes nothing.
    """

    miners: int
    flow_per_miner_m3s: float = 0.18
    flow_margin: float = 1.25
    fan_w_per_m3s: float = 490.0
    cold_j_per_k: float = 60_000.0
    hot_j_per_k: float = 90_000.0
    steel_j_per_k: float = 1_200_000.0
    steel_w_per_k: float = 2_000.0
    shell_w_per_k: float = 600.0
    pump_w: float = 1_500.0
    pad_wet_s: float = 180.0
    pad_dry_s: float = 900.0
    bleed: float = 0.25
    recirculation: float = 0.04
    recirculation_starved: float = 0.12
    stopped_flow: float = 0.10
    back_pressure: float = 0.25
    wall_start_pct: float = 85.0
    wall_ramp_pct_s: float = 5.0
    wall_coast_pct_s: float = 15.0
    pads_wet: bool = True


class AirZones:
    """`z` air containers. Temperatures in deg C, flows in m3/s, powers in W, all (z,).

    `wall` are the exhaust-wall drives; `pump_on` is the pad pump command and `pump_lost` what a fault takes
    of it.
    """

    def __init__(self, params: Sequence[AirParams]) -> None:
        z = len(params)

        def column(name: str) -> Floats:
            return np.array([float(getattr(p, name)) for p in params])

        scale = column("miners") / REFERENCE_MINERS
        self._wall_full = column("miners") * column("flow_per_miner_m3s") * column("flow_margin")
        self._wall_w = self._wall_full * column("fan_w_per_m3s")
        self._cold_j, self._hot_j, self._steel_j = (
            column(name) * scale for name in ("cold_j_per_k", "hot_j_per_k", "steel_j_per_k")
        )
        self._steel_ua = column("steel_w_per_k") * scale
        self._shell_ua = column("shell_w_per_k") * scale
        self._pump_w = column("pump_w") * scale
        self._wet_s, self._dry_s, self._bleed = column("pad_wet_s"), column("pad_dry_s"), column("bleed")
        self._recirculation = column("recirculation")
        self._starved = column("recirculation_starved")
        self._stopped_flow, self._back_pressure = column("stopped_flow"), column("back_pressure")
        self.wall = Drives(
            start_pct=column("wall_start_pct"),
            ramp_pct_s=column("wall_ramp_pct_s"),
            coast_pct_s=column("wall_coast_pct_s"),
        )
        self.pump_on = np.array([p.pads_wet for p in params], dtype=np.bool_)
        self.pump_lost = np.zeros(z)
        self.wetness = self.pump_on.astype(np.float64)
        self.cold_c, self.hot_c, self.steel_c = np.full(z, 24.0), np.full(z, 38.0), np.full(z, 34.0)
        self.pad_c = np.full(z, 24.0)
        self.pad_ratio = np.full(z, 0.010)
        self.flow_m3s = self._wall_full * self.wall.speed
        self.starvation = np.zeros(z)
        self.mean_recirculation = self._recirculation.copy()
        self.water_kg_s = np.zeros(z)
        self.outside_w = np.zeros(z)

    @property
    def draught(self) -> Floats:
        """(z,) what back pressure leaves of the miners' free air flow, 0..1."""
        return 1.0 - self._back_pressure * self.starvation

    @property
    def pump_running(self) -> Floats:
        """(z,) 0..1: what the pad pumps really do, after command, fault and supply."""
        running: Floats = self.pump_on * (1.0 - self.pump_lost) * self.wall.supplied
        return running

    @property
    def power_w(self) -> Floats:
        """(z,) exhaust fans (cubic) and pad pump."""
        return self._wall_w * self.wall.speed**3 + self._pump_w * self.pump_running

    @property
    def stored_j_per_k(self) -> tuple[Floats, Floats, Floats]:
        """Heat capacities of cold aisle, hot aisle and steel, each (z,)."""
        return self._cold_j, self._hot_j, self._steel_j

    @property
    def cold_rh_pct(self) -> Floats:
        """(z,) relative humidity of the cold aisle."""
        return relative_humidity(self.cold_c, self.pad_ratio)

    def _wet_pads(self, dt_s: float, weather: WeatherPoint) -> None:
        wanted = self.pump_running
        tau = np.where(wanted > self.wetness, self._wet_s, self._dry_s)
        self.wetness += (wanted - self.wetness) * (1.0 - np.exp(-dt_s / tau))
        relative = np.maximum(self.flow_m3s / (self._wall_full / 1.25), 0.05)
        effect = 0.85 * (1.0 - np.exp(-1.9 * relative**-0.3)) * self.wetness
        self.pad_c = weather.dry_bulb_c - effect * (weather.dry_bulb_c - weather.wet_bulb_c)
        outside = float(humidity_ratio(weather.dry_bulb_c, weather.rh_pct))
        # Along a wet-bulb line: 2501 kJ/kg latent against 1.006 kJ/kgK sensible.
        self.pad_ratio = outside + 1.006 / 2501.0 * (weather.dry_bulb_c - self.pad_c)
        self.water_kg_s = self.flow_m3s * AIR_KG_PER_M3 * (self.pad_ratio - outside) * (1.0 + self._bleed)

    def advance(self, dt_s: float, weather: WeatherPoint, heat_w: Floats, miner_m3s: Floats) -> None:
        """Step the air by `dt_s`: `heat_w` and `miner_m3s` are what the miners of each zone give and draw,
        (z,)."""
        self.wall.advance(dt_s)
        need = miner_m3s * (1.0 - self.mean_recirculation)
        self.flow_m3s = np.maximum(self._wall_full * self.wall.speed, self._stopped_flow * need) + 1e-3
        self.starvation = np.clip(1.0 - self.flow_m3s / np.maximum(need, 1e-3), 0.0, 1.0)
        self.mean_recirculation = self._recirculation + self._starved * self.starvation
        self._wet_pads(dt_s, weather)
        out = AIR_J_PER_M3K * self.flow_m3s
        back = AIR_J_PER_M3K * np.maximum(need - self.flow_m3s, 0.0)
        through = out + back
        a, b = self._cold_j / dt_s, self._hot_j / dt_s
        cold_rhs = a * self.cold_c + out * self.pad_c + self._shell_ua * weather.dry_bulb_c
        hot_rhs = b * self.hot_c + heat_w + self._steel_ua * self.steel_c
        cold_diag = a + out + back + self._shell_ua
        hot_diag = b + through + self._steel_ua
        det = cold_diag * hot_diag - back * through
        self.cold_c = (cold_rhs * hot_diag + back * hot_rhs) / det
        self.hot_c = (cold_diag * hot_rhs + through * cold_rhs) / det
        self.steel_c = self.steel_c + dt_s * self._steel_ua * (self.hot_c - self.steel_c) / self._steel_j
        self.outside_w = out * (self.hot_c - self.pad_c) + self._shell_ua * (self.cold_c - weather.dry_bulb_c)
