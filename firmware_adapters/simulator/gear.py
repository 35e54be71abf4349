"""What all emulated site equipment shares: its values, what is wrong with its sensors, its supply."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from firmware_adapters.simulator.distortion import Distortion, distorted, exchanged
from shared.inventory import DeviceEntry
from shared.plant import SitePlant, ZoneReading


class Gear(ABC):
    """One device's values: subclasses fill `_points`, faults bend them.

    `needs_mains` equipment is dark while the grid is away; the rest hangs on the UPS or has a battery.
    """

    needs_mains: ClassVar[bool] = False

    def __init__(self, entry: DeviceEntry, plant: SitePlant, zone: int) -> None:
        self.entry = entry
        self.plant = plant
        self.zone = zone
        self._held: Mapping[str, float] | None = None
        self._distortions: dict[str, Distortion] = {}
        self.swapped = False
        """Its two sensors hang at each other's place."""

    @property
    def dark(self) -> bool:
        """Whether it has no supply and answers nobody."""
        return self.needs_mains and not self.plant.grid_on

    def freeze(self, *, on: bool) -> None:
        """Hold the present values, or let them live again."""
        self._held = dict(self._bent()) if on else None

    def distort(self, name: str, distortion: Distortion | None) -> None:
        """Begin a sensor fault, or (None) end it."""
        self._distortions.pop(name, None)
        if distortion is not None:
            self._distortions[name] = distortion

    def points(self) -> Mapping[str, float]:
        """See `PointSource`."""
        return self._bent() if self._held is None else self._held

    def _bent(self) -> Mapping[str, float]:
        values = self._swapped_points() if self.swapped else self._points()
        for distortion in self._distortions.values():
            values = distorted(values, distortion, self.plant.time_s)
        return values

    @abstractmethod
    def _points(self) -> Mapping[str, float]: ...

    def _swapped_points(self) -> Mapping[str, float]:
        """The values with sensors 1 and 2 at each other's place."""
        return exchanged(self._points())

    def write_point(self, point: str, value: float) -> None:  # noqa: B027 - most equipment takes nothing
        """See `PointSource`."""

    def write_register(self, address: int, value: int) -> None:  # noqa: B027 - most equipment takes nothing
        """See `PointSource`."""

    def fall_back(self, point: str, value: float | None) -> None:  # noqa: B027 - most has no time-out
        """See `PointSource`."""

    def tick(self) -> None:  # noqa: B027 - most equipment has no control of its own
        """Run the device's own control once per step."""

    @property
    def reading(self) -> ZoneReading:
        """What the zone's own instruments show now."""
        return self.plant.observe_zone(self.zone)
