"""Where in the text of a site file a problem stands."""

import difflib
import re
from pathlib import Path
from typing import Any

import msgspec

from edge_agent.config.structs import Strict
from shared.inventory import AcceptedFirmware, DeviceEntry, SimulatorSettings
from shared.toml_lines import TomlLines, with_words


class Lines:
    """Finds the line of a dotted key, so that an error points at the text and not at a data structure."""

    def __init__(self, text: str, path: Path) -> None:
        self._path = path
        self._lines = TomlLines(text)

    def at(self, key: str, message: str) -> str:
        """`file:line: key: message`, with the line of the nearest enclosing key that the file has."""
        line = self._lines.nearest(key)
        where = f"{self._path}:{line}" if line else f"{self._path}"
        return f"{where}: {key}: {message}"

    def explain(self, error: msgspec.ValidationError) -> str:
        text = str(error)
        found = re.search(r" - at `\$\.?([^`]*)`$", text)
        key, message = (found[1], text[: found.start()]) if found else ("", text)
        key = key.replace("[...]", "")
        if unknown := re.search(r"unknown field `([^`]+)`", message):
            key = f"{key}.{unknown[1]}".lstrip(".")
            message = "unknown key; " + self._suggest(unknown[1])
        elif missing := re.search(r"missing required field `([^`]+)`", message):
            key = f"{key}.{missing[1]}".lstrip(".")
            message = "is missing, and safety-relevant keys have no default"
        message = with_words(message, key, all_structs())
        return self.at(key or "(top level)", message)

    @staticmethod
    def _suggest(name: str) -> str:
        known = {field for struct in all_structs() for field in struct.__struct_fields__}
        close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.75)
        return f"did you mean '{close[0]}'?" if close else "remove it, or see docs/site-file.md"


def all_structs() -> list[Any]:
    return [*Strict.__subclasses__(), DeviceEntry, AcceptedFirmware, SimulatorSettings]
