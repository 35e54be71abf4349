"""Modbus TCP: one connection per endpoint, one request at a time, a deadline for each.

pymodbus frames and decodes; everything that decides over time is ours, because its reconnect loop tries ten
times a second for ever against a peer that accepts and resets, and one silent unit blocks its client for
`(retries + 1) x timeout` (edge.md §4.1). So: `retries=0`, no automatic reconnect, a fresh client per
connection, a breaker per unit and one per endpoint. Every reply is checked against its request byte by byte
before pymodbus sees it, and a connection on which anything unexpected happened is never used again: a late
reply cannot be taken for the next one.

Writes skip the breakers, because the safe direction must be tried even on a device that was silent a moment
ago; the executor bounds how often that happens. Nothing is retried here after bytes were sent.

Errors raised: `Unreachable`, `DeviceTimeout`, `MalformedReply`, `Busy`, `Unsupported`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from firmware_adapters.transport.breaker import CircuitBreaker
from firmware_adapters.transport.modbus_plan import Span, Table
from firmware_adapters.transport.modbus_reply import exception_error, reply_problem
from shared.clock import Clock, SystemClock
from shared.errors import Busy, DeviceError, DeviceTimeout, MalformedReply, Unreachable, Unsupported

# The guardian logs a device's failure once and its recovery once; pymodbus would log each attempt.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)


class ModbusLink(Protocol):
    """What a driver needs of Modbus; `ModbusConnection` is the real one, `MemoryModbus` the twin."""

    async def read(self, unit: int, span: Span, *, timeout_s: float) -> tuple[int, ...]:
        """`span.count` register words 0..65535, or bits 0/1. Raises `DeviceError`."""
        ...

    async def write_register(self, unit: int, address: int, value: int, *, timeout_s: float) -> None:
        """FC06. Returns when the unit echoed the write. Raises `DeviceError`."""
        ...

    async def write_registers(
        self, unit: int, address: int, values: tuple[int, ...], *, timeout_s: float
    ) -> None:
        """FC16. Returns when the unit confirmed address and count. Raises `DeviceError`."""
        ...

    async def write_coil(self, unit: int, address: int, *, on: bool, timeout_s: float) -> None:
        """FC05. Returns when the unit echoed the write. Raises `DeviceError`."""
        ...

    async def close(self) -> None:
        """Let go of the connection; never raises."""
        ...


class _Session:
    """One TCP connection: a pymodbus client plus the checks that its reply must pass."""

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        self.client = AsyncModbusTcpClient(
            host,
            port=port,
            timeout=timeout_s,
            retries=0,
            reconnect_delay=0,
            trace_packet=self._on_packet,
            trace_connect=self._on_connect,
        )
        self.proven = False
        """A good reply came over this connection."""
        self._request: bytes | None = None
        self.spoiled = False

    def _on_packet(self, sending: bool, data: bytes) -> bytes:  # noqa: FBT001 - signature of pymodbus's hook
        if sending:
            self._request = data
            return data
        if self._request is None:
            self.spoiled = True
            return b""
        problem = reply_problem(self._request, data)
        if problem is not None:
            self._fail(MalformedReply(f"Modbus reply refused: {problem}"))
            return b""
        return data

    def _on_connect(self, connected: bool) -> None:  # noqa: FBT001 - signature of pymodbus's hook
        if not connected:
            self._fail(Unreachable("the peer closed the connection"))

    def _fail(self, error: DeviceError) -> None:
        self.spoiled = True
        waiting = self.client.ctx.response_future
        if self._request is not None and not waiting.done():
            # pymodbus would wait for its time-out; the waiter learns the reason now.
            waiting.set_exception(error)

    @property
    def usable(self) -> bool:
        return self.client.connected and not self.spoiled

    async def exchange(self, request: Callable[[AsyncModbusTcpClient], Awaitable[ModbusPDU]]) -> ModbusPDU:
        try:
            reply = await request(self.client)
        finally:
            self._request = None
        self.proven = True
        return reply

    def close(self) -> None:
        self._request = None
        self.client.close()


class ModbusConnection:
    """The one connection to an endpoint, shared by all units behind it; requests queue in order.

    A request's deadline starts when its turn comes, so that a silent unit costs itself and not its
    neighbours; the breaker then takes the silent unit out of the queue.
    """

    def __init__(self, host: str, port: int, *, clock: Clock | None = None) -> None:
        self.host = host
        self.port = port
        self._clock = clock or SystemClock()
        self._lock = asyncio.Lock()
        self._session: _Session | None = None
        self._gate = CircuitBreaker(f"{host}:{port}", self._clock, threshold=1, max_s=20.0)
        self._units: dict[int, CircuitBreaker] = {}
        self._failure: dict[int, type[DeviceError]] = {}
        self.connects = 0
        """TCP connections attempted so far, for the page and for tests."""
        self.requests = 0

    async def read(self, unit: int, span: Span, *, timeout_s: float) -> tuple[int, ...]:
        """See `ModbusLink`."""
        breaker = self._breaker(unit)
        if not breaker.admit():
            failure = self._failure.get(unit, DeviceTimeout)
            raise failure(f"{self._name(unit)} keeps failing; next probe in {breaker.wait_s:.1f} s")
        try:
            reply = await self._ask(unit, _reader(unit, span), timeout_s, forced=False)
        except (Busy, Unsupported):
            breaker.succeeded()
            raise
        except DeviceError as error:
            self._failure[unit] = type(error)
            breaker.failed()
            raise
        except asyncio.CancelledError:
            breaker.abandoned()
            raise
        breaker.succeeded()
        words = reply.bits[: span.count] if span.table.is_bits else reply.registers
        return tuple(int(word) for word in words)

    async def write_register(self, unit: int, address: int, value: int, *, timeout_s: float) -> None:
        """See `ModbusLink`."""
        await self._write(
            unit, lambda client: client.write_register(address, value, device_id=unit), timeout_s
        )

    async def write_registers(
        self, unit: int, address: int, values: tuple[int, ...], *, timeout_s: float
    ) -> None:
        """See `ModbusLink`."""
        await self._write(
            unit, lambda client: client.write_registers(address, list(values), device_id=unit), timeout_s
        )

    async def write_coil(self, unit: int, address: int, *, on: bool, timeout_s: float) -> None:
        """See `ModbusLink`."""
        await self._write(unit, lambda client: client.write_coil(address, on, device_id=unit), timeout_s)

    async def close(self) -> None:
        """See `ModbusLink`."""
        self._drop(blame=False)

    # ---------------------------------------------------------------- one exchange

    async def _write(
        self, unit: int, request: Callable[[AsyncModbusTcpClient], Awaitable[ModbusPDU]], timeout_s: float
    ) -> None:
        await self._ask(unit, request, timeout_s, forced=True)
        self._breaker(unit).succeeded()

    async def _ask(
        self,
        unit: int,
        request: Callable[[AsyncModbusTcpClient], Awaitable[ModbusPDU]],
        timeout_s: float,
        *,
        forced: bool,
    ) -> ModbusPDU:
        async with self._lock:
            name = self._name(unit)
            blame: bool | None = True
            try:
                async with asyncio.timeout(timeout_s):
                    session = await self._connected(timeout_s, forced=forced)
                    self.requests += 1
                    reply = await session.exchange(request)
                blame = None
            except TimeoutError as error:
                # A silent unit is the unit breaker's business; its neighbours may reconnect at once.
                blame = False
                raise self._late(name, timeout_s) from error
            except asyncio.CancelledError:
                # The caller's own deadline came first: for the unit that is the same silence.
                blame = False
                if not forced:
                    self._failure[unit] = DeviceTimeout
                    self._breaker(unit).failed()
                raise
            except ModbusException as error:
                raise MalformedReply(f"{name}: {error}") from error
            finally:
                if blame is not None:
                    # Also on cancellation: the reply may still come, and must never meet another request.
                    self._drop(blame=blame)
            self._gate.succeeded()
        if reply.isError():
            raise exception_error(reply.exception_code, name)
        return reply

    def _late(self, name: str, timeout_s: float) -> DeviceError:
        if self._session is None:
            self._gate.failed()
            return Unreachable(f"{name}: no connection within {timeout_s:g} s")
        return DeviceTimeout(f"{name}: no whole reply within {timeout_s:g} s")

    async def _connected(self, timeout_s: float, *, forced: bool) -> _Session:
        if self._session is not None:
            if self._session.usable:
                return self._session
            self._drop(blame=True)
        if not self._gate.admit() and not forced:
            wait = self._gate.wait_s
            raise Unreachable(f"{self.host}:{self.port} is down; next attempt in {wait:.1f} s")
        self.connects += 1
        session = _Session(self.host, self.port, timeout_s)
        try:
            ok = await session.client.connect()
        except BaseException:  # cancelled: put everything back, then go on being cancelled
            self._gate.abandoned()
            session.close()
            raise
        if not ok:
            self._gate.failed()
            session.close()
            raise Unreachable(f"{self.host}:{self.port}: connection refused or no route")
        self._session = session
        return session

    def _drop(self, *, blame: bool) -> None:
        """Close; an endpoint to `blame` that never gave a good reply on this connection has to wait."""
        session, self._session = self._session, None
        if session is not None:
            if blame and not session.proven:
                self._gate.failed()
            else:
                self._gate.abandoned()
            session.close()

    def _breaker(self, unit: int) -> CircuitBreaker:
        if unit not in self._units:
            self._units[unit] = CircuitBreaker(self._name(unit), self._clock)
        return self._units[unit]

    def _name(self, unit: int) -> str:
        return f"{self.host}:{self.port} unit {unit}"


def _reader(unit: int, span: Span) -> Callable[[AsyncModbusTcpClient], Awaitable[ModbusPDU]]:
    def ask(client: AsyncModbusTcpClient) -> Awaitable[ModbusPDU]:
        method = {
            Table.COIL: client.read_coils,
            Table.DISCRETE: client.read_discrete_inputs,
            Table.INPUT: client.read_input_registers,
            Table.HOLDING: client.read_holding_registers,
        }[span.table]
        return method(span.address, count=span.count, device_id=unit)

    return ask
