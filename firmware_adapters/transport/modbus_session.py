"""One open connection to a Modbus endpoint: a pymodbus client plus the checks that each reply must pass.

The same for a TCP socket, for the serial framing over TCP (plain converters) and for a serial line of this
computer: pymodbus frames and decodes all three, and every reply is checked against its request, byte by
byte, before pymodbus sees it.
"""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from functools import partial

import msgspec
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.client.base import ModbusBaseClient
from pymodbus.framer import FramerType
from pymodbus.pdu import ModbusPDU
from pymodbus.transport import CommParams, CommType

from firmware_adapters.transport.modbus_reply import reply_problem, rtu_reply_problem
from firmware_adapters.transport.modbus_serial import SerialLine, open_serial
from shared.errors import DeviceError, MalformedReply, Unreachable

Request = Callable[[ModbusBaseClient], Awaitable[ModbusPDU]]
"""Asks something of an open client."""

_CONVERTER_SILENCE_S = 0.005
"""Between two requests through a converter whose line speed we do not know: 3.5 characters at 9600 baud."""


class Framing(StrEnum):
    """How a request is wrapped."""

    TCP = "tcp"
    RTU = "rtu"
    """As on a serial line: unit, function, data, checksum. It has no transaction id."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where units are reached: host and port, or with `line` the device file of a serial line."""

    host: str
    port: int = 0
    framing: Framing = Framing.TCP
    line: SerialLine | None = None

    @property
    def name(self) -> str:
        return self.host if self.line is not None else f"{self.host}:{self.port}"

    @property
    def silence_s(self) -> float:
        """How long the line must be quiet between two frames."""
        if self.framing is Framing.TCP:
            return 0.0
        return self.line.silence_s if self.line is not None else _CONVERTER_SILENCE_S


class Session:
    """One connection. Whatever is unexpected on it spoils it for good; it is then closed, never reused."""

    def __init__(self, endpoint: Endpoint, timeout_s: float) -> None:
        self._problem = reply_problem if endpoint.framing is Framing.TCP else rtu_reply_problem
        self._client = _client(endpoint, timeout_s, self._on_packet, self._on_connect)
        self.proven = False
        """A good reply came over this connection."""
        self._request: bytes | None = None
        self._spoiled = False

    async def connect(self) -> bool:
        """Whether the peer is there; False for refused, no route, no such line."""
        return await self._client.connect()

    def _on_packet(self, sending: bool, data: bytes) -> bytes:  # noqa: FBT001 - signature of pymodbus's hook
        if sending:
            self._request = data
            return data
        if self._request is None:
            self._spoiled = True
            return b""
        problem = self._problem(self._request, data)
        if problem is not None:
            self._fail(MalformedReply(f"Modbus reply refused: {problem}"))
            return b""
        return data

    def _on_connect(self, connected: bool) -> None:  # noqa: FBT001 - signature of pymodbus's hook
        if not connected:
            self._fail(Unreachable("the peer closed the connection"))

    def _fail(self, error: DeviceError) -> None:
        self._spoiled = True
        waiting = self._client.ctx.response_future
        if self._request is not None and not waiting.done():
            # pymodbus would wait for its time-out; the waiter learns the reason now.
            waiting.set_exception(error)

    @property
    def usable(self) -> bool:
        return self._client.connected and not self._spoiled

    async def exchange(self, request: Request) -> ModbusPDU:
        """One request and its reply. Raises `MalformedReply`, `Unreachable`, `ModbusException`."""
        try:
            reply = await request(self._client)
        finally:
            self._request = None
        self.proven = True
        return reply

    def close(self) -> None:
        """Close; never raises."""
        self._request = None
        self._client.close()


def _client(
    endpoint: Endpoint,
    timeout_s: float,
    on_packet: Callable[[bool, bytes], bytes],
    on_connect: Callable[[bool], None],
) -> ModbusBaseClient:
    framer = FramerType.SOCKET if endpoint.framing is Framing.TCP else FramerType.RTU
    if endpoint.line is None:
        return AsyncModbusTcpClient(
            endpoint.host,
            port=endpoint.port,
            framer=framer,
            timeout=timeout_s,
            retries=0,
            reconnect_delay=0,
            trace_packet=on_packet,
            trace_connect=on_connect,
        )
    params = CommParams(
        comm_name="serial",
        comm_type=CommType.SERIAL,
        host=endpoint.host,
        reconnect_delay=0.0,
        timeout_connect=timeout_s,
    )
    client = ModbusBaseClient(framer, 0, params, on_packet, None, on_connect)
    client.ctx.call_create = partial(
        open_serial, client.ctx.handle_new_connection, endpoint.host, endpoint.line
    )
    return client
