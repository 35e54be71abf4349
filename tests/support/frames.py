"""A device that answers with bytes from a list or a recording, whatever it is asked."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from support.site_devices import HOST


@asynccontextmanager
async def replying(*replies: bytes, hangs_up: bool = False) -> AsyncIterator[int]:
    """Answers requests in order, the last answer again and again, or closes after it; the port."""
    answering: set[asyncio.Task[None] | None] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.add(asyncio.current_task())
        left = list(replies)
        with contextlib.suppress(OSError):
            while await reader.read(300):
                writer.write(left.pop(0) if len(left) > 1 or hangs_up else left[0])
                await writer.drain()
                if not left:
                    break
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(answer, HOST, 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await asyncio.gather(*(task for task in answering if task is not None))
        await server.wait_closed()
