"""What a driver learns of one SNMP agent and keeps: which objects it has, decimals, rows of sensors (pure).

The number in an agent's object means nothing without the decimals that another object tells, and a row of a
sensor table nothing without its type: what could not be learnt makes the reading unknown, never a guess.
"""

from collections.abc import Iterable, Mapping

import msgspec

from firmware_adapters.site.codec import BAD, to_reading
from firmware_adapters.site.profile_shape import Point, Profile, SensorMetric, SensorTable
from firmware_adapters.transport.snmp import SnmpValue
from shared.telemetry import MISSING, Reading

MOST_DIGITS = 9
UPTIME = "1.3.6.1.2.1.1.3.0"
"""sysUpTime; it goes back when the agent starts anew and may number its rows in another way."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One usable row of a sensor table: a point, where its number lies, and how it is scaled."""

    name: str
    value_oid: str
    status_oid: str
    scale: float
    metric: SensorMetric


class Learnt(msgspec.Struct, frozen=True, kw_only=True):
    """The points that the agent has, decimals by OID, and rows."""

    points: tuple[Point, ...]
    digits: dict[str, int]
    rows: tuple[Row, ...]

    @property
    def oids(self) -> tuple[str, ...]:
        """What one read asks for."""
        return (*(point.oid for point in self.points if point.oid is not None), *self.beside)

    @property
    def beside(self) -> tuple[str, ...]:
        """What is asked for beside the profile's points: rows, and what tells that they may have changed."""
        rows = tuple(oid for row in self.rows for oid in (row.value_oid, row.status_oid))
        return (*rows, UPTIME) if rows or self.digits else ()


def present_points(
    profile: Profile, found: Mapping[str, SnmpValue], told: Mapping[str, SnmpValue]
) -> tuple[Point, ...]:
    """The profile's points without the optional ones that the agent lacks; `told` are the `where_oid`s.

    A sum is there where a part of it is, or where it is mandatory.
    """
    own = [point for point in profile.points if point.sum_of is None and _is_there(point, found, told)]
    return tuple(
        point
        for point in profile.points
        if point in own
        or (point.sum_of is not None and (not point.optional or any(map(point.is_sum_with, own))))
    )


def _is_there(point: Point, found: Mapping[str, SnmpValue], told: Mapping[str, SnmpValue]) -> bool:
    if point.where_oid is not None and told.get(point.where_oid) not in point.where:
        return False
    return not point.optional or point.oid in found


def whole_digits(found: Mapping[str, SnmpValue]) -> dict[str, int]:
    """The decimals that make sense, of those that the agent told."""
    return {
        oid: value for oid, value in found.items() if isinstance(value, int) and 0 <= value <= MOST_DIGITS
    }


def rows_of(
    table: SensorTable,
    types: Mapping[str, SnmpValue],
    exponents: Mapping[str, SnmpValue],
    digits: Mapping[str, SnmpValue],
) -> tuple[Row, ...]:
    """The rows that the profile has a metric for and that say how their number is scaled (RFC 3433)."""
    by_type = {found.type: found for found in table.metrics}
    rows: list[Row] = []
    for oid, kind in types.items():
        index = oid.removeprefix(table.type + ".")
        metric = by_type.get(kind) if isinstance(kind, int) else None
        exponent = table.exponents.get(str(exponents.get(f"{table.exponent}.{index}")))
        decimals = digits.get(f"{table.digits}.{index}")
        if metric is None or exponent is None or not index.isdigit() or not isinstance(decimals, int):
            continue
        # Negative precisions count significant digits of a number that has no decimals.
        power = exponent - min(max(decimals, 0), MOST_DIGITS)
        rows.append(
            Row(
                name=f"{metric.metric}.{index}",
                value_oid=f"{table.value}.{index}",
                status_oid=f"{table.status}.{index}",
                scale=metric.scale * 10.0**power,
                metric=metric,
            )
        )
    return tuple(rows)


def readings_of(
    learnt: Learnt, table: SensorTable | None, found: Mapping[str, SnmpValue]
) -> dict[str, Reading]:
    """What one answer says of everything that was learnt."""
    readings = {
        point.name: point_reading(point, found.get(point.oid or ""), learnt.digits)
        for point in learnt.points
        if point.sum_of is None
    }
    for point in learnt.points:
        if point.sum_of is not None:
            parts = [readings[part.name] for part in learnt.points if point.is_sum_with(part)]
            readings[point.name] = _sum(point, parts)
    if table is not None:
        readings |= {row.name: _row_reading(row, table, found) for row in learnt.rows}
    return readings


def _sum(point: Point, parts: Iterable[Reading]) -> Reading:
    """The total of all parts; unknown as its first unknown part is, for the rest of them is no total."""
    total: float | None = None
    for part in parts:
        if part.usable is None:
            return part
        total = part.usable + (total or 0.0)
    if total is None:
        return MISSING
    low, high = point.bounds
    return to_reading(total, scale=point.scale, offset=point.offset, low=low, high=high)


def point_reading(point: Point, value: SnmpValue | None, digits: Mapping[str, int]) -> Reading:
    """One object's value in the point's unit."""
    if value is None:
        return MISSING
    if not isinstance(value, int | float):
        return BAD
    scale = point.scale
    if point.digits_oid is not None:
        if point.digits_oid not in digits:
            return BAD
        scale /= 10 ** digits[point.digits_oid]
    low, high = point.bounds
    return to_reading(
        float(value),
        scale=scale,
        offset=point.offset,
        low=low,
        high=high,
        not_available=point.not_available,
        values=point.values,
    )


def _row_reading(row: Row, table: SensorTable, found: Mapping[str, SnmpValue]) -> Reading:
    value, status = found.get(row.value_oid), found.get(row.status_oid)
    if value is None or status in table.unavailable:
        return MISSING
    if status not in table.working or not isinstance(value, int | float):
        return BAD
    return to_reading(
        float(value),
        scale=row.scale,
        offset=0.0,
        low=row.metric.low,
        high=row.metric.high,
        not_available=table.not_available,
    )
