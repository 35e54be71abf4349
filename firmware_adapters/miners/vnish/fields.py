"""Taking values out of decoded JSON by meaning, as `miners.fields`; what every read does forty times is here.

One key instead of a path, and a float taken as it is: a third less processor time per summary. None always
means "the reply does not say".
"""

import math
from collections.abc import Sequence

from firmware_adapters.miners.fields import (
    NOT_JSON,
    Object,
    as_number,
    as_object,
    as_page,
    decode,
    flag,
    reading,
)

__all__ = [
    "NOT_JSON",
    "Object",
    "amount",
    "as_number",
    "as_object",
    "as_page",
    "child",
    "children",
    "decode",
    "flag",
    "number",
    "reading",
    "text",
    "total",
]

_NUMERIC = (int, float, str)
_LONGEST_NUMBER = 40
"""Characters of the longest text that may still be one number."""


def child(parent: Object | None, key: str) -> Object | None:
    """The object under `key`."""
    value = parent.get(key) if parent is not None else None
    return value if isinstance(value, dict) else None


def children(parent: Object | None, key: str) -> list[Object]:
    """The objects in the list under `key`; other items are skipped."""
    value = parent.get(key) if parent is not None else None
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def number(parent: Object | None, key: str) -> float | None:
    """A finite number under `key`; digits in text count, because the 4028 socket writes some so."""
    return as_number(parent.get(key)) if parent is not None else None


def amount(parent: Object | None, key: str) -> float | None:
    """A number that cannot be negative; a negative one is a lie and so missing."""
    value = number(parent, key)
    return value if value is not None and value >= 0 else None


def total(values: Sequence[float]) -> float | None:
    """The sum; None of nothing, and where it is too large to be a number."""
    summed = float(sum(values))
    return summed if values and math.isfinite(summed) else None


def text(parent: Object | None, key: str) -> str | None:
    """Text under `key`; empty and the firmware's "N/A" are None."""
    value = parent.get(key) if parent is not None else None
    if not isinstance(value, str):
        return None
    value = value.strip()
    return value if value and value != "N/A" else None
