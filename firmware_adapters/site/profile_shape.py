"""What a device profile says, as frozen structs: `profile` reads them, `profile_check` judges them."""

from typing import Self

import msgspec

from firmware_adapters.site.codec import DataType
from firmware_adapters.site.profile_rules import (
    BacnetRules,
    ModbusRules,
    SensorMetric,
    SensorTable,
    SnmpRules,
    Step,
    Strict,
    SunSpec,
)
from firmware_adapters.transport.modbus_plan import Span, Table
from shared.telemetry import DeviceKind
from shared.units import Unit

__all__ = [
    "LEAVE",
    "SCHEMA",
    "BacnetRules",
    "ModbusRules",
    "Point",
    "Profile",
    "SensorMetric",
    "SensorTable",
    "SnmpRules",
    "Step",
    "SunSpec",
    "Watchdog",
    "WriteRule",
]

SCHEMA = 1


LEAVE = "leave"
"""The fail-safe word of an actuator that is safest untouched, such as a PDU's outlet."""


class WriteRule(Strict, frozen=True, kw_only=True):
    """How a point is written, in the point's own unit.

    `low`/`high` bound what may be written at all, `settle_s` is how long the change takes to show.
    `fail_safe` is the side to fall to (S11: cooling fails on, heat sources fail off), or "leave" with the
    reason in `leave_because`; it has no default. Modbus: `multiple` asks for FC16 even for one register,
    `then` are registers written afterwards, `first` those written before it; with the flag `first_unless`
    only where that flag is known to read 0 (a drive that stands needs the edge that starts it, and one that
    runs, or may run, must not be stopped by it). SNMP: `oid` is the command object where it is not the one
    read, or `oids` where each value has a command object of its own; `values` maps the point's value, as
    `{value:g}` writes it, to the integer that commands it.
    """

    low: float
    high: float
    settle_s: float
    fail_safe: float | str | None = None
    leave_because: str = ""
    multiple: bool = False
    then: tuple[Step, ...] = ()
    first: tuple[Step, ...] = ()
    first_unless: str = ""
    oid: str | None = None
    oids: dict[str, str] = {}
    values: dict[str, int] = {}

    @property
    def falls_to(self) -> float | None:
        """The value of the safe side; None where the actuator is left as it is."""
        return self.fail_safe if isinstance(self.fail_safe, float) else None


class Point(Strict, frozen=True, kw_only=True):
    """One value: a Modbus address (`table`, `address`, `type`), an SNMP `oid` or a BACnet `object`.

    Value = raw x `scale` + `offset`, in `unit`; outside `low`..`high` it cannot be true. `{n}` in name and
    OID counts from 1 to `count`; consecutive Modbus points lie `stride` registers apart. Where the device
    itself says by which power of ten to multiply (SunSpec), `scale_register` is the register of the same
    table that says so, and it is read with the value. An `optional`
    point is left out where the device does not have it; a mandatory one is then reported as missing.

    SNMP only: with `where_oid` an optional point is there only where that object, read when the agent is
    learnt, holds one of `where`. A total that the agent does not tell is `sum_of` the metric whose points
    it has, and unknown while one of them is.
    """

    name: str
    unit: str
    low: float | None = None
    high: float | None = None
    scale: float = 1.0
    offset: float = 0.0
    not_available: tuple[float, ...] = ()
    values: dict[str, float] = {}
    invert: bool = False
    optional: bool = False
    count: int | None = None
    stride: int | None = None
    table: Table | None = None
    address: int | None = None
    type: DataType | None = None
    bit: int | None = None
    scale_register: int | None = None
    oid: str | None = None
    digits_oid: str | None = None
    """SNMP: where the agent says by which power of ten the number is to be divided."""
    where_oid: str | None = None
    where: tuple[int, ...] = ()
    sum_of: str | None = None
    first: int = 1
    """The number in the name of the first of `count` points; the OID or object counts from 1."""
    object: str | None = None
    """BACnet: object type and instance, such as `analog-input,1`; its present value is what is read."""
    write: WriteRule | None = None

    @property
    def is_flag(self) -> bool:
        return self.unit == Unit.FLAG

    @property
    def is_per_unit(self) -> bool:
        """SNMP: whether each unit of a chain has an object of its own for it."""
        return "{u}" in (self.oid or "")

    def is_sum_with(self, other: "Point") -> bool:
        """Whether this is a sum that the other is a part of."""
        return self.sum_of is not None and other.name.partition(".")[0] == self.sum_of

    @property
    def bounds(self) -> tuple[float, float]:
        """The plausibility limits; a flag's are 0 and 1."""
        if self.is_flag:
            return 0.0, 1.0
        assert self.low is not None  # noqa: S101 - `_check_point` refused the profile otherwise
        assert self.high is not None  # noqa: S101 - same
        return self.low, self.high

    @property
    def span(self) -> Span:
        """Where a Modbus point lies."""
        assert self.table is not None  # noqa: S101 - `_check_modbus` refused the profile otherwise
        assert self.address is not None  # noqa: S101 - same
        assert self.type is not None  # noqa: S101 - same
        return Span(self.table, self.address, self.type.words)


