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
    INT64 = "int64"
    UINT64 = "uint64"
    """64 bits become a float: exact up to 2^53, which no meter counts to."""
    ACC32 = "acc32"
    """SunSpec's counter: a uint32 that only grows, and in which 0 means "not kept"."""
    BOOL = "bool"
    """One bit: a coil, a discrete input, or bit `bit` of a register."""

    @property
    def words(self) -> int:
        return struct.calcsize(_STRUCT[self]) // 2 if self in _STRUCT else 1


class WordOrder(StrEnum):
    """Which register of a number comes first."""

    HIGH_FIRST = "high-first"
    LOW_FIRST = "low-first"


_STRUCT = {
    DataType.INT16: ">h",
    DataType.UINT16: ">H",
    DataType.UINT32: ">I",
    DataType.INT32: ">i",
    DataType.FLOAT32: ">f",
    DataType.INT64: ">q",
    DataType.UINT64: ">Q",
    DataType.ACC32: ">I",
}
RANGE: dict[DataType, tuple[int, int]] = {
    DataType.INT16: (-(2**15), 2**15 - 1),
    DataType.UINT16: (0, 2**16 - 1),
    DataType.UINT32: (0, 2**32 - 1),
    DataType.INT32: (-(2**31), 2**31 - 1),
    DataType.INT64: (-(2**63), 2**63 - 1),
    DataType.UINT64: (0, 2**64 - 1),
    DataType.ACC32: (0, 2**32 - 1),
}
"""What each whole-number type can hold."""

NOT_IMPLEMENTED: dict[DataType, float] = {
    DataType.INT16: -0x8000,
    DataType.UINT16: 0xFFFF,
    DataType.INT32: -0x8000_0000,
    DataType.UINT32: 0xFFFF_FFFF,
    DataType.INT64: -(2.0**63),
    DataType.UINT64: 2.0**64,  # what 2^64 - 1 becomes as a float
    DataType.ACC32: 0,
    DataType.FLOAT32: math.nan,
}
"""How a SunSpec device says that it does not have a value (SunSpec information model specification)."""

SCALE_FACTORS = range(-10, 11)
"""Powers of ten that a SunSpec scale-factor register may hold; 0x8000 is "not implemented"."""

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
        try:
            packed = struct.pack(">f", number)
        except OverflowError as error:
            raise ValueError(f"{number:g} does not fit {kind}") from error
    else:
        low, high = RANGE[kind]
        whole = round(number) if math.isfinite(number) else high + 1
        if number == float(high):
            whole = high  # 2^64 - 1 is no float; the nearest one is 2^64
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

    A raw number listed in `not_available` is MISSING (the device's own word for "no such value"; NaN may
    stand there too), one that an enumeration `values` does not list is SENSOR_ERROR, so is any other NaN and
    infinity; a value outside low..high is OUT_OF_RANGE. None of these carries a number.
    """
    if any(raw == none or (math.isnan(raw) and math.isnan(none)) for none in not_available):
        return MISSING
    if not math.isfinite(raw):
        return BAD
    if values:
        mapped = values.get(str(int(raw))) if raw == int(raw) else None
        return BAD if mapped is None else Reading(mapped)
    value = raw * scale + offset
    if math.isfinite(value):
        value = round(value, 9)  # 499 x 0.1 is 49.9, not 49.900000000000006
    return Reading(value) if low <= value <= high else OUT_OF_RANGE


def to_raw(value: float, *, scale: float, offset: float) -> float:
    """The inverse of the scaling; the type's rounding comes later."""
    return (value - offset) / scale
