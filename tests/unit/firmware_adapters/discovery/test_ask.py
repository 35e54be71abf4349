"""Whatever answers a question: findings or a reason, in bounded time and memory, never an exception."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from firmware_adapters.discovery.ask import MAX_BYTES, Asker, Ways, ways_to
from firmware_adapters.identify import identify
from shared.clock import SystemClock

HOST = "127.86.9.1"


@asynccontextmanager
async def answering(said: bytes, *, then_hang: bool = False) -> AsyncIterator[int]:
    """A server that says this to whoever connects."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(100)
            writer.write(said)
            await writer.drain()
            if then_hang:
                await reader.read()
        except OSError:
            pass
        finally:
            writer.transport.abort() if then_hang else writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def page(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body


RANDOM = random.Random(7)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\x00" * 5000,
        b"\xff\xfe no such thing",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
        b"HTTP/1.1 999 \r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://198.51.100.1/\r\nContent-Length: 0\r\n\r\n",
        page(b"{" * 1_000_000),
        page(b'{"ASICModel":' + b"[" * 500_000),
        b'{"STATS":' + b"[" * 500_000,
        b'{"VERSION":[{"Type":"' + b"A" * 1_000_000 + b'"}]}',
        b"\xff\xff\xff\x7f" + b"x" * 100,
        b"\x04\x00\x00\x00{{{{",
        *(RANDOM.randbytes(size) for size in (1, 4, 100, 10_000)),
    ],
    ids=lambda said: f"{len(said)} {bytes(said[:12])!r}",
)
async def test_nonsense_is_no_machine_and_no_exception(said: bytes) -> None:
    clock = SystemClock()
    async with answering(said) as port, Asker(connect_s=1.0, reply_s=1.5) as asker:
        began_s = clock.monotonic()
        seen = await asker.ask(HOST, ways_to(port))
        took_s = clock.monotonic() - began_s
    assert all(one.adapter != "vnish" for one in identify(seen))
    assert all(len(found.body) <= MAX_BYTES for found in seen.pages.values())
    assert took_s < 30.0


async def test_a_peer_that_hangs_costs_one_time_out_a_way() -> None:
    clock = SystemClock()
    hanging = answering(b"HTTP/1.1 200 OK\r\n", then_hang=True)
    async with hanging as port, Asker(connect_s=0.3, reply_s=0.3) as asker:
        began_s = clock.monotonic()
        seen = await asker.ask(HOST, ways_to(port))
        took_s = clock.monotonic() - began_s
    assert seen.empty
    assert set(seen.silent.values()) <= {
        "no answer in time",
        "a frame of 1347703880 bytes",
        "connection refused",
    }
    assert took_s < 20.0


@pytest.mark.parametrize(
    ("port", "ways"),
    [
        (None, Ways(web=80, line=4028, frames=4433)),
        (80, Ways(web=80, line=4028, frames=None)),
        (4028, Ways(web=None, line=4028, frames=None)),
        (4433, Ways(web=None, line=None, frames=4433)),
        (18080, Ways(web=18080, line=18080, frames=18080, beside=18081)),
        (65535, Ways(web=65535, line=65535, frames=65535)),
    ],
)
def test_where_a_host_is_asked(port: int | None, ways: Ways) -> None:
    assert ways_to(port) == ways


async def test_outside_its_context_an_asker_says_so() -> None:
    with pytest.raises(RuntimeError, match="outside its context"):
        await Asker().ask(HOST, Ways(line=None, frames=None))
