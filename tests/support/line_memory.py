"""A machine's command socket without a socket: the emulator's answers, decoded as the transports do."""

import asyncio
from typing import Protocol

import msgspec

from firmware_adapters.transport.line_json import Body, decode, raise_refusal
from firmware_adapters.transport.raw import heard


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
