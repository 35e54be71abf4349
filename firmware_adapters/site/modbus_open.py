"""Opens the right Modbus driver for a site file's entry: with or without a time-out of its own."""

from firmware_adapters.capabilities import Credential
from firmware_adapters.site.modbus import ModbusDevice
from firmware_adapters.site.modbus_watchdog import ModbusWatchdogDevice
from firmware_adapters.site.profile import load_profile
from firmware_adapters.transport.modbus_shared import SharedModbus
from shared.errors import ConfigError
from shared.inventory import DeviceEntry


def open_device(entry: DeviceEntry, credential: Credential | None, *, timeout_s: float) -> ModbusDevice:
    """The driver for one entry; connects at the first read. Raises `ConfigError`. Modbus has no login."""
    if entry.profile is None:
        raise ConfigError(f"device {entry.id}: a Modbus device needs a profile")
    profile = load_profile(entry.profile)
    if profile.kind is not entry.kind:
        raise ConfigError(
            f"device {entry.id}: profile {entry.profile} is a {profile.kind}, not a {entry.kind}"
        )
    link = SharedModbus(entry.host, entry.port)
    driver = ModbusDevice if profile.watchdog is None else ModbusWatchdogDevice
    return driver(profile, link, unit=entry.unit_id, timeout_s=timeout_s)
