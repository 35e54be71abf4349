"""How LuxOS is recognised: it names itself in every 4028 reply (`LUXminer 2025.4.8…`)."""

import re

from firmware_adapters.identify import Clue, Findings, Guess, word
from firmware_adapters.miners import known

PORT = 4028
_RELEASE = re.compile(r"(20\d\d)\.(\d{1,2})\.(\d{1,2})\b.*", re.ASCII)


def recognise(seen: Findings) -> Guess | None:
    """See `identify.Recogniser`."""
    clues: list[Clue] = []
    version = seen.section("version", "VERSION")
    firmware = word(version, "LUXminer")
    if firmware:
        clues.append(Clue(0.95, f"port 4028: LUXminer {firmware}"))
    says = next(
        (text for text in map(_description, seen.commands.values()) if "luxminer" in text.lower()), ""
    )
    if says:
        clues.append(Clue(0.8, f'port 4028: every reply is signed "{says}"'))
    config = seen.section("config", "CONFIG")
    if word(config, "OS").lower() == "luxos":
        clues.append(Clue(0.8, 'port 4028 config: OS "LuxOS"'))
    front = seen.pages.get("/")
    if front is not None and re.search(r"luxor firmware|luxos", front.text, re.IGNORECASE):
        clues.append(Clue(0.6, "the front page says LuxOS"))
    if not clues:
        return None
    return Guess(
        clues=tuple(clues),
        model=seen.machine_type or word(config, "Model"),
        firmware=firmware or says.partition(" ")[2],
        mac=word(config, "MACAddr"),
        serial=word(config, "SerialNumber"),
    )


def _description(reply: object) -> str:
    status = reply.get("STATUS") if isinstance(reply, dict) else None
    first = status[0] if isinstance(status, list) and status else None
    return word(first, "Description") if isinstance(first, dict) else ""


def seen_before(firmware: str) -> bool:
    """See `identify.Recogniser`."""
    return known.covers("luxos", _released(firmware), _released)


def _released(firmware: str) -> known.Number | None:
    """Releases are dated: `2025.4.8.220305-57b389c7`."""
    found = _RELEASE.fullmatch(firmware)
    return known.day(int(found[1]), int(found[2]), int(found[3])) if found is not None else None
