"""What an emulated site device shows and takes, in the units of its profile's points.

The emulators own registers, OIDs and misbehaviour; a source owns the values: a plant in the simulator, a
dictionary in a test.
"""

from collections.abc import Mapping
from typing import Protocol


class PointSource(Protocol):
    """The machine behind an emulated Modbus unit or SNMP agent."""

    def points(self) -> Mapping[str, float]:
        """Every point that the machine has at this moment; one that is absent does not exist on it."""
        ...

    def write_point(self, point: str, value: float) -> None:
        """Take a written value; whether anything follows shows in later `points()`."""
        ...

    def write_register(self, address: int, value: int) -> None:
        """Take a register that is no point, such as a drive's control word."""
        ...

    def fall_back(self, point: str, value: float | None) -> None:
        """The machine's own time-out ran out: hold the point at `value`; None: its master is back."""
        ...


class DictSource:
    """Values in a dictionary; writes go into it and are recorded."""

    def __init__(self, values: Mapping[str, float]) -> None:
        self.values = dict(values)
        self.writes: list[tuple[str, float]] = []
        self.registers: dict[int, int] = {}
        self.fallen: dict[str, float] = {}
        """Points that the machine's own time-out holds now."""

    def points(self) -> Mapping[str, float]:
        """See `PointSource`."""
        return self.values

    def write_point(self, point: str, value: float) -> None:
        """See `PointSource`."""
        self.writes.append((point, value))
        self.values[point] = value

    def write_register(self, address: int, value: int) -> None:
        """See `PointSource`."""
        self.registers[address] = value

    def fall_back(self, point: str, value: float | None) -> None:
        """See `PointSource`."""
        self.fallen.pop(point, None)
        if value is not None:
            self.fallen[point] = value
