"""One machine's command session: reads need none, every write is given inside one.

There is one session at a time per machine, which dies of itself after 60 s without use (miners.md §2). So it
is taken for one piece of work and given back at once; a session of somebody else is never taken away, and
means `Busy`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from firmware_adapters.miners.luxos import parse
from firmware_adapters.transport.line_json import Body, LineTransport
from shared.errors import Busy, DeviceError


class Session:
    """Commands to one machine."""

    def __init__(self, line: LineTransport) -> None:
        self._line = line
        self._turn = asyncio.Lock()

    async def ask(self, command: str, parameter: str | None = None) -> Body:
        """A command that reads. Raises `DeviceError`."""
        return await self._line.ask(command, parameter)

    @contextlib.asynccontextmanager
    async def logged_on(self, *, leaves: bool = True) -> AsyncIterator["LoggedOn"]:
        """Take the session, and give it back; writes wait for each other. `leaves` False does not give it
        back where all went well, for a machine that goes down. Raises `Busy` while somebody else has it."""
        async with self._turn:
            work = LoggedOn(self._line, await _log_on(self._line))
            gives_back = leaves
            try:
                yield work
            except DeviceError:
                # It may well be up still, and nobody, a safety stop neither, has another session until then.
                gives_back = True
                raise
            finally:
                if gives_back:
                    # It dies of itself within a minute, so a failure here changes nothing.
                    with contextlib.suppress(DeviceError):
                        await self._line.ask("logoff", work.session)


class LoggedOn:
    """Commands inside a session."""

    def __init__(self, line: LineTransport, session: str) -> None:
        self._line = line
        self.session = session

    async def tell(self, command: str, *parameters: str) -> Body:
        """A command that writes. Where the machine has forgotten the session, another is taken once.

        Raises `DeviceError`; `Busy` where its state does not allow the command.
        """
        try:
            return await self._line.ask(command, ",".join((self.session, *parameters)))
        except Busy as refusal:
            if "session" not in str(refusal).lower():
                raise
            self.session = await _log_on(self._line)
            return await self._line.ask(command, ",".join((self.session, *parameters)))


async def _log_on(line: LineTransport) -> str:
    return parse.session_id(await line.ask("logon"))
