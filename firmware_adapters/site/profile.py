"""Device profiles: one TOML file per model says what its registers or OIDs mean.

A profile is data that people write from a manual, so it is checked as strictly as a site file: unknown keys
are refused, units must be those of `shared.telemetry.METRICS`, plausibility limits and the fail-safe side of
every writable point are mandatory, and every profile names its source.
"""

import tomllib
from importlib import resources

import msgspec

from firmware_adapters.site.profile_check import problems_of, repeated_names
from firmware_adapters.site.profile_shape import (
    LEAVE,
    ModbusRules,
    Point,
    Profile,
    SnmpRules,
    Step,
    Watchdog,
    WriteRule,
)
from shared.errors import ConfigError

__all__ = [
    "LEAVE",
    "ModbusRules",
    "Point",
    "Profile",
    "SnmpRules",
    "Step",
    "Watchdog",
    "WriteRule",
    "load_profile",
    "parse_profile",
    "profile_names",
]


def profile_names() -> tuple[str, ...]:
    """Every profile that ships, sorted."""
    folder = resources.files("firmware_adapters.site") / "profiles"
    return tuple(
        sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))
    )


def load_profile(name: str) -> Profile:
    """A shipped profile by name. Raises `ConfigError` for an unknown name or a file that does not hold."""
    if name not in profile_names():
        raise ConfigError(f"no device profile {name!r}; known are {', '.join(profile_names())}")
    text = (resources.files("firmware_adapters.site") / "profiles" / f"{name}.toml").read_text("utf-8")
    return parse_profile(text, f"{name}.toml")


def parse_profile(text: str, where: str) -> Profile:
    """Check a profile's text; `where` is for messages. Raises `ConfigError` saying what is expected."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not valid TOML: {error}") from error
    try:
        profile = msgspec.convert(raw, Profile)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {_explained(str(error), raw)}") from error
    problems = problems_of(profile)
    if not problems:
        profile = profile.expanded()
        problems = repeated_names(profile)
    if problems:
        raise ConfigError("\n".join(f"{where}: {problem}" for problem in problems))
    return profile


def _explained(text: str, raw: dict[str, object]) -> str:
    """msgspec says `$.points[...]`; name the points so that the line can be found."""
    names = [str(p.get("name")) for p in raw.get("points", []) if isinstance(p, dict)]  # type: ignore[attr-defined]  # `raw` is unchecked TOML, and a non-list has no dict entries
    known = f" (points: {', '.join(names)})" if "points[" in text and names else ""
    return text + known
