"""Values out of a Whatsminer's pages by meaning; both APIs, because they differ in little but spelling.

`Chip Temp Max` (v2), `chip-temp-max` (v3) and `power_limit_set` are one way of writing each: names are
compared by their letters and digits alone. A wrong type is a missing value, never a default.
"""

from functools import lru_cache

from firmware_adapters.miners.fields import as_number
from shared.errors import MalformedReply

Page = dict[str, object]
"""One object of a reply, its names reduced by `plain`."""


@lru_cache(maxsize=2048)
def plain(name: str) -> str:
    """A name without case, blanks and signs: "Hash Stable" → "hashstable"."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def page(value: object) -> Page | None:
    """The object with plain names (one level); None for anything else."""
    if not isinstance(value, dict):
        return None
    return {plain(name): inner for name, inner in value.items() if isinstance(name, str)}


def pages(value: object) -> list[Page]:
    """The objects in a list, or the single one that stands where a list was expected."""
    found = value if isinstance(value, list) else [value]
    return [inner for item in found if (inner := page(item)) is not None]


def section(body: object, *names: str) -> list[Page] | None:
    """What a reply holds under the first of `names`, at its top or inside `Msg`; None: no such thing."""
    top = page(body)
    if top is None:
        return None
    message = page(top.get("msg"))
    for place in (top, message):
        for name in names:
            if place is not None and name in place:
                return pages(place[name])
    return None


def message(body: object, what: str) -> Page:
    """The object in a reply's `Msg`. Raises `MalformedReply` where there is none."""
    top = page(body)
    found = page(top.get("msg")) if top is not None else None
    if found is None:
        raise MalformedReply(f"{what}: no object in the reply's Msg")
    return found


def number(parent: Page | None, *names: str) -> float | None:
    """The first finite number under `names`; digits in text count."""
    if parent is None:
        return None
    for name in names:
        found = as_number(parent.get(name))
        if found is not None:
            return found
    return None


def amount(parent: Page | None, *names: str) -> float | None:
    """The first number that is not negative; a negative one is a lie and so missing."""
    told = (number(parent, name) for name in names)
    return next((found for found in told if found is not None and found >= 0), None)


def numbers(parent: Page | None, name: str) -> list[float]:
    """The numbers in the list under `name`, 0 for what is none; empty where there is no list."""
    listed = parent.get(name) if parent is not None else None
    return [as_number(item) or 0.0 for item in listed[:16]] if isinstance(listed, list) else []


def text(parent: Page | None, *names: str) -> str | None:
    """The first text under `names` that says something."""
    for name in names:
        found = parent.get(name) if parent is not None else None
        if isinstance(found, str) and found.strip() not in ("", "N/A", "null"):
            return found.strip()
    return None


def truth(parent: Page | None, *names: str) -> bool | None:
    """True or False, which this firmware writes as a word as often as not."""
    for name in names:
        found = parent.get(name) if parent is not None else None
        if isinstance(found, bool):
            return found
        if isinstance(found, str) and found.strip().lower() in ("true", "false"):
            return found.strip().lower() == "true"
    return None
