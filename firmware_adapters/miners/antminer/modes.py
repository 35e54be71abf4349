"""What a stock machine is told to do, and what it does: normal, sleep, low power. Pure.

The firmware has one mode for everything, stored in its configuration, and takes a change only as the whole
configuration posted back (miners.md §2).
"""

from enum import StrEnum
from types import MappingProxyType

import msgspec

from firmware_adapters.miners.cgminer import Stats
from firmware_adapters.miners.fields import Object, as_number, as_page
from shared.telemetry import MinerState

START_S = 900.0
"""A mining process this young that does not hash yet is starting (plant.md §1.5: 6-12 min) [default]."""


class Mode(StrEnum):
    """What the machine is told to do; its words are ours, its numbers the firmware's."""

    NORMAL = "normal"
    SLEEP = "sleep"
    LOW_POWER = "low-power"


MODES = MappingProxyType({0: Mode.NORMAL, 1: Mode.SLEEP, 2: Mode.LOW_POWER, 3: Mode.LOW_POWER})
"""3 is what some builds write for low power; we write what is documented."""
CODES = MappingProxyType({Mode.NORMAL: 0, Mode.SLEEP: 1, Mode.LOW_POWER: 2})
_MODE_KEYS = ("bitmain-work-mode", "miner-mode")


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """`get_miner_conf.cgi`: what was asked for. `page` is all of it, pool passwords included."""

    page: Object
    mode: Mode | None = None
    has_mode: bool = False
    """False: a build that knows no modes, so neither sleep nor low power."""


def mode_of(value: object) -> Mode | None:
    """The mode of a number, or of digits in text; None for a number that no source names."""
    code = as_number(value)
    return None if code is None or code != int(code) else MODES.get(int(code))


def config(body: object) -> Config:
    """Read `get_miner_conf.cgi`. An empty mode is the normal one."""
    page = as_page(body, "get_miner_conf.cgi")
    keys = [key for key in _MODE_KEYS if key in page]
    told = [page[key] for key in keys if page[key] != ""]
    mode = mode_of(told[0]) if told else Mode.NORMAL
    return Config(page=page, mode=mode if keys else None, has_mode=bool(keys))


def changed(before: Config, mode: Mode) -> Object:
    """The whole configuration with another mode, as `set_miner_conf.cgi` takes it.

    It reads `miner-mode` and `freq-level` where its counterpart writes `bitmain-work-mode` and
    `bitmain-freq-level`, so both names are sent, in the kind of value that the machine itself uses.
    """
    page = before.page
    written = next((page[key] for key in _MODE_KEYS if key in page), "")
    code = CODES[mode] if isinstance(written, int) else str(CODES[mode])
    after: Object = {**page, **{key: code for key in _MODE_KEYS if key in page}, "miner-mode": code}
    if "bitmain-freq-level" in page:
        after.setdefault("freq-level", page["bitmain-freq-level"])
    return after


def state(stats: Stats, runs: Mode | None, asked: Mode | None) -> MinerState:
    """What it is doing, from hashrate, the mode that runs and the mode that was asked for (None: unknown).

    A machine that does not hash and was not told to sleep is starting while its mining process is young, and
    UNKNOWN later: this firmware has no word for failure, and what it draws then is not known.
    """
    rate = stats.rate
    if rate:
        return MinerState.SHUTTING_DOWN if asked is Mode.SLEEP else MinerState.MINING
    sleeps = asked is Mode.SLEEP if asked is not None else runs is Mode.SLEEP
    if sleeps and (rate == 0 or runs is Mode.SLEEP):
        return MinerState.STOPPED
    if rate == 0 and stats.elapsed_s is not None and stats.elapsed_s < START_S:
        return MinerState.STARTING
    return MinerState.UNKNOWN
