"""VNish preset pages → the ladder, and the preset that really runs.

Pure; raises nothing but `MalformedReply`.

Requested is not running: `/settings` may say 3160 while the switcher has stepped down to 2800, so only
`/perf-summary` is believed (miners.md §1.5-1.6).
"""

import re
from types import MappingProxyType

import msgspec

from firmware_adapters.miners.vnish.fields import Object, as_object, as_page, child, flag, text
from shared.capabilities import Preset
from shared.errors import MalformedReply

_WATTS = re.compile(r"(\d{2,6})\s*w(?:att)?\b", re.IGNORECASE | re.ASCII)
_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*([TGM])h", re.IGNORECASE | re.ASCII)
_RATE_TO_THS = MappingProxyType({"T": 1.0, "G": 1e-3, "M": 1e-6})


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """`/perf-summary`: the preset that really runs, and the switcher that may change it by itself."""

    preset: str | None
    preset_w: float | None
    switcher: Object | None


def running(body: object) -> Running:
    """Read `/perf-summary`. Raises `MalformedReply` if it is no object."""
    page = as_page(body, "/perf-summary")
    current = child(page, "current_preset")
    name = text(current, "name")
    return Running(
        preset=name,
        preset_w=preset_power_w(name, text(current, "pretty")) if name is not None else None,
        switcher=child(page, "preset_switcher"),
    )


def preset_power_w(name: str, pretty: str | None) -> float | None:
    """Rated watts of a preset: its name where that is a number, else the text for people."""
    if name.isascii() and name.isdigit() and len(name) <= 6:
        return float(name)
    match = _WATTS.search(pretty or "")
    return float(match.group(1)) if match else None


def presets(body: object) -> tuple[Preset, ...]:
    """The ladder of `/autotune/presets`, by power. Raises `MalformedReply` if it is no list.

    Left out is what is no rung: "disabled", and entries without a rated power or hashrate.
    """
    if not isinstance(body, list):
        raise MalformedReply("/autotune/presets: not a list")
    ladder: dict[str, Preset] = {}
    for item in body:
        rung = _rung(as_object(item))
        if rung is not None:
            ladder[rung.name] = rung
    return tuple(sorted(ladder.values(), key=lambda rung: rung.power_w))


def _rung(item: Object | None) -> Preset | None:
    name, pretty = text(item, "name"), text(item, "pretty") or ""
    if name is None or name == "disabled":
        return None
    power_w = preset_power_w(name, pretty)
    rate = _RATE.search(pretty)
    if power_w is None or rate is None:
        return None
    return Preset(
        name=name,
        power_w=power_w,
        hashrate_ths=float(rate.group(1)) * _RATE_TO_THS[rate.group(2).upper()],
        tuned=text(item, "status") == "tuned",
        needs_liquid=pretty.rstrip().endswith(" LC"),
        needs_modded_psu=flag(item, "modded_psu_required") is not False,
    )
