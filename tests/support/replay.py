"""Recorded replies of a real machine, served again: pages and commands, told apart by their first bytes.

The recordings stay where they are (`../shared/recordings`); a test that needs one that is missing is skipped.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from firmware_adapters.transport.framed import frame
from support.ports import free_port
from support.recordings import RECORDINGS, Recording

REFUSED = b'{"STATUS": [{"STATUS": "E", "Code": 14, "Msg": "Invalid command"}], "id": 1}'


class Replay:
    """A machine of recorded replies. `asked` is every question that came."""

    def __init__(self, folder: str, pages: Mapping[str, str], login: str | None = None) -> None:
        """`pages` maps a path to a recording's name; commands are found by their own names."""
        self.folder = RECORDINGS / folder
        if not self.folder.is_dir():
            pytest.skip(f"no recordings at {self.folder}")
        self.pages = pages
        self.login = login
        self.asked: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one reply."""
        first = await reader.read(65536)
        said = self._page(first) if first[:4] in (b"GET ", b"POST", b"HEAD") else self._command(first)
        writer.write(said)
        await writer.drain()
        writer.close()

    def _page(self, request: bytes) -> bytes:
        method, path, _ = request.split(b"\r\n", 1)[0].decode().split(" ", 2)
        self.asked.append(f"{method} {path}")
        name = self.pages.get(path.partition("?")[0])
        if method == "POST":
            name = None
            body = b'{"token": "t", "timeout_s": 3600}' if path == self.login else b""
            return _http(200 if body else 404, body)
        if self.login is not None and b"authorization" not in request.lower() and "version" not in path:
            return _http(401, b"")
        file = self.folder / f"{name}.json"
        return _http(200, file.read_bytes()) if name is not None and file.is_file() else _http(404, b"")

    def _command(self, request: bytes) -> bytes:
        try:
            asked = json.loads(request)
        except ValueError:
            return b""
        command = str(asked.get("command") or asked.get("cmd") or "")
        parameter = asked.get("parameter")
        self.asked.append(command)
        for name in (f"{command}_{parameter}", command):
            file = self.folder / f"{name}.json"
            if file.is_file() and "/" not in name:
                return file.read_bytes()
        return REFUSED


class Whole(Replay):
    """A machine of everything in one recording's folder, on all its ways in; any login is good."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder), {})
        self.said = Recording(folder)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """As `Replay.serve`; a request with its length in front is answered so."""
        first = await reader.read(65536)
        if first[:4] in (b"GET ", b"POST", b"HEAD"):
            writer.write(self._page(first))
        elif len(first) > 4 and int.from_bytes(first[:4], "little") == len(first) - 4:
            if self.said.adapter == "whatsminer-v3":  # the others have no such socket
                writer.write(frame(self._command(first[4:])))
        else:
            writer.write(self._command(first))
        await writer.drain()
        writer.close()

    def _page(self, request: bytes) -> bytes:
        method, path, _ = request.split(b"\r\n", 1)[0].decode().split(" ", 2)
        self.asked.append(f"{method} {path}")
        if method == "POST":
            return _http(200, b'{"token": "t", "timeout_s": 3600}')
        body = self.said.page(path)
        return _http(404, b"") if body is None else _http(200, body)

    def _command(self, request: bytes) -> bytes:
        try:
            asked = json.loads(request)
        except ValueError:
            return b""
        command = str(asked.get("command") or asked.get("cmd") or "")
        self.asked.append(command)
        said = self.said.command(command, asked.get("parameter", asked.get("param")))
        return REFUSED if said is None else said


def _http(status: int, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body


@asynccontextmanager
async def replayed(host: str, machine: Replay) -> AsyncIterator[int]:
    """Serve it at `host`, on a port and on the next one."""
    port = free_port()
    servers = [await asyncio.start_server(machine.serve, host, at) for at in (port, port + 1)]
    try:
        yield port
    finally:
        for server in servers:
            server.close()
            await server.wait_closed()
