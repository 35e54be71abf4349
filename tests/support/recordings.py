"""Replies of real machines, where they are at hand; they stay outside the repository.

A folder is one machine: `../shared/recordings/<kind>/<version>/<question>.json`, as `minewarden diagnostics`
writes it too. Whatever is dropped in there is found by `folders()`.
"""

from pathlib import Path

import pytest

from firmware_adapters.discovery.recording import adapter_of
from firmware_adapters.registry import PROTOCOL_OF
from firmware_adapters.transport.line_json import MemoryLine, decode
from firmware_adapters.transport.tape import file_name, http_name
from shared.errors import MalformedReply

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"
_PAGES = {"antminer": "/cgi-bin/", "axeos": "/api/system/", "braiins": "/api/v1/", "vnish": "/api/v1/"}
"""Where the web server of a firmware has its pages; the others have none that we read."""
_ALSO = {"nerdaxe": "axeos"}
"""Other names that a folder may have."""


def recorded_line(folder: str) -> MemoryLine:
    """A socket that answers as recorded in `folder`; skips the test where that is missing."""
    found = sorted((RECORDINGS / folder).glob("*.json"))
    if not found:
        pytest.skip(f"no recordings of {folder} on this machine")
    return MemoryLine({file.stem: file.read_bytes() for file in found})


def folders(root: Path = RECORDINGS) -> list[Path]:
    """Every recorded miner below `root`; empty where there are no recordings."""
    found = sorted(file.parent for file in root.glob("*/*/*.json"))
    return [one for one in dict.fromkeys(found) if one.parent.name not in PROTOCOL_OF]


def plain(name: str) -> str:
    """A name in whichever form: `get.device.info` is `get_device_info`, but `stats.401` is no page."""
    return name if name.rpartition(".")[2].isdigit() else name.replace(".", "_").replace("-", "_")


class Recording:
    """The replies in one folder, told apart by the way on which they were asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # "get.device.info.json" is a whole name, "stats.401.raw" is a page that was refused.
        said = [*folder.glob("*.raw"), *folder.glob("*.json")]
        self.replies = {plain(file.name.rpartition(".")[0]): file.read_bytes() for file in said}
        kind = folder.parent.name
        self.adapter = _ALSO.get(kind, adapter_of(kind))
        if self.adapter == "whatsminer" and "get_device_info" in self.replies:
            self.adapter = "whatsminer-v3"

    def page(self, path: str) -> bytes | None:
        """What the web server said there; None is a 404."""
        if not path.startswith(_PAGES.get(self.adapter, "no pages")):
            return None
        name = plain(http_name(path))
        for one in (f"web_{name}", name):
            if one in self.replies and not self._of_socket(one):
                return self.replies[one]
        return None

    def command(self, command: str, parameter: object = None) -> bytes | None:
        """What the command socket said; None is a refusal."""
        asked = command if parameter is None else f"{command} {parameter}"
        for one in (plain(file_name(asked)), plain(file_name(command))):
            if one in self.replies and (self.adapter not in _PAGES or self._of_socket(one)):
                return self.replies[one]
        return None

    def _of_socket(self, name: str) -> bool:
        """On port 4028 every reply begins with a list of one status; no page has such a list."""
        try:
            return isinstance(decode(self.replies[name]).get("STATUS"), list)
        except MalformedReply:
            return False
