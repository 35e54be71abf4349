"""Component faults: injected by name, or drawn from Weibull hazards. They only change a plant's conditions.

Names, targets and what a severity of 1 means:

    fan_wear            miner (part = fan, None = all)    the fans stand still; 0.5 = half their speed lost
    board_dying         miner (part = board, None = all)  the board is gone; before that its error rate climbs
    dust                miner                             half the air and a worse board-to-air path
    psu                 miner                             no supply; before that up to 6 points of efficiency
    sensor_stuck        miner (part = board, None = all)  the board's sensors freeze at their present value
    network_drop        miner                             no reply to anybody; the machine mines on
    pad_pump_stopped    zone (air)                        no water: the pads dry out
    exhaust_fan_stopped zone (air)                        the wall coasts to a stop; 0.5 = half its speed lost
    coolant_flow_lost   zone (hydro)                      the loop pump coasts to a stop

Severity grows linearly from 0 over `ramp_s`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class FaultName(StrEnum):
    """Faults that a plant knows."""

    FAN_WEAR = "fan_wear"
    BOARD_DYING = "board_dying"
    DUST = "dust"
    PSU = "psu"
    SENSOR_STUCK = "sensor_stuck"
    NETWORK_DROP = "network_drop"
    PAD_PUMP_STOPPED = "pad_pump_stopped"
    EXHAUST_FAN_STOPPED = "exhaust_fan_stopped"
    COOLANT_FLOW_LOST = "coolant_flow_lost"


FaultKey = tuple[FaultName, int, int | None]

ZONE_FAULTS: Final = frozenset(
    {FaultName.PAD_PUMP_STOPPED, FaultName.EXHAUST_FAN_STOPPED, FaultName.COOLANT_FLOW_LOST}
)
PART_FAULTS: Final = frozenset({FaultName.FAN_WEAR, FaultName.BOARD_DYING, FaultName.SENSOR_STUCK})


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One running fault; `target` is a miner or zone, `part` a fan or board (None: all), times are plant
    seconds."""

    name: FaultName
    target: int
    part: int | None
    severity: float
    ramp_s: float
    began_s: float

    def level(self, time_s: float) -> float:
        """Severity reached at `time_s`, 0..`severity`."""
        age = time_s - self.began_s
        return self.severity if age >= self.ramp_s else self.severity * max(age, 0.0) / self.ramp_s

    @property
    def key(self) -> FaultKey:
        """What can be wrong only once at a time."""
        return self.name, self.target, self.part


@dataclass(frozen=True, kw_only=True, slots=True)
class Hazard:
    """Weibull hazard of one component: shape, scale in hours at 40 deg C intake, acceleration by temperature.

    `per_10k` is the factor per +10 K; otherwise `activation_ev` is an Arrhenius energy (0: none).
    `ramp_h` is how long a drawn fault takes to become complete, `lasts_h` after which it heals (inf: never).
    """

    shape: float
    scale_h: float
    parts: int
    ramp_h: float
    lasts_h: float = float("inf")
    per_10k: float = 1.0
    activation_ev: float = 0.0


HAZARDS: Final[dict[FaultName, Hazard]] = {
    # Scales and shapes: plant.md §1.7 [default] there; the ramps are ours.
    FaultName.FAN_WEAR: Hazard(shape=3.0, scale_h=127_000.0, parts=4, ramp_h=72.0, per_10k=1.5),
    FaultName.PSU: Hazard(shape=1.3, scale_h=350_000.0, parts=1, ramp_h=6.0, activation_ev=0.6),
    FaultName.BOARD_DYING: Hazard(shape=0.9, scale_h=400_000.0, parts=3, ramp_h=48.0, activation_ev=0.5),
    FaultName.SENSOR_STUCK: Hazard(shape=1.0, scale_h=1_752_000.0, parts=3, ramp_h=0.0),
    FaultName.NETWORK_DROP: Hazard(shape=1.0, scale_h=29_200.0, parts=1, ramp_h=0.0, lasts_h=0.25),
}

BOLTZMANN_EV_PER_K: Final = 8.617e-5
REFERENCE_K: Final = 313.15


def acceleration(hazard: Hazard, intake_c: Floats) -> Floats:
    """How much faster a component ages at an intake temperature in deg C than at 40 deg C, same shape."""
    arrhenius = np.exp(
        hazard.activation_ev
        / BOLTZMANN_EV_PER_K
        * (1.0 / REFERENCE_K - 1.0 / (np.maximum(intake_c, -40.0) + 273.15))
    )
    return arrhenius * hazard.per_10k ** ((intake_c - 40.0) / 10.0)


class AgeingParts:
    """Ages of all components of `n` miners in equivalent hours, and the draws for new faults.

    `speed` multiplies time (1 = real life); begin with ages spread over 0..`max_age_h`.
    """

    def __init__(
        self, n: int, *, rng: np.random.Generator, speed: float = 1.0, max_age_h: float = 30_000.0
    ) -> None:
        self._rng = rng
        self._speed = speed
        self.age_h = {
            name: rng.uniform(0.0, max_age_h, (n, hazard.parts)) for name, hazard in HAZARDS.items()
        }

    def advance(self, dt_s: float, intake_c: Floats) -> list[tuple[FaultName, int, int]]:
        """Age by `dt_s` at an intake of (n,) deg C; returns (name, miner, part) of the components that begin
        to fail."""
        begun: list[tuple[FaultName, int, int]] = []
        for name, hazard in HAZARDS.items():
            age = self.age_h[name]
            older = age + (dt_s / 3600.0 * self._speed * acceleration(hazard, intake_c))[:, None]
            risk = (older / hazard.scale_h) ** hazard.shape - (age / hazard.scale_h) ** hazard.shape
            self.age_h[name] = older
            for miner, part in np.argwhere(self._rng.random(age.shape) < -np.expm1(-risk)):
                self.age_h[name][miner, part] = 0.0
                begun.append((name, int(miner), int(part)))
        return begun
