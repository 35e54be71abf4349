"""Modbus TCP server for emulated units, with the ways in which real ones misbehave.

Our own frame handling rather than pymodbus's server, so that driver and emulator do not share a mistake in
framing, and so that a test can break any byte.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from enum import StrEnum
from typing import cast

from firmware_adapters.site.modbus_unit import ModbusUnit
from shared.clock import Clock, SystemClock

GATEWAY_TARGET_SILENT = 11


class Misbehaviour(StrEnum):
    """What a broken device does with a request."""

    SILENT = "silent"
    """Reads it and never answers."""
    EXCEPTION = "exception"
    """Answers exception `ModbusFault.code`."""
    HALF_REPLY = "half-reply"
    """Sends half the frame, then nothing."""
    WRONG_TRANSACTION = "wrong-transaction"
    WRONG_UNIT = "wrong-unit"
    WRONG_LENGTH = "wrong-length"
    """One register fewer than asked, with a header that says so."""
    GARBAGE = "garbage"
    """Bytes that are no frame."""
    RESET = "reset"
    """Resets the connection instead of answering."""
    LATE = "late"
    """Answers after `ModbusFault.delay_s`."""
    IN_PIECES = "in-pieces"
    """Answers after `ModbusFault.delay_s`, a byte at a time."""
    TWICE = "twice"
    """Sends the reply twice."""


class ModbusFault:
    """One misbehaviour for the next `times` requests (None: until cleared)."""

    def __init__(
        self, kind: Misbehaviour, *, times: int | None = None, code: int = 4, delay_s: float = 0.0
    ) -> None:
        self.kind = kind
        self.code = code
        self.delay_s = delay_s
        self._left = times

    def take(self) -> bool:
        """Whether the fault applies to one more request."""
        if self._left is None:
            return True
        self._left -= 1
        return self._left >= 0


class ModbusEmulator:
    """Serves units at one host and port. Several units make it a gateway; `faults` are per unit.

    `single_connection` refuses a second TCP client, as small devices do; `reset_on_accept` takes every
    connection and resets it at once.
    """

    def __init__(
        self,
        host: str,
        port: int,
        units: Mapping[int, ModbusUnit],
        *,
        single_connection: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.units = dict(units)
        self.faults: dict[int, ModbusFault] = {}
        self.dark: set[int] = set()
        """Units without supply: they answer nothing, whatever else is wrong with them."""
        self.single_connection = single_connection
        self.reset_on_accept = False
        self.accepted = 0
        self.requests = 0
        self._clock = clock or SystemClock()
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self) -> None:
        """Listen; port 0 picks a free one and stores it in `port`. Raises `OSError`."""
        self._server = await asyncio.start_server(self._connected, self.host, self.port)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Close listener and connections."""
        if self._server is not None:
            self._server.close()
            serving = dict(self._open)
            for writer in serving.values():
                writer.transport.abort()
            await asyncio.gather(*serving, return_exceptions=True)
            await self._server.wait_closed()
            self._server = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.reset_on_accept or (self.single_connection and self._open):
            writer.transport.abort()
            return
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._open[task] = writer
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, OSError):
                while await self._serve(reader, writer):
                    pass
        finally:
            del self._open[task]
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False closes the connection."""
        header = await reader.readexactly(7)
        length = int.from_bytes(header[4:6], "big")
        if header[2:4] != b"\0\0" or not 2 <= length <= 254:
            return False
        request = await reader.readexactly(length - 1)
        self.requests += 1
        unit = header[6]
        if unit in self.dark:
            return True
        fault = self.faults.get(unit)
        if fault is not None and fault.take():
            return await self._misbehave(fault, header, request, writer)
        await self._send(writer, _frame(header, self._answer(unit, request)))
        return True

    def _answer(self, unit: int, request: bytes) -> bytes:
        target = self.units.get(unit)
        if target is None:
            return bytes((request[0] | 0x80, GATEWAY_TARGET_SILENT))
        return target.answer(request)

    async def _misbehave(
        self, fault: ModbusFault, header: bytes, request: bytes, writer: asyncio.StreamWriter
    ) -> bool:
        if fault.kind is Misbehaviour.EXCEPTION:
            # It refuses, so nothing of the request is done.
            await self._send(writer, _frame(header, bytes((request[0] | 0x80, fault.code))))
            return True
        reply = self._answer(header[6], request)
        frame = _frame(header, reply)
        match fault.kind:
            case Misbehaviour.SILENT:
                return True
            case Misbehaviour.RESET:
                writer.transport.abort()
                return False
            case Misbehaviour.HALF_REPLY:
                frame = frame[: max(1, len(frame) // 2)]
            case Misbehaviour.WRONG_TRANSACTION:
                wrong = (int.from_bytes(header[:2], "big") + 7) & 0xFFFF
                frame = wrong.to_bytes(2, "big") + frame[2:]
            case Misbehaviour.WRONG_UNIT:
                frame = frame[:6] + bytes((header[6] ^ 0x55,)) + frame[7:]
            case Misbehaviour.WRONG_LENGTH:
                frame = _frame(header, bytes((reply[0], max(0, reply[1] - 2))) + reply[2:-2])
            case Misbehaviour.GARBAGE:
                frame = b"HTTP/1.1 400 Bad Request\r\n\r\n"
            case Misbehaviour.LATE:
                await self._clock.sleep(fault.delay_s)
            case Misbehaviour.IN_PIECES:
                await self._clock.sleep(fault.delay_s)
                for byte in frame[:-1]:
                    await self._send(writer, bytes((byte,)))
                    await asyncio.sleep(0)
                frame = frame[-1:]
            case Misbehaviour.TWICE:
                frame += frame
        await self._send(writer, frame)
        return True

    @staticmethod
    async def _send(writer: asyncio.StreamWriter, frame: bytes) -> None:
        writer.write(frame)
        await writer.drain()


def _frame(header: bytes, pdu: bytes) -> bytes:
    return header[:4] + (len(pdu) + 1).to_bytes(2, "big") + header[6:7] + pdu
