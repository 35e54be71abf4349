"""How a Canaan Avalon is recognised: `version` on port 4028 names the product (miners.md §2)."""

import re

from firmware_adapters.identify import Clue, Findings, Guess, word
from firmware_adapters.miners import known

PORT = 4028
_OWN_KEYS = {"LVERSION", "HWTYPE", "SWTYPE", "DNA"}
_MODULES = tuple(f"MM ID{number}" for number in range(5))
_BUILD = re.compile(r"(?:20)?(2\d)(0[1-9]|1[0-2])(\d\d)\w*", re.ASCII)


def recognise(seen: Findings) -> Guess | None:
    """See `identify.Recogniser`."""
    clues: list[Clue] = []
    version = seen.section("version", "VERSION") or {}
    product = word(version, "PROD")
    if "avalon" in product.lower():
        clues.append(Clue(0.95, f'port 4028: PROD "{product}"'))
    own = sorted(_OWN_KEYS & set(version))
    if len(own) >= 2:
        clues.append(Clue(0.9 if len(own) > 2 else 0.7, f"port 4028: only Avalons tell {', '.join(own)}"))
    module = next(
        (name for page in ("stats", "estats") for name in _MODULES if seen.section(page, "STATS", name)), None
    )
    if module is not None:
        clues.append(Clue(0.6, f"port 4028 stats: readings in brackets under `{module}`"))
    front = seen.pages.get("/")
    if front is not None and "avalon" in front.text.lower():
        clues.append(Clue(0.5, "the front page says Avalon"))
    if not clues:
        return None
    model = word(version, "MODEL")
    return Guess(
        clues=tuple(clues),
        model=product if model in product or not model else f"{product or 'Avalon'} {model}",
        firmware=word(version, "LVERSION") or word(version, "CGVERSION") or word(version, "VERSION"),
        mac=word(version, "MAC"),
        serial=word(version, "DNA"),
    )


def seen_before(firmware: str) -> bool:
    """See `identify.Recogniser`."""
    return known.covers("avalon", _built(firmware), _built)


def _built(firmware: str) -> known.Number | None:
    """Builds are dated: `25052801_14a19a2` is the first of 2025-05-28."""
    found = _BUILD.fullmatch(firmware)
    return known.day(2000 + int(found[1]), int(found[2]), int(found[3])) if found is not None else None
