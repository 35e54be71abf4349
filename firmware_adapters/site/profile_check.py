"""Whether a profile makes sense: every rule with a sentence that says what is expected (pure)."""

import math

from firmware_adapters.site.codec import DataType
from firmware_adapters.site.profile_check_bacnet import check_bacnet_point, check_bacnet_rules
from firmware_adapters.site.profile_check_snmp import check_sensors, check_snmp_point
from firmware_adapters.site.profile_shape import LEAVE, SCHEMA, Point, Profile, Watchdog, WriteRule
from firmware_adapters.transport.modbus_plan import Table
from shared.telemetry import METRICS, Metric, metric_of

LEAST_REASON = 10
"""Characters; "yes" is no reason."""


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
    if profile.bacnet is not None:
        problems += [f"bacnet.{text}" for text in check_bacnet_rules(profile.bacnet)]
    if not profile.points and table is None:
        problems.append("points: a profile needs at least one [[points]]")
    if not profile.source.strip():
        problems.append("source: say where the numbers come from")
    for point in profile.points:
        problems += [f"{point.name}: {text}" for text in _check_point(point)]
        problems += [f"{point.name}: {text}" for text in _check_address(profile, point)]
    if profile.watchdog is not None:
        problems += [f"watchdog.{text}" for text in _check_watchdog(profile, profile.watchdog)]
    return problems


def _check_point(point: Point) -> list[str]:
    problems: list[str] = []
    try:
        metric = metric_of(point.name)
    except KeyError:
        return [f"unknown metric; known are {', '.join(METRICS)}"]
    if point.unit != metric.unit:
        problems.append(f"unit: is {point.unit!r}, this metric is in {metric.unit.value!r}")
    if point.scale == 0:
        problems.append("scale: must not be 0")
    if not point.is_flag:
        if point.low is None or point.high is None:
            problems.append("low and high: plausibility limits are mandatory and have no default")
        elif not metric.low <= point.low < point.high <= metric.high:
            problems.append(f"low, high: expected {metric.low:g} <= low < high <= {metric.high:g}")
    if point.count is not None and ("{n}" not in point.name or point.count < 1):
        problems.append("count: needs {n} in the name and at least 1")
    if point.write is not None:
        problems += _check_write(point.write, metric)
    return problems


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


def _check_watchdog(profile: Profile, dog: Watchdog) -> list[str]:
    problems: list[str] = []
    if profile.modbus is None:
        return ["address: a time-out register needs [modbus]"]
    if dog.type is DataType.BOOL or dog.scale <= 0:
        problems.append("type, scale: expected a number type and a scale above 0")
    if not (math.isfinite(dog.high) and 0 < dog.low < dog.high):
        problems.append("low, high: expected 0 < low < high, in s")
    registers = [dog.address, *(step.address for step in dog.keep_alive)]
    registers += [dog.action.address] if dog.action else []
    if not all(0 <= address <= 0xFFFF for address in registers):
        problems.append("address: expected 0 to 65535 (zero-based PDU address)")
    target = profile.point(dog.point)
    if target is None or target.write is None or target.write.falls_to is None:
        problems.append(
            f"point: {dog.point!r} must be a writable point with a fail-safe value; a time-out that drives "
            "nothing to its safe side protects nobody"
        )
    return problems


def _check_address(profile: Profile, point: Point) -> list[str]:
    if profile.modbus is not None:
        return _check_modbus(point)
    return check_snmp_point(point) if profile.snmp is not None else check_bacnet_point(point)


def _check_modbus(point: Point) -> list[str]:
    problems: list[str] = []
    foreign = point.oid is not None or point.digits_oid is not None or point.object is not None
    if point.table is None or point.address is None or point.type is None or foreign:
        return ["a Modbus point needs table, address and type, and no oid or object"]
    if not 0 <= point.address <= 0xFFFF:
        problems.append("address: expected 0 to 65535 (zero-based PDU address)")
    if (point.type is DataType.BOOL) != point.is_flag and not point.values:
        problems.append("type bool and unit 0/1 belong together")
    if point.table.is_bits and point.type is not DataType.BOOL:
        problems.append("type: coils and discrete inputs are bool")
    needs_bit = point.type is DataType.BOOL and not point.table.is_bits
    if needs_bit != (point.bit is not None) or not 0 <= (point.bit or 0) <= 15:
        problems.append("bit: 0 to 15, for a bool in a register and nowhere else")
    if point.write is not None and point.table not in (Table.COIL, Table.HOLDING):
        problems.append("write: only coils and holding registers can be written")
    if point.write is not None and point.bit is not None:
        problems.append("write: a single bit of a register cannot be written safely")
    if point.write is not None and (point.write.oid is not None or point.write.oids or point.write.values):
        problems.append("write: oid, oids and values are for SNMP")
    return problems


def repeated_names(profile: Profile) -> list[str]:
    """Names that stand twice once every `{n}` is written out."""
    seen: set[str] = set()
    problems: list[str] = []
    for point in profile.points:
        if point.name in seen:
            problems.append(f"{point.name}: is listed twice")
        seen.add(point.name)
    return problems
