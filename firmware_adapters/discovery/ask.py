"""Asking a host what it is: questions that change nothing and log in nowhere, each with a deadline.

Three ways are tried side by side: pages of a web server, commands on the cgminer socket, and one frame on
Whatsminer's third socket. On each way questions go one after the other, because control boards are slow; they
stop as soon as one firmware is certain and has told its model and version.
"""

import asyncio
import contextlib
import struct
from collections.abc import Callable

import aiohttp
import msgspec

from firmware_adapters.identify import Body, Findings, Identification, Page, identify
from firmware_adapters.transport.line_json import CGMINER_PORT, decode
from shared.errors import MalformedReply

WEB_PORT = 80
FRAMES_PORT = 4433
PAGES = (
    "/",
    "/api/v1/info",
    "/api/system/info",
    "/api/v1/version",
    "/cgi-bin/get_system_info.cgi",
)
COMMANDS = ("version", "stats", "get_version", "summary", "config", "devdetails", "get_miner_info")
FRAME = "get.device.info"
ENOUGH = 0.94
"""No more questions once an answer is this certain and complete."""
MAX_BYTES = 64 * 1024
REFUSED = "connection refused"
TOO_LATE = "no answer in time"
_LENGTH = struct.Struct("<I")


class Ways(msgspec.Struct, frozen=True, kw_only=True):
    """Ports to ask at; None does not ask that way."""

    web: int | None = WEB_PORT
    line: int | None = CGMINER_PORT
    frames: int | None = FRAMES_PORT
    beside: int | None = None
    """A further command socket, asked only where the web server is a miner's or hangs: emulated machines have
    theirs on the port above their web server's."""


def ways_to(port: int | None) -> Ways:
    """Where to ask for a port that the user named; None is a real machine on its own ports."""
    match port:
        case None:
            return Ways()
        case 80:
            return Ways(frames=None)
        case 4028:
            return Ways(web=None, frames=None)
        case 4433:
            return Ways(web=None, line=None)
        case _:
            return Ways(web=port, line=port, frames=port, beside=port + 1 if port < 65535 else None)


