"""Moist air at sea-level pressure: saturation, humidity ratio, wet bulb. Pure functions on arrays."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

PRESSURE_PA: Final = 101_325.0


def saturation_pa(temp_c: ArrayLike) -> Floats:
    """Saturation vapour pressure over water in Pa (Magnus form, Alduchov and Eskridge 1996)."""
    t = np.asarray(temp_c, dtype=np.float64)
    return 610.94 * np.exp(17.625 * t / (t + 243.04))


def humidity_ratio(temp_c: ArrayLike, rh_pct: ArrayLike) -> Floats:
    """kg water per kg dry air."""
    vapour = saturation_pa(temp_c) * np.asarray(rh_pct, dtype=np.float64) / 100.0
    return 0.622 * vapour / (PRESSURE_PA - vapour)


def relative_humidity(temp_c: ArrayLike, ratio: ArrayLike) -> Floats:
    """Per cent, clipped to 1..100, of air at `temp_c` holding `ratio` kg water per kg dry air."""
    w = np.asarray(ratio, dtype=np.float64)
    vapour = PRESSURE_PA * w / (0.622 + w)
    return np.clip(100.0 * vapour / saturation_pa(temp_c), 1.0, 100.0)


def wet_bulb_c(temp_c: ArrayLike, rh_pct: ArrayLike) -> Floats:
    """Wet bulb in deg C (Stull 2011, within 1 K for 5..99 % RH and -20..50 deg C); never above the dry
    bulb."""
    t = np.asarray(temp_c, dtype=np.float64)
    rh = np.clip(np.asarray(rh_pct, dtype=np.float64), 5.0, 99.0)
    wet = (
        t * np.arctan(0.151977 * np.sqrt(rh + 8.313659))
        + np.arctan(t + rh)
        - np.arctan(rh - 1.676331)
        + 0.00391838 * rh**1.5 * np.arctan(0.023101 * rh)
        - 4.686035
    )
    return np.minimum(wet, t)
