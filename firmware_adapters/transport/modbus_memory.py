"""`MemoryModbus`: the in-memory twin of a Modbus connection, for tests that need no socket."""

from collections import deque

from firmware_adapters.transport.modbus_plan import Span, Table
from firmware_adapters.transport.modbus_reply import exception_error
from shared.errors import DeviceError


class MemoryModbus:
    """Registers and bits in dictionaries; an address that was never set answers exception 2.

    `failures` are raised by the next requests, in order. `requests` records what was asked.
    """

    def __init__(self) -> None:
        self.cells: dict[tuple[int, Table], dict[int, int]] = {}
        self.failures: deque[DeviceError | None] = deque()
        self.requests: list[tuple[int, Span]] = []
        self.writes: list[tuple[int, Table, int, int]] = []
        self.closed = False

    def put(self, unit: int, table: Table, address: int, *values: int) -> None:
        """Set consecutive cells."""
        self.cells.setdefault((unit, table), {}).update(
            {address + offset: value for offset, value in enumerate(values)}
        )

    async def read(self, unit: int, span: Span, *, timeout_s: float, forced: bool = False) -> tuple[int, ...]:
        """See `ModbusLink`. There is no breaker here to go past."""
        self.requests.append((unit, span))
        self._fail()
        cells = self.cells.get((unit, span.table), {})
        try:
            return tuple(cells[address] for address in range(span.address, span.end))
        except KeyError as error:
            raise exception_error(2, f"unit {unit}") from error

    async def write_register(self, unit: int, address: int, value: int, *, timeout_s: float) -> None:
        """See `ModbusLink`."""
        self._write(unit, Table.HOLDING, address, value)

    async def write_registers(
        self, unit: int, address: int, values: tuple[int, ...], *, timeout_s: float
    ) -> None:
        """See `ModbusLink`."""
        for offset, value in enumerate(values):
            self._write(unit, Table.HOLDING, address + offset, value)

    async def write_coil(self, unit: int, address: int, *, on: bool, timeout_s: float) -> None:
        """See `ModbusLink`."""
        self._write(unit, Table.COIL, address, int(on))

    async def close(self) -> None:
        """See `ModbusLink`."""
        self.closed = True

    def _write(self, unit: int, table: Table, address: int, value: int) -> None:
        self._fail()
        self.writes.append((unit, table, address, value))
        self.put(unit, table, address, value)

    def _fail(self) -> None:
        failure = self.failures.popleft() if self.failures else None
        if failure is not None:
            raise failure
