"""How a Whatsminer with the third API is recognised: the length-prefixed socket on 4433 answers
`get.device.info` (miners.md §2)."""

import re

from firmware_adapters.identify import Clue, Findings, Guess, inside, word
from firmware_adapters.miners import known

PORT = 4433
INFO = "get.device.info"
_BUILD = re.compile(r"(20\d\d)(\d\d)(\d\d)(?:\.\d+)?(?:\.\w+)?", re.ASCII)


def recognise(seen: Findings) -> Guess | None:
    """See `identify.Recogniser`."""
    reply = seen.frames.get(INFO)
    if reply is None:
        return None
    clues = [Clue(0.7, f"port 4433 answers {INFO} in length-prefixed frames")]
    said = inside(reply, "msg")
    miner, system, network = inside(said, "miner"), inside(said, "system"), inside(said, "network")
    model, firmware = word(miner, "type"), word(system, "fwversion")
    if model:
        clues.append(Clue(0.85, f'{INFO}: miner type "{model}"'))
    if firmware:
        clues.append(Clue(0.85, f"{INFO}: firmware {firmware}, API {word(system, 'api') or 'not told'}"))
    return Guess(
        clues=tuple(clues),
        model=f"Whatsminer {model}" if model else "",
        firmware=firmware,
        mac=word(network, "mac"),
        serial=word(miner, "miner-sn") or word(miner, "sn"),
    )


def seen_before(firmware: str) -> bool:
    """See `identify.Recogniser`."""
    return known.covers("whatsminer-v3", _built(firmware), _built)


def _built(firmware: str) -> known.Number | None:
    """Builds are dated: `20230803.11.REL`."""
    found = _BUILD.fullmatch(firmware)
    return known.day(int(found[1]), int(found[2]), int(found[3])) if found is not None else None
