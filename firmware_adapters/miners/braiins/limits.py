"""Braiins OS pages → what the machine was told to hold, and what it may be told.

Pure; raises nothing but `MalformedReply`.
"""

import msgspec

from firmware_adapters.miners.braiins.parse import degrees
from firmware_adapters.miners.fields import Object, amount, as_page, child, number


def power_target_w(body: object) -> float | None:
    """The watts that the tuner really holds now (`performance/tuner-state`), which its own scaling may have
    lowered; None in another mode. Raises `MalformedReply` if it is no object."""
    modes = child(as_page(body, "performance/tuner-state"), "mode_state") or {}
    targets = (amount(child(modes, key), "current_target", "watt") for key in modes)
    return next((watts for watts in targets if watts is not None), None)


def target_c(body: object) -> float | None:
    """The temperature that the fans were told to hold (`configuration/miner`), °C; None in another mode.

    Raises `MalformedReply` if it is no object.
    """
    page = as_page(body, "configuration/miner")
    return degrees(child(page, "temperature", "auto", "target_temperature"))


def api_major(body: object) -> int | None:
    """The major number of `version`: what it says of the API as a whole."""
    major = number(as_page(body, "version"), "major")
    return int(major) if major is not None else None


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What this machine takes, from `configuration/constraints`; None where it does not say."""

    power_w: tuple[float, float] | None = None
    target_c: tuple[float, float] | None = None
    default_target_c: float | None = None
    fan_pct: tuple[float, float] | None = None


def limits(body: object) -> Limits:
    """Read `configuration/constraints`. Raises `MalformedReply` if it is no object."""
    page = as_page(body, "configuration/constraints")
    cool = child(page, "cooling_constraints")
    ratio = child(cool, "fan_speed_ratio")
    low, high = amount(ratio, "min"), amount(ratio, "max")
    return Limits(
        power_w=_span(child(page, "tuner_constraints", "power_target"), "watt"),
        target_c=_span(child(cool, "target_temperature"), "degree_c"),
        default_target_c=degrees(child(cool, "target_temperature", "default")),
        fan_pct=(low * 100, high * 100) if low is not None and high is not None and low < high <= 1 else None,
    )


def _span(constraint: Object | None, unit: str) -> tuple[float, float] | None:
    low, high = amount(constraint, "min", unit), amount(constraint, "max", unit)
    return (low, high) if low is not None and high is not None and low < high else None
