"""How a Whatsminer with the third API is recognised: the length-prefixed socket on 4433 answers
`get.device.info` (miners.md §2)."""

import re

from firmware_adapters.identify import Clue, Findings, Guess, inside, word

PORT = 4433
INFO = "get.device.info"
_KNOWN = re.compile(r"202[3-9](0[1-9]|1[0-2])\d\d(?:\.\d+)?(?:\.\w+)?")


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
    """Builds are dated; the third API is documented for those since 2023."""
    return _KNOWN.fullmatch(firmware) is not None
