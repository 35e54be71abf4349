"""Edge.md §3.1, F19: a million exception replies, and the process is as large as before.

A million through the driver of a serial line with Modbus TCP's frames, whose bytes are exchanged in memory
(pymodbus, our checks of each reply, turns, breakers: all but the kernel's socket). A part of them again
through real sockets and with all that the guardian does around a read: link, tape, ring of failures, ring of
samples, log. `MW_F19_REPLIES=1000000` sends as many there.

Memory is counted in what CPython's allocator has given out, which no other process blurs, and in pages of the
process. Both by their slope after a warm-up, not by their size.
"""

import asyncio
import gc
import itertools
import logging
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from operator import ne
from pathlib import Path
from typing import Any

import pytest

from edge_agent.guardian.polling.board import Board
from edge_agent.guardian.polling.link import DeviceLink, Samples
from edge_agent.guardian.polling.ring import Ring
from firmware_adapters.site.modbus import ModbusDevice
from firmware_adapters.site.profile import load_profile
from firmware_adapters.transport import modbus_session
from firmware_adapters.transport.modbus import ModbusConnection
from firmware_adapters.transport.modbus_plan import Span, Table
from firmware_adapters.transport.modbus_serial import parse_line
from firmware_adapters.transport.tape import KEEP_EXCHANGES
from shared.clock import ManualClock
from shared.errors import Busy, DeviceError, DeviceTimeout, MalformedReply, Unreachable, Unsupported
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind
from support.site_devices import HOST

pytestmark = pytest.mark.slow

GATEWAY_TARGET_SILENT = 0x0B
CODES: dict[int, type[DeviceError]] = {
    GATEWAY_TARGET_SILENT: DeviceTimeout,
    0x01: Unsupported,
    0x02: Unsupported,
    0x04: Busy,
    0x06: Busy,
    0x0A: Unreachable,
    0x63: MalformedReply,
}
"""Exception code → what it is to us. Every second reply is the one that the complaint is about."""
IN_MEMORY = 1_000_000
OVER_SOCKETS = int(os.environ.get("MW_F19_REPLIES", "100000"))
CONNECTIONS = 10
STEPS = 10
"""So often the memory is looked at; the first two steps are the warm-up."""
BLOCKS_PER_REPLY = 0.001
"""One object that stays behind with each reply is 1, one with every thousandth is 0.001."""
BYTES_PER_REPLY = 4.0
"""The smallest object has 16 bytes."""
BREATH_BLOCKS, BREATH_BYTES = 500, 2_000_000
"""Rings are fuller at one look than at the other, whatever went by in between."""
SPAN = Span(Table.INPUT, 1, 2)
LONGEST_PAUSE_S = 40.0
"""Of a breaker: after it the unit is asked again."""


class Codes:
    """Which exception comes next."""

    def __init__(self) -> None:
        others = itertools.cycle([code for code in CODES if code != GATEWAY_TARGET_SILENT])
        self._codes = (code for other in others for code in (GATEWAY_TARGET_SILENT, other))
        self.sent = 0
        self.newest = 0

    def reply(self, request: bytes) -> bytes:
        self.newest = next(self._codes)
        self.sent += 1
        return request[:4] + b"\0\3" + request[6:7] + bytes((request[7] | 0x80, self.newest))


class InMemory(asyncio.Transport):
    """A peer that answers at once, on the next turn of the loop."""

    def __init__(self, codes: Codes, protocol: Any) -> None:
        super().__init__()
        self._codes = codes
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._loop.call_soon(self._protocol.data_received, self._codes.reply(bytes(data)))

    def is_closing(self) -> bool:
        """See `asyncio.BaseTransport`."""
        return False

    def abort(self) -> None:
        """See `asyncio.WriteTransport`."""
        self.close()

    def close(self) -> None:
        self._loop.call_soon(self._protocol.connection_lost, None)


class Peer(asyncio.Protocol):
    """The same behind a real socket."""

    def __init__(self, codes: Codes) -> None:
        self._codes = codes
        self._transport: Any = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(self._codes.reply(data))

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(None)


