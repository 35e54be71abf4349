"""How an emulated unit shows a value in its registers (pure)."""

from firmware_adapters.site.codec import RANGE, DataType, WordOrder, number_to_words, to_raw
from firmware_adapters.site.profile import Point

POWERS = range(-3, 5)
"""Powers of ten that an emulated unit chooses from."""


def reach(point: Point, value: float) -> tuple[float, ...]:
    """What the point's scale must be able to show: its value, and whatever may be written."""
    return (value,) if point.write is None else (value, point.write.low, point.write.high)


def fits(point: Point, value: float, power: int) -> bool:
    """Whether the value can be shown at this power of ten, and does not look like "not implemented"."""
    kind = point.type or DataType.INT16
    if kind not in RANGE:
        return True
    low, high = RANGE[kind]
    raw = round(to_raw(value, scale=point.scale, offset=point.offset) / 10.0**power)
    return low + (low < 0) <= raw < high


def encoded(point: Point, value: float, order: WordOrder, *, factor: float = 1.0) -> tuple[int, ...]:
    """The words that show `value`; one that the type cannot hold shows the type's nearest end."""
    kind = point.type or DataType.INT16
    if kind is DataType.BOOL:
        return (int(value != 0) ^ int(point.invert),)
    if point.values:
        code = next((code for code, meaning in point.values.items() if meaning == value), None)
        return number_to_words(float(code) if code is not None else 0.0, kind, order)
    raw = to_raw(value, scale=point.scale, offset=point.offset) / factor
    try:
        return number_to_words(raw, kind, order)
    except ValueError:
        low, high = RANGE[kind]
        return number_to_words(low if raw < 0 else high, kind, order)
