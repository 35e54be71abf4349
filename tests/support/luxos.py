"""The LuxOS emulator around a machine, and the adapter in front of it."""

import asyncio

import msgspec

from firmware_adapters.miners.luxos.emulator import LuxosEmulator
from firmware_adapters.transport.line_json import Body, decode, raise_refusal
from shared.clock import Clock, ManualClock
from support.miners import Machine


def emulator_of(machine: Machine, clock: Clock | None = None, **options: object) -> LuxosEmulator:
    """The emulator around a machine."""
    return LuxosEmulator(machine, clock=clock or ManualClock(), **options)  # type: ignore[arg-type] # its own


class InMemory:
    """A command socket whose other end is the emulator itself; remembers what was asked."""

    def __init__(self, emulator: LuxosEmulator) -> None:
        self.emulator = emulator
        self.asked: list[str] = []

    async def ask(self, command: str, parameter: str | None = None) -> Body:
        """See `LineTransport.ask`."""
        await asyncio.sleep(0)  # a request lets others run, as a real one does
        self.asked.append(command if parameter is None else f"{command} {parameter}")
        request = {"command": command} | ({} if parameter is None else {"parameter": parameter})
        reply = decode(self.emulator._reply(self.emulator.machine.view(), msgspec.json.encode(request)))
        raise_refusal(reply)
        return reply
