"""The transport's connections: kept, replaced when stale, never two replies mixed, no command sent twice."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firmware_adapters.transport import http_client
from firmware_adapters.transport.http import HttpReply
from firmware_adapters.transport.http_client import HttpClient
from shared.errors import DeviceError, DeviceTimeout, MalformedReply, Unreachable

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
Play = Callable[["Peer"], Awaitable[None]]


class Peer:
    """One accepted connection, as the server sees it."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        """Which connection to the server this is, from 1."""
        self.reader = reader
        self.writer = writer

    async def asked(self) -> bytes:
        """The head of the next request."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def say(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    def cut(self) -> None:
        """Reset the connection."""
        self.writer.transport.abort()


class Server:
    """Plays `play` on each connection and counts what it was asked."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self.open = 0
        self.most_open = 0
        self.changed = asyncio.Event()

    async def until(self, connections_open: int) -> None:
        """Until so many connections are open."""
        while self.open != connections_open:
            self.changed.clear()
            await self.changed.wait()


async def _few_turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@asynccontextmanager
async def serving(play: Play, *, timeout_s: float = 5.0) -> AsyncIterator[tuple[HttpClient, Server]]:
    told = Server()
    tasks: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        told.connections += 1
        told.open += 1
        told.most_open = max(told.most_open, told.open)
        told.changed.set()
        peer = Peer(told.connections, reader, writer)
        plain = peer.asked

        async def asked() -> bytes:
            head = await plain()
            told.requests.append(head.partition(b" HTTP/1.1")[0])
            return head

        peer.asked = asked  # type: ignore[method-assign] # counts on the way
        try:
            await play(peer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the transport hung up, or the test is over
        finally:
            writer.close()
            told.open -= 1
            told.changed.set()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    transport = HttpClient("127.0.0.1", server.sockets[0].getsockname()[1], timeout_s=timeout_s)
    try:
        yield transport, told
    finally:
        await transport.close()
        server.close()
        await _few_turns()  # what was accepted just now gets its task
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await _few_turns()  # and its socket is closed


async def polite(peer: Peer) -> None:
    while True:
        await peer.asked()
        await peer.say(HELLO)


async def test_one_connection_serves_poll_after_poll() -> None:
    async with serving(polite) as (transport, server):
        for _ in range(20):
            assert await transport.request("GET", "/x") == HttpReply(200, b"hello")
    assert server.connections == 1
    assert server.requests == [b"GET /x"] * 20


async def test_a_stop_does_not_wait_for_a_sample_and_the_second_connection_goes_again() -> None:
    release = asyncio.Event()

    async def slow_sample(peer: Peer) -> None:
        while True:
            head = await peer.asked()
            if head.startswith(b"GET /sample"):
                await release.wait()
            await peer.say(HELLO)

    async with serving(slow_sample) as (transport, server):
        sample = asyncio.ensure_future(transport.request("GET", "/sample"))
        await server.until(1)
        assert (await transport.request("POST", "/stop")).status == 200
        assert not sample.done()
        release.set()
        assert (await sample).status == 200
        await server.until(1)
        assert server.connections == 2


async def test_a_device_sees_two_connections_at_most() -> None:
    release = asyncio.Event()

    async def slow(peer: Peer) -> None:
        while True:
            await peer.asked()
            await release.wait()
            await peer.say(HELLO)

    async with serving(slow) as (transport, server):
        requests = [asyncio.ensure_future(transport.request("GET", "/")) for _ in range(6)]
        await server.until(2)
        release.set()
        assert [reply.status for reply in await asyncio.gather(*requests)] == [200] * 6
        assert server.most_open == 2


async def test_whoever_waits_for_a_connection_meets_the_deadline_too() -> None:
    async def hang(peer: Peer) -> None:
        await peer.asked()
        await peer.reader.read()

    async with serving(hang, timeout_s=1.0) as (transport, _):
        found = await asyncio.gather(
            *(transport.request("GET", "/") for _ in range(2)), return_exceptions=True
        )
        assert [type(error) for error in found] == [DeviceTimeout] * 2
        # Held until the end: one that is given back in the very moment of the deadline may be had by chance.
        for _ in range(2):
            await transport._turns.acquire()
        found = await asyncio.gather(
            *(transport.request("GET", "/") for _ in range(3)), return_exceptions=True
        )
        assert [type(error) for error in found] == [DeviceTimeout] * 3


class TestStale:
    """A server closes an idle connection whenever it likes."""

    @staticmethod
    async def once(peer: Peer) -> None:
        await peer.asked()
        await peer.say(HELLO)

    @staticmethod
    async def once_then_cut_on_request(peer: Peer) -> None:
        await peer.asked()
        await peer.say(HELLO)
        if peer.number == 1:
            await peer.asked()
            peer.cut()
        else:
            await polite(peer)

    async def test_one_that_was_closed_meanwhile_is_replaced(self) -> None:
        async with serving(self.once) as (transport, server):
            for _ in range(3):
                await transport.request("GET", "/")
                await server.until(0)
            assert server.requests == [b"GET /"] * 3

    async def test_a_get_that_crosses_with_the_closing_is_sent_once_more(self) -> None:
        async with serving(self.once_then_cut_on_request) as (transport, server):
            await transport.request("GET", "/a")
            assert (await transport.request("GET", "/b")).body == b"hello"
            assert server.requests == [b"GET /a", b"GET /b", b"GET /b"]

    async def test_a_post_that_crosses_is_never_sent_again(self) -> None:
        """It may have been carried out: nobody knows, so nobody repeats it."""
        async with serving(self.once_then_cut_on_request) as (transport, server):
            await transport.request("GET", "/a")
            with pytest.raises(Unreachable):
                await transport.request("POST", "/stop", {"a": 1})
            assert server.requests == [b"GET /a", b"POST /stop"]

    async def test_a_post_on_an_idle_connection_takes_a_new_one(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(http_client, "FRESH_S", -1.0)
        async with serving(polite) as (transport, server):
            await transport.request("GET", "/")
            await transport.request("POST", "/stop")
            await transport.request("GET", "/")
            assert server.connections == 2
            await server.until(1)

    async def test_a_get_is_not_sent_for_ever(self) -> None:
        async def never(peer: Peer) -> None:
            await peer.asked()
            if peer.number == 1:
                await peer.say(HELLO)
                await peer.asked()
            peer.cut()

        async with serving(never) as (transport, server):
            await transport.request("GET", "/")
            with pytest.raises(Unreachable):
                await transport.request("GET", "/")
            assert server.connections == 2

    async def test_a_half_reply_on_a_kept_connection_is_not_asked_for_again(self) -> None:
        async def half(peer: Peer) -> None:
            await peer.asked()
            await peer.say(HELLO)
            await peer.asked()
            await peer.say(HELLO[:-1])

        async with serving(half) as (transport, server):
            await transport.request("GET", "/")
            with pytest.raises(MalformedReply):
                await transport.request("GET", "/")
            assert len(server.requests) == 2


async def test_a_machine_that_was_away_is_found_again() -> None:
    """Its power comes back: nobody has to restart anything (edge.md F15)."""
    async with serving(polite) as (transport, server):
        await transport.request("GET", "/")
        port = transport._port
    for _ in range(2):
        with pytest.raises(Unreachable):
            await transport.request("GET", "/")
    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            await polite(Peer(1, reader, writer))
        writer.close()
        ended.set()

    again = await asyncio.start_server(answer, "127.0.0.1", port)
    async with again:
        assert (await transport.request("GET", "/")).body == b"hello"
        await transport.close()
        await ended.wait()
    assert server.connections == 1


async def test_f18_a_server_that_resets_what_it_accepts_is_not_run_against() -> None:
    """One connection per request, and no second try on a new one (edge.md F18)."""

    async def reset(peer: Peer) -> None:
        peer.cut()

    async with serving(reset) as (transport, server):
        for _ in range(5):
            with pytest.raises(Unreachable):
                await transport.request("GET", "/")
        assert server.connections <= 5


class TestMixing:
    """A reply that comes late must never be taken for the reply to the next request."""

    @staticmethod
    async def late(peer: Peer) -> None:
        head = await peer.asked()
        if b"/late" in head:
            await peer.reader.read()
        else:
            await peer.say(HELLO)
            await polite(peer)

    async def test_after_a_timeout_the_connection_is_gone(self) -> None:
        async with serving(self.late, timeout_s=1.0) as (transport, server):
            with pytest.raises(DeviceTimeout):
                await transport.request("GET", "/late")
            await server.until(0)
            assert (await transport.request("GET", "/")).body == b"hello"

    async def test_after_a_cancellation_too(self) -> None:
        async with serving(self.late) as (transport, server):
            task = asyncio.ensure_future(transport.request("GET", "/late"))
            await server.until(1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await server.until(0)
            assert (await transport.request("GET", "/")).body == b"hello"

    @pytest.mark.parametrize("behind", [b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", b"x"])
    async def test_bytes_behind_a_reply_are_not_the_next_reply(self, behind: bytes) -> None:
        async def chatty(peer: Peer) -> None:
            await peer.asked()
            await peer.say(HELLO + behind)
            await peer.reader.read()

        async with serving(chatty) as (transport, server):
            for _ in range(3):
                assert await transport.request("GET", "/") == HttpReply(200, b"hello")
            assert server.connections == 3

    async def test_bytes_on_an_idle_connection_end_it(self) -> None:
        async def chatty(peer: Peer) -> None:
            await peer.asked()
            await peer.say(HELLO)
            if peer.number == 1:
                await peer.say(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
                await peer.reader.read()
            else:
                await polite(peer)

        async with serving(chatty) as (transport, server):
            await transport.request("GET", "/")
            await server.until(0)
            assert (await transport.request("GET", "/")).status == 200


class TestClose:
    async def test_closing_cuts_and_the_transport_opens_again(self) -> None:
        async with serving(polite) as (transport, server):
            await transport.request("GET", "/")
            await transport.close()
            await server.until(0)
            await transport.request("GET", "/")
            assert server.connections == 2

    async def test_a_request_under_way_fails_as_unreachable(self) -> None:
        async def hang(peer: Peer) -> None:
            await peer.asked()
            await peer.reader.read()

        async with serving(hang) as (transport, server):
            task = asyncio.ensure_future(transport.request("POST", "/"))
            await server.until(1)
            await transport.close()
            with pytest.raises(Unreachable):
                await task

    async def test_closing_what_was_never_used_is_fine(self) -> None:
        await HttpClient("127.0.0.1", 1, timeout_s=1).close()


class TestRequest:
    async def test_a_post_without_a_body_says_so(self) -> None:
        heads: list[bytes] = []

        async def note(peer: Peer) -> None:
            heads.append(await peer.asked())
            await peer.say(HELLO)

        async with serving(note) as (transport, _):
            await transport.request("POST", "/stop")
            await transport.request("GET", "/", None, {"Authorization": "Bearer x"})
        assert b"Content-Length: 0\r\n" in heads[0]
        assert b"Authorization: Bearer x\r\n" in heads[1]
        assert b"Content-Length" not in heads[1]

    @pytest.mark.parametrize("method", ["", "get", "GET /x HTTP/1.1\r\nX:"])
    async def test_no_method_smuggles_a_line(self, method: str) -> None:
        with pytest.raises(ValueError, match="no HTTP"):
            await HttpClient("127.0.0.1", 1, timeout_s=1).request(method, "/")

    @pytest.mark.parametrize("path", ["", "x", "/a b", "/\r\nX: y", "/é"])
    async def test_nor_a_path(self, path: str) -> None:
        with pytest.raises(ValueError, match="no HTTP"):
            await HttpClient("127.0.0.1", 1, timeout_s=1).request("GET", path)

    @pytest.mark.parametrize("header", [("a b", "c"), ("a", "b\r\nc: d"), ("", "x"), ("a", "é")])
    async def test_nor_a_header_and_its_value_is_not_told(self, header: tuple[str, str]) -> None:
        with pytest.raises(ValueError, match="no HTTP") as told:
            await HttpClient("127.0.0.1", 1, timeout_s=1).request("GET", "/", None, dict([header]))
        assert header[1] not in str(told.value).replace(repr(header[0]), "")

    async def test_a_host_that_is_none_is_unreachable(self) -> None:
        with pytest.raises(Unreachable):
            await HttpClient("a" * 70 + ".invalid", 80, timeout_s=2).request("GET", "/")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    replies=st.lists(
        st.one_of(
            st.just(HELLO),
            st.binary(max_size=60),
            st.binary(max_size=40).map(lambda rest: b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n" + rest),
        ),
        min_size=1,
        max_size=4,
    ),
    step=st.integers(1, 80),
)
def test_whatever_a_server_says_is_a_reply_or_a_typed_failure(replies: list[bytes], step: int) -> None:
    """Through real sockets, in pieces, one request after the other on whatever connection there is."""
    said = iter(replies)

    async def babble(peer: Peer) -> None:
        while True:
            await peer.asked()
            raw = next(said, b"")
            for at in range(0, len(raw), step):
                await peer.say(raw[at : at + step])
                await asyncio.sleep(0)
            if raw is not HELLO:
                return

    async def scenario() -> None:
        async with serving(babble) as (transport, _):
            for _ in replies:
                try:
                    reply = await transport.request("GET", "/")
                except DeviceError:
                    continue
                assert reply.body == b"hello" or any(
                    raw.endswith(reply.body) or reply.body in raw for raw in replies
                )

    asyncio.run(scenario())


async def test_ten_megabytes_are_cut_off() -> None:
    sent = 0

    async def flood(peer: Peer) -> None:
        nonlocal sent
        await peer.asked()
        await peer.say(b"HTTP/1.1 200 OK\r\n\r\n")
        while sent < 10_000_000:
            await peer.say(b" " * 65536)
            sent += 65536

    async with serving(flood) as (transport, server):
        with pytest.raises(MalformedReply, match="longer"):
            await transport.request("GET", "/")
        await server.until(0)
    assert sent < 10_000_000


async def test_a_thousand_requests_leave_nothing_behind() -> None:
    async with serving(polite) as (transport, _):
        await transport.request("GET", "/")
        gc.collect()
        before = len(gc.get_objects())
        for _ in range(1000):
            await transport.request("GET", "/")
        gc.collect()
        assert len(gc.get_objects()) - before < 200
