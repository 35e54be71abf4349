"""Which equipment stands behind which entry of the site file."""

from collections.abc import Sequence

from firmware_adapters.simulator.cooling_gear import Hvac, Wall
from firmware_adapters.simulator.gear import Gear
from firmware_adapters.simulator.plant_build import BuiltPlant
from firmware_adapters.simulator.power_gear import FeederMeter, Pdu, UpsGear
from firmware_adapters.simulator.sensor_gear import Contacts, Probe, WaterLoop
from shared.errors import ConfigError
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind

_PLAIN: dict[DeviceKind, type[Wall] | type[Hvac] | type[Contacts] | type[UpsGear]] = {
    DeviceKind.DRIVE: Wall,
    DeviceKind.HVAC: Hvac,
    DeviceKind.CONTACTS: Contacts,
    DeviceKind.UPS: UpsGear,
}


def make_gear(entry: DeviceEntry, built: BuiltPlant, devices: Sequence[DeviceEntry]) -> Gear:
    """The equipment behind one entry. Raises `ConfigError` for a kind that cannot be simulated."""
    plant = built.plant
    if entry.zone not in built.zones:
        raise ConfigError(f"device {entry.id}: zone {entry.zone} has no miners to stand beside")
    zone = built.zones[entry.zone]
    if entry.kind in _PLAIN:
        return _PLAIN[entry.kind](entry, plant, zone)
    match entry.kind:
        case DeviceKind.METER:
            meters = sum(other.kind is DeviceKind.METER for other in devices)
            return FeederMeter(entry, plant, zone, whole_site=meters == 1 or entry.model == "site")
        case DeviceKind.PROBE:
            kind = WaterLoop if entry.profile == "water-loop" else Probe
            return kind(entry, plant, zone)
        case DeviceKind.PDU:
            feeds = {
                other.outlet: built.miners[other.id]
                for other in devices
                if other.pdu == entry.id and other.outlet is not None
            }
            return Pdu(entry, plant, zone, feeds=feeds)
    raise ConfigError(f"device {entry.id}: a {entry.kind} cannot be simulated yet")