class Asker:
    """Asks hosts; one HTTP session for all of them. Use as an async context manager."""

    def __init__(self, *, connect_s: float = 1.0, reply_s: float = 3.0) -> None:
        """`connect_s` bounds a connection, `reply_s` one question from connect to the last byte."""
        self._connect_s = connect_s
        self._reply_s = reply_s
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Asker":
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True, use_dns_cache=False),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity", "User-Agent": "minewarden"},
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=self._reply_s, sock_connect=self._connect_s),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(self, host: str, ways: Ways) -> Findings:
        """Everything that the host says; an empty finding where nothing answers. Never raises for a host."""
        notes = _Notes()
        jobs = [
            *([self._pages(host, ways.web, notes)] if ways.web is not None else []),
            *([self._commands(host, ways.line, notes)] if ways.line is not None else []),
            *([self._frame(host, ways.frames, notes)] if ways.frames is not None else []),
        ]
        await _until(notes.enough, [asyncio.create_task(job) for job in jobs])
        web_hangs = notes.silent.get(f"GET :{ways.web}/") == TOO_LATE
        if ways.beside is not None and not notes.commands and (notes.pages or web_hangs):
            await self._ask_beside(host, ways.beside, notes)
        return notes.findings()

    async def _ask_beside(self, host: str, port: int, notes: "_Notes") -> None:
        """The socket above a web server may be another machine's: its answers count only where they speak for
        the firmware that the web server spoke for, or where that hangs and says nothing."""
        best = notes.best()
        if (best is None and notes.pages) or (best is not None and _is_complete(best)):
            return
        further = _Notes(pages=notes.pages)
        await self._commands(host, port, further)
        together = further.best()
        if together is not None and (best is None or together.adapter == best.adapter):
            notes.commands.update(further.commands)

    async def _pages(self, host: str, port: int, notes: "_Notes") -> None:
        for path in PAGES:
            question = f"GET :{port}{path}"
            try:
                notes.pages[path] = await self._page(host, port, path)
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                notes.silent[question] = _why(error)
                return
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                notes.silent[question] = _why(error)
                if not notes.pages:
                    return
            if notes.enough():
                return

    async def _page(self, host: str, port: int, path: str) -> Page:
        if self._session is None:
            raise RuntimeError("used outside its context")
        at = f"[{host}]" if ":" in host else host
        async with self._session.get(f"http://{at}:{port}{path}", allow_redirects=False) as reply:
            body = await reply.content.read(MAX_BYTES)
            while len(body) < MAX_BYTES and (more := await reply.content.read(MAX_BYTES - len(body))):
                body += more
            headers = {name.lower(): value for name, value in reply.headers.items()}
            return Page(status=reply.status, headers=headers, body=body)

    async def _commands(self, host: str, port: int, notes: "_Notes") -> None:
        for command in COMMANDS:
            question = f"{command} :{port}"
            try:
                raw = await self._exchange(host, port, msgspec.json.encode({"command": command}))
                notes.commands[command] = decode(raw, accept_cut=len(raw) >= MAX_BYTES)
            except ConnectionRefusedError as error:
                notes.silent[question] = _why(error)
                return
            except (OSError, TimeoutError, MalformedReply) as error:
                notes.silent[question] = _why(error)
                if not notes.commands:
                    return
            if notes.enough():
                return

    async def _exchange(self, host: str, port: int, request: bytes) -> bytes:
        async with asyncio.timeout(self._reply_s):
            reader, writer = await self._connected(host, port)
            try:
                writer.write(request)
                await writer.drain()
                raw = bytearray()
                while len(raw) < MAX_BYTES and (chunk := await reader.read(MAX_BYTES)):
                    raw += chunk
                return bytes(raw[:MAX_BYTES])
            finally:
                await _drop(writer)

    async def _frame(self, host: str, port: int, notes: "_Notes") -> None:
        request = msgspec.json.encode({"cmd": FRAME})
        try:
            async with asyncio.timeout(self._reply_s):
                reader, writer = await self._connected(host, port)
                try:
                    writer.write(_LENGTH.pack(len(request)) + request)
                    await writer.drain()
                    (size,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
                    if not 0 < size <= MAX_BYTES:
                        raise MalformedReply(f"a frame of {size} bytes")
                    notes.frames[FRAME] = decode(await reader.readexactly(size))
                finally:
                    await _drop(writer)
        except (OSError, TimeoutError, MalformedReply, asyncio.IncompleteReadError) as error:
            notes.silent[f"{FRAME} :{port}"] = _why(error)

    async def _connected(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(self._connect_s):
            return await asyncio.open_connection(host, port, limit=MAX_BYTES)


async def _until(enough: Callable[[], bool], jobs: list[asyncio.Task[None]]) -> None:
    """Wait for the jobs; once one has brought enough, the others are not waited for."""
    waiting = set(jobs)
    try:
        while waiting and not enough():
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for job in done:
                job.result()
    finally:
        for job in waiting:
            job.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


class _Notes:
    """Findings while they are being made."""

    def __init__(self, pages: dict[str, Page] | None = None) -> None:
        self.pages: dict[str, Page] = dict(pages or {})
        self.commands: dict[str, Body] = {}
        self.frames: dict[str, Body] = {}
        self.silent: dict[str, str] = {}

    def findings(self) -> Findings:
        return Findings(pages=self.pages, commands=self.commands, frames=self.frames, silent=self.silent)

    def best(self) -> Identification | None:
        return next(iter(identify(self.findings())), None)

    def enough(self) -> bool:
        best = self.best()
        return best is not None and _is_complete(best)


def _is_complete(found: Identification) -> bool:
    return found.confidence >= ENOUGH and bool(found.model and found.firmware and found.mac)


async def _drop(writer: asyncio.StreamWriter) -> None:
    # Aborting, because a hung peer would make a polite close wait as well.
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _why(error: BaseException) -> str:
    """Why there is no answer, in a few words."""
    if isinstance(getattr(error, "os_error", error), ConnectionRefusedError):
        return REFUSED
    if isinstance(error, TimeoutError):
        return TOO_LATE
    if isinstance(
        error, asyncio.IncompleteReadError | aiohttp.ServerDisconnectedError | ConnectionResetError
    ):
        return "closed without an answer"
    if isinstance(error, aiohttp.ClientResponseError):
        return "no HTTP"
    told = getattr(error, "os_error", error)
    return getattr(told, "strerror", None) or str(error) or type(error).__name__
