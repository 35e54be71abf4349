"""How AxeOS (Bitaxe and its kin) is recognised: `/api/system/info` names the chip (miners.md §2)."""

import re

from firmware_adapters.identify import Clue, Findings, Guess, word
from firmware_adapters.miners import known
from firmware_adapters.miners.axeos.parse import named, sold_as

PORT = 80
INFO = "/api/system/info"
_OWN_KEYS = {"hashRate", "stratumURL", "boardVersion", "coreVoltage", "freeHeap", "vrTemp", "asicCount"}
_RELEASE = re.compile(r"(?:AxeOS )?v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?(?!\d).*", re.ASCII)


def recognise(seen: Findings) -> Guess | None:
    """See `identify.Recogniser`."""
    clues: list[Clue] = []
    info = seen.json(INFO) or {}
    chip = word(info, "ASICModel")
    if chip:
        clues.append(Clue(0.9, f'{INFO}: ASICModel "{chip}"'))
    own = sorted(_OWN_KEYS & set(info))
    if len(own) >= 3:
        clues.append(Clue(0.7, f"{INFO}: {', '.join(own[:4])} as AxeOS names them"))
    front = seen.pages.get("/")
    if front is not None and re.search(r"axeos|bitaxe", front.text, re.IGNORECASE):
        clues.append(Clue(0.6, "the front page says AxeOS"))
    if not clues:
        return None
    name, version = word(info, "deviceModel"), word(info, "version")
    board = word(info, "boardVersion")
    return Guess(
        clues=tuple(clues),
        model=_model(name, chip, board),
        firmware=named(name, version) if name and version and sold_as(name) == name else version,
        mac=word(info, "macAddr"),
        algorithm="sha256d" if chip.startswith("BM") else "",
    )


def _model(name: str, chip: str, board: str) -> str:
    if not name:
        return f"Bitaxe {chip}{f' board {board}' if board else ''}".strip()
    return sold_as(name)


def seen_before(firmware: str) -> bool:
    """See `identify.Recogniser`; `firmware` may have the maker's name in front."""
    return known.covers("axeos", _release(firmware), _release)


def _release(firmware: str) -> known.Number | None:
    """`v2.4.5-3-gb5d1e36-dirty` is 2.4.5, whatever a build adds behind it."""
    found = _RELEASE.fullmatch(firmware)
    return tuple(int(part or 0) for part in found.groups()) if found is not None else None
