"""One open connection to a Modbus endpoint: a pymodbus client plus the checks that each reply must pass.

The same for a TCP socket, for the serial framing over TCP (plain converters) and for a serial line of this
computer: pymodbus frames and decodes all three, and every reply is checked against its request, byte by
byte, before pymodbus sees it. A tape keeps those bytes, also of a frame that was refused.
"""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from functools import partial

import msgspec
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.client.base import ModbusBaseClient
from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerType
from pymodbus.pdu import ModbusPDU
from pymodbus.transport import CommParams, CommType

from firmware_adapters.transport.modbus_reply import (
    exception_error,
    question_of,
    reply_problem,
    rtu_reply_problem,
)
from firmware_adapters.transport.modbus_serial import SerialLine, open_serial
from firmware_adapters.transport.tape import failure_words, file_name, noted
from shared.errors import DeviceError, MalformedReply, Unreachable
from shared.exchanges import Exchange

Request = Callable[[ModbusBaseClient], Awaitable[ModbusPDU]]
"""Asks something of an open client."""

_LONGEST_HEARD = 4096
"""Bytes that are looked at. pymodbus throws away unseen what is longer than a frame (260): a web server's
page on this port would be silence. What is poured in larger pieces still is."""
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
        self._is_tcp = endpoint.framing is Framing.TCP
        self._problem = reply_problem if self._is_tcp else rtu_reply_problem
        self._client = _client(endpoint, timeout_s, self._on_packet, self._on_connect)
        self._client.ctx.max_buffer_size = _LONGEST_HEARD
        self.proven = False
        """A good reply came over this connection."""
        self._request: bytes | None = None
        self._spoiled = False
        self._asked = b""
        """The newest request; it stays when nothing is waited for any more."""
        self._came = b""
        """What came in answer to it so far, or until it was refused."""

    async def connect(self) -> bool:
        """Whether the peer is there; False for refused, no route, no such line."""
        return await self._client.connect()

    def _on_packet(self, sending: bool, data: bytes) -> bytes:  # noqa: FBT001 - signature of pymodbus's hook
        if sending:
            self._request = self._asked = data
            self._came = b""
            return data
        if self._request is None:
            self._spoiled = True
            return b""
        if not self._spoiled:
            self._came = data
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
        """One request and its reply, for a tape as well. Raises `MalformedReply`, `Unreachable`."""
        self._asked = b""
        return await noted(self._exchanged(request), self._told)

    def _told(self, outcome: ModbusPDU | DeviceError) -> Exchange | None:
        """The exchange for a tape; None where the request did not leave."""
        if not self._asked:
            return None
        question = question_of(self._asked[6:] if self._is_tcp else self._asked[:-2])
        if isinstance(outcome, ModbusPDU):
            refused = outcome.isError()
            failure = exception_error(outcome.exception_code, "refused") if refused else None
        else:
            failure = outcome
        return Exchange(
            question=question,
            name=file_name(question),
            reply=self._came,
            failure="" if failure is None else failure_words(failure),
        )

    async def _exchanged(self, request: Request) -> ModbusPDU:
        try:
            reply = await request(self._client)
        except ModbusException as error:
            raise MalformedReply(str(error)) from error
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
