"""Cadences of groups of devices: whether each block names devices of this file, and waits that make sense."""

from edge_agent.config.structs import Cadence, SiteFile
from edge_agent.config.zone_checks import Problem
from shared.errors import ConfigError
from shared.ids import checked_id

MOST_FAST_S = 300.0
LEAST_SLOW_S, LEAST_RARE_S = 10.0, 60.0
"""Pages for people cost a control board far more than the two that control needs."""
MOST_S = 86_400.0


def check_cadences(site: SiteFile) -> list[Problem]:
    """What is wrong with `[[cadences]]`, as (dotted key, sentence)."""
    problems: list[Problem] = []
    names: set[str] = set()
    meant = {group.name for device in site.devices if (group := site.cadence_of(device)) is not None}
    for index, group in enumerate(site.cadences):
        key = f"cadences[{index}]"
        try:
            checked_id(group.name, "name of a cadence")
        except ConfigError as error:
            problems.append((f"{key}.name", str(error)))
        if group.name in names:
            problems.append((f"{key}.name", f"{group.name!r} is used twice"))
        elif group.name not in meant:
            text = "no device belongs to it, or each to a group before it; the first that fits counts"
            problems.append((key, text))
        names.add(group.name)
        problems += _check_names(site, group, key)
        problems += _check_waits(site, group, key)
    return problems


def _check_names(site: SiteFile, group: Cadence, key: str) -> list[Problem]:
    known = {
        "zones": ("zone", {str(zone.id) for zone in site.zones}),
        "adapters": ("device with adapter", {device.adapter for device in site.devices}),
        "devices": ("device", {str(device.id) for device in site.devices}),
    }
    return [
        (f"{key}.{name}", f"no {what} {one!r} in this file")
        for name, (what, there) in known.items()
        for one in getattr(group, name)
        if one not in there
    ]


def _check_waits(site: SiteFile, group: Cadence, key: str) -> list[Problem]:
    problems: list[Problem] = []
    stale_s = site.timing.stale_after_s
    if group.fast_s is not None and not (0 < group.fast_s < stale_s and group.fast_s <= MOST_FAST_S):
        expected = f"above 0 and below timing.stale_after_s, at most {MOST_FAST_S:g} s"
        problems.append((f"{key}.fast_s", f"is {group.fast_s:g}, expected {expected}"))
    for name, least_s in (("slow_s", LEAST_SLOW_S), ("rare_s", LEAST_RARE_S)):
        wait_s = getattr(group, name)
        if not least_s <= wait_s <= MOST_S:
            problems.append((f"{key}.{name}", f"is {wait_s:g}, expected {least_s:g} to {MOST_S:g} s"))
    if group.rare_s < group.slow_s:
        problems.append((f"{key}.rare_s", "must not be shorter than slow_s"))
    return problems
