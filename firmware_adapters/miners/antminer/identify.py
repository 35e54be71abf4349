"""How Bitmain's own firmware is recognised: the digest realm of its CGI, its system page, or 4028 `version`.

LuxOS, Braiins OS and VNish run on the same machines and keep "Antminer" in their type, so each of their own
words rules this firmware out. The realm does not tell models apart; without a password the 4028 socket does.
"""

import re

from firmware_adapters.identify import Clue, Findings, Guess, word

PORT = 80
SYSTEM = "/cgi-bin/get_system_info.cgi"
_OTHERS = ("vnish", "luxminer", "luxos", "bosminer", "boser", "braiins", "marathon", "epic")
_YEAR = re.compile(r"\b(20\d\d)\b|\((\d\d)\d{4}\b")
_YEARS = range(2018, 2030)


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

    A date says when it was built, not that anything changed: builds of the next years are taken for what is
    known, and what a date far ahead means nobody knows.
    """
    dated = _YEAR.search(firmware)
    if dated is None:
        return False
    return int(dated[1] or f"20{dated[2]}") in _YEARS