def allocated() -> tuple[int, int]:
    """Blocks of CPython's allocator, and resident bytes."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return sys.getallocatedblocks(), pages * os.sysconf("SC_PAGE_SIZE")


async def assert_flat(replies: int, some: Callable[[int], Awaitable[None]]) -> None:
    """Let `some` work off the replies in steps; what stays of each after the warm-up is next to nothing."""
    step = replies // STEPS
    seen = []
    for _ in range(STEPS):
        await some(step)
        seen.append(allocated())
    counted = step * (STEPS - 2)
    blocks, resident = (seen[-1][n] - seen[1][n] for n in (0, 1))
    assert blocks < BREATH_BLOCKS + BLOCKS_PER_REPLY * counted
    assert resident < BREATH_BYTES + BYTES_PER_REPLY * counted


def test_f19_a_million_refusals_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:  # the tests' own loop is slower
        runner.run(a_million_refusals(monkeypatch))


async def a_million_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    codes = [Codes() for _ in range(CONNECTIONS)]
    waiting = iter(codes)

    async def opened(protocol: Callable[[], Any], *_: object) -> tuple[InMemory, Any]:
        made = protocol()
        transport = InMemory(next(waiting), made)
        made.connection_made(transport)
        return transport, made

    monkeypatch.setattr(modbus_session, "open_serial", opened)
    connections = [
        ModbusConnection("memory", line=parse_line("9600 8N1"), clock=clock) for _ in range(CONNECTIONS)
    ]
    as_promised = 0

    async def refused(connection: ModbusConnection, newest: Codes, times: int) -> None:
        nonlocal as_promised
        for _ in range(times):
            try:
                await connection.read(1, SPAN, timeout_s=60.0)
            except DeviceError as error:
                as_promised += type(error) is CODES[newest.newest]
            clock.advance(LONGEST_PAUSE_S)

    async def some(times: int) -> None:
        share = times // CONNECTIONS
        pairs = zip(connections, codes, strict=True)
        await asyncio.gather(*(refused(connection, newest, share) for connection, newest in pairs))

    for connection in connections:  # one after the other, so that each has its own list of codes
        await refused(connection, codes[connections.index(connection)], 1)
    await assert_flat(IN_MEMORY, some)
    assert as_promised == sum(one.sent for one in codes) == IN_MEMORY + CONNECTIONS
    assert sum(connection.requests for connection in connections) == as_promised
    for connection in connections:
        assert connection.connects == len(connection._units) == len(connection._failure) == 1
        await connection.close()


class Lines(logging.Handler):
    """How many lines are logged; what else keeps the record keeps its text, and not the error's frames."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args = record.getMessage(), ()
        self.count += 1


@asynccontextmanager
async def served(codes: Codes) -> AsyncIterator[tuple[int, list[Peer]]]:
    """The port, and whoever connected. All must have hung up at the end."""
    peers: list[Peer] = []

    def connected() -> Peer:
        peers.append(Peer(codes))
        return peers[-1]

    server = await asyncio.get_running_loop().create_server(connected, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1], peers
        await asyncio.gather(*(peer.ended for peer in peers))
    finally:
        server.close()
        await server.wait_closed()


async def test_f19_refusals_over_sockets_leave_nothing_in_tapes_rings_and_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codes, clock, lines = Codes(), ManualClock(), Lines()
    log = logging.getLogger("edge_agent.guardian.polling.link")
    monkeypatch.setattr(log, "handlers", [lines])
    samples = Samples("boot", Board(), Ring(chunk=16))
    profile = load_profile("xy-md02")

    async with served(codes) as (port, peers):
        connections = [ModbusConnection(HOST, port, clock=clock) for _ in range(CONNECTIONS)]
        links = [
            DeviceLink(
                DeviceEntry(
                    id=DeviceId(f"probe-{number}"),
                    kind=DeviceKind.PROBE,
                    adapter="modbus",
                    profile="xy-md02",
                    host=HOST,
                    port=port,
                    zone=ZoneId("hall"),
                ),
                ModbusDevice(profile, connection, unit=1, timeout_s=60.0),
                samples,
                clock,
                timeout_s=60.0,
            )
            for number, connection in enumerate(connections)
        ]
        told: Counter[str | None] = Counter()
        newest: list[str | None] = [None] * CONNECTIONS
        changes = 0

        async def refused(times: int) -> None:
            nonlocal newest, changes
            until = codes.sent + times
            while codes.sent < until:
                seen = [one.failure for one in await asyncio.gather(*(link.read() for link in links))]
                changes += sum(map(ne, newest, seen))
                newest = seen
                told.update(seen)
                clock.advance(LONGEST_PAUSE_S)

        await assert_flat(OVER_SOCKETS, refused)
        for link in links:
            await link.close()

    assert sum(told.values()) == samples.polls
    assert {DeviceTimeout.code} < told.keys() < {kind.code for kind in CODES.values()}
    assert len(peers) == sum(connection.connects for connection in connections) == CONNECTIONS
    assert sum(connection.requests for connection in connections) == codes.sent >= OVER_SOCKETS
    assert len(samples.kept) == CONNECTIONS
    for link in links:
        kept = samples.kept.of(link.device)
        assert kept is not None
        assert 1 <= len(kept.exchanges) <= KEEP_EXCHANGES
    assert lines.count == changes, "one when the failure becomes another one, none when it stays"
