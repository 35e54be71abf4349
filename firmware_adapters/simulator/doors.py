"""One listening socket per port for all emulated miners, told apart by the address that was connected to.

Linux gives every 127.x.y.z to loopback, so one wildcard listener plays thousands of machines; a connection
whose local address is not loopback is closed before a byte of it is read, so the simulator is never reachable
from another host.
"""

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Callable, Mapping

from aiohttp import web

from firmware_adapters.miners.emulator_wire import Emulator, HasSocket, WebEmulator
from shared.clock import Clock

_log = logging.getLogger(__name__)

BACKLOG = 1024
_RETRY_S = 0.2

ProtocolFactory = Callable[[], asyncio.BaseProtocol]


class WildcardDoor:
    """Accepts on one port at every loopback address and hands connections to `protocol`.

    `by_address` names the addresses that speak another protocol on the same port: firmwares differ, and a
    mixed fleet has a web server on a port on which its neighbour has a command socket.
    """

    def __init__(
        self,
        port: int,
        protocol: ProtocolFactory,
        *,
        clock: Clock,
        by_address: Mapping[str, ProtocolFactory] | None = None,
    ) -> None:
        self.port = port
        self.refused = 0
        """Connections closed because they did not come over loopback."""
        self._protocol = protocol
        self._by_address = dict(by_address or {})
        self._clock = clock
        self._socket: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Listen. Raises `OSError` when the port is taken."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            listener.bind(("0.0.0.0", self.port))
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
        self._socket = listener
        self._task = asyncio.get_running_loop().create_task(self._accept(listener))

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:
                # Out of file descriptors, most likely: the site goes on with the connections it has.
                _log.warning("port %s: cannot accept: %s", self.port, error)
                await self._clock.sleep(_RETRY_S)
                continue
            address = connection.getsockname()[0]
            if not ipaddress.ip_address(address).is_loopback:
                self.refused += 1
                connection.close()
                continue
            try:
                await loop.connect_accepted_socket(self._by_address.get(address, self._protocol), connection)
            except OSError:
                connection.close()

    async def close(self) -> None:
        """Stop accepting; open connections are the protocol's business."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()


class MinerDoors:
    """HTTP on each port that miners use, and their command sockets.

    A machine with a web interface has its socket on 4028 beside 80, else on the port above; one without has
    it on the port itself.
    """

    def __init__(self, miners: Mapping[tuple[str, int], Emulator], *, clock: Clock) -> None:
        self._web: dict[tuple[str, int], WebEmulator] = {}
        self._socket: dict[tuple[str, int], HasSocket] = {}
        for (host, port), emulator in miners.items():
            if isinstance(emulator, WebEmulator):
                self._web[host, port] = emulator
            if isinstance(emulator, HasSocket):
                own = socket_port(port) if isinstance(emulator, WebEmulator) else port
                self._socket[host, own] = emulator
        self._clock = clock
        self._streams: set[asyncio.StreamWriter] = set()
        self._server: web.Server | None = None
        self._doors: list[WildcardDoor] = []

    def open(self) -> None:
        """Listen on all ports. Raises `OSError` when one is taken."""
        self._server = server = web.Server(self._serve_http)
        web_ports = {port for _, port in self._web}
        for port in sorted(web_ports | {port for _, port in self._socket}):
            lines = {host: self._stream_protocol for host, at in self._socket if at == port}
            kind = server if port in web_ports else self._stream_protocol
            self._doors.append(WildcardDoor(port, kind, clock=self._clock, by_address=lines))
        for door in self._doors:
            door.open()

    async def close(self) -> None:
        """Stop listening and cut what is open."""
        for door in self._doors:
            await door.close()
        cut = tuple(self._streams)
        for writer in cut:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in cut), return_exceptions=True)
        if self._server is not None:
            await self._server.shutdown(timeout=0.2)

    @property
    def refused(self) -> int:
        """Connections that did not come over loopback."""
        return sum(door.refused for door in self._doors)

    async def _serve_http(self, request: web.BaseRequest) -> web.StreamResponse:
        transport = request.transport
        emulator = None if transport is None else self._web.get(transport.get_extra_info("sockname")[:2])
        if emulator is None:
            if transport is not None:
                transport.abort()
            return web.Response(status=404)
        return await emulator.handle(request)

    def _stream_protocol(self) -> asyncio.BaseProtocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), self._serve_socket)

    async def _serve_socket(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        emulator = self._socket.get(writer.get_extra_info("sockname")[:2])
        if emulator is None:
            writer.transport.abort()
            return
        self._streams.add(writer)
        try:
            await emulator.handle_socket(reader, writer)
        finally:
            self._streams.discard(writer)
            writer.transport.abort()  # a client that went away in mid-request leaves it open


def socket_port(port: int) -> int:
    """Where a machine's cgminer socket listens: 4028 beside HTTP on 80, else one above the HTTP port."""
    return 4028 if port == 80 else port + 1
