"""From a site file's device entry to the adapter that speaks to it.

A table, not a registration by import: an adapter's module is loaded when the first device needs it.
"""

from collections.abc import Callable
from importlib import import_module
from typing import cast

from firmware_adapters.capabilities import Credential, Telemetry
from shared.errors import ConfigError
from shared.inventory import DeviceEntry

ADAPTERS: dict[str, str] = {
    "vnish": "firmware_adapters.miners.vnish.adapter",
    "whatsminer": "firmware_adapters.miners.whatsminer.adapter",
    "whatsminer-v3": "firmware_adapters.miners.whatsminer_v3.adapter",
    "avalon": "firmware_adapters.miners.avalon.adapter",
    "antminer": "firmware_adapters.miners.antminer.adapter",
    "luxos": "firmware_adapters.miners.luxos.adapter",
    "braiins": "firmware_adapters.miners.braiins.adapter",
    "axeos": "firmware_adapters.miners.axeos.adapter",
    "modbus": "firmware_adapters.site.modbus_open",
    "modbus-rtu": "firmware_adapters.site.modbus_open",
    "snmp": "firmware_adapters.site.snmp",
    "bacnet": "firmware_adapters.site.bacnet",
}
"""Adapter name → module with `open_device(entry, credential, *, timeout_s) -> Telemetry`."""

Opener = Callable[..., Telemetry]


def open_device(entry: DeviceEntry, credential: Credential | None, *, timeout_s: float) -> Telemetry:
    """Make the adapter for one device; connects lazily, so this never waits. Raises `ConfigError`."""
    module = ADAPTERS.get(entry.adapter)
    if module is None:
        known = ", ".join(sorted(ADAPTERS))
        raise ConfigError(f"device {entry.id}: no adapter named {entry.adapter!r}; known are {known}")
    opener = cast(Opener, import_module(module).open_device)
    return opener(entry, credential, timeout_s=timeout_s)