class Watchdog(Strict, frozen=True, kw_only=True):
    """The device's own time-out: what it does by itself when nobody speaks to it for a while (S10).

    `address` and `type` are the holding register with the time-out, raw x `scale` = s, between `low` and
    `high` s. `action` is a register that says what to do at the time-out and must hold this value too; 0
    there means nothing, and where there is no such register a time of 0 does.
    Each of `keep_alive` is written to say "your master lives"; empty means that any request says so. At the
    time-out the device drives `point` to that point's own fail-safe value. Where it must be told which
    value that is, `revert` is the register that takes it, coded as the point itself, and `prepare` are
    registers that make it count.
    """

    about: str
    point: str
    address: int
    type: DataType
    scale: float = 1.0
    low: float
    high: float
    action: Step | None = None
    keep_alive: tuple[Step, ...] = ()
    revert: int | None = None
    prepare: tuple[Step, ...] = ()

    @property
    def span(self) -> Span:
        """Where the time-out lies."""
        return Span(Table.HOLDING, self.address, self.type.words)

    @property
    def timeout_point(self) -> "Point":
        """The time-out as a point of its own, so that it is read and scaled like any other."""
        return Point(
            name="watchdog",
            unit=Unit.SECOND,
            low=0.0,
            high=self.high,
            scale=self.scale,
            table=Table.HOLDING,
            address=self.address,
            type=self.type,
        )


class Profile(Strict, frozen=True, kw_only=True):
    """A checked profile, with every `{n}` written out.

    `interval_s` is how often its values are worth reading, `retention_days` how long they are worth keeping
    one by one: advice of the one who knows the sensor, for site files and stores that say nothing else. A
    sensor (kind `probe`) must say both.
    """

    schema: int
    model: str
    kind: DeviceKind
    about: str
    source: str
    interval_s: float | None = None
    retention_days: float | None = None
    modbus: ModbusRules | None = None
    snmp: SnmpRules | None = None
    bacnet: BacnetRules | None = None
    watchdog: Watchdog | None = None
    no_watchdog_because: str = ""
    """A drive keeps turning as it was last told; without a time-out that is known here, why there is none."""
    points: tuple[Point, ...] = ()

    def point(self, name: str) -> Point | None:
        """The point of that name, or None."""
        return next((point for point in self.points if point.name == name), None)

    @property
    def writable(self) -> tuple[Point, ...]:
        return tuple(point for point in self.points if point.write is not None)

    def expanded(self) -> Self:
        """The same with every counted point written out."""
        points = [single for point in self.points for single in _expand(point)]
        return msgspec.structs.replace(self, points=tuple(points))

    def for_unit(self, unit: int) -> Self:
        """The same for one unit of a chain: every `{u}` written out (SNMP).

        What has no `{u}` is the first unit's, and left out for the others.
        """
        if self.snmp is None:
            return self
        number = str(unit - 1 + self.snmp.unit_base)
        own = [point for point in self.points if unit == 1 or self._is_per_unit(point)]
        rules = self.snmp if unit == 1 else msgspec.structs.replace(self.snmp, sensors=None)
        points = tuple(_numbered(point, "{u}", number) for point in own)
        return msgspec.structs.replace(self, snmp=rules, points=points)

    def _is_per_unit(self, point: Point) -> bool:
        parts = [part for part in self.points if point.is_sum_with(part)]
        return point.is_per_unit or (bool(parts) and all(part.is_per_unit for part in parts))

    def unit_problem(self, unit: int) -> str | None:
        """Why no device of this profile is `unit_id` = `unit`, as a sentence; None where one may be."""
        if self.modbus is not None:
            return None if 0 <= unit <= 255 else f"unit_id is {unit}, expected 0 to 255"
        if self.snmp is None:
            what = "would read and command the one device at its address. Leave unit_id out"
            return None if unit == 1 else f"unit_id is {unit}, and BACnet knows no units: it {what}"
        if unit < 1:
            return f"unit_id is {unit}, expected 1 or more; the first unit of a chain is 1"
        if unit > 1 and not any(point.is_per_unit for point in self.points):
            return (
                f"unit_id is {unit}, and the profile of a {self.model} knows no chain: it would read and "
                "switch unit 1. Give each unit an address of its own"
            )
        return None


def _numbered(point: Point, mark: str, number: str) -> Point:
    """The point with `mark` written out wherever an OID or object may stand."""
    rule = point.write
    if rule is not None:
        rule = msgspec.structs.replace(
            rule,
            oid=rule.oid and rule.oid.replace(mark, number),
            oids={value: oid.replace(mark, number) for value, oid in rule.oids.items()},
        )
    return msgspec.structs.replace(
        point,
        oid=point.oid and point.oid.replace(mark, number),
        digits_oid=point.digits_oid and point.digits_oid.replace(mark, number),
        where_oid=point.where_oid and point.where_oid.replace(mark, number),
        object=point.object and point.object.replace(mark, number),
        write=rule,
    )


def _expand(point: Point) -> list[Point]:
    if point.count is None:
        return [point]
    stride = point.stride or (point.type.words if point.type else 1)
    single: list[Point] = []
    for index in range(1, point.count + 1):
        numbered = _numbered(point, "{n}", str(index))
        single.append(
            msgspec.structs.replace(
                numbered,
                name=point.name.replace("{n}", str(point.first - 1 + index)),
                address=None if point.address is None else point.address + (index - 1) * stride,
                count=None,
            )
        )
    return single
