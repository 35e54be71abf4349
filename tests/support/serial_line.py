"""Units on an emulated serial line, and on a converter that passes its bytes on over TCP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from firmware_adapters.site.modbus_rtu_emulator import RtuEmulator
from firmware_adapters.site.modbus_unit import ModbusUnit
from firmware_adapters.site.point_source import DictSource
from firmware_adapters.site.profile import load_profile
from firmware_adapters.transport.modbus import ModbusConnection
from firmware_adapters.transport.modbus_serial import parse_line
from firmware_adapters.transport.modbus_session import Framing
from support.site_devices import HOST, full_source


class ServedLine:
    """The emulator, what stands behind unit 1, and a connection to it."""

    def __init__(self, emulator: RtuEmulator, source: DictSource, connection: ModbusConnection) -> None:
        self.emulator = emulator
        self.source = source
        self.connection = connection


@asynccontextmanager
async def served_line(
    name: str = "xy-md02", *, over_tcp: bool = False, line: str = "115200 8N1"
) -> AsyncIterator[ServedLine]:
    """Serve the named profile as unit 1."""
    profile = load_profile(name)
    source = full_source(profile)
    emulator = RtuEmulator({1: ModbusUnit(profile, source)})
    if over_tcp:
        await emulator.open_converter(HOST)
        connection = ModbusConnection(HOST, emulator.port, framing=Framing.RTU)
    else:
        await emulator.open_line()
        connection = ModbusConnection(emulator.path, framing=Framing.RTU, line=parse_line(line))
    try:
        yield ServedLine(emulator, source, connection)
    finally:
        await connection.close()
        await emulator.stop()
