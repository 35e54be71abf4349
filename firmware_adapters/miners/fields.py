"""Taking values out of decoded JSON by meaning, for any firmware: a wrong type is a missing value, never a
default.

None always means "the reply does not say". Only `decode` and `as_page` raise, and only `MalformedReply`.
"""

import math
from typing import cast

import msgspec

from shared.errors import MalformedReply
from shared.telemetry import MISSING, Quality, Reading, metric_of

Object = dict[str, object]

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What `msgspec.json.decode` raises for what is no JSON; bad UTF-8 comes as the standard exception."""
_LEAST, _MOST = -1e308, 1e308
_LONGEST_NUMBER = 40
"""Characters of the longest text that may still be one number."""


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
    return cast(Object, value) if isinstance(value, dict) else None


def as_page(body: object, what: str) -> Object:
    """A page that has to be an object; raises `MalformedReply`."""
    page = as_object(body)
    if page is None:
        raise MalformedReply(f"{what}: not an object")
    return page


def child(parent: Object | None, *path: str) -> Object | None:
    """The object at the end of `path`."""
    for key in path:
        if parent is None:
            return None
        parent = as_object(parent.get(key))
    return parent


def objects(value: object) -> list[Object]:
    """The objects in a list; other items, and what is no list, are skipped."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def children(parent: Object | None, key: str) -> list[Object]:
    """The objects in the list under `key`."""
    return objects(parent.get(key)) if parent is not None else []


def number(parent: Object | None, *path: str) -> float | None:
    """A finite number at the end of `path`; digits in text count, because some firmwares write them so."""
    inner = child(parent, *path[:-1])
    return as_number(inner.get(path[-1])) if inner is not None else None


def amount(parent: Object | None, *path: str) -> float | None:
    """A number that cannot be negative; a negative one is a lie and so missing."""
    value = number(parent, *path)
    return value if value is not None and value >= 0 else None


def as_number(value: object) -> float | None:
    """A finite number, else None; True and False are not numbers."""
    kind = type(value)  # bool is a type of its own; what JSON brings is never of a subclass
    if kind is float or kind is int:  # nearly always, and forty times in every read
        return float(value) if _LEAST < value < _MOST else None  # type: ignore[operator,arg-type] # as above
    if not isinstance(value, str) or len(value) > _LONGEST_NUMBER:
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def text(parent: Object | None, *path: str) -> str | None:
    """Text at the end of `path`; empty and "N/A" are None."""
    inner = child(parent, *path[:-1])
    value = inner.get(path[-1]) if inner is not None else None
    if not isinstance(value, str):
        return None
    value = value.strip()
    return value if value and value != "N/A" else None


def flag(parent: Object | None, *path: str) -> bool | None:
    """True or False at the end of `path`; nothing else is either."""
    inner = child(parent, *path[:-1])
    value = inner.get(path[-1]) if inner is not None else None
    return value if isinstance(value, bool) else None


def reading(point: str, value: float | None, quality: Quality = Quality.GOOD) -> Reading:
    """A reading of the named point; MISSING without a value, OUT_OF_RANGE where the metric cannot be that."""
    if value is None:
        return MISSING
    metric = metric_of(point)
    if not metric.low <= value <= metric.high:
        return Reading(None, Quality.OUT_OF_RANGE)
    return Reading(value, quality)
