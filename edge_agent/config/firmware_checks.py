"""Firmware versions that a site accepts on a person's word: whether each line says which, who and why."""

import difflib

import msgspec

from edge_agent.config.structs import SiteFile
from edge_agent.config.zone_checks import Problem
from shared.inventory import MINER_FIRMWARES, AcceptedFirmware, tells_whole_version

_LONGEST = 200
"""Characters; each text stands in a log line and in what a probe prints."""


def check_firmware(site: SiteFile) -> list[Problem]:
    """What is wrong with `[[firmware_accepted]]`, as (dotted key, sentence)."""
    problems: list[Problem] = []
    seen: set[tuple[str, str]] = set()
    for index, line in enumerate(site.firmware_accepted):
        key = f"firmware_accepted[{index}]"
        problems += _check_texts(line, key)
        if line.adapter not in MINER_FIRMWARES:
            problems.append(
                (f"{key}.adapter", f"no miner's firmware has an adapter {_nearest(line.adapter)}")
            )
        if (line.adapter, line.firmware) in seen:
            text = f"{line.firmware!r} of {line.adapter!r} is listed twice; one person answers for a version"
            problems.append((f"{key}.firmware", text))
        seen.add((line.adapter, line.firmware))
    problems += [
        (
            f"devices[{index}].firmware_accepted",
            "is not written per device; a version is accepted for an adapter, in [[firmware_accepted]]",
        )
        for index, device in enumerate(site.devices)
        if device.firmware_accepted is not msgspec.UNSET
    ]
    return problems


def _check_texts(line: AcceptedFirmware, key: str) -> list[Problem]:
    problems: list[Problem] = []
    for name, what in (
        ("firmware", "the version as 'minewarden probe' prints it"),
        ("by", "the name of the person who answers for it"),
        ("why", "what makes this person trust it"),
    ):
        text = getattr(line, name)
        if not text.strip():
            problems.append((f"{key}.{name}", f"is empty, expected {what}"))
        elif len(text) > _LONGEST or not text.isprintable():
            problems.append((f"{key}.{name}", f"expected one line of at most {_LONGEST} characters"))
    if line.firmware.strip() and not tells_whole_version(line.firmware):
        text = f"{line.firmware!r} does not tell the version; a machine that keeps it to itself is only read"
        problems.append((f"{key}.firmware", text))
    return problems


def _nearest(word: str) -> str:
    """The word, and the names that it may have meant, or all there are."""
    close = difflib.get_close_matches(word, MINER_FIRMWARES, n=1, cutoff=0.5)
    return f"{word!r}; " + (
        f"did you mean {close[0]!r}?" if close else f"known are {', '.join(MINER_FIRMWARES)}"
    )
