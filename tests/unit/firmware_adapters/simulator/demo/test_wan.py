"""The WAN that goes dark: no bytes, no reset, and back again for new links."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from firmware_adapters.simulator.demo.wan import Wan
from support.ports import free_port


@pytest.fixture
async def wan() -> AsyncIterator[tuple[Wan, int]]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(100):
                writer.write(data)
        writer.close()

    target = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = free_port()
    wan = Wan(listen_port=port, target_port=int(target.sockets[0].getsockname()[1]))
    await wan.start()
    yield wan, port
    await wan.stop()
    target.close()


async def test_passes_both_ways(wan: tuple[Wan, int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", wan[1])
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    writer.close()


async def test_dark_means_silence_and_not_a_reset(wan: tuple[Wan, int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", wan[1])
    writer.write(b"a")
    await reader.readexactly(1)
    wan[0].cut()
    writer.write(b"lost")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.2)
    assert not writer.is_closing()
    wan[0].restore()
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(1), 2) == b""
    writer.close()


async def test_new_links_work_after_the_dark(wan: tuple[Wan, int]) -> None:
    wan[0].cut()
    _, in_the_dark = await asyncio.open_connection("127.0.0.1", wan[1])
    wan[0].restore()
    reader, writer = await asyncio.open_connection("127.0.0.1", wan[1])
    writer.write(b"again")
    assert await asyncio.wait_for(reader.readexactly(5), 2) == b"again"
    in_the_dark.close()
    writer.close()
