"""Outside air: a constant day, a seeded synthetic series, or a reader for EPW files."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.plant.psychrometrics import wet_bulb_c

Floats = NDArray[np.float64]

DAY_S = 86_400.0
YEAR_S = 365.0 * DAY_S
EPW_HEADER_LINES = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class WeatherPoint:
    """Outside air at one time: dry and wet bulb in deg C, relative humidity in per cent."""

    dry_bulb_c: float
    wet_bulb_c: float
    rh_pct: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class WeatherSeries:
    """Evenly spaced series, each array (k,): sample j holds at `j * step_s`; after the end it begins
    again."""

    step_s: float
    dry_bulb_c: Floats
    wet_bulb_c: Floats
    rh_pct: Floats

    def at(self, time_s: float) -> WeatherPoint:
        """Linear between samples, periodic in the length of the series."""
        k = self.dry_bulb_c.size
        place = (time_s / self.step_s) % k
        low = int(place) % k
        high, part = (low + 1) % k, place - int(place)

        def mix(values: Floats) -> float:
            return float(values[low] + part * (values[high] - values[low]))

        return WeatherPoint(
            dry_bulb_c=mix(self.dry_bulb_c), wet_bulb_c=mix(self.wet_bulb_c), rh_pct=mix(self.rh_pct)
        )


def constant_weather(dry_bulb_c: float, rh_pct: float) -> WeatherSeries:
    """The same air for ever."""
    dry, rh = np.array([dry_bulb_c]), np.array([rh_pct])
    return WeatherSeries(step_s=3600.0, dry_bulb_c=dry, wet_bulb_c=wet_bulb_c(dry, rh), rh_pct=rh)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClimateParams:
    """A temperate continental site [default]; swings are half the peak-to-peak, in K."""

    mean_c: float = 14.0
    season_k: float = 12.0
    day_k: float = 6.0
    dew_depression_k: float = 7.0
    noise_k: float = 2.5
    noise_hours: float = 36.0
    warmest_day: float = 200.0
    warmest_hour: float = 15.0


def synthetic_weather(
    seed: int,
    *,
    days: float = 365.0,
    start_day: float = 0.0,
    step_s: float = 900.0,
    params: ClimateParams | None = None,
) -> WeatherSeries:
    """Diurnal and seasonal cycle plus slow weather, an AR(1) walk; the dew point follows the daily mean.

    Raises:
        ValueError: less than one sample.
    """
    p = params or ClimateParams()
    k = round(days * DAY_S / step_s)
    if k < 1:
        raise ValueError("a weather series needs at least one sample")
    rng = np.random.default_rng([seed, 11])
    time = start_day * DAY_S + np.arange(k) * step_s
    season = p.season_k * np.cos(2 * np.pi * (time - p.warmest_day * DAY_S) / YEAR_S)
    day = p.day_k * np.cos(2 * np.pi * (time - p.warmest_hour * 3600.0) / DAY_S)
    keep = np.exp(-step_s / (p.noise_hours * 3600.0))
    kicks = rng.normal(0.0, p.noise_k * np.sqrt(1.0 - keep * keep), k)
    slow = np.empty(k)
    level = rng.normal(0.0, p.noise_k)
    for j in range(k):
        level = keep * level + kicks[j]
        slow[j] = level
    dry = p.mean_c + season + day + slow
    dew = np.minimum(p.mean_c + season + slow - p.dew_depression_k + 0.15 * day, dry - 0.2)
    magnus = 17.625 * dew / (243.04 + dew) - 17.625 * dry / (243.04 + dry)
    rh = np.clip(100.0 * np.exp(magnus), 5.0, 99.0)
    return WeatherSeries(step_s=step_s, dry_bulb_c=dry, wet_bulb_c=wet_bulb_c(dry, rh), rh_pct=rh)


def read_epw(path: Path | str) -> WeatherSeries:
    """Hourly dry bulb and humidity of an EnergyPlus weather file (fields 7 and 9 of its data dictionary).

    Raises:
        OSError: the file cannot be read. ValueError: not an EPW, or missing values (99.9 deg C, 999 %).
    """
    with Path(path).open(newline="", encoding="latin-1") as stream:
        rows = list(csv.reader(stream))
    if not rows or not rows[0] or rows[0][0].upper() != "LOCATION":
        raise ValueError(f"{path} is not an EPW file")
    data = [row for row in rows[EPW_HEADER_LINES:] if row]
    try:
        dry = np.array([float(row[6]) for row in data])
        rh = np.array([float(row[8]) for row in data])
    except (IndexError, ValueError) as error:
        raise ValueError(f"{path} has a malformed row") from error
    if not dry.size or np.any(dry >= 99.0) or np.any(rh >= 111.0):
        raise ValueError(f"{path} has no data or missing values")
    return WeatherSeries(step_s=3600.0, dry_bulb_c=dry, wet_bulb_c=wet_bulb_c(dry, rh), rh_pct=rh)
