"""Faults by name, on plant or equipment: what the fault API injects and clears."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from firmware_adapters.simulator.distortion import DEFAULT_VALUE, Distortion, SensorFault
from firmware_adapters.simulator.gear import Gear
from firmware_adapters.simulator.link_faults import LinkFault, LinkFaults
from firmware_adapters.simulator.machine import PlantMiner
from firmware_adapters.simulator.plant_build import BuiltPlant
from firmware_adapters.simulator.power_gear import UpsGear
from firmware_adapters.simulator.sensor_gear import Contacts, WaterLoop
from shared.plant import FaultName

SITE = "site"
"""Target of a fault that no single device has."""


class SiteFault(StrEnum):
    """Faults of equipment that are neither plant physics nor a lying sensor nor a bad link."""

    SENSOR_STUCK = "sensor_stuck"
    """Every value stays as it is (on a miner it is the plant's)."""
    SENSOR_SWAPPED = "sensor_swapped"
    """Supply and return sensor hang at each other's place."""
    ESTOP_PRESSED = "estop_pressed"
    DOOR_OPEN = "door_open"
    SMOKE = "smoke"
    WATER_LEAK = "water_leak"
    """On contacts the sensor is wet; on a water loop `severity` of its resting pressure is gone."""
    BYPASS_KEY = "bypass_key"
    WIRE_CUT = "wire_cut"
    """Every loop of a contact block is open."""
    GRID_LOST = "grid_lost"
    """Miners and mains-fed equipment go dark; what hangs on the UPS lives. Target: `site`, or any device."""
    BATTERY_DRAINED = "battery_drained"
    """`severity` of a UPS's charge is gone at once; clearing does not bring it back."""


_CONTACTS = (
    SiteFault.ESTOP_PRESSED,
    SiteFault.DOOR_OPEN,
    SiteFault.SMOKE,
    SiteFault.WATER_LEAK,
    SiteFault.BYPASS_KEY,
)
ZONE_FAULTS = (
    FaultName.PAD_PUMP_STOPPED,
    FaultName.EXHAUST_FAN_STOPPED,
    FaultName.COOLANT_FLOW_LOST,
)


class FaultRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`target` is a device id, or a zone id for a zone's fault (a device then means its zone), or `site`.

    `severity` in (0, 1] is reached after `ramp_s` s; `part` is one fan or board from 0, None all of them.
    `value` and `point` belong to sensor faults (`SensorFault`), `value` also to `reply_late` (s).
    """

    name: str
    target: str
    severity: float = 1.0
    ramp_s: float = 0.0
    part: int | None = None
    value: float | None = None
    point: str | None = None


class FaultDesk:
    """Injects and clears; `active` lists what runs, in order."""

    def __init__(
        self,
        built: BuiltPlant,
        gear: Mapping[str, Gear],
        miners: Mapping[str, PlantMiner],
        links: LinkFaults,
    ) -> None:
        self._built = built
        self._gear = gear
        self._miners = miners
        self._links = links
        self._active: dict[tuple[str, str], FaultRequest] = {}

    @property
    def active(self) -> tuple[FaultRequest, ...]:
        return tuple(self._active.values())

    def inject(self, request: FaultRequest) -> None:
        """Begin a fault, replacing the same one on the same target. Raises `ValueError` with the reason."""
        if not self._equipment(request.name, request.target, request):
            name, target = self._plant_fault(request.name, request.target)
            self._built.plant.inject(name, target, request.severity, ramp_s=request.ramp_s, part=request.part)
        self._active[request.name, request.target] = request

    def clear(self, name: str, target: str) -> None:
        """End a fault; one that does not run is none. Raises `ValueError` for unknown names."""
        if not self._equipment(name, target, None):
            fault, number = self._plant_fault(name, target)
            self._built.plant.clear(fault, number)
        self._active.pop((name, target), None)

    def clear_all(self) -> None:
        """End everything that runs."""
        for name, target in tuple(self._active):
            self.clear(name, target)

    def _plant_fault(self, name: str, target: str) -> tuple[FaultName, int]:
        if name not in tuple(FaultName):
            known = ", ".join(sorted({*FaultName, *SiteFault, *SensorFault, *LinkFault}))
            meant = "does not apply to" if name in known.split(", ") else "is unknown; asked for"
            raise ValueError(f"fault {name!r} {meant} {target!r}; known are {known}")
        fault = FaultName(name)
        if fault in ZONE_FAULTS:
            zone = self._gear[target].entry.zone if target in self._gear else target
            if zone not in self._built.zones:
                raise ValueError(f"{name} needs a zone or a device in it; {target!r} is neither")
            return fault, self._built.zones[zone]
        if target not in self._built.miners:
            raise ValueError(f"{name} needs a miner; {target!r} is none")
        return fault, self._built.miners[target]

    # ---------------------------------------------------------------- equipment

    def _equipment(self, name: str, target: str, request: FaultRequest | None) -> bool:
        """Begin (or, without a request, end) a fault that is not the plant's; False when it is."""
        on = request is not None
        gear = self._gear.get(target)
        if name == SiteFault.GRID_LOST and (target == SITE or gear is not None):
            self._built.plant.set_grid(on=not on)
        elif name == SensorFault.VALUE and target in self._miners:
            self._miners[target].show_chip_temp(None if request is None else _needed(request))
        elif gear is None:
            return False
        elif name in tuple(SensorFault):
            gear.distort(name, self._distortion(request))
        elif name in tuple(LinkFault):
            value = None if request is None else request.value
            self._links.apply(LinkFault(name), target, on=on, value=value)
        elif name in tuple(SiteFault):
            self._apply(SiteFault(name), gear, request)
        else:
            return False
        return True

    def _distortion(self, request: FaultRequest | None) -> Distortion | None:
        if request is None:
            return None
        kind = SensorFault(request.name)
        if kind in (SensorFault.VALUE, SensorFault.LOST) and request.point is None:
            raise ValueError(f"{request.name} needs a point")
        if kind is SensorFault.VALUE or request.value is not None:
            value = _needed(request)
        else:
            value = DEFAULT_VALUE.get(kind, 0.0)
        return Distortion(
            kind=kind,
            value=value * request.severity if kind in DEFAULT_VALUE else value,
            began_s=self._built.plant.time_s,
            ramp_s=request.ramp_s,
            point=request.point,
        )

    @staticmethod
    def _apply(fault: SiteFault, gear: Gear, request: FaultRequest | None) -> None:
        on = request is not None
        match fault, gear:
            case SiteFault.SENSOR_STUCK, _:
                gear.freeze(on=on)
            case SiteFault.SENSOR_SWAPPED, _:
                gear.swapped = on
            case SiteFault.WIRE_CUT, Contacts():
                gear.wire_cut = on
            case _, Contacts() if fault in _CONTACTS:
                gear.contacts[fault] = float(on)
            case SiteFault.WATER_LEAK, WaterLoop():
                gear.leaked = request.severity if request is not None else 0.0
            case SiteFault.BATTERY_DRAINED, UpsGear():
                if request is not None:
                    gear.drain(request.severity)
            case _:
                raise ValueError(f"{fault} does not apply to {gear.entry.id}, which is a {gear.entry.kind}")


def _needed(request: FaultRequest) -> float:
    if request.value is None:
        raise ValueError(f"{request.name} needs a value")
    return request.value
