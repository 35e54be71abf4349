"""Modbus: one connection per endpoint, one request at a time, a deadline for each.

pymodbus frames and decodes; everything that decides over time is ours, because its reconnect loop tries ten
times a second for ever against a peer that accepts and resets, and one silent unit blocks its client for
`(retries + 1) x timeout` (edge.md §4.1). So: `retries=0`, no automatic reconnect, a fresh client per
connection, a breaker per unit and one per endpoint. Every reply is checked against its request byte by byte
before pymodbus sees it, and a connection on which anything unexpected happened is never used again: a late
reply cannot be taken for the next one.

A read whose reply was spoiled, on a connection that has worked before, is asked once more over a fresh one
inside the same deadline: noise on a line, a device that closed an idle connection. Silence is never asked
again, and nor is a write. Writes go before waiting reads and skip the breakers, because the safe direction
must be tried even on a device that was silent a moment ago; the executor bounds how often that happens. So do
the `forced` reads that decide how a write goes out. A unit that fails beside another failing one is taken out
of the queue at its first silence: where a cable feeds a third of the units, three rounds of time-outs would
starve the rest.

The serial framing has no transaction id, so there a late reply could pass for the next one. After a request
that failed the line is left quiet for a while, and what arrives in that time is thrown away.

Errors raised: `Unreachable`, `DeviceTimeout`, `MalformedReply`, `Busy`, `Unsupported`.
"""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Protocol

from pymodbus.client.base import ModbusBaseClient
from pymodbus.pdu import ModbusPDU

from firmware_adapters.transport.breaker import CircuitBreaker
from firmware_adapters.transport.modbus_plan import Span, Table
from firmware_adapters.transport.modbus_reply import exception_error
from firmware_adapters.transport.modbus_serial import SerialLine
from firmware_adapters.transport.modbus_session import Endpoint, Framing, Request, Session
from firmware_adapters.transport.modbus_turns import Turns
from shared.clock import Clock, SystemClock
from shared.errors import Busy, DeviceError, DeviceTimeout, MalformedReply, Unreachable, Unsupported

# The guardian logs a device's failure once and its recovery once; pymodbus would log each attempt.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)


class ModbusLink(Protocol):
    """What a driver needs of Modbus; `ModbusConnection` is the real one, `MemoryModbus` the twin."""

    async def read(self, unit: int, span: Span, *, timeout_s: float, forced: bool = False) -> tuple[int, ...]:
        """`span.count` register words 0..65535, or bits 0/1. Raises `DeviceError`.

        `forced` asks like a write: past the breakers and before waiting reads. A write hangs on the answer.
        """
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


_LATE_S = 0.25
"""How long a line of the serial framing is left quiet after a failure, for a reply that may still come."""


