"""How a Whatsminer with the second API is recognised: `get_version` on port 4028 (miners.md §2).

Its STATUS is one letter beside a `Msg` object, where every cgminer has a list.
"""

import re

from firmware_adapters.identify import Clue, Findings, Guess, inside, word
from firmware_adapters.miners import known

PORT = 4028
_BUILD = re.compile(r"(20\d\d)(\d\d)(\d\d)(?:\.\d+)?(?:\.\w+)?", re.ASCII)


def recognise(seen: Findings) -> Guess | None:
    """See `identify.Recogniser`."""
    clues: list[Clue] = []
    version = inside(seen.commands.get("get_version"), "Msg")
    api, firmware = word(version, "api_ver"), word(version, "fw_ver")
    if api and firmware:
        clues.append(Clue(0.9, f"port 4028 get_version: API {api}, firmware {firmware}"))
    summary = seen.section("summary", "SUMMARY")
    if summary is not None and {"Factory GHS", "Power Mode"} & set(summary):
        clues.append(Clue(0.6, "port 4028 summary: `Factory GHS` or `Power Mode`, which Whatsminers have"))
    details = seen.section("devdetails", "DEVDETAILS")
    model = word(details, "Model")
    if re.fullmatch(r"M[2-7]\d\w*(\+\w*)*([ _-]?V\w+)?", model):
        clues.append(Clue(0.6, f'port 4028 devdetails: Model "{model}"'))
    else:
        model = ""
    if not clues:
        return None
    info = inside(seen.commands.get("get_miner_info"), "Msg")
    return Guess(
        clues=tuple(clues),
        model=f"Whatsminer {model}" if model else "",
        firmware=firmware,
        mac=word(info, "mac") or word(summary, "MAC"),
        serial=word(info, "minersn"),
    )


def seen_before(firmware: str) -> bool:
    """See `identify.Recogniser`."""
    return known.covers("whatsminer", _built(firmware), _built)


def _built(firmware: str) -> known.Number | None:
    """Builds are dated: `20230803.11.REL`."""
    found = _BUILD.fullmatch(firmware)
    return known.day(int(found[1]), int(found[2]), int(found[3])) if found is not None else None
