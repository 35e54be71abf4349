"""A serial line of this computer as an asyncio transport: raw bytes, opened for one user, no further package.

pymodbus frames and decodes on it just as on TCP; its own serial client would bring a dependency for the
opening of a file alone. POSIX only, as the rest of a gateway.
"""

import asyncio
import fcntl
import os
import re
import termios
from collections.abc import Callable

import msgspec

from shared.errors import ConfigError

_BITS = {5: termios.CS5, 6: termios.CS6, 7: termios.CS7, 8: termios.CS8}
_PARITY = {"N": 0, "E": termios.PARENB, "O": termios.PARENB | termios.PARODD}
_LONGEST_READ = 512


class SerialLine(msgspec.Struct, frozen=True, kw_only=True):
    """Baud rate, data bits, parity (N, E, O) and stop bits."""

    baud: int
    bits: int
    parity: str
    stop: int

    @property
    def silence_s(self) -> float:
        """What separates two frames: 3.5 characters, and 1.75 ms above 19200 baud (Modbus over serial line
        V1.02, §2.5.1.1)."""
        character = 1 + self.bits + (self.parity != "N") + self.stop
        return max(3.5 * character / self.baud, 0.00175)


def parse_line(text: str) -> SerialLine:
    """`9600 8N1` as people write it. Raises `ConfigError`."""
    found = re.fullmatch(r"\s*(\d{2,7})[ ,/]+([5-8])([NEO])([12])\s*", text.upper())
    if found is None or not hasattr(termios, f"B{found[1]}"):
        raise ConfigError(f"serial: {text!r} is no line such as '9600 8N1' or '19200 8E1'")
    return SerialLine(baud=int(found[1]), bits=int(found[2]), parity=found[3], stop=int(found[4]))


async def open_serial(
    protocol_factory: Callable[[], asyncio.BaseProtocol], path: str, line: SerialLine
) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
    """Open the line for this user alone; what waited in it is thrown away. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    handle = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _set_up(handle, line)
    except termios.error as error:
        os.close(handle)
        raise OSError(f"{path} is no serial line") from error
    except OSError:
        os.close(handle)
        raise
    protocol = protocol_factory()
    transport = _SerialTransport(loop, handle, protocol)
    protocol.connection_made(transport)
    return transport, protocol


def _set_up(handle: int, line: SerialLine) -> None:
    mode = termios.CREAD | termios.CLOCAL | _BITS[line.bits] | _PARITY[line.parity]
    mode |= termios.CSTOPB if line.stop == 2 else 0
    speed: int = getattr(termios, f"B{line.baud}")
    controls = list(termios.tcgetattr(handle)[6])
    controls[termios.VMIN], controls[termios.VTIME] = 1, 0
    attributes: list[int | list[bytes | int]] = [0, 0, mode, 0, speed, speed, controls]
    termios.tcsetattr(handle, termios.TCSANOW, attributes)
    termios.tcflush(handle, termios.TCIOFLUSH)


class _SerialTransport(asyncio.Transport):
    """Bytes in and out of an open line. Frames are short, so a write goes out whole or the line is lost."""

    def __init__(self, loop: asyncio.AbstractEventLoop, handle: int, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self._loop = loop
        self._handle = handle
        self._protocol = protocol
        self._closed = False
        loop.add_reader(handle, self._readable)

    def _readable(self) -> None:
        try:
            data = os.read(self._handle, _LONGEST_READ)
        except BlockingIOError:
            return
        except OSError as error:  # an adapter that was pulled out
            self._end(error)
            return
        if not data:
            self._end(None)
        elif isinstance(self._protocol, asyncio.Protocol) or hasattr(self._protocol, "data_received"):
            self._protocol.data_received(data)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send a frame."""
        if self._closed:
            return
        try:
            written = os.write(self._handle, data)
        except OSError as error:
            self._end(error)
            return
        if written < len(data):
            self._end(OSError("the serial line took only a part of the frame"))

    def close(self) -> None:
        """Let go of the line."""
        self._end(None)

    def is_closing(self) -> bool:
        """See `asyncio.BaseTransport`."""
        return self._closed

    def _end(self, error: Exception | None) -> None:
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._handle)
        os.close(self._handle)
        self._loop.call_soon(self._protocol.connection_lost, error)
