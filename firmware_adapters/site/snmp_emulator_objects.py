"""What an emulated agent shows for a profile's points, and what a SET to it means (pure)."""

from collections.abc import Mapping

from firmware_adapters.site.codec import to_raw
from firmware_adapters.site.profile_shape import Point, Profile, SensorTable
from firmware_adapters.transport.snmp_message import ErrorStatus, Value, VarBind

DIGITS = 2
"""Decimal digits that an agent with a column for them gives each number."""
NOT_PENDING = -1
"""What a command object shows where each value has one of its own."""
UNITS, MILLI = 0, -3


def objects_of(profile: Profile, values: Mapping[str, float]) -> dict[str, Value]:
    """The agent's objects while the machine has these points, in the profile's units."""
    objects: dict[str, Value] = {}
    for point in profile.points:
        if point.name not in values or point.oid is None:
            continue
        value = values[point.name]
        objects[point.oid] = _raw(point, value)
        if point.where_oid is not None:
            objects[point.where_oid] = point.where[0]
        if point.digits_oid is not None:
            objects[point.digits_oid] = DIGITS
        if point.write is None:
            continue
        for oid in point.write.oids.values():
            objects[oid] = NOT_PENDING
        if point.write.oid is not None:
            objects[point.write.oid] = point.write.values.get(f"{value:g}", objects[point.oid])
    if profile.snmp is not None and profile.snmp.sensors is not None:
        objects |= _rows(profile.snmp.sensors, values)
    return objects


def _raw(point: Point, value: float) -> int:
    for raw, meaning in point.values.items():
        if meaning == value:
            return int(raw)
    number = to_raw(value, scale=point.scale, offset=point.offset)
    return round(number * 10**DIGITS) if point.digits_oid is not None else round(number)


def _rows(table: SensorTable, values: Mapping[str, float]) -> dict[str, Value]:
    """One row per point `metric.index`: even rows in units with a decimal, odd ones in thousandths."""
    codes = {exponent: int(code) for code, exponent in table.exponents.items()}
    by_metric = {found.metric: found for found in table.metrics}
    objects: dict[str, Value] = {}
    for name, value in values.items():
        metric, _, index = name.partition(".")
        if metric not in by_metric or not index.isdigit():
            continue
        kind = by_metric[metric]
        thousandths = int(index) % 2 == 1
        objects[f"{table.type}.{index}"] = kind.type
        objects[f"{table.exponent}.{index}"] = codes[MILLI if thousandths else UNITS]
        objects[f"{table.digits}.{index}"] = 0 if thousandths else 1
        objects[f"{table.value}.{index}"] = round(value / kind.scale * (1000 if thousandths else 10))
        objects[f"{table.status}.{index}"] = table.working[0]
    return objects


class Commands:
    """The command objects of a profile, and what an integer written to one of them means."""

    def __init__(self, profile: Profile) -> None:
        self._meaning: dict[str, tuple[Point, dict[int, float]]] = {}
        for point in profile.writable:
            rule = point.write
            if rule is None:
                continue
            for value, oid in rule.oids.items():
                self._meaning[oid] = (point, {rule.values[value]: float(value)})
            one = None if rule.oids else rule.oid or point.oid
            if one is not None:
                self._meaning[one] = (point, {raw: float(value) for value, raw in rule.values.items()})

    def meaning(self, bind: VarBind, present: Mapping[str, float]) -> tuple[str, float] | ErrorStatus:
        """The point and its new value, or why the agent refuses."""
        point, meanings = self._meaning.get(bind.oid, (None, {}))
        if point is None or point.name not in present:
            return ErrorStatus.NOT_WRITABLE
        if not isinstance(bind.value, int):
            return ErrorStatus.WRONG_TYPE
        if bind.value not in meanings:
            return ErrorStatus.WRONG_VALUE
        return point.name, meanings[bind.value]
