"""Parameters of a fleet and the surroundings that a site gives it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shared.plant.chips import ErrorParams
from shared.plant.cooling import CoolingParams
from shared.plant.silicon import LotteryParams
from shared.plant.states import TimingParams

Floats = NDArray[np.float64]

HASHES_PER_SHARE = {"sha256d": 262_144.0 * 2.0**32, "scrypt": 2.0**37}
"""Work behind one pool share: difficulty 262K for SHA-256d (miners.md §1.5); scrypt is a [default]."""
HASHES_PER_NONCE = {"sha256d": 2.0**40, "scrypt": 2.0**27}
"""Work behind one nonce that a chip returns, i.e. what HW errors are counted in [default]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetParams:
    """Firmware settings and physics of a fleet. Temperatures in deg C, gains per kelvin.

    `target_c` is VNish's default target and `protect_c` its critical chip temperature (miners.md §5.3): the
    firmware stops itself there. It is the device's own limit, not ours. `cook_c` is the true chip temperature
    that destroys a board; `lost_rpm`, the PI gains and the reject share are [default].
    """

    target_c: float = 65.0
    protect_c: float = 90.0
    cook_c: float = 125.0
    min_duty: float = 0.10
    fan_kp: float = 0.03
    fan_ki: float = 0.0015
    fan_min_count: int = 4
    lost_rpm: float = 500.0
    lost_after_s: float = 10.0
    tuning_loss: float = 0.08
    reject_ratio: float = 0.002
    average_s: float = 900.0
    max_substep_s: float = 1.0
    timing: TimingParams = field(default_factory=TimingParams)
    cooling: CoolingParams = field(default_factory=CoolingParams)
    errors: ErrorParams = field(default_factory=ErrorParams)
    lottery: LotteryParams = field(default_factory=LotteryParams)


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What a site does to its miners, each (n,): inlet in deg C (air or water), `draught` 0..1 of free air
    flow, coolant in kg/s and as a fraction of design (0 for air machines)."""

    inlet_c: Floats
    draught: Floats
    coolant_kgs: Floats
    coolant_fraction: Floats


def open_air(n: int, inlet_c: float) -> Surroundings:
    """Free air at one temperature for `n` machines."""
    return Surroundings(
        inlet_c=np.full(n, inlet_c), draught=np.ones(n), coolant_kgs=np.zeros(n), coolant_fraction=np.zeros(n)
    )
