"""From a profile's points to spans of registers, and from what was read back to readings (pure)."""

from firmware_adapters.site.codec import NOT_IMPLEMENTED, DataType, to_reading, words_to_number
from firmware_adapters.site.profile import ModbusRules, Point
from firmware_adapters.transport.modbus_plan import Span, Table
from shared.telemetry import Reading

Blocks = dict[Span, tuple[int, ...]]
"""What was read: words by span, in addresses of the profile."""

MODEL_NUMBER = Span(Table.HOLDING, 0, 1)
"""Where a SunSpec model says its number, counted from itself."""


def spans_of(point: Point, rules: ModbusRules) -> tuple[Span, ...]:
    """Every span that must be read to know the point."""
    spans = [point.span]
    if point.scale_register is not None:
        spans.append(scale_span(point))
    if rules.sunspec is not None:
        spans.append(MODEL_NUMBER)
    return tuple(spans)


def scale_span(point: Point) -> Span:
    """The register with the point's power of ten."""
    assert point.scale_register is not None  # noqa: S101 - the caller asked for a scaled point
    return Span(point.span.table, point.scale_register, 1)


def cut(blocks: Blocks, wanted: Span) -> tuple[int, ...] | None:
    """The words of `wanted` out of what was read; None where no block has all of them."""
    for span, words in blocks.items():
        if span.covers(wanted):
            start = wanted.address - span.address
            return words[start : start + wanted.count]
    return None


def decoded(point: Point, words: tuple[int, ...], rules: ModbusRules, *, factor: float = 1.0) -> Reading:
    """The reading in a point's registers (pure). `factor`: what a scale-factor register says."""
    assert point.type is not None  # noqa: S101 - checked when the profile was loaded
    raw = words_to_number(words, point.type, rules.word_order)
    if point.type is DataType.BOOL:
        raw = (int(raw) >> (point.bit or 0)) & 1
        raw = 1 - raw if point.invert else raw
    none = point.not_available
    if rules.sunspec is not None and point.type in NOT_IMPLEMENTED:
        none = (*none, NOT_IMPLEMENTED[point.type])
    low, high = point.bounds
    return to_reading(
        raw,
        scale=point.scale * factor,
        offset=point.offset,
        low=low,
        high=high,
        not_available=none,
        values=point.values,
    )
