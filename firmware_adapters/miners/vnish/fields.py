"""Taking values out of decoded JSON by meaning: a wrong type is a missing value, never a default.

None always means "the reply does not say". Only `decode` raises.
"""

import math
from collections.abc import Sequence
from typing import cast

import msgspec

from shared.errors import MalformedReply
from shared.telemetry import MISSING, Quality, Reading

Object = dict[str, object]

_NUMERIC = (int, float, str)
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What `msgspec.json.decode` raises for what is no JSON; bad UTF-8 comes as the standard exception."""


def decode(body: bytes, what: str) -> object:
    """The JSON value in `body`; an empty body is None. Raises `MalformedReply`."""
    if not body.strip():
        return None
    try:
        return cast(object, msgspec.json.decode(body))
    except NOT_JSON as error:
        raise MalformedReply(f"{what}: not JSON: {error}") from error


def as_object(value: object) -> Object | None:
    """The value as an object."""
    return value if isinstance(value, dict) else None


def as_page(body: object, what: str) -> Object:
    """A page that has to be an object; raises `MalformedReply`."""
    page = as_object(body)
    if page is None:
        raise MalformedReply(f"{what}: not an object")
    return page


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


def as_number(value: object) -> float | None:
    """A finite number, else None; True and False are not numbers."""
    if type(value) is float:  # nearly always, and forty times in every read
        found = value
    elif isinstance(value, bool) or not isinstance(value, _NUMERIC):
        return None
    else:
        try:
            found = float(value)
        except (ValueError, OverflowError):
            return None
    return found if math.isfinite(found) else None


def text(parent: Object | None, key: str) -> str | None:
    """Text under `key`; empty and the firmware's "N/A" are None."""
    value = parent.get(key) if parent is not None else None
    if not isinstance(value, str):
        return None
    value = value.strip()
    return value if value and value != "N/A" else None


def flag(parent: Object | None, key: str) -> bool | None:
    """True or False under `key`; nothing else is either."""
    value = parent.get(key) if parent is not None else None
    return value if isinstance(value, bool) else None


def reading(value: float | None, quality: Quality = Quality.GOOD) -> Reading:
    """A reading of `value`; MISSING where there is none."""
    return MISSING if value is None else Reading(value, quality)
