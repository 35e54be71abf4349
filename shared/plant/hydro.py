"""Hydro loops with dry coolers, vectorised over zones (plant.md §2.2c, scaled from its 1 MW loop).

Two mixed volumes, one before and one after the cooler, stand for the loop's heat capacity and its transport
delay. The UA law is UA = UA0 (n/n0)^0.75; against outside air of one temperature the LMTD form is Q = G (1 -
exp(-UA/G)) (T_return - T_air). Both volumes are stepped by backward Euler.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.plant.cooling import WATER_J_PER_KGK
from shared.plant.drive import Drives
from shared.plant.weather import WeatherPoint

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class HydroParams:
    """One loop for `design_w` of heat; the other values are per MW of it (plant.md §2.2c [default])."""

    design_w: float
    flow_kgs_per_mw: float = 42.9
    ua_w_per_k_per_mw: float = 100_000.0
    loop_j_per_k_per_mw: float = 6_000_000.0
    fan_w_per_mw: float = 14_000.0
    pump_w_per_mw: float = 18_000.0
    ua_exponent: float = 0.75
    spray_effect: float = 0.6
    bypass_start_c: float = 24.0
    bypass_full_c: float = 20.0
    setpoint_c: float = 35.0
    start_pct: float = 80.0
    ramp_pct_s: float = 5.0
    coast_pct_s: float = 15.0


class HydroLoops:
    """`z` loops. Temperatures in deg C, flows in kg/s, powers in W, all (z,).

    `cooler` and `pump` are drives. While `cooler_auto` is set, the skid's own PI holds `setpoint_c` with the
    cooler.
    """

    def __init__(self, params: Sequence[HydroParams]) -> None:
        z = len(params)

        def column(name: str) -> Floats:
            return np.array([float(getattr(p, name)) for p in params])

        size = column("design_w") / 1e6
        self._flow_full = column("flow_kgs_per_mw") * size
        self._ua_full = column("ua_w_per_k_per_mw") * size
        self._half_j = 0.5 * column("loop_j_per_k_per_mw") * size
        self._fan_w, self._pump_w = column("fan_w_per_mw") * size, column("pump_w_per_mw") * size
        self._exponent, self._spray = column("ua_exponent"), column("spray_effect")
        self._bypass_start, self._bypass_full = column("bypass_start_c"), column("bypass_full_c")
        ramps = {"ramp_pct_s": column("ramp_pct_s"), "coast_pct_s": column("coast_pct_s")}
        self.cooler = Drives(start_pct=column("start_pct"), **ramps)
        self.pump = Drives(start_pct=np.full(z, 100.0), **ramps)
        self.cooler_auto = np.ones(z, dtype=np.bool_)
        self.setpoint_c = column("setpoint_c")
        self.spray_on = np.zeros(z, dtype=np.bool_)
        self._integral = column("start_pct")
        self.supply_c, self.return_c = np.full(z, 35.0), np.full(z, 41.0)
        self.outside_w = np.zeros(z)

    @property
    def flow_fraction(self) -> Floats:
        """(z,) flow relative to design, 0..1."""
        return self.pump.speed

    @property
    def flow_kgs(self) -> Floats:
        """(z,) coolant flow."""
        return self._flow_full * self.pump.speed

    @property
    def power_w(self) -> Floats:
        """(z,) dry-cooler fans and pump, cubic in speed."""
        return self._fan_w * self.cooler.speed**3 + self._pump_w * self.pump.speed**3

    @property
    def stored_j_per_k(self) -> Floats:
        """(z,) heat capacity of each of the two volumes."""
        return self._half_j

    def _hold_setpoint(self, dt_s: float) -> None:
        error = self.supply_c - self.setpoint_c
        self._integral = np.clip(self._integral + 0.08 * dt_s * error, 10.0, 100.0)
        wanted = np.clip(self._integral + 6.0 * error, 10.0, 100.0)
        self.cooler.command_pct = np.where(self.cooler_auto, wanted, self.cooler.command_pct)

    def advance(self, dt_s: float, weather: WeatherPoint, heat_w: Floats) -> None:
        """Step the loops by `dt_s` with the miners' heat in W, (z,)."""
        self._hold_setpoint(dt_s)
        self.cooler.advance(dt_s)
        self.pump.advance(dt_s)
        depression = weather.dry_bulb_c - weather.wet_bulb_c
        sink_c = weather.dry_bulb_c - self._spray * depression * self.spray_on
        ua = self._ua_full * np.maximum(self.cooler.speed, 0.03) ** self._exponent
        g = np.maximum(self.flow_kgs, 0.002 * self._flow_full) * WATER_J_PER_KGK
        span = self._bypass_start - self._bypass_full
        bypass = np.clip((self._bypass_start - self.supply_c) / span, 0.0, 1.0)
        removed = g * (1.0 - np.exp(-ua / g)) * (1.0 - bypass)
        c = self._half_j / dt_s
        # return: (c + g) Tr - g Ts = c Tr0 + heat;  supply: (c + g) Ts - (g - removed) Tr = c Ts0 + removed *
        # sink
        rhs_r, rhs_s = c * self.return_c + heat_w, c * self.supply_c + removed * sink_c
        diag, forward = c + g, g - removed
        det = diag * diag - g * forward
        self.return_c = (rhs_r * diag + g * rhs_s) / det
        self.supply_c = (diag * rhs_s + forward * rhs_r) / det
        self.outside_w = removed * (self.return_c - sink_c)
