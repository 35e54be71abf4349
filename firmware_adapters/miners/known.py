"""Which firmware versions have been seen, as data: `known.toml`, for each firmware's `identify.seen_before`.

How a version is written is the firmware's own, so each brings a function from text to numbers that grow with
every release; the table has both ends of each span as the machines write them.
"""

import tomllib
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from importlib import resources

import msgspec

from shared.errors import ConfigError

Number = tuple[int, ...]
"""A version in numbers that compare as releases follow each other."""
Read = Callable[[str], Number | None]
"""From a version as text to its number; None for what is no version of this firmware."""


class Span(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Versions from `oldest` to `newest`, both included; `source` says who has seen them."""

    adapter: str
    oldest: str
    newest: str
    source: str


@lru_cache(maxsize=1)
def spans() -> tuple[Span, ...]:
    """All of `known.toml`."""
    text = resources.files(__package__).joinpath("known.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text)["span"], tuple[Span, ...], strict=True)


def covers(adapter: str, found: Number | None, read: Read) -> bool:
    """Whether a version lies in one of its firmware's spans; False for None.

    Raises `ConfigError` for a line of the table that is no version of its firmware.
    """
    return found is not None and any(low <= found <= high for low, high in _bounds(adapter, read))


@lru_cache(maxsize=32)
def _bounds(adapter: str, read: Read) -> tuple[tuple[Number, Number], ...]:
    out = []
    for span in spans():
        if span.adapter != adapter:
            continue
        low, high = read(span.oldest), read(span.newest)
        if low is None or high is None:
            raise ConfigError(f"known.toml: {adapter}: {span.oldest!r} to {span.newest!r} are no versions")
        out.append((low, high))
    return tuple(out)


def day(year: int, month: int, of_month: int) -> Number | None:
    """The number of a build that is named by its date; None for a date that does not exist."""
    try:
        found = date(year, month, of_month)
    except ValueError:
        return None
    return found.year, found.month, found.day
