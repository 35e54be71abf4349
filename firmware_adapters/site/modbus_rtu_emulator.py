"""Emulated units on a serial line: a pseudo-terminal for programs of this computer, or bytes over TCP.

As with the TCP emulator, the framing is our own and not pymodbus's, so that driver and emulator do not share
a mistake in it, and so that a test can break any byte.
"""

import asyncio
import contextlib
import os
import tty
from collections.abc import Callable, Mapping
from typing import cast

from firmware_adapters.site.modbus_emulator import Misbehaviour, ModbusFault
from firmware_adapters.site.modbus_unit import ModbusUnit
from firmware_adapters.transport.modbus_reply import crc16
from shared.clock import Clock, SystemClock

_FIXED, _SHORTEST = 8, 4
_LONGEST = 256


class RtuEmulator:
    """Units that share one line. `path` is the line's device file, `port` the converter's, once opened.

    A unit that is not there stays silent, as on a real line. `faults` are per unit; of the misbehaviours a
    line knows silence, exceptions, half, late and doubled replies, one in pieces, another unit's reply and
    garbage.
    """

    def __init__(self, units: Mapping[int, ModbusUnit], *, clock: Clock | None = None) -> None:
        self.units = dict(units)
        self.faults: dict[int, ModbusFault] = {}
        self.requests = 0
        self.path = ""
        self.port = 0
        self._clock = clock or SystemClock()
        self._handles: tuple[int, int] | None = None
        self._server: asyncio.Server | None = None
        self._late: set[asyncio.Task[None]] = set()
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def open_line(self) -> None:
        """Serve on a pseudo-terminal. Raises `OSError`."""
        master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        self._handles = (master, slave)  # the other end stays open, or the line would hang up with its user
        self.path = os.ttyname(slave)
        heard = bytearray()

        def readable() -> None:
            with contextlib.suppress(BlockingIOError):
                heard.extend(os.read(master, _LONGEST))
            self._serve(heard, lambda frame: _put(master, frame))

        asyncio.get_running_loop().add_reader(master, readable)

    async def open_converter(self, host: str) -> None:
        """Serve the same bytes on a free TCP port. Raises `OSError`."""
        self._server = await asyncio.start_server(self._connected, host, 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Close everything."""
        for task in tuple(self._late):
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)
        if self._handles is not None:
            asyncio.get_running_loop().remove_reader(self._handles[0])
            for handle in self._handles:
                os.close(handle)
            self._handles = None
        if self._server is not None:
            self._server.close()
            serving = dict(self._open)
            for writer in serving.values():
                writer.transport.abort()
            await asyncio.gather(*serving, return_exceptions=True)
            await self._server.wait_closed()
            self._server = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard = bytearray()
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._open[task] = writer
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(_LONGEST):
                    heard.extend(data)
                    self._serve(heard, writer.write)
        finally:
            del self._open[task]
            writer.close()

    def _serve(self, heard: bytearray, send: Callable[[bytes], None]) -> None:
        """Answer every whole request in `heard`; what has a wrong checksum is noise, up to the next pause."""
        while (size := _size(heard)) is not None and len(heard) >= size:
            frame = bytes(heard[:size])
            del heard[:size]
            if crc16(frame[:-2]) != int.from_bytes(frame[-2:], "little"):
                heard.clear()
                return
            self.requests += 1
            unit = self.units.get(frame[0])
            if unit is not None:
                self._reply(frame[0], unit, frame[1:-2], send)

    def _reply(self, unit: int, target: ModbusUnit, request: bytes, send: Callable[[bytes], None]) -> None:
        fault = self.faults.get(unit)
        if fault is None or not fault.take():
            send(framed(unit, target.answer(request)))
            return
        if fault.kind is Misbehaviour.EXCEPTION:
            # It refuses, so nothing of the request is done.
            send(framed(unit, bytes((request[0] | 0x80, fault.code))))
            return
        frame = framed(unit, target.answer(request))
        match fault.kind:
            case Misbehaviour.SILENT | Misbehaviour.RESET:
                return
            case Misbehaviour.LATE | Misbehaviour.IN_PIECES:
                size = 1 if fault.kind is Misbehaviour.IN_PIECES else len(frame)
                task = asyncio.ensure_future(self._send_late(frame, send, fault.delay_s, size))
                self._late.add(task)
                task.add_done_callback(self._late.discard)
                return
            case Misbehaviour.HALF_REPLY:
                frame = frame[: len(frame) // 2]
            case Misbehaviour.WRONG_UNIT:
                frame = framed(unit ^ 0x55, frame[1:-2])
            case Misbehaviour.WRONG_LENGTH:
                frame = framed(unit, bytes((frame[1], max(0, frame[2] - 2))) + frame[3:-4])
            case Misbehaviour.TWICE:
                frame += frame
            case Misbehaviour.GARBAGE | Misbehaviour.WRONG_TRANSACTION:
                frame = frame[:-2] + bytes(byte ^ 0xFF for byte in frame[-2:])
        send(frame)

    async def _send_late(
        self, frame: bytes, send: Callable[[bytes], None], delay_s: float, size: int
    ) -> None:
        await self._clock.sleep(delay_s)
        for at in range(0, len(frame), size):
            send(frame[at : at + size])
            await asyncio.sleep(0)


def framed(unit: int, pdu: bytes) -> bytes:
    """A frame as it goes over the line."""
    body = bytes((unit,)) + pdu
    return body + crc16(body).to_bytes(2, "little")


def _size(heard: bytearray) -> int | None:
    """How long the request at the start of `heard` is; None while that is not known."""
    if len(heard) < _SHORTEST:
        return None
    if heard[1] in (15, 16):
        return 9 + heard[6] if len(heard) > 6 else None
    return _FIXED


def _put(handle: int, frame: bytes) -> None:
    with contextlib.suppress(OSError):
        os.write(handle, frame)
