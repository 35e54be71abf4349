"""Opens the right Modbus driver for a site file's entry: with or without a time-out of its own.

Adapter `modbus` is Modbus TCP. Adapter `modbus-rtu` is the serial framing: through a serial line of this
computer where `host` is its device file, else over TCP to a converter that passes bytes on as they are.
"""

from firmware_adapters.capabilities import Credential
from firmware_adapters.site.modbus import ModbusDevice
from firmware_adapters.site.modbus_watchdog import ModbusWatchdogDevice
from firmware_adapters.site.profile import profile_of
from firmware_adapters.transport.modbus_serial import SerialLine, parse_line
from firmware_adapters.transport.modbus_session import Framing
from firmware_adapters.transport.modbus_shared import SharedModbus
from shared.errors import ConfigError
from shared.inventory import DeviceEntry

RTU = "modbus-rtu"


def open_device(entry: DeviceEntry, credential: Credential | None, *, timeout_s: float) -> ModbusDevice:
    """The driver for one entry; connects at the first read. Raises `ConfigError`. Modbus has no login."""
    profile = profile_of(entry, "Modbus")
    framing = Framing.RTU if entry.adapter == RTU else Framing.TCP
    link = SharedModbus(entry.host, entry.port, framing=framing, line=_line(entry))
    driver = ModbusDevice if profile.watchdog is None else ModbusWatchdogDevice
    return driver(profile, link, unit=entry.unit_id, timeout_s=timeout_s)


def _line(entry: DeviceEntry) -> SerialLine | None:
    if not entry.host.startswith("/"):
        return None
    if entry.adapter != RTU or entry.serial is None:
        raise ConfigError(f'device {entry.id}: a serial line needs adapter "{RTU}" and serial = "9600 8N1"')
    try:
        return parse_line(entry.serial)
    except ConfigError as error:
        raise ConfigError(f"device {entry.id}: {error}") from error
