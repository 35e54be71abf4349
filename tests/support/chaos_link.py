"""A TCP relay with the faults of a real link: cut, gone, and silent without a word (no RST, no FIN)."""

import asyncio
import contextlib


class Relay:
    """Listens on loopback and forwards to `target`.

    `silent` swallows everything in both directions, on old and new connections alike; `cut()` ends what is
    open; `down` refuses what comes.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.silent = False
        self.down = False
        self.accepted = 0
        self.forwarded = 0
        """Bytes that went through, both ways."""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def open(self) -> int:
        """Sockets that are open, two per connection."""
        return len(self._writers)

    def cut(self) -> None:
        """End every open connection at once (RST)."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.down:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._relay(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _relay(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        self._writers.add(sink)
        try:
            while data := await source.read(65_536):
                if not self.silent:
                    self.forwarded += len(data)
                    sink.write(data)
                    await sink.drain()
        except ConnectionError:
            pass  # the other end is gone
        if self.silent:
            return  # the goodbye is swallowed too: the far side learns nothing
        self._writers.discard(sink)
        sink.close()
        with contextlib.suppress(ConnectionError):
            await sink.wait_closed()
