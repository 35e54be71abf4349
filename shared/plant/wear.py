"""Physical condition of a fleet's parts: what faults change and the physics reads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FANS = 4


class Condition:
    """Condition of `n` machines with up to `boards` boards; 0 means as new in every array except the stuck
    values.

    `fan_wear` (n, 4): share of speed lost. `board_decay` (n, boards): 1 is dead. `dust`, `psu_decay`,
    `net_drop` (n,): 0..1. `stuck` (n, boards): whether the board's sensors are frozen at `stuck_c` in deg C.
    `cooked` boards were destroyed by heat and stay so.
    """

    def __init__(self, n: int, boards: int) -> None:
        self.fan_wear = np.zeros((n, FANS))
        self.board_decay = np.zeros((n, boards))
        self.dust = np.zeros(n)
        self.psu_decay = np.zeros(n)
        self.net_drop = np.zeros(n)
        self.stuck = np.zeros((n, boards), dtype=np.bool_)
        self.stuck_c = np.zeros((n, boards))
        self.cooked = np.zeros((n, boards), dtype=np.bool_)

    @property
    def board_dead(self) -> NDArray[np.bool_]:
        """(n, boards): boards that no longer answer."""
        return self.cooked | (self.board_decay >= 1.0)

    @property
    def psu_dead(self) -> NDArray[np.bool_]:
        """(n,): machines without any supply left."""
        return self.psu_decay >= 1.0
