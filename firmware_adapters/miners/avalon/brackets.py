"""Canaan's bracket text → names and values: `Ver[Q-2505] TMax[71] PS[0 1222 4]`. Pure; never raises.

A reply holds one such text per module (`MM ID0`), newer ones cut it in parts with names of their own:
`'STATS':{...}`, `'HB0':{...}` (recorded). Values hold no bracket, but free text stands among them (the name
of a Wi-Fi network), so a name that comes twice with different values is told by nobody: it is left out.
"""

import re
from itertools import islice

from firmware_adapters.miners.fields import as_number

_HEADER = re.compile(r"'(\w{1,32})':\{")
_LONGEST_NAME = 40
_MOST = 2000
_CUT = re.compile(r"[\]{}',;]")

Values = dict[str, str]
"""Names as printed, blanks at their ends cut off; values as text."""


def sections(text: str) -> dict[str, Values]:
    """The parts by name; what stands before the first header is under ""."""
    parts: dict[str, Values] = {}
    headers = list(islice(_HEADER.finditer(text), 64))
    starts = [0, *(header.end() for header in headers)]
    ends = [*(header.start() for header in headers), len(text)]
    names = ["", *(header.group(1) for header in headers)]
    for name, start, end in zip(names, starts, ends, strict=True):
        found = values(text[start:end])
        if found or name:
            parts[name] = found if name not in parts else {**parts[name], **found}
    return parts


def values(text: str) -> Values:
    """The names and values in one part, at most 2000."""
    found: Values = {}
    told_twice: set[str] = set()
    after = 0
    for _ in range(_MOST):
        opens = text.find("[", after)
        closes = text.find("]", opens)
        if opens < 0 or closes < 0:
            break
        name = _CUT.split(text[max(after, opens - _LONGEST_NAME) : opens])[-1].strip()
        value = text[opens + 1 : closes]
        after = closes + 1
        if not name or "[" in value:
            continue
        if found.setdefault(name, value) != value:
            told_twice.add(name)
    return {name: value for name, value in found.items() if name not in told_twice}


def number(parts: Values, *names: str) -> float | None:
    """The first single number under `names`; a per cent sign behind it is fine."""
    for name in names:
        found = as_number(parts.get(name, "").strip().removesuffix("%"))
        if found is not None:
            return found
    return None


def amount(parts: Values, *names: str) -> float | None:
    """The first number that is not negative."""
    found = number(parts, *names)
    return found if found is not None and found >= 0 else None


def numbers(parts: Values, name: str) -> list[float]:
    """The numbers of a list; empty where one of its words is none, because then the places do not count."""
    words = parts.get(name, "").split()[:1024]
    found = [as_number(word) for word in words]
    known = [value for value in found if value is not None]
    return known if len(known) == len(words) else []
