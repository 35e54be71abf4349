"""Faults by name, on plant or equipment: what the fault API injects and clears."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from firmware_adapters.simulator.gear import Gear
from firmware_adapters.simulator.plant_build import BuiltPlant
from firmware_adapters.site.modbus_emulator import Misbehaviour as ModbusMisbehaviour
from firmware_adapters.site.modbus_emulator import ModbusEmulator, ModbusFault
from firmware_adapters.site.snmp_emulator import Misbehaviour as SnmpMisbehaviour
from firmware_adapters.site.snmp_emulator import SnmpAgent
from shared.plant import FaultName


class SiteFault(StrEnum):
    """Faults that are no plant physics."""

    NETWORK_DROP = "network_drop"
    """On equipment: it does not answer any more (on a miner it is the plant's)."""
    SENSOR_STUCK = "sensor_stuck"
    """On equipment: every value stays as it is."""
    ESTOP_PRESSED = "estop_pressed"
    DOOR_OPEN = "door_open"


ZONE_FAULTS = (
    FaultName.PAD_PUMP_STOPPED,
    FaultName.EXHAUST_FAN_STOPPED,
    FaultName.COOLANT_FLOW_LOST,
)


class FaultRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`target` is a device id, or a zone id for a zone's fault (a device then means its zone).

    `severity` in (0, 1] is reached after `ramp_s` s; `part` is one fan or board from 0, None all of them.
    """

    name: str
    target: str
    severity: float = 1.0
    ramp_s: float = 0.0
    part: int | None = None


class FaultDesk:
    """Injects and clears; `active` lists what runs, in order."""

    def __init__(
        self,
        built: BuiltPlant,
        gear: Mapping[str, Gear],
        modbus: Mapping[str, tuple[ModbusEmulator, int]],
        snmp: Mapping[str, SnmpAgent],
    ) -> None:
        self._built = built
        self._gear = gear
        self._modbus = modbus
        self._snmp = snmp
        self._active: dict[tuple[str, str], FaultRequest] = {}

    @property
    def active(self) -> tuple[FaultRequest, ...]:
        return tuple(self._active.values())

    def inject(self, request: FaultRequest) -> None:
        """Begin a fault, replacing the same one on the same target. Raises `ValueError` with the reason."""
        if request.target in self._gear and request.name in tuple(SiteFault):
            self._apply(request.name, request.target, on=True)
        else:
            name, target = self._plant_fault(request.name, request.target)
            self._built.plant.inject(name, target, request.severity, ramp_s=request.ramp_s, part=request.part)
        self._active[request.name, request.target] = request

    def clear(self, name: str, target: str) -> None:
        """End a fault; one that does not run is none. Raises `ValueError` for unknown names."""
        if target in self._gear and name in tuple(SiteFault):
            self._apply(name, target, on=False)
        else:
            fault, number = self._plant_fault(name, target)
            self._built.plant.clear(fault, number)
        self._active.pop((name, target), None)

    def clear_all(self) -> None:
        """End everything that runs."""
        for name, target in tuple(self._active):
            self.clear(name, target)

    def _plant_fault(self, name: str, target: str) -> tuple[FaultName, int]:
        if name not in tuple(FaultName):
            known = ", ".join(sorted({*FaultName, *SiteFault}))
            raise ValueError(f"unknown fault {name!r}; known are {known}")
        fault = FaultName(name)
        if fault in ZONE_FAULTS:
            zone = self._gear[target].entry.zone if target in self._gear else target
            if zone not in self._built.zones:
                raise ValueError(f"{name} needs a zone or a device in it; {target!r} is neither")
            return fault, self._built.zones[zone]
        if target not in self._built.miners:
            raise ValueError(f"{name} needs a miner; {target!r} is none")
        return fault, self._built.miners[target]

    def _apply(self, name: str, target: str, *, on: bool) -> None:
        match SiteFault(name):
            case SiteFault.NETWORK_DROP:
                self._silence(target, on=on)
            case SiteFault.SENSOR_STUCK:
                self._gear[target].freeze(on=on)
            case SiteFault.ESTOP_PRESSED | SiteFault.DOOR_OPEN:
                self._gear[target].contacts[name] = float(on)

    def _silence(self, target: str, *, on: bool) -> None:
        if target in self._modbus:
            emulator, unit = self._modbus[target]
            emulator.faults.pop(unit, None)
            if on:
                emulator.faults[unit] = ModbusFault(ModbusMisbehaviour.SILENT)
        elif target in self._snmp:
            self._snmp[target].fault = SnmpMisbehaviour.SILENT if on else None
