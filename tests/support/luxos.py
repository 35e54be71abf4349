"""The LuxOS emulator around a machine."""

from firmware_adapters.miners.luxos.emulator import LuxosEmulator
from shared.clock import Clock, ManualClock
from support.miners import Machine


def emulator_of(machine: Machine, clock: Clock | None = None, **options: object) -> LuxosEmulator:
    """The emulator around a machine."""
    return LuxosEmulator(machine, clock=clock or ManualClock(), **options)  # type: ignore[arg-type] # its own
