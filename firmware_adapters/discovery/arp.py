"""MAC addresses that this computer's kernel knows of hosts it just spoke to (Linux, `/proc/net/arp`).

A host behind a router is not in there, and neither is loopback; then there is no MAC, and none is made up.
"""

from pathlib import Path

from firmware_adapters.identify import clean_mac

TABLE = Path("/proc/net/arp")
_COMPLETE = 0x2


def parse(text: str) -> dict[str, str]:
    """Address → MAC of the table's complete entries; lines that are none are passed over."""
    found: dict[str, str] = {}
    for line in text.splitlines()[1:]:
        cells = line.split()
        if len(cells) < 4 or not cells[2].startswith("0x"):
            continue
        try:
            flags = int(cells[2], 16)
        except ValueError:
            continue
        mac = clean_mac(cells[3])
        if flags & _COMPLETE and mac:
            found[cells[0]] = mac
    return found


def table(path: Path = TABLE) -> dict[str, str]:
    """What the kernel knows now; empty where it does not tell."""
    try:
        return parse(path.read_text("ascii", "replace"))
    except OSError:
        return {}
