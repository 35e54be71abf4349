"""Heat paths inside one miner: fans, air and coolant flow, board resistance. Pure functions on arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

AIR_J_PER_M3K: Final = 1165.0
"""Volumetric heat capacity of air (plant.md §1.4)."""
WATER_J_PER_KGK: Final = 3600.0
"""Heat capacity of 30 % glycol (plant.md §2.2c)."""
FLOW_REF_RPM: Final = 6000.0
FAN_RATED_W: Final = 19.8
FAN_RATED_RPM: Final = 6150.0
"""One 12038 fan: 12 V, 1.65 A at 6150 rpm (S17)."""
REFERENCE_CHIPS: Final = 110.0
"""Chips on the boards that the junction resistance was given for; fewer and larger dies share the same cold
plate, so the rise follows the power of the board [default]."""
CHIP_ESTIMATE_K: Final = 15.0
"""Firmware adds this to a board sensor and calls it chip temperature (plant.md §1.4, miners.md §5.4)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CoolingParams:
    """Thermal parameters of a machine (plant.md §1.4 and §2.2c, [default] calibrated there).

    Resistances are K/W per board, `board_j_per_k` is J/K per board, `junction_k_per_w` K/W per chip of a
    board with 110.
    """

    air_r0: float = 0.006
    air_r1: float = 0.012
    hydro_r: float = 0.008
    flow_exponent: float = 0.8
    board_j_per_k: float = 2000.0
    junction_k_per_w: float = 1.5
    air_path_gain: float = 1.05
    min_flow_fraction: float = 0.03
    fan_lag_s: float = 3.0
    fan_rpm_at_zero_duty: float = 1010.0
    fan_rpm_per_duty: float = 5430.0


def fan_rpm(duty: Floats, params: CoolingParams) -> Floats:
    """Speed of a healthy fan at a duty of 0..1; a duty below 2 % stops it.

    A line through two recordings: 20 % = about 2100 rpm (S4) and 90 % = about 5900 rpm (S6).
    """
    return np.where(duty < 0.02, 0.0, params.fan_rpm_at_zero_duty + params.fan_rpm_per_duty * duty)


def fan_power_w(rpm: Floats) -> Floats:
    """Electrical power of one fan, cubic in speed (plant.md §1.4, S17)."""
    ratio = rpm / FAN_RATED_RPM
    return FAN_RATED_W * ratio * ratio * ratio


def air_flow_m3s(mean_rpm: Floats, flow_max_m3s: Floats, derate: Floats, params: CoolingParams) -> Floats:
    """Air through a machine; `derate` (0..1) is dust and site pressure, natural draught sets the floor."""
    return flow_max_m3s * np.maximum(mean_rpm / FLOW_REF_RPM * derate, params.min_flow_fraction)


def air_resistance(flow_fraction: Floats, params: CoolingParams) -> Floats:
    """Board to air, K/W per board, at a flow relative to 6000 rpm (plant.md §1.4)."""
    return params.air_r0 + params.air_r1 * flow_fraction**-params.flow_exponent


def water_resistance(flow_fraction: Floats, params: CoolingParams) -> Floats:
    """Board to coolant, K/W per board, at a flow relative to design.

    plant.md §2.2c gives the design value; the same exponent as for air carries it to low flow [default].
    """
    return params.hydro_r * np.maximum(flow_fraction, params.min_flow_fraction) ** -params.flow_exponent
