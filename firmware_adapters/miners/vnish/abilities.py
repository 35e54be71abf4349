"""What this one machine can do: `profiles.toml`, its firmware's version, and what it tells of itself. Pure.

A firmware that may not be commanded (`identify.Trust`) is declared with what reads and nothing that writes.
"""

import tomllib
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources

import msgspec

from firmware_adapters.capabilities import WRITES
from firmware_adapters.miners.vnish.fields import Object, amount, as_object, child, text
from firmware_adapters.miners.vnish.versions import Firmware, firmware
from shared.capabilities import Ability, Capability, Preset

NEWEST = firmware("Vnish", "1.3.5")
_BY_LADDER = (Ability.PRESET_LIST, Ability.PRESET, Ability.PRESET_SWITCHER, Ability.POWER_LIMIT)
_BY_FANS = (Ability.FAN_MODE, Ability.COOLING_TARGET)
_BY_LIMITS = (*_BY_FANS, Ability.POWER_LIMIT)


class Entry(Capability, frozen=True, kw_only=True):
    """One entry of `profiles.toml`: an ability, and the versions that have it."""

    since: str = ""
    before: str = ""

    def in_version(self, found: Firmware) -> bool:
        """Whether that firmware has it; one that tells no version has what has no beginning."""
        if self.since and not found.since(*_number(self.since)):
            return False
        return not self.before or not found.since(*_number(self.before))


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What `/model` says of a machine's own limits; None where it does not."""

    target_low_c: float | None = None
    target_high_c: float | None = None
    duty_low_pct: float | None = None
    power_limit_high_w: float | None = None
    """The highest watt limit that it takes; only firmware that has such a limit tells one."""


def limits(body: object) -> Limits:
    """Read `/model`; anything else is a machine without known limits."""
    page = as_object(body)
    cooling = child(page, "cooling")
    return Limits(
        target_low_c=amount(cooling, "min_target_temp"),
        target_high_c=amount(cooling, "max_target_temp"),
        duty_low_pct=amount(cooling, "min_fan_pwm"),
        power_limit_high_w=amount(child(page, "overclock"), "max_power_limit") or None,
    )


class ModelPage(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of `/model`, per machine: the page itself would be 4 kB."""

    name: str | None = None
    serial: str | None = None
    limits: Limits = Limits()


def model_page(body: Object) -> ModelPage:
    """Read `/model`."""
    return ModelPage(name=text(body, "full_name"), serial=text(body, "serial"), limits=limits(body))


@lru_cache(maxsize=1)
def profile() -> tuple[Entry, ...]:
    """The entries of `profiles.toml`."""
    text = resources.files(__package__).joinpath("profiles.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text)["capability"], tuple[Entry, ...], strict=True)


@lru_cache(maxsize=64)
def capabilities(found: Firmware = NEWEST) -> tuple[Capability, ...]:
    """What a firmware can do at best, whatever the machine."""
    return tuple(_plain(entry) for entry in profile() if entry.in_version(found))


def capability(ability: Ability, found: Firmware, *, trusted: bool) -> Capability | None:
    """One ability of a firmware that may be used; None where it has it not, or may not be commanded."""
    if ability in WRITES and not trusted:
        return None
    return next((one for one in capabilities(found) if one.ability is ability), None)


def declared(
    found: Firmware, own: Limits | None, ladder: Sequence[Preset], *, immersed: bool | None, trusted: bool
) -> tuple[Capability, ...]:
    """What one machine can do. `ladder` empty: not known, so nothing that needs one.

    `own` None: its limits are not known either, so nothing whose span they are.
    """
    limits_known, own = own is not None, own or Limits()
    tuned_w = [rung.power_w for rung in ladder if rung.tuned]
    told: list[Capability] = []
    for one in profile():
        if one.ability in _BY_LIMITS and not limits_known:
            continue
        if one.ability is Ability.POWER_LIMIT:
            # The machine's word counts here, not its version: only firmware with a limit tells its highest.
            if (own.power_limit_high_w is None) != (one.closed_loop is False):
                continue
        elif not one.in_version(found):
            continue
        if one.ability in WRITES and not trusted:
            continue
        if one.ability in _BY_LADDER and not ladder:
            continue
        if one.ability in _BY_FANS and immersed:
            continue
        if one.ability is Ability.POWER_LIMIT:
            high_w = own.power_limit_high_w or max(tuned_w, default=0.0)
            if tuned_w and min(tuned_w) <= high_w:
                told.append(msgspec.structs.replace(_plain(one), low=min(tuned_w), high=high_w))
        else:
            told.append(fitted(_plain(one), own))
    return tuple(told)


def fitted(one: Capability, own: Limits) -> Capability:
    """The ability with this machine's own bounds, as far as it tells them."""
    if one.ability is Ability.COOLING_TARGET:
        return _between(one, own.target_low_c, own.target_high_c)
    if one.ability is Ability.FAN_MODE:
        return _between(one, own.duty_low_pct, None)
    return one


def _between(one: Capability, low: float | None, high: float | None) -> Capability:
    low, high = one.low if low is None else low, one.high if high is None else high
    if low is None or high is None or low > high:
        return one
    return msgspec.structs.replace(one, low=low, high=high)


def _plain(entry: Entry) -> Capability:
    return Capability(**{name: getattr(entry, name) for name in Capability.__struct_fields__})


@lru_cache
def _number(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))
