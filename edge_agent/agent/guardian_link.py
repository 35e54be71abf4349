"""The agent's end of guardian.sock: connect, resume, read, send; reconnect with growing waits."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from edge_agent import ipc
from edge_agent.agent.service import Service, full_jitter, log
from shared.clock import Clock
from shared.errors import WireError
from shared.ids import SiteId

Handler = Callable[[ipc.FromGuardian], Awaitable[None]]

_SEND_S: Final = 5.0
_SILENCE_S: Final = 30.0
"""The guardian sends a status every few seconds; this long without any frame means that it hangs."""


class GuardianLink(Service):
    """Reads frames into `handler`, one at a time, so a slow store slows the socket and not the memory.

    `on_open` runs after a valid Hello and sends what resumes the streams; `on_close` when the link goes.
    """

    name = "guardian-link"
    stall_s = 120.0

    def __init__(
        self,
        clock: Clock,
        path: Path,
        site: SiteId,
        *,
        handler: Handler,
        on_open: Callable[[ipc.Hello], Awaitable[None]],
        on_close: Callable[[], None],
    ) -> None:
        super().__init__(clock)
        self._path = path
        self._site = site
        self._handler = handler
        self._on_open = on_open
        self._on_close = on_close
        self._writer: asyncio.StreamWriter | None = None
        self._complained = False

    @property
    def connected(self) -> bool:
        return self._writer is not None

    async def run(self) -> None:
        attempt = 0
        while True:
            try:
                await self._session()
                attempt = 0
            except (OSError, WireError, TimeoutError) as error:
                attempt += 1
                self._complain(error)
            self.tick()
            await self.clock.sleep(full_jitter(attempt, first_s=0.2, cap_s=5.0))

    async def send(self, message: ipc.FromAgent) -> bool:
        """Hand a message to the guardian; False when it is not there, so nothing was asked of it."""
        writer = self._writer
        if writer is None:
            return False
        try:
            writer.write(ipc.encode_frame(message))
            async with asyncio.timeout(_SEND_S):
                await writer.drain()
        except (OSError, TimeoutError):
            self._drop()
            return False
        return True

    async def _session(self) -> None:
        reader, writer = await asyncio.open_unix_connection(str(self._path))
        decoder = msgspec.msgpack.Decoder(ipc.FromGuardian)
        try:
            async with asyncio.timeout(_SEND_S):
                hello = await ipc.read_frame(reader, decoder)
            self._writer = writer
            await self._greet(hello)
            while True:
                async with asyncio.timeout(_SILENCE_S):
                    message = await ipc.read_frame(reader, decoder)
                if message is None:
                    raise WireError("the guardian closed the connection")
                self.tick()
                await self._handler(message)
        finally:
            self._drop()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _greet(self, hello: ipc.FromGuardian | None) -> None:
        if not isinstance(hello, ipc.Hello):
            raise WireError("the guardian did not begin with a hello")
        if hello.protocol != ipc.PROTOCOL:
            raise WireError(f"the guardian speaks protocol {hello.protocol}, this agent {ipc.PROTOCOL}")
        if hello.site != self._site:
            raise WireError(f"the guardian guards site {hello.site!r}, this agent is for {self._site!r}")
        if self._complained:
            log.info("guardian is back")
            self._complained = False
        await self._on_open(hello)

    def _drop(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self._on_close()

    def _complain(self, error: Exception) -> None:
        """Once per outage, not once per try."""
        if not self._complained:
            log.warning("no guardian at %s: %s", self._path, error or type(error).__name__)
            self._complained = True
