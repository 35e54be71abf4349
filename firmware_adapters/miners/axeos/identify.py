"""How AxeOS (Bitaxe and its kin) is recognised: `/api/system/info` names the chip (miners.md §2)."""

import re

from firmware_adapters.identify import Clue, Findings, Guess, word

PORT = 80
INFO = "/api/system/info"
_OWN_KEYS = {"hashRate", "stratumURL", "boardVersion", "coreVoltage", "freeHeap", "vrTemp", "asicCount"}
_KNOWN = re.compile(r"(?:AxeOS )?v?2\.\d+.*")


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
    name = word(info, "deviceModel")
    board = word(info, "boardVersion")
    return Guess(
        clues=tuple(clues),
        model=f"Bitaxe {name}" if name else f"Bitaxe {chip}{f' board {board}' if board else ''}".strip(),
        firmware=word(info, "version"),
        mac=word(info, "macAddr"),
        algorithm="sha256d" if chip.startswith("BM") else "",
    )


def seen_before(firmware: str) -> bool:
    """2.x, with whatever a build adds behind it (`v2.4.5-3-gb5d1e36-dirty`)."""
    return _KNOWN.fullmatch(firmware) is not None
