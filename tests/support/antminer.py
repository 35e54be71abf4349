"""The stock Antminer emulator around a machine, and the adapter in front of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from firmware_adapters.capabilities import Credential
from firmware_adapters.miners.antminer.adapter import AntminerAdapter
from firmware_adapters.miners.antminer.emulator import AntminerEmulator
from firmware_adapters.transport.http import HttpReply, HttpRequest, MemoryHttp
from firmware_adapters.transport.http_client import HttpClient
from firmware_adapters.transport.line_json import LineClient
from shared.clock import Clock, ManualClock, SystemClock
from support.miners import Machine, on_loopback

ROOT = Credential(user=None, secret="root")


def emulator_of(machine: Machine, clock: Clock | None = None, **options: object) -> AntminerEmulator:
    """The emulator around a machine."""
    return AntminerEmulator(machine, clock=clock or ManualClock(), **options)  # type: ignore[arg-type] # its own


def in_memory(
    emulator: AntminerEmulator, spoil: Callable[[str, bytes], HttpReply | None] = lambda path, body: None
) -> MemoryHttp:
    """A transport whose other end is the emulator itself, digest login included.

    `spoil` may put another reply in place of a good one.
    """

    async def answer(request: HttpRequest) -> HttpReply:
        await asyncio.sleep(0)  # a request lets others run, as a real one does
        said = emulator.answer(request.method, request.path, request.headers, request.body)
        if said.status == 401:
            asked = {name.lower(): value for name, value in said.headers.items()}
            return HttpReply(said.status, said.body, asked)
        return spoil(request.path, said.body) or HttpReply(said.status, said.body)

    return MemoryHttp(answer)


@asynccontextmanager
async def opened(
    emulator: AntminerEmulator, address: str, *, timeout_s: float, credential: Credential | None = ROOT
) -> AsyncIterator[AntminerAdapter]:
    """The adapter over real loopback sockets, with the command socket to fall back to."""
    async with on_loopback({address: emulator}) as (port, socket_port):
        adapter = AntminerAdapter(
            HttpClient(address, port, timeout_s=timeout_s),
            credential,
            timeout_s=timeout_s,
            socket=LineClient(address, socket_port, timeout_s=timeout_s),
            clock=SystemClock(),
        )
        try:
            yield adapter
        finally:
            await adapter.close()
