"""Racks: whether devices fit into them, and where in the room that puts each.

A file without `[[racks]]` may still name racks and slots; they are labels then, and only a slot that is given
away twice is refused.
"""

import difflib
import math

import msgspec

from edge_agent.config.structs import Rack, SiteFile
from edge_agent.config.zone_checks import Problem
from shared.inventory import DeviceEntry

Position = tuple[float, float, float]

_MOST_ROWS, _MOST_SLOTS = 100, 500
_WIDEST_M = 5.0
"""Between two neighbours; more is a slip of the finger, in cm or mm perhaps."""
_LONGEST_ID = 63
_ALONG = {"x": (1, 0), "-x": (-1, 0), "y": (0, 1), "-y": (0, -1)}


def check_racks(site: SiteFile) -> list[Problem]:
    """What is wrong with racks and with the places that devices name in them, as (dotted key, sentence)."""
    problems: list[Problem] = []
    seen: set[str] = set()
    for index, rack in enumerate(site.racks):
        key = f"racks[{index}]"
        problems += _check_rack(site, rack, key)
        if rack.id in seen:
            problems.append((f"{key}.id", f"rack {rack.id!r} is listed twice"))
        seen.add(rack.id)
    taken: dict[tuple[str, str, int], str] = {}
    racks = {rack.id: rack for rack in site.racks}
    for index, device in enumerate(site.devices):
        key = f"devices[{index}]"
        problems += _check_place(device, racks, key)
        if device.rack is None or device.slot is None:
            continue
        place = ("" if racks else device.zone, device.rack, device.slot)
        if place in taken:
            text = (
                f"{device.slot} of rack {device.rack!r} is taken by {taken[place]!r}; two cannot stand there"
            )
            problems.append((f"{key}.slot", text))
        taken.setdefault(place, device.id)
    return problems


def _check_rack(site: SiteFile, rack: Rack, key: str) -> list[Problem]:
    problems: list[Problem] = []
    if not 1 <= len(rack.id) <= _LONGEST_ID:
        problems.append((f"{key}.id", f"expected 1 to {_LONGEST_ID} characters"))
    if rack.zone not in {zone.id for zone in site.zones}:
        problems.append((f"{key}.zone", f"no zone {rack.zone!r} in this file"))
    if not all(math.isfinite(value) for value in rack.position):
        problems.append((f"{key}.position", "expected three finite numbers x, y, z in m"))
    for name, most in (("rows", _MOST_ROWS), ("slots", _MOST_SLOTS)):
        if not 1 <= getattr(rack, name) <= most:
            problems.append((f"{key}.{name}", f"is {getattr(rack, name)}, expected 1 to {most}"))
    for name in ("slot_m", "row_m"):
        if not 0 < getattr(rack, name) <= _WIDEST_M:  # also true of NaN
            text = f"is {getattr(rack, name):g}, expected above 0 and at most {_WIDEST_M:g} m"
            problems.append((f"{key}.{name}", text))
    return problems


def _check_place(device: DeviceEntry, racks: dict[str, Rack], key: str) -> list[Problem]:
    if not racks:
        return []
    if device.rack is None:
        if device.slot is None:
            return []
        return [(f"{key}.slot", "is in no rack: name the rack as well")]
    rack = racks.get(device.rack)
    if rack is None:
        close = difflib.get_close_matches(device.rack, racks, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"this file has {', '.join(sorted(racks))}"
        return [(f"{key}.rack", f"no rack {device.rack!r} in this file; {hint}")]
    problems: list[Problem] = []
    if rack.zone != device.zone:
        text = f"{device.rack!r} stands in zone {rack.zone!r}, the device in {device.zone!r}"
        problems.append((f"{key}.rack", text))
    if device.slot is not None and not 1 <= device.slot <= rack.rows * rack.slots:
        text = f"is {device.slot}, rack {rack.id!r} has slots 1 to {rack.rows * rack.slots}"
        problems.append((f"{key}.slot", text))
    return problems


def placed(site: SiteFile) -> tuple[DeviceEntry, ...]:
    """The devices of a checked file, each with its position (m) where it or its slot has one."""
    racks = {rack.id: rack for rack in site.racks}
    found = []
    for device in site.devices:
        rack = racks.get(device.rack or "")
        if device.position is None and rack is not None and device.slot is not None:
            found.append(msgspec.structs.replace(device, position=position_of(rack, device.slot)))
        else:
            found.append(device)
    return tuple(found)


def position_of(rack: Rack, slot: int) -> Position:
    """Where a slot of the rack is: x, y, z in m, to the millimetre."""
    row, column = divmod(slot - 1, rack.slots)
    east, north = _ALONG[rack.along]
    x, y, z = rack.position
    return (
        round(x + east * column * rack.slot_m, 3),
        round(y + north * column * rack.slot_m, 3),
        round(z + row * rack.row_m, 3),
    )
