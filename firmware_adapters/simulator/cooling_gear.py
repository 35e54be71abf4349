"""Cooling equipment in front of the plant: the wall's or pump's drive, the temperature controller."""

from collections.abc import Mapping

from firmware_adapters.simulator.gear import Gear
from shared.inventory import DeviceEntry
from shared.plant import SitePlant

START_BIT, DATA_VALID_BIT = 0x0040, 0x0400
"""Bits of the FC control word (plant.md §6): bit 6 start, bit 10 data valid."""
CONTROL_WORD = 49999


class Wall(Gear):
    """The exhaust wall's drive; in a hydro zone the dry cooler's, or with `model = "pump"` the loop pump's.

    The reference counts only while started. Its own time-out overrides both until its master is back.
    """

    needs_mains = True

    def __init__(self, entry: DeviceEntry, plant: SitePlant, zone: int) -> None:
        super().__init__(entry, plant, zone)
        self._pump = entry.model == "pump"
        self._setpoint = 100.0 if self._pump else self.reading.drive_command_pct
        self._started = True
        self._fallen_pct: float | None = None

    def _points(self) -> Mapping[str, float]:
        seen = self.reading
        actual = seen.pump_actual_pct if self._pump else seen.drive_actual_pct
        lost = self._started and self._setpoint > 5.0 and actual < 0.5 * self._setpoint and self._faulty
        return {
            "speed_setpoint_pct": self._setpoint,
            "speed_pct": actual,
            "running": float(actual > 1.0),
            "fault": float(lost),
            "frequency_hz": actual * 0.5,
            "current_a": 40.0 * (actual / 100.0) ** 2,
        }

    @property
    def _faulty(self) -> bool:
        own = "coolant_flow_lost" if self._pump else "exhaust_fan_stopped"
        return any(fault.target == self.zone and fault.name == own for fault in self.plant.faults)

    def write_point(self, point: str, value: float) -> None:
        """See `PointSource`."""
        self._setpoint = value
        self._command()

    def write_register(self, address: int, value: int) -> None:
        """The control word: ignored without the data-valid bit."""
        if address == CONTROL_WORD and value & DATA_VALID_BIT:
            self._started = bool(value & START_BIT)
            self._command()

    def fall_back(self, point: str, value: float | None) -> None:
        """Parameter 8-04: full speed, whatever reference and control word were."""
        self._fallen_pct = value
        self._command()

    def _command(self) -> None:
        pct = self._setpoint if self._started else 0.0
        if self._fallen_pct is not None:
            pct = self._fallen_pct
        if self._pump:
            self.plant.zones.set_loop_pump_pct(self.zone, pct)
        elif self.reading.kind == "air":
            self.plant.zones.set_exhaust_pct(self.zone, pct)
        else:
            self.plant.zones.set_dry_cooler_pct(self.zone, pct)


class Hvac(Gear):
    """The temperature controller: wets the pads (or runs the spray) above its set-point while it is on."""

    needs_mains = True
    HYSTERESIS_K = 0.5

    def __init__(self, entry: DeviceEntry, plant: SitePlant, zone: int) -> None:
        super().__init__(entry, plant, zone)
        self._setpoint_c = 22.0
        self._on = True
        self._cooling = True

    def _points(self) -> Mapping[str, float]:
        seen = self.reading
        temperatures = {
            f"{metric}.{index}": value
            for metric in ("air_temp_c", "water_temp_c")
            for index, value in ((1, seen.supply_c), (2, seen.return_c))
        }
        wants = self._on and self._cooling
        return {
            "setpoint_c": self._setpoint_c,
            "running": float(self._on),
            "fault": float(wants and seen.kind == "air" and seen.pump_actual_pct < 1.0),
            **temperatures,
        }

    def write_point(self, point: str, value: float) -> None:
        """See `PointSource`."""
        if point == "setpoint_c":
            self._setpoint_c = value
        elif point == "running":
            self._on = value != 0
        self.tick()

    def tick(self) -> None:
        """The thermostat."""
        supply_c = self.reading.supply_c
        if supply_c > self._setpoint_c + self.HYSTERESIS_K:
            self._cooling = True
        elif supply_c < self._setpoint_c - self.HYSTERESIS_K:
            self._cooling = False
        wet = self._on and self._cooling
        if self.reading.kind == "air":
            self.plant.zones.set_pad_pump(self.zone, on=wet)
        else:
            self.plant.zones.set_spray(self.zone, on=wet)
