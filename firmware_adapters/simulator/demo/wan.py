"""The site's WAN: a TCP proxy in front of the broker that can go dark.

While dark it swallows what either side sends and answers nothing, as a dead link does; no side gets a
reset, so both must notice by themselves.
"""

import asyncio
import contextlib


class Wan:
    """Forwards `listen_port` to `target_port` on loopback until `cut`, and again after `restore`."""

    def __init__(self, *, listen_port: int, target_port: int) -> None:
        self._listen_port = listen_port
        self._target_port = target_port
        self._dark = False
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._listen_port)

    def cut(self) -> None:
        """From now on nothing gets through."""
        self._dark = True

    def restore(self) -> None:
        """Links that went dark are gone for good; new ones work."""
        self._dark = False
        self._drop()

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self._drop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _drop(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        if self._dark:
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(far_writer)
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                if self._dark:
                    continue
                sink.write(data)
                await sink.drain()
        if not self._dark:
            sink.close()
            self._writers.discard(sink)
