"""Dew point of moist air: water condenses on whatever is colder."""

import math

_A = 17.625
_B_C = 243.04
"""Magnus form over water, Alduchov and Eskridge 1996; within 0.1 K for -40 to 50 °C."""


def dew_point_c(air_c: float | None, humidity_pct: float | None) -> float | None:
    """Dew point in °C of air at `air_c` with this relative humidity; None where either is unknown.

    Air is never wholly dry: 0 % is a broken probe, and unknown.
    """
    if air_c is None or humidity_pct is None or humidity_pct <= 0:
        return None
    gamma = math.log(humidity_pct / 100.0) + _A * air_c / (_B_C + air_c)
    return _B_C * gamma / (_A - gamma)


def margin_k(water_c: float | None, air_c: float | None, humidity_pct: float | None) -> float | None:
    """Kelvin between the water (the coldest surface) and the dew point; None: unknown. Below 0 it is wet."""
    dew_c = dew_point_c(air_c, humidity_pct)
    return None if dew_c is None or water_c is None else water_c - dew_c
