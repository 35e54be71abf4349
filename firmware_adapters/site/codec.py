"""Raw words ↔ numbers in a point's own unit (pure), for the drivers and for their emulators.

Decoding gives a `Reading`: a value with its quality, or no value with the reason. There is no path on which
something that could not be read becomes a number.
"""

import math
import struct
from collections.abc import Sequence
from enum import StrEnum

from shared.telemetry import MISSING, Quality, Reading


class DataType(StrEnum):
    """How a number lies in registers (SNMP integers use `int32`)."""

    INT16 = "int16"
    UINT16 = "uint16"
    UINT32 = "uint32"
    INT32 = "int32"
    FLOAT32 = "float32"
    BOOL = "bool"
    """One bit: a coil, a discrete input, or bit `bit` of a register."""

    @property
    def words(self) -> int:
        return 2 if self in (DataType.UINT32, DataType.INT32, DataType.FLOAT32) else 1


class WordOrder(StrEnum):
    """Which register of two comes first."""

    HIGH_FIRST = "high-first"
    LOW_FIRST = "low-first"


_STRUCT = {
    DataType.INT16: ">h",
    DataType.UINT16: ">H",
    DataType.UINT32: ">I",
    DataType.INT32: ">i",
    DataType.FLOAT32: ">f",
}
_RANGE = {
    DataType.INT16: (-(2**15), 2**15 - 1),
    DataType.UINT16: (0, 2**16 - 1),
    DataType.UINT32: (0, 2**32 - 1),
    DataType.INT32: (-(2**31), 2**31 - 1),
}

BAD = Reading(None, Quality.SENSOR_ERROR)
OUT_OF_RANGE = Reading(None, Quality.OUT_OF_RANGE)


def words_to_number(words: Sequence[int], kind: DataType, order: WordOrder) -> float:
    """The raw number in `kind.words` register words. BOOL is any single word as it stands."""
    if kind is DataType.BOOL:
        return words[0]
    ordered = words if order is WordOrder.HIGH_FIRST else tuple(reversed(words))
    packed = struct.pack(f">{len(ordered)}H", *ordered)
    return float(struct.unpack(_STRUCT[kind], packed)[0])


def number_to_words(number: float, kind: DataType, order: WordOrder) -> tuple[int, ...]:
    """The inverse of `words_to_number`. Raises `ValueError` for a number that the type cannot hold."""
    if kind is DataType.BOOL:
        return (int(number != 0),)
    if kind is DataType.FLOAT32:
        packed = struct.pack(">f", number)
    else:
        low, high = _RANGE[kind]
        whole = round(number)
        if not low <= whole <= high:
            raise ValueError(f"{number:g} does not fit {kind} ({low} to {high})")
        packed = struct.pack(_STRUCT[kind], whole)
    words = struct.unpack(f">{len(packed) // 2}H", packed)
    return words if order is WordOrder.HIGH_FIRST else tuple(reversed(words))


def to_reading(
    raw: float,
    *,
    scale: float,
    offset: float,
    low: float,
    high: float,
    not_available: Sequence[float] = (),
    values: dict[str, float] | None = None,
) -> Reading:
    """Scale a raw number and judge it.

    A raw number listed in `not_available` is MISSING (the device's own word for "no such value"), one that
    an enumeration `values` does not list is SENSOR_ERROR, so is NaN or infinity; a value outside low..high
    is OUT_OF_RANGE. None of these carries a number.
    """
    if not math.isfinite(raw):
        return BAD
    if raw in not_available:
        return MISSING
    if values:
        mapped = values.get(str(int(raw))) if raw == int(raw) else None
        return BAD if mapped is None else Reading(mapped)
    value = round(raw * scale + offset, 9)  # 499 x 0.1 is 49.9, not 49.900000000000006
    return Reading(value) if low <= value <= high else OUT_OF_RANGE


def to_raw(value: float, *, scale: float, offset: float) -> float:
    """The inverse of the scaling; the type's rounding comes later."""
    return (value - offset) / scale
