"""Whether a profile makes sense: every rule with a sentence that says what is expected (pure)."""

import difflib
import math
import re

from firmware_adapters.site.profile_check_bacnet import check_bacnet_point, check_bacnet_rules
from firmware_adapters.site.profile_check_modbus import (
    check_modbus_point,
    check_modbus_rules,
    check_registers,
    check_watchdog,
)
from firmware_adapters.site.profile_check_snmp import check_sensors, check_snmp_point
from firmware_adapters.site.profile_shape import LEAVE, SCHEMA, Point, Profile, WriteRule
from shared.telemetry import METRICS, DeviceKind, Metric, metric_of

_WHOLE = re.compile(r"0|-?[1-9]\d*")
LEAST_REASON = 10
"""Characters; "yes" is no reason."""
MOST_POINTS = 1000
"""Of one `{n}`; far beyond any device, and a slip of the finger costs no memory."""


def problems_of(profile: Profile) -> list[str]:
    """Everything that is wrong with a profile, one sentence each; empty when it is sound."""
    problems: list[str] = []
    if profile.schema != SCHEMA:
        problems.append(f"schema: is {profile.schema}, this version reads {SCHEMA}")
    spoken = [rules for rules in (profile.modbus, profile.snmp, profile.bacnet) if rules is not None]
    if len(spoken) != 1:
        problems.append("exactly one of [modbus], [snmp] and [bacnet] says how the device is spoken to")
    table = profile.snmp.sensors if profile.snmp is not None else None
    if table is not None:
        problems += [f"snmp.sensors: {text}" for text in check_sensors(table)]
    if profile.modbus is not None:
        problems += [f"modbus.{text}" for text in check_modbus_rules(profile.modbus)]
    if profile.bacnet is not None:
        problems += [f"bacnet.{text}" for text in check_bacnet_rules(profile.bacnet)]
    if not profile.points and table is None:
        problems.append("points: a profile needs at least one [[points]]")
    if not profile.source.strip():
        problems.append("source: say where the numbers come from")
    problems += _check_advice(profile)
    problems += _check_reason(profile)
    for point in profile.points:
        problems += [f"{point.name}: {text}" for text in _check_point(point)]
        problems += [f"{point.name}: {text}" for text in _check_address(profile, point)]
    if profile.watchdog is not None:
        problems += [f"watchdog.{text}" for text in check_watchdog(profile, profile.watchdog)]
    return problems


def _check_advice(profile: Profile) -> list[str]:
    """A sensor's interval and retention depend on what it measures, so its profile says them."""
    problems: list[str] = []
    words = {
        "interval_s": "how often its values are worth reading, in s",
        "retention_days": "for how many days its values are worth keeping one by one",
    }
    for key, meaning in words.items():
        told = getattr(profile, key)
        if told is None and profile.kind is DeviceKind.PROBE:
            problems.append(f"{key}: is missing; a sensor's profile says {meaning}")
        elif told is not None and not 0 < told < math.inf:
            problems.append(f"{key}: expected above 0")
    return problems


def _check_reason(profile: Profile) -> list[str]:
    """A drive without a time-out keeps its last speed when the gateway dies: that is not left unsaid."""
    why = profile.no_watchdog_because.strip()
    if profile.watchdog is not None:
        return ["no_watchdog_because: there is a [watchdog], so leave it out"] if why else []
    if profile.kind is DeviceKind.DRIVE and len(why) < LEAST_REASON:
        return ["no_watchdog_because: is missing; a drive has a [watchdog], or this says why not"]
    return []


def _check_point(point: Point) -> list[str]:
    problems: list[str] = []
    try:
        metric = metric_of(point.name)
    except KeyError:
        return [f"unknown metric; {_known_instead(point.name)}"]
    if point.unit != metric.unit:
        problems.append(f"unit: is {point.unit!r}, this metric is in {metric.unit.value!r}")
    if point.scale == 0 or not (math.isfinite(point.scale) and math.isfinite(point.offset)):
        problems.append("scale, offset: must be finite, and scale must not be 0")
    if not point.is_flag:
        if point.low is None or point.high is None:
            problems.append("low and high: plausibility limits are mandatory and have no default")
        elif not metric.low <= point.low < point.high <= metric.high:
            problems.append(f"low, high: expected {metric.low:g} <= low < high <= {metric.high:g}")
    if point.count is not None and ("{n}" not in point.name or not 1 <= point.count <= MOST_POINTS):
        problems.append(f"count: needs {{n}} in the name, at least 1 and at most {MOST_POINTS}")
    problems += _check_values(point)
    if point.write is not None:
        problems += _check_write(point.write, metric)
        problems += _check_commands(point.write)
    return problems


