"""From a site file's device entry to the adapter that speaks to it.

A table, not a registration by import: an adapter's module is loaded when the first device needs it.
"""

from collections.abc import Callable
from importlib import import_module
from typing import cast

from firmware_adapters.capabilities import Credential, Telemetry
from firmware_adapters.site.profile import Profile, nearest
from shared.errors import ConfigError
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind

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

PROTOCOL_OF: dict[str, str] = {"modbus": "modbus", "modbus-rtu": "modbus", "snmp": "snmp", "bacnet": "bacnet"}
"""Adapters of site equipment → the table of a profile that they need; all others are a miner's firmware."""

Opener = Callable[..., Telemetry]


def misfit(entry: DeviceEntry, profile: Profile | None) -> str | None:
    """Why no adapter can be made for an entry with this profile, as a sentence; None where one can."""
    if entry.adapter not in ADAPTERS:
        return f"no adapter named {entry.adapter!r}; {nearest(entry.adapter, ADAPTERS)}"
    protocol = PROTOCOL_OF.get(entry.adapter)
    if (protocol is None) != (entry.kind is DeviceKind.MINER):
        return (
            f"adapter {entry.adapter!r} is for site equipment, kind is miner"
            if protocol is not None
            else f"adapter {entry.adapter!r} is a miner's firmware, kind is {entry.kind}"
        )
    if profile is None or protocol is None:
        return None
    if getattr(profile, protocol) is None:
        return f"profile {entry.profile} is not for adapter {entry.adapter!r}"
    if profile.kind is not entry.kind:
        return f"profile {entry.profile} is of kind {profile.kind}, not {entry.kind}"
    return profile.unit_problem(entry.unit_id)


def open_device(entry: DeviceEntry, credential: Credential | None, *, timeout_s: float) -> Telemetry:
    """Make the adapter for one device; connects lazily, so this never waits. Raises `ConfigError`."""
    module = ADAPTERS.get(entry.adapter)
    if module is None:
        known = nearest(entry.adapter, ADAPTERS)
        raise ConfigError(f"device {entry.id}: no adapter named {entry.adapter!r}; {known}")
    opener = cast(Opener, import_module(module).open_device)
    return opener(entry, credential, timeout_s=timeout_s)
