"""Device profiles: one TOML file per model says what its registers or OIDs mean.

A profile is data that people write from a manual, so it is checked as strictly as a site file: unknown keys
are refused, units must be those of `shared.telemetry.METRICS`, plausibility limits and the fail-safe side of
every writable point are mandatory, and every profile names its source.

A site's own profile is a file that stands beside the site file; nothing of it is Python.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from firmware_adapters.site.profile_check import MOST_POINTS, comparable, problems_between, problems_of
from firmware_adapters.site.profile_rules import Strict
from firmware_adapters.site.profile_shape import (
    LEAVE,
    BacnetRules,
    ModbusRules,
    Point,
    Profile,
    SensorMetric,
    SensorTable,
    SnmpRules,
    Step,
    Watchdog,
    WriteRule,
)
from shared.errors import ConfigError
from shared.inventory import DeviceEntry, is_own_file
from shared.toml_lines import TomlLines, with_words

__all__ = [
    "LEAVE",
    "BacnetRules",
    "ModbusRules",
    "Point",
    "Profile",
    "SensorMetric",
    "SensorTable",
    "SnmpRules",
    "Step",
    "Watchdog",
    "WriteRule",
    "load_profile",
    "nearest",
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
    """A shipped profile by name, or a site's own by path. Raises `ConfigError` saying what is wrong."""
    if is_own_file(name):
        return read_profile(Path(name))
    if name not in profile_names():
        raise ConfigError(f"no device profile {name!r}; {nearest(name, profile_names())}")
    text = (resources.files("firmware_adapters.site") / "profiles" / f"{name}.toml").read_text("utf-8")
    return parse_profile(text, f"{name}.toml")


def nearest(word: str, known: Iterable[str]) -> str:
    """The names that a mistyped one may have meant, or all there are, for the end of a sentence."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(repr(name) for name in close) + "?"
    return f"known are {', '.join(names)}"


def read_profile(path: Path) -> Profile:
    """The profile in a file. Raises `ConfigError`."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text") from error
    return parse_profile(text, str(path))


def parse_profile(text: str, where: str) -> Profile:
    """Check a profile's text; `where` is for messages. Raises `ConfigError` saying what is expected.

    Each line of the message is one problem: file, line, point, key and what is expected there.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not valid TOML: {error}") from error
    try:
        profile = msgspec.convert(raw, Profile)
    except msgspec.ValidationError as error:
        raise ConfigError(_told(where, text, {}, _misshapen(error, raw))) from error
    problems = problems_of(profile)
    if comparable(profile):
        problems += problems_between(profile.expanded())
    if problems:
        raise ConfigError(_told(where, text, _places(profile), [("", problem) for problem in problems]))
    return profile.expanded()


def _places(profile: Profile) -> dict[str, int]:
    """Name → number of its [[points]] table, for names as they stand and as they are written out."""
    places: dict[str, int] = {}
    for index, point in enumerate(profile.points):
        single = msgspec.structs.replace(profile, points=(point,))
        places[point.name] = index
        if (point.count or 1) <= MOST_POINTS:
            places |= dict.fromkeys((p.name for p in single.expanded().points), index)
    return places


def _told(where: str, text: str, places: dict[str, int], problems: list[tuple[str, str]]) -> str:
    """The problems with their lines. Each is (key, sentence); without a key the sentence begins with it."""
    lines = TomlLines(text)
    told: list[str] = []
    for key, sentence in problems:
        line = lines.nearest(key or _key_of(sentence, places))
        told.append(f"{where}:{line}: {sentence}" if line else f"{where}: {sentence}")
    return "\n".join(told)


def _key_of(sentence: str, places: dict[str, int]) -> str:
    """`air_temp_c: write.low: is ...` is about `points[3].write.low`."""
    name, _, rest = sentence.partition(": ")
    prefix = f"points[{places[name]}]." if name in places else ""
    found = re.match(r"[a-z_]+(\.[a-z_]+)*", rest if prefix else sentence)
    return (prefix + (found[0] if found else "")).rstrip(".")


def _misshapen(error: msgspec.ValidationError, raw: dict[str, Any]) -> list[tuple[str, str]]:
    """What has the wrong shape. msgspec says `$.points[...]`, so the tables are tried one by one."""
    tables = raw.get("points")
    for index, table in enumerate(tables if isinstance(tables, list) else []):
        try:
            msgspec.convert(table, Point)
        except msgspec.ValidationError as found:
            name = table.get("name", f"point {index + 1}") if isinstance(table, dict) else "points"
            key, text = _field(str(found))
            return [(f"points[{index}].{key}".rstrip("."), f"{name}: {text}")]
    return [_field(str(error))]


def _field(text: str) -> tuple[str, str]:
    """(dotted key, sentence) of msgspec's "... - at `$.write.low`"."""
    at = re.search(r" - at `\$\.?([^`]*)`$", text)
    key, sentence = (at[1], text[: at.start()]) if at else ("", text)
    key = key.replace("[...]", "")
    unknown = re.search(r"unknown field `([^`]+)`", sentence)
    missing = re.search(r"missing required field `([^`]+)`", sentence)
    field = unknown or missing
    if field is not None:
        key = f"{key}.{field[1]}".lstrip(".")
        sentence = "unknown key" if unknown else "is missing"
    sentence = with_words(sentence, key, Strict.__subclasses__())
    return key, f"{key}: {sentence}".lstrip(": ")


def profile_of(entry: DeviceEntry, protocol: str) -> Profile:
    """The profile that a site file's entry names; `protocol` is for the words.

    Raises `ConfigError` where it names none, one of another kind, or a unit that it cannot have.
    """
    if entry.profile is None:
        raise ConfigError(f"device {entry.id}: a {protocol} device needs a profile")
    profile = load_profile(entry.profile)
    if profile.kind is not entry.kind:
        raise ConfigError(
            f"device {entry.id}: profile {entry.profile} is a {profile.kind}, not a {entry.kind}"
        )
    why = profile.unit_problem(entry.unit_id)
    if why is not None:
        raise ConfigError(f"device {entry.id}: {why}")
    return profile