class _AgainSpoiled(Exception):
    """The second reply was no better than the first."""

    def __init__(self, cause: DeviceError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class ModbusConnection:
    """The one connection to an endpoint, shared by all units behind it; requests queue in order.

    A request's deadline starts when its turn comes, so that a silent unit costs itself and not its
    neighbours; the breaker then takes the silent unit out of the queue.
    """

    def __init__(
        self,
        host: str,
        port: int = 0,
        *,
        framing: Framing = Framing.TCP,
        line: SerialLine | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`line`: `host` is the device file of a serial line."""
        self.endpoint = Endpoint(host=host, port=port, framing=framing, line=line)
        self._clock = clock or SystemClock()
        self._turns = Turns()
        self._session: Session | None = None
        self._quiet_until_s = 0.0
        self._overdue = False
        """A reply was given up on, and may still come, beside the next one."""
        self._gate = CircuitBreaker(self.endpoint.name, self._clock, threshold=1, max_s=20.0)
        self._units: dict[int, CircuitBreaker] = {}
        self._failure: dict[int, type[DeviceError]] = {}
        self.connects = 0
        """TCP connections attempted so far, for the page and for tests."""
        self.requests = 0

    async def read(self, unit: int, span: Span, *, timeout_s: float, forced: bool = False) -> tuple[int, ...]:
        """See `ModbusLink`. A forced read that fails leaves the breaker as it was, as a write does."""
        breaker = self._breaker(unit)
        if not forced and not breaker.admit():
            failure = self._failure.get(unit, DeviceTimeout)
            raise failure(f"{self._name(unit)} keeps failing; next probe in {breaker.wait_s:.1f} s")
        try:
            reply = await self._ask(unit, _reader(unit, span), timeout_s, forced=forced, twice=True)
        except (Busy, Unsupported):
            breaker.succeeded()
            raise
        except DeviceError as error:
            if not forced:
                self._failed(unit, type(error))
            raise
        except asyncio.CancelledError:
            if not forced:
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

    async def _write(self, unit: int, request: Request, timeout_s: float) -> None:
        await self._ask(unit, request, timeout_s, forced=True)
        self._breaker(unit).succeeded()

    async def _ask(
        self,
        unit: int,
        request: Request,
        timeout_s: float,
        *,
        forced: bool,
        twice: bool = False,
    ) -> ModbusPDU:
        async with self._turns.take(urgent=forced):
            name = self._name(unit)
            blame: bool | None = True
            try:
                async with asyncio.timeout(timeout_s):
                    ask = self._asked_twice if twice else self._exchange
                    reply = await ask(request, timeout_s, forced=forced)
                blame = None
            except TimeoutError as error:
                # A silent unit is the unit breaker's business; its neighbours may reconnect at once.
                blame = False
                self._overdue = True
                raise self._late(name, timeout_s) from error
            except asyncio.CancelledError:
                # The caller's own deadline came first: for the unit that is the same silence.
                blame = False
                self._overdue = True
                if not forced:
                    self._failed(unit, DeviceTimeout)
                raise
            except _AgainSpoiled as error:
                # The endpoint works, or it would not have been asked twice: it is this unit's failure alone.
                blame = False
                raise error.cause from error
            finally:
                if blame is not None:
                    # Also on cancellation: the reply may still come, and must never meet another request.
                    self._drop(blame=blame)
                    self._keep_quiet(min(timeout_s / 4, _LATE_S))
            self._gate.succeeded()
        if reply.isError():
            raise exception_error(reply.exception_code, name)
        return reply

    async def _asked_twice(self, request: Request, timeout_s: float, *, forced: bool) -> ModbusPDU:
        """Once more over a fresh connection where a proven one spoiled the reply, or a late one met it."""
        overdue, self._overdue = self._overdue, False
        try:
            return await self._exchange(request, timeout_s, forced=forced)
        except (MalformedReply, Unreachable):
            if self._session is None or not (self._session.proven or overdue):
                raise
        self._drop(blame=False)
        self._keep_quiet(min(timeout_s / 4, _LATE_S))
        try:
            return await self._exchange(request, timeout_s, forced=forced)
        except (MalformedReply, Unreachable) as error:
            if self._session is None:
                raise  # there was no connection to ask over
            raise _AgainSpoiled(error) from error

    async def _exchange(self, request: Request, timeout_s: float, *, forced: bool) -> ModbusPDU:
        session = await self._connected(timeout_s, forced=forced)
        if self.endpoint.framing is Framing.RTU:
            wait_s = self._quiet_until_s - self._clock.monotonic()
            if wait_s > 0:
                await self._clock.sleep(wait_s)
            if not session.usable:  # something arrived that nobody asked for
                self._drop(blame=False)
                session = await self._connected(timeout_s, forced=forced)
        self.requests += 1
        try:
            return await session.exchange(request)
        finally:
            self._keep_quiet(self.endpoint.silence_s)

    def _keep_quiet(self, seconds: float) -> None:
        self._quiet_until_s = max(self._quiet_until_s, self._clock.monotonic() + seconds)

    def _late(self, name: str, timeout_s: float) -> DeviceError:
        if self._session is None:
            self._gate.failed()
            return Unreachable(f"{name}: no connection within {timeout_s:g} s")
        return DeviceTimeout(f"{name}: no whole reply within {timeout_s:g} s")

    async def _connected(self, timeout_s: float, *, forced: bool) -> Session:
        if self._session is not None:
            if self._session.usable:
                return self._session
            self._drop(blame=True)
        if not self._gate.admit() and not forced:
            wait = self._gate.wait_s
            raise Unreachable(f"{self.endpoint.name} is down; next attempt in {wait:.1f} s")
        self.connects += 1
        session = Session(self.endpoint, timeout_s)
        try:
            ok = await session.connect()
        except BaseException:  # cancelled: put everything back, then go on being cancelled
            self._gate.abandoned()
            session.close()
            raise
        if not ok:
            self._gate.failed()
            session.close()
            raise Unreachable(f"{self.endpoint.name}: no connection")
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

    def _failed(self, unit: int, kind: type[DeviceError]) -> None:
        self._failure[unit] = kind
        beside = any(breaker.is_failing for other, breaker in self._units.items() if other != unit)
        self._breaker(unit).failed(at_once=beside)

    def _breaker(self, unit: int) -> CircuitBreaker:
        if unit not in self._units:
            self._units[unit] = CircuitBreaker(self._name(unit), self._clock)
        return self._units[unit]

    def _name(self, unit: int) -> str:
        return f"{self.endpoint.name} unit {unit}"


def _reader(unit: int, span: Span) -> Request:
    def ask(client: ModbusBaseClient) -> Awaitable[ModbusPDU]:
        method = {
            Table.COIL: client.read_coils,
            Table.DISCRETE: client.read_discrete_inputs,
            Table.INPUT: client.read_input_registers,
            Table.HOLDING: client.read_holding_registers,
        }[span.table]
        return method(span.address, count=span.count, device_id=unit)

    return ask
