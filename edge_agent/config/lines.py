"""Where in the text of a site file a problem stands."""

import difflib
import re
from pathlib import Path
from typing import Any

import msgspec

from edge_agent.config.structs import Strict
from shared.inventory import DeviceEntry, SimulatorSettings


class Lines:
    """Finds the line of a dotted key, so that an error points at the text and not at a data structure."""

    def __init__(self, text: str, path: Path) -> None:
        self._path = path
        self._line_of: dict[str, int] = {}
        counts: dict[str, int] = {}
        table = ""
        for number, line in enumerate(text.splitlines(), start=1):
            if header := re.match(r"\s*\[\[([\w.\"-]+)\]\]", line):
                name = self._indexed(header[1], counts)
                parent, _, leaf = name.rpartition(".")
                counts[name] = counts.get(name, -1) + 1
                table = f"{parent}.{leaf}".lstrip(".") + f"[{counts[name]}]"
                self._line_of[table] = number
            elif header := re.match(r"\s*\[([\w.\"-]+)\]", line):
                table = self._indexed(header[1], counts)
                self._line_of[table] = number
            elif key := re.match(r"\s*([\w\"-]+(?:\.[\w\"-]+)*)\s*=", line):
                name = key[1].replace('"', "")
                self._line_of[f"{table}.{name}".lstrip(".")] = number
                for inline in re.findall(r"[{,]\s*([\w-]+)\s*=", line):
                    self._line_of.setdefault(f"{table}.{name}.{inline}".lstrip("."), number)

    @staticmethod
    def _indexed(header: str, counts: dict[str, int]) -> str:
        """`zones.limits` inside the second [[zones]] is `zones[1].limits`."""
        parts: list[str] = []
        for part in header.replace('"', "").split("."):
            parts.append(part)
            joined = ".".join(parts)
            is_last = len(parts) == header.count(".") + 1
            if joined in counts and not is_last:
                parts[-1] = f"{part}[{counts[joined]}]"
        return ".".join(parts)

    def at(self, key: str, message: str) -> str:
        """`file:line: key: message`, with the line of the nearest enclosing key that the file has."""
        probe = key
        while probe and probe not in self._line_of:
            probe = re.sub(r"(\.[^.\[]+|\[\d+\]|^[^.\[]+)$", "", probe)
        line = self._line_of.get(probe)
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
        return self.at(key or "(top level)", message)

    @staticmethod
    def _suggest(name: str) -> str:
        known = {field for struct in all_structs() for field in struct.__struct_fields__}
        close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.75)
        return f"did you mean '{close[0]}'?" if close else "remove it, or see docs/site-file.md"


def all_structs() -> list[Any]:
    return [*Strict.__subclasses__(), DeviceEntry, SimulatorSettings]
