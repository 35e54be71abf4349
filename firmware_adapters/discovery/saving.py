"""Keeping what a look at a device brought on the wire."""

import sys
from pathlib import Path

from firmware_adapters.discovery import recording
from firmware_adapters.discovery.report import Probed, as_json, chosen, device_words


def save(found: Probed, folder: Path, secret: str) -> Path | None:
    """Write the conversation below `folder` and say where; None where there was none.

    `secret` is taken out of every reply. Raises `ConfigError` where the folder cannot be written.
    """
    best = chosen(found)
    if found.examined is None or best is None or not any(one.reply for one in found.examined.exchanges):
        print("nothing was answered, so nothing is saved", file=sys.stderr)
        return None
    told = device_words(found)
    provenance = recording.Provenance(
        adapter=best.adapter,
        model=told["model"],
        firmware=told["firmware"],
        at=str(as_json(found)["at"] or ""),
        failures=tuple(f"{one.part}: {one.code}: {one.why}" for one in found.examined.not_read),
    )
    place = recording.write(folder, found.examined.exchanges, provenance, secrets=[secret])
    print(f"saved: {place}", file=sys.stderr)
    return place
