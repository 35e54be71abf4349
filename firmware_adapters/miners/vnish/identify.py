"""How a VNish (AnthillOS) machine is recognised (miners.md §1.1): its front page, `/info`, or 4028 `stats`.

Not by 4028 `version`: a recorded 1.2.7 machine refuses that command.
"""

import re

from firmware_adapters.identify import Clue, Findings, Guess, inside, word
from firmware_adapters.miners.vnish import versions

PORT = 80
_TYPE = re.compile(r"(?P<model>.*?)\s*\(vnish\s+(?P<version>[^)]+)\)", re.IGNORECASE)


def recognise(seen: Findings) -> Guess | None:
    """See `identify.Recogniser`."""
    clues: list[Clue] = []
    front = seen.pages.get("/")
    if front is not None and "anthillos" in front.text.lower():
        clues.append(Clue(0.8, 'the front page says firmware "AnthillOS"'))
    info = seen.json("/api/v1/info")
    is_ours = info is not None and word(info, "fw_name").lower() == "vnish"
    firmware = word(info, "fw_version") if is_ours else ""
    model = (word(info, "miner") or word(info, "model")) if is_ours else ""
    if is_ours:
        clues.append(Clue(0.95, f'/api/v1/info: fw_name "Vnish", version {firmware or "not told"}'))
    typed = _TYPE.fullmatch(seen.machine_type)
    if typed is not None:
        clues.append(Clue(0.9, f'port 4028: Type "{seen.machine_type}"'))
    if not clues:
        return None
    return Guess(
        clues=tuple(clues),
        model=model or (typed["model"] if typed else ""),
        firmware=firmware or (typed["version"] if typed else ""),
        mac=word(inside(info, "system", "network_status"), "mac") if is_ours else "",
        serial=word(info, "serial") if is_ours else "",
        algorithm=word(info, "algorithm") if is_ours else "",
    )


def seen_before(firmware: str) -> bool:
    """See `identify.Recogniser`; `firmware` may have the maker's name in front."""
    version = firmware.lower().removeprefix("vnish").strip()
    return versions.firmware("Vnish", version).known
