"""Variable-speed drives (exhaust wall, dry cooler, pump) as vectors: command, ramp, stop by fault."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Drives:
    """`n` drives. `command_pct` and `actual_pct` are 0..100 % of rated speed, `lost` is the share taken by a
    fault.

    Ramps are in per cent per second, (n,); a lost drive coasts down at `coast_pct_s` [default].
    """

    def __init__(self, *, start_pct: Floats, ramp_pct_s: Floats, coast_pct_s: Floats) -> None:
        self.command_pct = start_pct.copy()
        self.actual_pct = start_pct.copy()
        self.lost = np.zeros_like(start_pct)
        self.supplied = np.ones(start_pct.shape, dtype=np.bool_)
        self._ramp = ramp_pct_s
        self._coast = coast_pct_s

    def command(self, index: int, pct: float) -> None:
        """Ask for a speed.

        Raises:
            ValueError: outside 0..100 %. IndexError: no such drive.
        """
        if not 0.0 <= pct <= 100.0:
            raise ValueError("a drive takes 0..100 %")
        if not 0 <= index < self.command_pct.size:
            raise IndexError(f"no drive {index}")
        self.command_pct[index] = pct

    def advance(self, dt_s: float) -> None:
        """Move the actual speeds towards what command, fault and supply allow."""
        goal = self.command_pct * (1.0 - self.lost) * self.supplied
        forced = (self.lost > 0.0) | ~self.supplied
        down = np.where(forced, self._coast, self._ramp) * dt_s
        self.actual_pct += np.clip(goal - self.actual_pct, -down, self._ramp * dt_s)

    @property
    def speed(self) -> Floats:
        """(n,) actual speed as 0..1."""
        return self.actual_pct / 100.0
