"""Zone probes: what a site sees of its air and water (noise and resolution of plant.md §2.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

AIR_BIAS_K: Final = 0.4
AIR_NOISE_K: Final = 0.2
WATER_NOISE_K: Final = 0.1
RESOLUTION: Final = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class ZoneTruth:
    """True zone state. `supply`/`return` are cold and hot aisle or loop water in deg C; `flow` is m3/s of air
    or kg/s of coolant; the drive is the exhaust wall or the dry cooler, the pump the pad pump or the loop
    pump, in per cent."""

    kind: Literal["air", "hydro"]
    supply_c: float
    return_c: float
    supply_rh_pct: float | None
    flow: float
    drive_command_pct: float
    drive_actual_pct: float
    pump_actual_pct: float
    power_w: float
    wetness: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ZoneReading:
    """Reported zone state, units as in `ZoneTruth`; None where a zone of this kind has no such probe."""

    kind: Literal["air", "hydro"]
    supply_c: float
    return_c: float
    supply_rh_pct: float | None
    coolant_kgs: float | None
    drive_command_pct: float
    drive_actual_pct: float
    pump_actual_pct: float


def zone_bias(rng: np.random.Generator, zones: int) -> Floats:
    """(zones, 2) fixed bias of the supply and return probes in K, clipped to 2 sd."""
    return np.clip(rng.normal(0.0, AIR_BIAS_K, (zones, 2)), -2 * AIR_BIAS_K, 2 * AIR_BIAS_K)


def _resolve(value: float) -> float:
    return round(round(value / RESOLUTION) * RESOLUTION, 6)


def read_zone(truth: ZoneTruth, bias: Floats, rng: np.random.Generator) -> ZoneReading:
    """Read the probes of a zone; water probes have no bias to speak of."""
    air = truth.kind == "air"
    noise = rng.normal(0.0, AIR_NOISE_K if air else WATER_NOISE_K, 2) + (bias if air else 0.0)
    rh = truth.supply_rh_pct
    return ZoneReading(
        kind=truth.kind,
        supply_c=_resolve(truth.supply_c + float(noise[0])),
        return_c=_resolve(truth.return_c + float(noise[1])),
        supply_rh_pct=None
        if rh is None
        else _resolve(min(100.0, max(0.0, rh + float(rng.normal(0.0, 1.0))))),
        coolant_kgs=None if air else round(truth.flow * (1.0 + float(rng.normal(0.0, 0.005))), 2),
        drive_command_pct=truth.drive_command_pct,
        drive_actual_pct=round(truth.drive_actual_pct, 1),
        pump_actual_pct=round(truth.pump_actual_pct, 1),
    )
