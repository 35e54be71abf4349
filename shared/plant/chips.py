"""Electrical laws of a miner: PSU, leakage and hash errors. Pure functions on arrays of any broadcastable
shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.plant.ladders import MinerModel

Floats = NDArray[np.float64]

LEAK_REF_C: Final = 65.0
"""Chip temperature at which a ladder's leakage share holds (plant.md §1.3)."""
LEAK_SCALE_K: Final = 35.0
"""Leakage grows by e per this many kelvin (plant.md §1.3)."""
LEAK_CLIP_C: Final = 140.0
"""Leakage is evaluated no hotter than this, so a simulated runaway stays finite [default]."""
VRM_EFFICIENCY: Final = 0.97
BOARD_OVERHEAD_W: Final = 6.0
CONTROL_BOARD_W: Final = 12.0
STANDBY_W: Final = 20.0
"""Wall power asleep, fans not counted: the middle of 15-25 W (plant.md §1.3)."""
INITIALIZING_W: Final = 120.0
"""Wall power while chips are enumerated, fans not counted: 146 W with fans was recorded (miners.md §1.5)."""
LADDER_FAN_W: Final = 50.0
"""Share of a ladder label taken to be fans [default]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorParams:
    """Voltage margin and the errors it costs, all [default] of plant.md §1.3 except the nominal margin (tuned
    by us).

    The nominal margin of 47 mV makes a healthy S19 Pro count about 0.01 errors per second, as recorded (S4).
    """

    nominal_margin_mv: float = 47.0
    knee_mv: float = 10.0
    slope_mv: float = 4.0
    thermal_mv_per_k: float = 0.15


def psu_efficiency(load_fraction: Floats) -> Floats:
    """PSU efficiency (0..1) at a load fraction of its rating (plant.md §1.1, [default] around S9's 93-95
    %)."""
    x = np.maximum(load_fraction, 0.0)
    return np.maximum(0.945 - 0.02 * (x - 0.6) ** 2 - 0.015 * np.exp(-x / 0.05), 0.5)


def leakage_factor(chip_c: Floats) -> Floats:
    """Leakage at a true chip temperature in deg C, relative to 65 deg C (plant.md §1.3)."""
    return np.exp((np.minimum(chip_c, LEAK_CLIP_C) - LEAK_REF_C) / LEAK_SCALE_K)


def error_ratio(margin_mv: Floats, params: ErrorParams) -> Floats:
    """Share of nonces that come out wrong (0..1) at a voltage margin in mV (plant.md §1.3)."""
    exponent = np.clip((margin_mv - params.knee_mv) / params.slope_mv, -50.0, 50.0)
    return 1.0 / (1.0 + np.exp(exponent))


def split_ladder(model: MinerModel) -> tuple[Floats, Floats]:
    """Dynamic and leakage chip power of the whole machine per rung, W at 65 deg C, each of shape (presets,).

    The label is what the machine draws at the wall, so dynamic power is what remains of it after the PSU, the
    fans, the control board, the VRMs and leakage; leakage scales with V^3 from the stock rung (plant.md
    §1.3).
    """
    label = np.array([preset.power_w for preset in model.presets])
    volt = np.array([preset.volt_v for preset in model.presets])
    fan_w = LADDER_FAN_W if model.fans else 0.0
    dc_w = label * psu_efficiency(label / model.psu_rated_w)
    chip_w = (
        dc_w - CONTROL_BOARD_W - fan_w
    ) * VRM_EFFICIENCY - model.boards * BOARD_OVERHEAD_W * VRM_EFFICIENCY
    stock = model.stock_preset
    leak_w = model.leak_share * chip_w[stock] * (volt / volt[stock]) ** 3
    leak_w = np.minimum(leak_w, 0.5 * chip_w)
    return chip_w - leak_w, leak_w
