"""Whether the SNMP part of a profile makes sense (pure); see `profile_check`."""

import re

from firmware_adapters.site.profile_shape import Point, SensorTable
from shared.telemetry import METRICS

_OID = re.compile(r"1\.3(\.(\d+|\{n\}|\{u\}))*")


def check_snmp_point(point: Point) -> list[str]:
    """What is wrong with one point's addressing and coding, one sentence each."""
    problems: list[str] = []
    if point.sum_of is not None:
        return _check_sum(point)
    if point.oid is None or point.table is not None or point.address is not None or point.object is not None:
        return ["an SNMP point needs an oid, and no table, address or object"]
    rule = point.write
    named = [("oid", point.oid), ("digits_oid", point.digits_oid)]
    named += [("where_oid", point.where_oid)]
    named += [("write.oid", rule.oid)] if rule is not None else []
    named += [(f"write.oids.{value}", oid) for value, oid in rule.oids.items()] if rule is not None else []
    for key, oid in named:
        if oid is not None and not _OID.fullmatch(oid):
            problems.append(f"{key}: expected a numeric OID such as 1.3.6.1.4.1.318, found {oid!r}")
        if oid is not None and ("{n}" in oid) != (point.count is not None):
            problems.append(f"{key}: {{n}} and count belong together")
        if oid is not None and ("{u}" in oid) != point.is_per_unit:
            problems.append(f"{key}: {{u}} stands in all OIDs of a point or in none")
    if (point.where_oid is None) != (not point.where) or (point.where and not point.optional):
        problems.append("where_oid: needs where, the numbers that it may hold, and optional = true")
    if point.first < 1:
        problems.append("first: numbers in names begin at 1 or above")
    if point.is_flag and not point.values:
        problems.append("values: a flag read over SNMP needs the integers that mean 0 and 1")
    if rule is not None and not rule.values:
        problems.append("write.values: say which integer commands which value")
    if rule is not None and rule.oids and (rule.oid is not None or set(rule.oids) != set(rule.values)):
        problems.append("write.oids: one command object for each of write.values, and no write.oid")
    return problems


def _check_sum(point: Point) -> list[str]:
    problems: list[str] = []
    oids = (point.oid, point.digits_oid, point.where_oid)
    places = (*oids, point.object, point.table, point.address, point.write)
    if any(each is not None for each in places) or point.values or point.count is not None or point.is_flag:
        problems.append("sum_of: is added up here, so nothing says where it is read, counted or written")
    metric = METRICS.get(point.sum_of or "")
    if metric is None:
        problems.append(f"sum_of: unknown metric {point.sum_of!r}")
    elif metric.unit != point.unit:
        problems.append(f"sum_of: {point.sum_of} is in {metric.unit.value!r}, not in {point.unit!r}")
    if point.name.partition(".")[0] == point.sum_of:
        problems.append("sum_of: is a part of itself")
    return problems


def check_sensors(table: SensorTable) -> list[str]:
    """What is wrong with a table of sensors, one sentence each."""
    problems: list[str] = []
    for key in ("type", "exponent", "digits", "value", "status"):
        oid = getattr(table, key)
        if not re.fullmatch(r"1\.3(\.\d+)*", oid):
            problems.append(f"{key}: expected the numeric OID of a column, found {oid!r}")
    if not 1 <= table.max_rows <= 1000:
        problems.append("max_rows: expected 1 to 1000")
    if not table.metrics or not table.working or not table.exponents:
        problems.append("metrics, working and exponents: each needs at least one entry")
    types = [found.type for found in table.metrics]
    if len(types) != len(set(types)):
        problems.append("metrics: a type is listed twice")
    for found in table.metrics:
        metric = METRICS.get(found.metric)
        if metric is None:
            problems.append(f"metrics: unknown metric {found.metric!r}")
        elif found.unit != metric.unit:
            problems.append(f"metrics: {found.metric} is in {metric.unit.value!r}, not in {found.unit!r}")
        elif not metric.low <= found.low < found.high <= metric.high:
            problems.append(f"metrics: {found.metric}: {metric.low:g} <= low < high <= {metric.high:g}")
        if found.scale == 0:
            problems.append(f"metrics: {found.metric}: scale must not be 0")
    return problems
