"""What a device can do, as data. The Protocols that implement these live with the adapters."""

from enum import StrEnum

import msgspec


class Ability(StrEnum):
    """One thing that a device may be able to do."""

    TELEMETRY = "telemetry"
    PRESET_LIST = "preset-list"
    PRESET = "preset"
    MINING = "mining"
    """Stop and start hashing."""
    THROTTLE = "throttle"
    SETPOINT = "setpoint"
    """Write a named point, such as a drive's speed."""
    OUTLETS = "outlets"
    LOCATE = "locate"
    REBOOT = "reboot"
    WATCHDOG = "watchdog"
    """Has a time-out of its own that drives `points` to their safe side when nobody speaks to it;
    `low`/`high` are the time-outs in s that it takes."""


class Capability(msgspec.Struct, frozen=True, kw_only=True):
    """One ability with what the guardian needs to know before it uses it.

    `settle_s` is how long a change takes to show, so how long readings are expected to be odd. `points`
    names what can be written (SETPOINT), `low`/`high` the range in the point's own unit.
    """

    ability: Ability
    settle_s: float = 0.0
    restarts_mining: bool = False
    survives_reboot: bool = True
    points: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a miner's ladder, as the device lists it; ladders differ from unit to unit."""

    name: str
    power_w: float
    hashrate_ths: float
    tuned: bool
    needs_liquid: bool = False
    needs_modded_psu: bool = False


class DeviceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a device is, read from itself at the rare cadence: identity, ladder, abilities."""

    model: str
    firmware: str = ""
    mac: str = ""
    serial: str = ""
    algorithm: str = ""
    presets: tuple[Preset, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    default_password: bool = False
    """The machine still accepts its vendor's default password; this is an alarm."""
