"""How far and how fast models and schedules may go: profiles that ship with the guardian, and their loader.

They bind proposals only (priority ML and SCHEDULE). A profile is a TOML file beside this module, named
without its ending, or any file that the site names by its path. Values of `seeds`: the seeds' automated
action framework (rate, boundary, stability, temperature and gradient checks).
"""

import math
import tomllib
from pathlib import Path

import msgspec

from shared.errors import ConfigError

SCHEMA = 1
_SHIPPED = Path(__file__).parent


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Unknown keys are refused, and none has a default."""


class HashrateLimits(_Table, frozen=True, kw_only=True):
    """Bounds of a miner's hashrate as shares (0..) of its nominal one; times in s.

    `stable_s` is how long nothing may have changed on the miner; it is at least `window_s`, so that two
    steps of `step_share` can never fall into one window.
    """

    low_share: float
    high_share: float
    step_share: float
    window_s: float
    stable_s: float


class CoolingLimits(_Table, frozen=True, kw_only=True):
    """Bounds of a zone's cooling. `step_share` is of the actuator's range; times in s.

    Less cooling is refused while the zone's temperature swung more than `max_swing_k` (K) within `window_s`
    or its hottest chip is at `max_chip_c` (°C) or above.
    """

    step_share: float
    window_s: float
    stable_s: float
    max_swing_k: float
    max_chip_c: float


class ActionLimits(_Table, frozen=True, kw_only=True):
    """One whole profile."""

    schema: int
    hashrate: HashrateLimits
    cooling: CoolingLimits


def is_path(name: str) -> bool:
    """Whether `site.action_limits` names a file rather than a shipped profile."""
    return "/" in name or name.endswith(".toml")


def shipped() -> tuple[str, ...]:
    """Names of the profiles that come with the guardian."""
    return tuple(sorted(path.stem for path in _SHIPPED.glob("*.toml")))


def load(name: str) -> ActionLimits:
    """The profile of that name, or of that file. Raises `ConfigError` with a sentence per problem."""
    path = Path(name) if is_path(name) else _SHIPPED / f"{name}.toml"
    if not is_path(name) and name not in shipped():
        known = ", ".join(shipped())
        raise ConfigError(f"site.action_limits: no profile {name!r}; there are {known}, or give a path")
    try:
        return parse(path.read_text(), str(path))
    except OSError as error:
        raise ConfigError(f"site.action_limits: {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"site.action_limits: {path} is not UTF-8 text") from error


def parse(text: str, where: str) -> ActionLimits:
    """Check a profile's text; `where` is for messages. Raises `ConfigError`."""
    try:
        limits = msgspec.convert(tomllib.loads(text), ActionLimits)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not valid TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error}") from error
    if problems := _problems(limits):
        raise ConfigError("\n".join(f"{where}: {problem}" for problem in problems))
    return limits


def _problems(limits: ActionLimits) -> list[str]:
    hashrate, cooling = limits.hashrate, limits.cooling
    if limits.schema != SCHEMA:
        return [f"schema is {limits.schema}, this guardian reads {SCHEMA}"]
    tables: dict[str, HashrateLimits | CoolingLimits] = {"hashrate": hashrate, "cooling": cooling}
    found: list[str] = []
    for name, table in tables.items():
        found += [
            f"{name}.{key} must be a finite number"
            for key in table.__struct_fields__
            if not math.isfinite(getattr(table, key))
        ]
        if not 0.0 < table.step_share <= 1.0:
            found.append(f"{name}.step_share is {table.step_share:g}, expected above 0 and at most 1")
        if not 0.0 < table.window_s <= table.stable_s:
            found.append(
                f"{name}.window_s is {table.window_s:g} and stable_s {table.stable_s:g}: a window is longer "
                "than 0 s and at most stable_s, else two steps would fit into one"
            )
    if not 0.0 < hashrate.low_share < hashrate.high_share:
        found.append(
            f"hashrate.low_share is {hashrate.low_share:g} and high_share {hashrate.high_share:g}: "
            "expected 0 < low < high"
        )
    if not cooling.max_swing_k > 0.0:
        found.append(f"cooling.max_swing_k is {cooling.max_swing_k:g}, expected above 0")
    if not 0.0 < cooling.max_chip_c < 150.0:
        found.append(f"cooling.max_chip_c is {cooling.max_chip_c:g}, expected a temperature in °C below 150")
    return found
