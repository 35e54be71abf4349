"""Feeder meters: three-phase totals of class 1 accuracy (plant.md §2.2: 0.5-1 %; §6 for what meters
offer)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class MeterParams:
    """Voltage is line to neutral; `gain_sd` is fixed per meter, `noise_sd` per reading, both relative."""

    nominal_v: float = 230.0
    nominal_hz: float = 50.0
    gain_sd: float = 0.004
    noise_sd: float = 0.0015
    power_factor: float = 0.99
    low_load_factor: float = 0.90
    low_load_w: float = 3_000.0


@dataclass(frozen=True, kw_only=True, slots=True)
class MeterReading:
    """One reading: W, VA, V line to neutral, A, Hz, kWh; tuples are phases L1..L3."""

    power_w: float
    apparent_va: float
    power_factor: float
    phase_w: tuple[float, float, float]
    phase_v: tuple[float, float, float]
    phase_a: tuple[float, float, float]
    frequency_hz: float
    energy_kwh: float


def _triple(values: Floats) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


class Meter:
    """One feeder meter; its gain error is drawn once, its energy register counts what it (mis)measures."""

    def __init__(self, rng: np.random.Generator, params: MeterParams) -> None:
        self._params = params
        self._gain = 1.0 + float(np.clip(rng.normal(0.0, params.gain_sd), -0.009, 0.009))
        self._energy_j = 0.0

    def count(self, power_w: float, dt_s: float) -> None:
        """Let `power_w` flow for `dt_s`."""
        self._energy_j += power_w * self._gain * dt_s

    def forget(self) -> None:
        """Begin the energy register at zero again."""
        self._energy_j = 0.0

    def read(self, phase_w: Floats, *, live: bool, rng: np.random.Generator) -> MeterReading:
        """Read true phase powers (3,) in W; a dead feeder reads zero volts."""
        p = self._params
        seen = phase_w * self._gain * (1.0 + rng.normal(0.0, p.noise_sd))
        volts = p.nominal_v * (1.0 + rng.normal(0.0, 0.004, 3)) if live else np.zeros(3)
        total = float(seen.sum())
        factor = p.power_factor if total > p.low_load_w else p.low_load_factor
        amps = seen / (volts * factor) if live else np.zeros(3)
        return MeterReading(
            power_w=total,
            apparent_va=total / factor,
            power_factor=factor if total > 0.0 else 0.0,
            phase_w=_triple(seen),
            phase_v=_triple(volts),
            phase_a=_triple(amps),
            frequency_hz=p.nominal_hz + float(rng.normal(0.0, 0.01)) if live else 0.0,
            energy_kwh=self._energy_j / 3.6e6,
        )
