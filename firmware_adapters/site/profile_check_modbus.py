"""Whether the Modbus part of a profile makes sense (pure); see `profile_check`."""

import math

from firmware_adapters.site.codec import DataType, number_to_words, to_raw
from firmware_adapters.site.profile_shape import ModbusRules, Point, Profile, Step, SunSpec, Watchdog
from firmware_adapters.transport.modbus_plan import Span, Table

LAST_REGISTER = 0xFFFF
MOST_REGISTERS, MOST_BITS = 125, 2000
"""What one request can ask for (Modbus Application Protocol V1.1b3, §6.1 to §6.4)."""


def check_modbus_rules(rules: ModbusRules) -> list[str]:
    """What is wrong with how the device is spoken to, one sentence each."""
    problems: list[str] = []
    if not 0 <= rules.max_registers <= MOST_REGISTERS:
        problems.append(f"max_registers: one request holds at most {MOST_REGISTERS}")
    if not 0 <= rules.max_bits <= MOST_BITS:
        problems.append(f"max_bits: one request holds at most {MOST_BITS}")
    if rules.gap < 0:
        problems.append("gap: expected 0 or more registers that may be read over")
    if rules.sunspec is not None:
        problems += [f"sunspec.{text}" for text in _check_sunspec(rules.sunspec)]
    return problems


def _check_sunspec(rules: SunSpec) -> list[str]:
    problems: list[str] = []
    if not rules.models or not all(1 < model < LAST_REGISTER for model in rules.models):
        problems.append("models: expected at least one model number from 2 to 65534")
    if not rules.bases or not all(0 <= base <= LAST_REGISTER - 4 for base in rules.bases):
        problems.append("bases: expected at least one register at which the chain may begin")
    return problems


def check_modbus_point(point: Point, rules: ModbusRules) -> list[str]:
    """What is wrong with one point's registers and coding, one sentence each."""
    snmp = (point.oid, point.digits_oid, point.where_oid, point.sum_of)
    foreign = point.object is not None or any(each is not None for each in snmp)
    if point.table is None or point.address is None or point.type is None or foreign:
        return ["a Modbus point needs table, address and type, and no oid or object"]
    problems: list[str] = []
    if point.stride is not None and (point.stride < 1 or point.count is None):
        problems.append("stride: needs count, and at least 1")
    last = point.address + ((point.count or 1) - 1) * (point.stride or point.type.words) + point.type.words
    if point.address < 0 or last > LAST_REGISTER + 1:
        problems.append(
            f"address: registers {point.address} to {last - 1}, and there are only 0 to {LAST_REGISTER} "
            "(zero-based PDU addresses)"
        )
    longest = rules.max_bits if point.table.is_bits else rules.max_registers
    if point.type.words > longest:
        which = "max_bits" if point.table.is_bits else "max_registers"
        problems.append(f"type: takes {point.type.words}, and one request may ask for {longest} ({which})")
    if (point.type is DataType.BOOL) != point.is_flag and not point.values:
        problems.append("type bool and unit 0/1 belong together")
    if point.table.is_bits and point.type is not DataType.BOOL:
        problems.append("type: coils and discrete inputs are bool")
    needs_bit = point.type is DataType.BOOL and not point.table.is_bits
    if needs_bit != (point.bit is not None) or not 0 <= (point.bit or 0) <= 15:
        problems.append("bit: 0 to 15, for a bool in a register and nowhere else")
    problems += _check_scale_register(point, rules) + _check_modbus_write(point)
    return problems + _check_coding(point, rules)


def _check_scale_register(point: Point, rules: ModbusRules) -> list[str]:
    place = point.scale_register
    if place is None:
        return []
    problems: list[str] = []
    if not 0 <= place <= LAST_REGISTER:
        problems.append("scale_register: expected 0 to 65535")
    if rules.max_registers < 1 or (point.table is not None and point.table.is_bits):
        problems.append("scale_register: is a register, and a bit has none")
    if point.type in (DataType.BOOL, DataType.FLOAT32) or point.values:
        problems.append("scale_register: is for whole numbers")
    return problems


def _check_modbus_write(point: Point) -> list[str]:
    rule = point.write
    if rule is None:
        return []
    problems: list[str] = []
    if point.table not in (Table.COIL, Table.HOLDING):
        problems.append("write: only coils and holding registers can be written")
    if point.bit is not None:
        problems.append("write: a single bit of a register cannot be written safely")
    if rule.oid is not None or rule.oids:
        problems.append("write: oid and oids are for SNMP")
    if bool(point.values) != bool(rule.values):
        problems.append("write.values: say which number commands which value, as values does for reading")
    problems += [f"write.{text}" for text in _check_steps((*rule.first, *rule.then))]
    if rule.first_unless and not rule.first:
        problems.append("write.first_unless: is only for a write with `first`")
    return problems


