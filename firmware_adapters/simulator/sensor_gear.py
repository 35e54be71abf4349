"""Sensors in front of the plant: air probes, the instruments of a water loop, contacts."""

import zlib
from collections.abc import Mapping
from typing import Final

import numpy as np

from firmware_adapters.simulator.gear import Gear
from shared.inventory import DeviceEntry
from shared.plant import SitePlant
from shared.plant.psychrometrics import humidity_ratio, relative_humidity

COOLANT_KG_PER_M3: Final = 1040.0
"""Water with 30 % glycol near 40 °C [default]."""
FULL_FLOW_PA: Final = 250_000.0
STATIC_PA: Final = 150_000.0
"""Pump head at full flow, and the resting pressure of a filled loop [default]; skids ask for a refill below
0.05 MPa (plant.md §2.1 [S35])."""


class Probe(Gear):
    """A temperature and humidity probe at the inlet; `model = "return"` hangs it into the hot aisle."""

    def __init__(self, entry: DeviceEntry, plant: SitePlant, zone: int) -> None:
        super().__init__(entry, plant, zone)
        # Two probes in one aisle never agree: a fixed offset within ±0.3 K, from the name.
        self._bias_k = round((zlib.crc32(entry.id.encode()) % 601 - 300) / 1000.0, 1)

    def _points(self) -> Mapping[str, float]:
        return self._at(hot=self.entry.model == "return")

    def _swapped_points(self) -> Mapping[str, float]:
        """It hangs in the other aisle than the site file says."""
        return self._at(hot=self.entry.model != "return")

    def _at(self, *, hot: bool) -> Mapping[str, float]:
        seen = self.reading
        values = {"air_temp_c": (seen.return_c if hot else seen.supply_c) + self._bias_k}
        if seen.supply_rh_pct is not None:
            # Heated air keeps its water: the hot aisle is as much drier as it is warmer.
            supply, warm = np.array([seen.supply_c]), np.array([seen.return_c])
            water = humidity_ratio(supply, np.array([seen.supply_rh_pct]))
            hot_rh = float(relative_humidity(warm, water)[0])
            values["humidity_pct"] = hot_rh if hot else seen.supply_rh_pct
        return values


class WaterLoop(Gear):
    """Flow, pressures and temperatures of a hydro zone's loop; an air zone has none of it.

    `leaked` (0..1) is the share of the resting pressure that a leak has taken.
    """

    def __init__(self, entry: DeviceEntry, plant: SitePlant, zone: int) -> None:
        super().__init__(entry, plant, zone)
        self.leaked = 0.0

    def _points(self) -> Mapping[str, float]:
        seen = self.reading
        if seen.coolant_kgs is None:
            return {}
        rest_pa = STATIC_PA * (1.0 - self.leaked)
        return {
            "flow_m3h": seen.coolant_kgs / COOLANT_KG_PER_M3 * 3600.0,
            # A centrifugal pump's head goes with the square of its speed.
            "pressure_pa.1": rest_pa + FULL_FLOW_PA * (seen.pump_actual_pct / 100.0) ** 2,
            "pressure_pa.2": rest_pa,
            "water_temp_c.1": seen.supply_c,
            "water_temp_c.2": seen.return_c,
        }


class Contacts(Gear):
    """Emergency stop, door, smoke, leak and the bypass key; people work them through the fault API.

    A cut wire opens every loop: normally closed ones then say danger, the key says "not turned".
    """

    CUT: Final = {"estop_pressed": 1.0, "door_open": 1.0, "smoke": 1.0, "water_leak": 1.0, "bypass_key": 0.0}

    def __init__(self, entry: DeviceEntry, plant: SitePlant, zone: int) -> None:
        super().__init__(entry, plant, zone)
        self.contacts: dict[str, float] = {}
        self.wire_cut = False

    def _points(self) -> Mapping[str, float]:
        if self.wire_cut:
            return dict(self.CUT)
        return {**dict.fromkeys(self.CUT, 0.0), **self.contacts}
