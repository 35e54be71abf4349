"""What a device can do, as data. The Protocols that implement these live with the adapters."""

from enum import StrEnum
from functools import lru_cache

import msgspec


class Ability(StrEnum):
    """One thing that a device may be able to do. The Protocol behind each stands with the adapters."""

    TELEMETRY = "telemetry"
    BOARDS = "boards"
    """Tells about each hash board."""
    CHIPS = "chips"
    """Tells about each chip."""
    POOLS = "pools"
    """Tells which pools it works for."""
    LOGS = "logs"
    """Hands out its log texts; `choices` names them."""
    HISTORY = "history"
    """Remembers its last hours, so that a gap can be filled; `high` is how far back, in s."""
    PRESET_LIST = "preset-list"
    PRESET = "preset"
    POWER_LIMIT = "power-limit"
    """Takes a limit in W (`low`/`high`); see `closed_loop`."""
    MINING = "mining"
    """Stop and start hashing."""
    PAUSE = "pause"
    """Pause and resume hashing, without letting go of the boards where the firmware knows the difference."""
    THROTTLE = "throttle"
    """Run at `low`..`high` per cent of what it runs at."""
    FAN_MODE = "fan-mode"
    """`choices` names the modes."""
    COOLING_TARGET = "cooling-target"
    """Hold a temperature of `low`..`high` °C with its own fans."""
    PRESET_SWITCHER = "preset-switcher"
    """Steps its preset by temperature on its own, between a floor and a ceiling that can be set."""
    POOL_SWITCH = "pool-switch"
    POOL_SETTING = "pool-setting"
    """Takes other pools."""
    SETPOINT = "setpoint"
    """Write a named point, such as a drive's speed."""
    RELEASE = "release"
    """Give a written point back to the machine's own control; `points` names which."""
    OUTLETS = "outlets"
    LOCATE = "locate"
    RESTART = "restart"
    """Restart mining, and not the control board."""
    REBOOT = "reboot"
    WATCHDOG = "watchdog"
    """Has a time-out of its own that drives `points` to their safe side when nobody speaks to it;
    `low`/`high` are the time-outs in s that it takes."""


class Capability(msgspec.Struct, frozen=True, kw_only=True):
    """One ability with what the guardian needs to know before it uses it.

    `settle_s` is how long a change takes to show, so how long readings are expected to be odd.
    `survives_reboot` says whether what was set still stands after the machine rebooted or lost its supply;
    None: no source tells, and it is treated as if it did not (what is wanted is told again). `points` names
    what can be written (SETPOINT), `low`/`high` the range in the ability's own unit, `choices` the words that
    it takes.
    """

    ability: Ability
    settle_s: float = 0.0
    restarts_mining: bool = False
    survives_reboot: bool | None = None
    points: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    closed_loop: bool | None = None
    """POWER_LIMIT: the firmware measures and regulates; False: the nearest tuned preset below is chosen."""


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a miner's ladder, as the device lists it; ladders differ from unit to unit."""

    name: str
    power_w: float
    hashrate_ths: float
    tuned: bool
    needs_liquid: bool = False
    needs_modded_psu: bool = False


@lru_cache(maxsize=256)
def one_ladder(presets: tuple[Preset, ...]) -> tuple[Preset, ...]:
    """One ladder for all miners that tell the same: fifteen rungs are 3 kB, and a site has few models."""
    return presets


@lru_cache(maxsize=256)
def one_list(abilities: tuple[Capability, ...]) -> tuple[Capability, ...]:
    """One list of abilities for all machines that declare the same: another 3 kB each."""
    return abilities


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
