"""Plain bytes to a device and back: to the end of the connection, by a length in front, and in memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.transport.framed import FramedClient, frame, read_frame
from firmware_adapters.transport.line_json import LineClient
from firmware_adapters.transport.raw import MAX_REPLY_BYTES, MemoryRaw, RawTransport
from firmware_adapters.transport.tape import Tape, taping
from shared.errors import DeviceTimeout, MalformedReply, Unreachable, Unsupported

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(peer: Peer) -> AsyncIterator[int]:
    """A peer on a free port of this machine."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await peer(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def saying(said: bytes) -> Peer:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(said)
        await writer.drain()

    return peer


async def hung(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    while await reader.read(1000):
        pass


def clients(port: int, timeout_s: float = 2.0) -> list[RawTransport]:
    return [
        LineClient("127.0.0.1", port, timeout_s=timeout_s),
        FramedClient("127.0.0.1", port, timeout_s=timeout_s),
    ]


async def test_a_reply_comes_as_it_is() -> None:
    async with serving(saying(b"\x00\xffabc\x00")) as port:
        assert await clients(port)[0].exchange(b"x", "x") == b"\x00\xffabc\x00"
    async with serving(saying(frame(b"\x00\xffabc\x00") + b"more")) as port:
        assert await clients(port)[1].exchange(b"x", "x") == b"\x00\xffabc\x00"


async def test_the_length_stands_in_front_little_end_first() -> None:
    heard: list[bytes] = []

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readexactly(4 + 300))
        writer.write(frame(b"ok"))

    async with serving(peer) as port:
        assert await FramedClient("127.0.0.1", port, timeout_s=2).exchange(b"y" * 300, "x") == b"ok"
    assert heard == [b"\x2c\x01\x00\x00" + b"y" * 300]


async def test_a_close_without_a_word_is_an_empty_reply() -> None:
    async with serving(saying(b"")) as port:
        for client in clients(port):
            assert await client.exchange(b"x", "x") == b""


@pytest.mark.parametrize("said", [b"\x05", b"\x05\x00\x00", b"\x05\x00\x00\x00", b"\x05\x00\x00\x00abcd"])
async def test_a_frame_that_is_cut_off_is_malformed(said: bytes) -> None:
    async with serving(saying(said)) as port:
        with pytest.raises(MalformedReply, match="cut off"):
            await FramedClient("127.0.0.1", port, timeout_s=2).exchange(b"x", "x")


async def test_an_empty_frame_is_an_empty_message() -> None:
    async with serving(saying(frame(b""))) as port:
        assert await FramedClient("127.0.0.1", port, timeout_s=2).exchange(b"x", "x") == b""


async def test_too_long_is_refused_before_it_is_read() -> None:
    async with serving(saying(b"\xff\xff\xff\xff")) as port:
        with pytest.raises(MalformedReply, match="announced"):
            await FramedClient("127.0.0.1", port, timeout_s=2).exchange(b"x", "x")
    async with serving(saying(b" " * (MAX_REPLY_BYTES + 1))) as port:
        with pytest.raises(MalformedReply, match="longer"):
            await LineClient("127.0.0.1", port, timeout_s=2).exchange(b"x", "x")


async def test_a_peer_that_hangs_is_left_in_time() -> None:
    async with serving(hung) as port:
        for client in clients(port, timeout_s=0.05):
            with pytest.raises(DeviceTimeout):
                await client.exchange(b"x", "x")


async def test_no_peer_is_unreachable() -> None:
    async with serving(hung) as port:
        pass
    for client in clients(port):
        with pytest.raises(Unreachable):
            await client.exchange(b"x", "x")


async def test_a_tape_hears_all_and_a_guard_stops_what_it_will() -> None:
    class NoWrites:
        def command(self, command: str, parameter: str | None) -> None:
            if command.startswith("set"):
                raise Unsupported(f"{command} {parameter} is not sent")

    async with serving(saying(frame(b"reply"))) as port:
        memory = MemoryRaw(_reply)
        for client in [*clients(port), memory]:
            with taping(Tape(NoWrites())) as tape:  # type: ignore[arg-type] # commands are all it judges here
                said = await client.exchange(b"hidden", "get.it", "salt")
                with pytest.raises(Unsupported):
                    await client.exchange(b"hidden", "set.it", "5")
            assert [(kept.question, kept.reply) for kept in tape.exchanges] == [("get.it salt", said)]
        assert memory.asked == ["get.it", "set.it"]


async def _reply(_: bytes) -> bytes:
    return b"reply"


@given(st.binary(max_size=200))
async def test_any_bytes_are_a_message_or_malformed(raw: bytes) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(raw)
    reader.feed_eof()
    try:
        found = await read_frame(reader, longest=100)
    except MalformedReply:
        return
    assert len(found) <= 100
    assert found == b"" or raw.startswith(frame(found))
