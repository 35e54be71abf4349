"""What was really commanded, and when: for benches that time the way from a changed value to a write.

Times are CLOCK_MONOTONIC, which all processes of a machine share.
"""

from collections import deque
from collections.abc import Mapping

import msgspec

from firmware_adapters.simulator.gear import Gear
from shared.clock import Clock

KEPT = 20_000


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """One command as the device took it; `seq` counts all of them from 1."""

    seq: int
    at_s: float
    device: str
    point: str
    value: float | str


class WriteLog:
    """The last `KEPT` commands."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: deque[Write] = deque(maxlen=KEPT)
        self._seq = 0

    @property
    def now_s(self) -> float:
        """The clock of the entries."""
        return self._clock.monotonic()

    def note(self, device: str, point: str, value: float | str) -> None:
        """Remember one command."""
        self._seq += 1
        self._kept.append(Write(seq=self._seq, at_s=self.now_s, device=device, point=point, value=value))

    def since(self, seq: int) -> tuple[Write, ...]:
        """Everything kept after `seq`."""
        return tuple(write for write in self._kept if write.seq > seq)


class LoggedGear:
    """`PointSource` in front of a piece of gear: what a protocol writes is noted before it acts."""

    def __init__(self, gear: Gear, log: WriteLog) -> None:
        self._gear = gear
        self._log = log

    def points(self) -> Mapping[str, float]:
        """See `PointSource`."""
        return self._gear.points()

    def write_point(self, point: str, value: float) -> None:
        """See `PointSource`."""
        self._log.note(self._gear.entry.id, point, value)
        self._gear.write_point(point, value)

    def write_register(self, address: int, value: int) -> None:
        """See `PointSource`. Not noted: a control word follows every set-point and every sign of life."""
        self._gear.write_register(address, value)

    def fall_back(self, point: str, value: float | None) -> None:
        """See `PointSource`."""
        self._log.note(self._gear.entry.id, f"{point} (own time-out)", "over" if value is None else value)
        self._gear.fall_back(point, value)
