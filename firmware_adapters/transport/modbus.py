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
from weakref import WeakKeyDictionary

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from firmware_adapters.transport.breaker import CircuitBreaker
from firmware_adapters.transport.modbus_plan import Span, Table
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


_EXCEPTIONS: dict[int, tuple[type[DeviceError], str]] = {
    1: (Unsupported, "the unit does not know this function"),
    2: (Unsupported, "no such address"),
    3: (Unsupported, "the unit refuses this value or count"),
    4: (Busy, "the unit failed to do it"),
    5: (Busy, "accepted, but it takes long"),
    6: (Busy, "the unit is busy"),
    7: (Busy, "the unit refuses for now"),
    10: (Unreachable, "the gateway has no path to the unit"),
    11: (DeviceTimeout, "the unit behind the gateway does not answer"),
}


def exception_error(code: int, what: str) -> DeviceError:
    """The typed failure behind a Modbus exception code (Modbus Application Protocol V1.1b3, §7)."""
    kind, text = _EXCEPTIONS.get(code, (MalformedReply, "a code that the standard does not have"))
    return kind(f"{what}: {text} (exception {code})")


def reply_problem(request: bytes, reply: bytes) -> str | None:
    """Why `reply` (what came so far) cannot answer `request`; None while it can, or is not whole yet."""
    if len(reply) < 8:
        return None
    length = int.from_bytes(reply[4:6], "big")
    function, asked = reply[7], request[7]
    refusals = (
        (reply[2:4] != b"\0\0" or not 3 <= length <= 254, "not a Modbus TCP header"),
        (reply[0:2] != request[0:2], "transaction id of another request"),
        (reply[6] != request[6], f"reply of unit {reply[6]}"),
        (len(reply) > 6 + length, "more bytes than the header says"),
        (function not in (asked, asked | 0x80), f"function {function} answers {asked}"),
    )
    problem = next((text for refused, text in refusals if refused), None)
    if problem is None and len(reply) == 6 + length:
        return _body_problem(request, reply[7:])
    return problem


def _body_problem(request: bytes, body: bytes) -> str | None:
    asked = request[7]
    if body[0] & 0x80:
        return None if len(body) == 2 else "exception reply of odd length"
    if asked in (1, 2, 3, 4):
        count = int.from_bytes(request[10:12], "big")
        size = (count + 7) // 8 if asked <= 2 else count * 2
        return None if body[1] == size == len(body) - 2 else "byte count does not match the request"
    return None if body == request[7:12] else "write echo differs from the request"


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


# ---------------------------------------------------------------- one connection per endpoint

_Endpoints = dict[tuple[str, int], "_Shared"]
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

    def __init__(self, host: str, port: int) -> None:
        self._key = (host, port)
        self._held: _Shared | None = None

    @property
    def connection(self) -> ModbusConnection:
        """The shared connection of the running loop."""
        if self._held is None:
            endpoints = _ENDPOINTS.setdefault(asyncio.get_running_loop(), {})
            if self._key not in endpoints:
                endpoints[self._key] = _Shared(ModbusConnection(*self._key))
            self._held = endpoints[self._key]
            self._held.users += 1
        return self._held.connection

    async def read(self, unit: int, span: Span, *, timeout_s: float) -> tuple[int, ...]:
        """See `ModbusLink`."""
        return await self.connection.read(unit, span, timeout_s=timeout_s)

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