def _check_coding(point: Point, rules: ModbusRules) -> list[str]:
    """What the registers cannot hold, found here and not when a zone trips.

    Where the device itself says how a number is scaled, only the device at hand can tell.
    """
    rule = point.write
    if rule is None or point.type in (None, DataType.BOOL) or point.scale_register is not None:
        return []
    if rule.values:
        wanted = {f"values.{key}": float(code) for key, code in rule.values.items()}
    elif point.scale == 0:
        return []  # a sentence of its own says so
    else:
        limits = {"low": rule.low, "high": rule.high, "fail_safe": rule.falls_to}
        wanted = {
            key: to_raw(value, scale=point.scale, offset=point.offset)
            for key, value in limits.items()
            if value is not None
        }
    problems: list[str] = []
    for key, raw in wanted.items():
        try:
            number_to_words(raw, point.type, rules.word_order)
        except ValueError as error:
            problems.append(f"write.{key}: as a raw number, {error}")
    return problems


def _check_steps(steps: tuple[Step, ...]) -> list[str]:
    wrong = [s for s in steps if not (0 <= s.address <= LAST_REGISTER and 0 <= s.value <= 0xFFFF)]
    return [f"then: address {s.address} and value {s.value} must be 0 to 65535" for s in wrong]


def check_watchdog(profile: Profile, dog: Watchdog) -> list[str]:
    """What is wrong with a device's own time-out, one sentence each."""
    problems: list[str] = []
    if profile.modbus is None:
        return ["address: a time-out register needs [modbus]"]
    if dog.type is DataType.BOOL or dog.scale <= 0:
        problems.append("type, scale: expected a number type and a scale above 0")
    if not (math.isfinite(dog.high) and 0 < dog.low < dog.high):
        problems.append("low, high: expected 0 < low < high, in s")
    registers = [dog.address, *(step.address for step in (*dog.keep_alive, *dog.prepare))]
    registers += [dog.action.address] if dog.action else []
    registers += [dog.revert] if dog.revert is not None else []
    if not all(0 <= address <= LAST_REGISTER for address in registers):
        problems.append("address: expected 0 to 65535 (zero-based PDU address)")
    target = profile.point(dog.point)
    if target is None or target.write is None or target.write.falls_to is None:
        problems.append(
            f"point: {dog.point!r} must be a writable point with a fail-safe value; a time-out that drives "
            "nothing to its safe side protects nobody"
        )
    return problems


def check_registers(profile: Profile) -> list[str]:
    """What two points, every `{n}` written out, cannot both mean; and flags that do not exist."""
    problems: list[str] = []
    flags = {point.name for point in profile.points if point.is_flag}
    taken: list[tuple[Span, Point]] = []
    for point in profile.points:
        if point.write is not None and point.write.first_unless not in ("", *flags):
            problems.append(f"{point.name}: write.first_unless: no flag {point.write.first_unless!r}")
        span = point.span
        for other_span, other in taken:
            meets = span.table is other_span.table and max(span.address, other_span.address) < min(
                span.end, other_span.end
            )
            if meets and not _may_share(point, span, other, other_span):
                problems.append(
                    f"{point.name}: address: {_words(span)} overlaps {other.name} at {_words(other_span)}"
                )
        taken.append((span, point))
    return problems + _taken_scales(taken) + _taken_steps(taken)


def _taken_scales(taken: list[tuple[Span, Point]]) -> list[str]:
    """Registers that are read as a power of ten and as a number: one of the two is wrong."""
    return [
        f"{point.name}: scale_register: {point.scale_register} belongs to {other.name}, {_words(other_span)}"
        for span, point in taken
        if point.scale_register is not None
        for other_span, other in taken
        if other_span.covers(Span(span.table, point.scale_register, 1))
    ]


def _taken_steps(taken: list[tuple[Span, Point]]) -> list[str]:
    """Steps that write over a point. A flag that is only read may come out of a control word."""
    return [
        f"{point.name}: write.{key}: register {step.address} belongs to {other.name}, {_words(other_span)}"
        for _, point in taken
        if point.write is not None
        for key, steps in (("first", point.write.first), ("then", point.write.then))
        for step in steps
        for other_span, other in taken
        if other_span.covers(Span(Table.HOLDING, step.address, 1))
        and (other.write is not None or not other.is_flag)
    ]


def _may_share(one: Point, span: Span, other: Point, other_span: Span) -> bool:
    """Flags may come out of one status word, by bit or by enumeration; numbers may not share a word."""
    if span != other_span or not (one.is_flag and other.is_flag):
        return False
    return (one.bit, one.values) != (other.bit, other.values)


def _words(span: Span) -> str:
    last = f" to {span.end - 1}" if span.count > 1 else ""
    return f"{span.table.value} {span.address}{last}"
