"""How a Whatsminer with the second API is recognised: `get_version` on port 4028 (miners.md §2).

Its STATUS is one letter beside a `Msg` object, where every cgminer has a list.
"""

import re

from firmware_adapters.identify import Clue, Findings, Guess, inside, word

PORT = 4028
_KNOWN = re.compile(r"20(1[89]|2\d)(0[1-9]|1[0-2])\d\d(?:\.\d+)?(?:\.\w+)?")


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
    """Builds are dated (`20230803.11.REL`); those since 2018 speak what is written here."""
    return _KNOWN.fullmatch(firmware) is not None
