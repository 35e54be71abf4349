"""The HTTP seam against real loopback servers: every way to fail is a typed failure, in both transports."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from firmware_adapters.transport import http
from firmware_adapters.transport.http import (
    HttpReply,
    HttpRequest,
    HttpTransport,
    MemoryHttp,
)
from firmware_adapters.transport.http_client import HttpClient
from shared.errors import Busy, DeviceError, DeviceTimeout, MalformedReply, Unreachable
from support import aiohttp_transport
from support.aiohttp_transport import AiohttpTransport

Make = type[AiohttpTransport] | type[HttpClient]


@pytest.fixture(params=[AiohttpTransport, HttpClient])
def make(request: pytest.FixtureRequest) -> Make:
    """Each transport in turn."""
    found: Make = request.param
    return found


@asynccontextmanager
async def web_server(
    make: Make,
    handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    *,
    timeout_s: float = 5.0,
) -> AsyncIterator[HttpTransport]:
    runner = web.ServerRunner(web.Server(handler, handler_cancellation=True), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    transport = make("127.0.0.1", runner.addresses[0][1], timeout_s=timeout_s)
    try:
        yield transport
    finally:
        await transport.close()
        await runner.cleanup()


@asynccontextmanager
async def raw_server(make: Make, reply: bytes) -> AsyncIterator[HttpTransport]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    transport = make("127.0.0.1", server.sockets[0].getsockname()[1], timeout_s=5)
    async with server:
        yield transport
        await transport.close()


async def test_a_request_goes_out_and_the_reply_comes_back_whatever_its_status(make: Make) -> None:
    async def echo(request: web.BaseRequest) -> web.Response:
        body = await request.read()
        assert request.headers["Accept-Encoding"] == "identity"
        text = f"{request.method} {request.path} {request.headers.get('X-Test')} ".encode()
        return web.Response(status=500, body=text + body)

    async with web_server(make, echo) as transport:
        reply = await transport.request("POST", "/api/v1/x", {"a": 1}, {"X-Test": "yes"})
    assert reply == HttpReply(500, b'POST /api/v1/x yes {"a":1}')


async def test_requests_to_one_device_reuse_their_connection(make: Make) -> None:
    peers = set()

    async def note(request: web.BaseRequest) -> web.Response:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response()

    async with web_server(make, note) as transport:
        for _ in range(5):
            await transport.request("GET", "/")
    assert len(peers) == 1


async def test_the_pool_is_shared_and_the_last_user_closes_it() -> None:
    async def fine(_: web.BaseRequest) -> web.Response:
        return web.Response()

    async with web_server(AiohttpTransport, fine) as one, web_server(AiohttpTransport, fine) as other:
        await one.request("GET", "/")
        await other.request("GET", "/")
        pool = aiohttp_transport._POOLS[asyncio.get_running_loop()]
        assert pool.users == 2
        await one.close()
        assert not pool.session.closed
        await other.close()
        assert pool.session.closed
        await one.request("GET", "/")  # a closed transport opens again
    assert asyncio.get_running_loop() not in aiohttp_transport._POOLS


async def test_a_reply_that_never_comes_is_a_timeout(make: Make) -> None:
    async def hang(_: web.BaseRequest) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with web_server(make, hang, timeout_s=0.1) as transport:
        with pytest.raises(DeviceTimeout):
            await transport.request("GET", "/")


async def test_a_reply_that_dribbles_past_the_deadline_is_a_timeout(make: Make) -> None:
    async def dribble(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1000):
            await response.write(b" ")
            await asyncio.sleep(0.01)
        return response

    async with web_server(make, dribble, timeout_s=0.2) as transport:
        with pytest.raises(DeviceTimeout):
            await transport.request("GET", "/")


async def test_a_reply_of_more_than_256_kilobytes_is_refused(make: Make) -> None:
    async def flood(_: web.BaseRequest) -> web.Response:
        return web.Response(body=b" " * (http.MAX_REPLY_BYTES + 1))

    async def just_fits(_: web.BaseRequest) -> web.Response:
        return web.Response(body=b" " * http.MAX_REPLY_BYTES)

    async with web_server(make, flood) as transport:
        with pytest.raises(MalformedReply, match="longer"):
            await transport.request("GET", "/")
    async with web_server(make, just_fits) as transport:
        assert len((await transport.request("GET", "/")).body) == http.MAX_REPLY_BYTES


async def test_a_redirect_is_a_status_and_not_followed(make: Make) -> None:
    asked = []

    async def away(request: web.BaseRequest) -> web.Response:
        asked.append(request.path)
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    async with web_server(make, away) as transport:
        assert (await transport.request("GET", "/")).status == 302
    assert asked == ["/"]


@pytest.mark.parametrize(
    ("raw", "meaning"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", MalformedReply),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", MalformedReply),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n", MalformedReply),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", MalformedReply),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", MalformedReply),
        (b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * 70_000 + b"\r\n\r\n", MalformedReply),
        (b"not http at all\r\n\r\n", MalformedReply),
        (b"", Unreachable),
    ],
)
async def test_broken_replies_are_typed(make: Make, raw: bytes, meaning: type[DeviceError]) -> None:
    async with raw_server(make, raw) as transport:
        with pytest.raises(meaning):
            await transport.request("POST", "/")


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", b"body"),
        (b"HTTP/1.0 200 OK\r\n\r\nup to the end", b"up to the end"),
        (b"HTTP/1.1 200\r\nConnection: close\r\n\r\nno reason", b"no reason"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n3;x=1\r\nand\r\n0\r\n\r\n",
            b"bodyand",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n0\r\nX: y\r\n\r\n", b"b"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb", b"b"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08",
            b"\x1f\x8b\x08",
        ),
    ],
)
async def test_bodies_of_every_kind(make: Make, raw: bytes, body: bytes) -> None:
    """By length, in chunks, up to the end; one that is compressed though nobody asked stays as it is."""
    async with raw_server(make, raw) as transport:
        assert await transport.request("GET", "/") == HttpReply(200, body)


async def test_the_challenge_of_a_401_is_kept_and_nothing_else(make: Make) -> None:
    asked = 'Digest realm="antMiner Configuration", nonce="x", qop="auth"'
    head = f"WWW-Authenticate: {asked}\r\nServer: x\r\nContent-Length: 0\r\n\r\n"
    async with raw_server(make, f"HTTP/1.1 401 Unauthorized\r\n{head}".encode()) as transport:
        assert (await transport.request("GET", "/")).headers == {"www-authenticate": asked}
    async with raw_server(make, f"HTTP/1.1 200 OK\r\n{head}".encode()) as transport:
        assert (await transport.request("GET", "/")).headers == {}


async def test_no_content_needs_no_length(make: Make) -> None:
    async with raw_server(make, b"HTTP/1.1 204 No Content\r\n\r\n") as transport:
        assert await transport.request("POST", "/") == HttpReply(204, b"")


async def test_nobody_listening_is_unreachable(make: Make) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    transport = make("127.0.0.1", port, timeout_s=5)
    with pytest.raises(Unreachable):
        await transport.request("GET", "/")
    await transport.close()


async def test_closing_what_was_never_used_is_fine(make: Make) -> None:
    await make("127.0.0.1", 1, timeout_s=1).close()


async def test_the_twin_remembers_requests_and_raises_what_it_is_told() -> None:
    async def answer(request: HttpRequest) -> HttpReply | DeviceError:
        return Busy("no") if request.path == "/busy" else HttpReply(200, request.body)

    twin = MemoryHttp(answer)
    assert (await twin.request("POST", "/x", {"a": 1}, {"h": "v"})).body == b'{"a":1}'
    with pytest.raises(Busy):
        await twin.request("GET", "/busy")
    assert [request.path for request in twin.requests] == ["/x", "/busy"]
    assert twin.requests[0].headers == {"h": "v"}
    await twin.close()
