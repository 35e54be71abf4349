"""Which emulator stands in front of a simulated miner: the one of the firmware that its site entry names."""

from importlib import import_module
from typing import Any

from firmware_adapters.miners.emulated import EmulatedMiner
from firmware_adapters.miners.emulator_wire import Emulator
from shared.clock import Clock
from shared.errors import ConfigError
from shared.inventory import DeviceEntry, SimulatorSettings

EMULATORS: dict[str, tuple[str, str]] = {
    "vnish": ("vnish", "VnishEmulator"),
    "antminer": ("antminer", "AntminerEmulator"),
    "luxos": ("luxos", "LuxosEmulator"),
    "braiins": ("braiins", "BraiinsEmulator"),
    "axeos": ("axeos", "AxeosEmulator"),
    "whatsminer": ("whatsminer", "WhatsminerEmulator"),
    "whatsminer-v3": ("whatsminer_v3", "WhatsminerV3Emulator"),
    "avalon": ("avalon", "AvalonEmulator"),
}
"""Adapter name → folder of its firmware, class of its emulator. Loaded when the first machine needs it."""

_WITH_PASSWORD = ("vnish", "antminer", "braiins", "whatsminer", "whatsminer-v3")
_WITH_VERSION = ("vnish", "braiins", "axeos")


def make_miner(
    entry: DeviceEntry, machine: EmulatedMiner, settings: SimulatorSettings, clock: Clock
) -> Emulator:
    """The emulator for one entry. Raises `ConfigError` for a firmware that cannot be simulated.

    `settings.firmware` chooses a version by device; `default_firmware` is VNish's. All machines that have a
    password take `settings.miner_password`, whatever the user name of their firmware.
    """
    if entry.adapter not in EMULATORS:
        known = ", ".join(sorted(EMULATORS))
        raise ConfigError(f"device {entry.id}: no emulator of {entry.adapter!r}; there are {known}")
    folder, name = EMULATORS[entry.adapter]
    kind = getattr(import_module(f"firmware_adapters.miners.{folder}.emulator"), name)
    options: dict[str, Any] = {}
    if entry.adapter in _WITH_PASSWORD:
        options["password"] = settings.miner_password
    version = settings.firmware.get(entry.id)
    if version is not None and entry.adapter not in _WITH_VERSION:
        raise ConfigError(
            f"simulator.firmware: {entry.id} runs {entry.adapter}, whose emulator has one version"
        )
    if entry.adapter == "vnish":
        version = version or settings.default_firmware
    if version is not None:
        options["version"] = version
    made: Emulator = kind(machine, clock=clock, **options)
    return made
