"""How Braiins OS is recognised: the version page of its REST API, its front page, or BOSer on port 4028.

The REST API tells model and firmware only after a login, so without one the model may stay unknown.
"""

import re

from firmware_adapters.identify import Clue, Findings, Guess, inside, word
from firmware_adapters.miners import known

PORT = 80
VERSION = "/api/v1/version"
DETAILS = "/api/v1/miner/details"
_MINERS = ("BOSer", "BOSminer+", "BOSminer")
_RELEASE = re.compile(r"(?:.*-)?(\d\d)\.(\d\d)(?:\.(\d{1,4}))?(?:-plus)?", re.ASCII)


def recognise(seen: Findings) -> Guess | None:
    """See `identify.Recogniser`."""
    clues: list[Clue] = []
    api = seen.json(VERSION)
    if api is not None and {"major", "minor", "patch"} <= set(api):
        number = ".".join(word(api, part) for part in ("major", "minor", "patch"))
        clues.append(Clue(0.85, f"{VERSION}: the API's version {number} in three parts"))
    front = seen.pages.get("/")
    if front is not None and re.search(r"braiins|bosminer", front.text, re.IGNORECASE):
        clues.append(Clue(0.8, "the front page says Braiins OS"))
    details = seen.json(DETAILS)
    bos = inside(details, "bos_version")
    if bos is not None:
        clues.append(Clue(0.95, f"{DETAILS}: bos_version {word(bos, 'current')}"))
    version = seen.section("version", "VERSION")
    signed = next((name for name in _MINERS if word(version, name)), None)
    if signed is not None:
        clues.append(Clue(0.9, f"port 4028: {signed} {word(version, signed)}"))
    if not clues:
        return None
    identity = inside(details, "miner_identity")
    return Guess(
        clues=tuple(clues),
        model=word(identity, "miner_model") or word(identity, "name") or seen.machine_type,
        firmware=word(bos, "current"),
        mac=word(details, "mac_address"),
        serial=word(details, "serial_number"),
    )


def seen_before(firmware: str) -> bool:
    """See `identify.Recogniser`; `firmware` may have the maker's name in front."""
    return known.covers("braiins", _release(firmware), _release)


def _release(firmware: str) -> known.Number | None:
    """Year and month at the end: `2025-08-06-0-3881c51d-25.07-plus` is 25.07, whenever it was built."""
    found = _RELEASE.fullmatch(firmware)
    return tuple(int(part or 0) for part in found.groups()) if found is not None else None
