"""A machine's command socket without a socket: the emulator's answers, decoded as the transports do."""

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec
import pytest

from firmware_adapters.capabilities import Telemetry
from firmware_adapters.transport.line_json import Body, decode, raise_refusal
from firmware_adapters.transport.raw import heard
from shared.errors import DeviceError, DeviceTimeout
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind


class Answers(Protocol):
    """An emulator that can be asked without a socket."""

    def answer(self, raw: bytes) -> bytes: ...


class MemorySocket:
    """Both kinds of transport to one emulator; `asked` keeps what was asked, in order."""

    def __init__(self, emulator: Answers) -> None:
        self._emulator = emulator
        self.asked: list[str] = []
        self.empty: set[str] = set()
        """Commands after which the machine closes without a word, undone."""

    async def ask(self, command: str, parameter: str | None = None) -> Body:
        request = {"command": command} if parameter is None else {"command": command, "parameter": parameter}
        reply = decode(await self.exchange(msgspec.json.encode(request), command, parameter))
        raise_refusal(reply)
        return reply

    async def exchange(self, request: bytes, command: str, parameter: str | None = None) -> bytes:
        self.asked.append(command if parameter is None else f"{command} {parameter}")
        return await heard(self._answer(request, command), command, parameter)

    async def _answer(self, request: bytes, command: str) -> bytes:
        await asyncio.sleep(0)  # a request lets others run, as a real one does
        return b"" if command in self.empty else self._emulator.answer(request)


async def read_ends_at_its_deadline(adapter: Telemetry, socket: MemorySocket) -> None:
    """Each request alone would be in time, all of them together are not."""
    answer = socket.exchange

    async def slow(request: bytes, command: str, parameter: str | None = None) -> bytes:
        await asyncio.sleep(0.03)  # the deadline is the event loop's own
        return await answer(request, command, parameter)

    socket.exchange = slow  # type: ignore[method-assign] # what every request of the adapter goes through
    adapter._timeout_s = 0.05  # type: ignore[attr-defined] # all adapters on a socket have it
    with pytest.raises(DeviceTimeout):
        await adapter.read()


async def opens_lazily(open_device: Callable[..., Telemetry], adapter: str) -> None:
    """Nothing listens there: opening does not mind, reading fails with a type, closing never raises."""
    entry = DeviceEntry(
        id=DeviceId("m-1"),
        kind=DeviceKind.MINER,
        adapter=adapter,
        host="127.0.0.1",
        port=9,
        zone=ZoneId("z"),
    )
    device = open_device(entry, None, timeout_s=0.2)
    with pytest.raises(DeviceError):
        await device.read()
    await device.close()
