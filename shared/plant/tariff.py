"""Electricity price: a seeded synthetic spot series with spikes, or a reader for CSV files."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HOUR_S = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TariffSeries:
    """Prices per MWh, (k,), sample j holding from `start_s[j]` (seconds from the series' own start) to the
    next.

    After the last interval (taken to be as long as the one before) the series begins again.
    """

    start_s: Floats
    price_per_mwh: Floats

    @property
    def length_s(self) -> float:
        """Length of one pass in seconds."""
        last = self.start_s[-1] - self.start_s[-2] if self.start_s.size > 1 else HOUR_S
        return float(self.start_s[-1] + last)

    def at(self, time_s: float) -> float:
        """Price per MWh that holds at `time_s`."""
        place = time_s % self.length_s
        return float(self.price_per_mwh[int(np.searchsorted(self.start_s, place, side="right")) - 1])


@dataclass(frozen=True, kw_only=True, slots=True)
class SpotParams:
    """A spot market with evening peaks, cheap nights, slow noise and rare spikes [default]; prices per
    MWh."""

    mean: float = 45.0
    day_swing: float = 14.0
    noise: float = 9.0
    noise_hours: float = 8.0
    spikes_per_week: float = 2.0
    spike_median: float = 350.0
    spike_hours: float = 1.5
    floor: float = -30.0
    cap: float = 5000.0


def synthetic_tariff(
    seed: int, *, days: float = 30.0, step_s: float = 900.0, params: SpotParams | None = None
) -> TariffSeries:
    """A series of `days` in steps of `step_s`.

    Raises:
        ValueError: less than one sample.
    """
    p = params or SpotParams()
    k = round(days * 24.0 * HOUR_S / step_s)
    if k < 1:
        raise ValueError("a tariff series needs at least one sample")
    rng = np.random.default_rng([seed, 12])
    start = np.arange(k, dtype=np.float64) * step_s
    hour = (start / HOUR_S) % 24.0
    shape = np.cos(2 * np.pi * (hour - 19.0) / 24.0) + 0.4 * np.cos(4 * np.pi * (hour - 8.0) / 24.0)
    keep = np.exp(-step_s / (p.noise_hours * HOUR_S))
    kicks = rng.normal(0.0, p.noise * np.sqrt(1.0 - keep * keep), k)
    slow = np.empty(k)
    level = 0.0
    for j in range(k):
        level = keep * level + kicks[j]
        slow[j] = level
    price = p.mean + p.day_swing * shape + slow
    for begin in np.flatnonzero(rng.random(k) < p.spikes_per_week * step_s / (7 * 24 * HOUR_S)):
        length = max(1, round(rng.exponential(p.spike_hours) * HOUR_S / step_s))
        price[begin : begin + length] += rng.lognormal(np.log(p.spike_median), 0.8)
    return TariffSeries(start_s=start, price_per_mwh=np.clip(price, p.floor, p.cap))


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def read_tariff_csv(path: Path | str) -> TariffSeries:
    """A CSV with columns `time` (ISO 8601, UTC unless it says otherwise, or seconds) and `price_per_mwh`.

    Raises:
        OSError: the file cannot be read. ValueError: missing columns, no rows, bad numbers or times out of
        order.
    """
    with Path(path).open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    try:
        start = np.array([_seconds(row["time"]) for row in rows])
        price = np.array([float(row["price_per_mwh"]) for row in rows])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} needs the columns time and price_per_mwh") from error
    if not start.size or np.any(np.diff(start) <= 0.0) or not np.all(np.isfinite(price)):
        raise ValueError(f"{path} has no rows, times out of order or prices that are not numbers")
    return TariffSeries(start_s=start - start[0], price_per_mwh=price)
