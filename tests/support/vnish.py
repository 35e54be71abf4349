"""The VNish emulator around a machine, and a way to reach it without sockets."""

import asyncio
from collections.abc import Mapping

from firmware_adapters.miners.vnish.emulator import VnishEmulator
from firmware_adapters.transport.http import HttpReply, HttpRequest, MemoryHttp
from shared.clock import Clock
from support.miners import Machine


class _Headers(Mapping[str, str]):
    """Header names in any case, as HTTP has them."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._lower = {name.lower(): value for name, value in headers.items()}

    def __getitem__(self, name: str) -> str:
        return self._lower[name.lower()]

    def __iter__(self) -> object:
        return iter(self._lower)

    def __len__(self) -> int:
        return len(self._lower)


def in_memory(emulator: VnishEmulator) -> MemoryHttp:
    """A transport whose other end is the emulator itself."""

    async def answer(request: HttpRequest) -> HttpReply:
        await asyncio.sleep(0)  # a request lets others run, as a real one does
        said = emulator.answer(request.method, request.path, _Headers(request.headers), request.body)
        return HttpReply(said.status, said.body)

    return MemoryHttp(answer)


def emulator_of(machine: Machine, clock: Clock, **options: object) -> VnishEmulator:
    """The emulator around a machine."""
    return VnishEmulator(machine, clock=clock, **options)  # type: ignore[arg-type] # options are its own
