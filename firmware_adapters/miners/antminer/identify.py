"""How Bitmain's own firmware is recognised: the digest realm of its CGI, its system page, or 4028 `version`.

LuxOS, Braiins OS and VNish run on the same machines and keep "Antminer" in their type, so each of their own
words rules this firmware out. The realm does not tell models apart; without a password the 4028 socket does.
"""

import re

from firmware_adapters.identify import Clue, Findings, Guess, word
from firmware_adapters.miners import known

PORT = 80
SYSTEM = "/cgi-bin/get_system_info.cgi"
_OTHERS = ("vnish", "luxminer", "luxos", "bosminer", "boser", "braiins", "marathon", "epic")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WRITTEN = re.compile(rf"\b({'|'.join(_MONTHS)}) +(\d{{1,2}})\b.*\b(20\d\d)\b", re.ASCII | re.IGNORECASE)
_IN_BRACKETS = re.compile(r"\((\d\d)(\d\d)(\d\d)\b", re.ASCII)


def recognise(seen: Findings) -> Guess | None:
    """See `identify.Recogniser`."""
    told = f"{seen.machine_type} {_versions(seen)}".lower()
    if any(other in told for other in _OTHERS):
        return None
    clues: list[Clue] = []
    asking = next((page for page in seen.pages.values() if "antminer" in page.realm.lower()), None)
    if asking is not None:
        clues.append(Clue(0.85, f"the web server asks for a login of {asking.realm.partition(',')[0]}"))
    system = seen.json(SYSTEM)
    model = word(system, "minertype")
    own = "antminer" in f"{model} {seen.machine_type}".lower() or asking is not None
    if model and not own:
        return None  # others took over the page with its field, and write their own name into it
    if model:
        clues.append(Clue(0.9, f'{SYSTEM}: minertype "{model}"'))
    version = seen.section("version", "VERSION")
    if "antminer" in seen.machine_type.lower():
        clues.append(Clue(0.6, f'port 4028: Type "{seen.machine_type}"'))
    if word(version, "BMMiner") or "BMMiner" in (seen.section("stats", "STATS", "BMMiner") or {}):
        clues.append(Clue(0.5, "port 4028: mines with BMMiner"))
    if not clues:
        return None
    return Guess(
        clues=tuple(clues),
        model=model or seen.machine_type,
        firmware=word(system, "system_filesystem_version") or word(version, "CompileTime"),
        mac=word(system, "macaddr"),
        serial=word(system, "serinum"),
        algorithm=word(system, "Algorithm"),
    )


def _versions(seen: Findings) -> str:
    version = seen.section("version", "VERSION") or {}
    status = seen.section("version", "STATUS") or {}
    return " ".join([*version, word(status, "Description")])


def seen_before(firmware: str) -> bool:
    """Bitmain dates its builds instead of numbering them: "Tue Dec 6 … 2022", "FR-1.12(251009-S21)".

    What a build later than the newest known changed, nobody can say before it was tried.
    """
    return known.covers("antminer", _built(firmware), _built)


def _built(firmware: str) -> known.Number | None:
    written = _WRITTEN.search(firmware)
    if written is not None:
        return known.day(int(written[3]), _MONTHS.index(written[1].lower()) + 1, int(written[2]))
    coded = _IN_BRACKETS.search(firmware)
    return known.day(2000 + int(coded[1]), int(coded[2]), int(coded[3])) if coded is not None else None
