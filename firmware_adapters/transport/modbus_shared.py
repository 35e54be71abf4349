"""One connection per endpoint, however many drivers use it."""

import asyncio
from weakref import WeakKeyDictionary

from firmware_adapters.transport.modbus import ModbusConnection
from firmware_adapters.transport.modbus_plan import Span
from firmware_adapters.transport.modbus_serial import SerialLine
from firmware_adapters.transport.modbus_session import Endpoint, Framing

_Endpoints = dict[Endpoint, "_Shared"]
_ENDPOINTS: WeakKeyDictionary[asyncio.AbstractEventLoop, _Endpoints] = WeakKeyDictionary()
"""Per event loop, because a connection belongs to the loop that made it."""


class _Shared:
    def __init__(self, connection: ModbusConnection) -> None:
        self.connection = connection
        self.users = 0


class SharedModbus:
    """A driver's handle on the endpoint's one connection; the last handle to close closes it.

    Many devices allow a single TCP client, and behind a serial gateway requests must not overlap anyway.
    The connection is looked up at the first use, because drivers are made before the loop runs.
    """

    def __init__(
        self, host: str, port: int = 0, *, framing: Framing = Framing.TCP, line: SerialLine | None = None
    ) -> None:
        """`line`: `host` is the device file of a serial line."""
        self._key = Endpoint(host=host, port=port, framing=framing, line=line)
        self._held: _Shared | None = None

    @property
    def connection(self) -> ModbusConnection:
        """The shared connection of the running loop."""
        if self._held is None:
            endpoints = _ENDPOINTS.setdefault(asyncio.get_running_loop(), {})
            if self._key not in endpoints:
                endpoints[self._key] = _Shared(
                    ModbusConnection(
                        self._key.host, self._key.port, framing=self._key.framing, line=self._key.line
                    )
                )
            self._held = endpoints[self._key]
            self._held.users += 1
        return self._held.connection

    async def read(self, unit: int, span: Span, *, timeout_s: float, forced: bool = False) -> tuple[int, ...]:
        """See `ModbusLink`."""
        return await self.connection.read(unit, span, timeout_s=timeout_s, forced=forced)

    async def write_register(self, unit: int, address: int, value: int, *, timeout_s: float) -> None:
        """See `ModbusLink`."""
        await self.connection.write_register(unit, address, value, timeout_s=timeout_s)

    async def write_registers(
        self, unit: int, address: int, values: tuple[int, ...], *, timeout_s: float
    ) -> None:
        """See `ModbusLink`."""
        await self.connection.write_registers(unit, address, values, timeout_s=timeout_s)

    async def write_coil(self, unit: int, address: int, *, on: bool, timeout_s: float) -> None:
        """See `ModbusLink`."""
        await self.connection.write_coil(unit, address, on=on, timeout_s=timeout_s)

    async def close(self) -> None:
        """See `ModbusLink`."""
        held, self._held = self._held, None
        if held is None:
            return
        held.users -= 1
        if held.users == 0:
            _ENDPOINTS.get(asyncio.get_running_loop(), {}).pop(self._key, None)
            await held.connection.close()