def _check_values(point: Point) -> list[str]:
    """An enumeration that is read: its keys are looked up as the whole numbers that the device shows."""
    low, high = (0.0, 1.0) if point.is_flag else (point.low, point.high)
    problems: list[str] = []
    for key, value in point.values.items():
        if not _WHOLE.fullmatch(key):
            problems.append(f"values: {key!r} is not the whole number that the device shows, such as 1")
        if point.is_flag and value not in (0.0, 1.0):
            problems.append(f"values: {key} means {value:g}, and a flag is 0 or 1")
        elif low is not None and high is not None and not low <= value <= high:
            problems.append(f"values: {key} means {value:g}, outside low to high")
    return problems


def _check_commands(rule: WriteRule) -> list[str]:
    """The codes of what is written: a value is looked up as `{value:g}` writes it."""
    problems: list[str] = []
    for key in rule.values:
        number = _number(key)
        if number is None or f"{number + 0.0:g}" != key:  # -0 is written 0
            meant = "a number" if number is None else f"{number + 0.0:g}"
            problems.append(f"write.values: {key!r} is never looked up; expected {meant}")
        elif not rule.low <= number <= rule.high:
            problems.append(f"write.values: {key} lies outside what may be written")
    falls_to = rule.falls_to
    if rule.values and falls_to is not None and f"{falls_to:g}" not in rule.values:
        problems.append(f"write.values: has no code for {falls_to:g}, the fail-safe value")
    return problems


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _known_instead(name: str) -> str:
    close = difflib.get_close_matches(name.split(".")[0], METRICS, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(METRICS)}"


def _check_write(rule: WriteRule, metric: Metric) -> list[str]:
    problems: list[str] = []
    if not metric.low <= rule.low <= rule.high <= metric.high:
        problems.append(f"write: expected {metric.low:g} <= low <= high <= {metric.high:g}")
    if not (math.isfinite(rule.settle_s) and rule.settle_s >= 0):
        problems.append("write.settle_s: expected a finite number of seconds, 0 or more")
    match rule.fail_safe:
        case None:
            problems.append(
                "write.fail_safe: is missing; say which value is the safe side (cooling fails on, a heat "
                f'source fails off), or write fail_safe = "{LEAVE}" with leave_because = "the reason"'
            )
        case str() as word if word != LEAVE:
            problems.append(f'write.fail_safe: is {word!r}; expected a value in {metric.unit} or "{LEAVE}"')
        case str() if len(rule.leave_because.strip()) < LEAST_REASON:
            problems.append("write.leave_because: say why this actuator is safest left as it is")
        case str():
            pass
        case value if not rule.low <= value <= rule.high:
            problems.append("write.fail_safe: lies outside what may be written")
    if rule.leave_because and rule.fail_safe != LEAVE:
        problems.append(f'write.leave_because: is only for fail_safe = "{LEAVE}"')
    return problems


def _check_address(profile: Profile, point: Point) -> list[str]:
    if profile.modbus is not None:
        return check_modbus_point(point, profile.modbus)
    return check_snmp_point(point) if profile.snmp is not None else check_bacnet_point(point)


def comparable(profile: Profile) -> bool:
    """Whether its points can be written out and held against each other, whatever else is wrong with them."""
    return all(
        (point.count or 1) <= MOST_POINTS
        and (profile.modbus is None or None not in (point.table, point.address, point.type))
        for point in profile.points
    )


def problems_between(profile: Profile) -> list[str]:
    """What the points of an expanded profile have against each other: names and registers used twice."""
    seen: set[str] = set()
    problems: list[str] = []
    for point in profile.points:
        if point.name in seen:
            problems.append(f"{point.name}: is listed twice")
        seen.add(point.name)
    return problems + (check_registers(profile) if profile.modbus is not None else check_objects(profile))


def check_objects(profile: Profile) -> list[str]:
    """OIDs and BACnet objects that two points both read, or that two points both command."""
    problems: list[str] = []
    read: dict[str, Point] = {}
    commanded: dict[str, Point] = {}
    for point in profile.for_unit(1).points:
        place = point.oid or point.object or ""
        other = read.setdefault(place, point)
        if place and other is not point and not _may_share(point, other):
            problems.append(f"{point.name}: {'oid' if point.oid else 'object'}: is that of {other.name} too")
        for oid in _commands_of(point):
            other = commanded.setdefault(oid, point)
            if other is not point:
                problems.append(f"{point.name}: write: commands the same object as {other.name}")
        if point.sum_of is not None and not any(point.is_sum_with(part) for part in profile.points):
            problems.append(f"{point.name}: sum_of: the profile has no {point.sum_of}")
    return problems


def _commands_of(point: Point) -> set[str]:
    rule = point.write
    if rule is None:
        return set()
    return set(rule.oids.values()) or {rule.oid or point.oid or point.object or ""}


def _may_share(one: Point, other: Point) -> bool:
    """Flags may come out of one state, each by an enumeration of its own."""
    return one.is_flag and other.is_flag and one.values != other.values
