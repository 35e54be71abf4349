"""Where in a TOML text a key stands, so that an error points at the text and not at a data structure."""

import re
from collections.abc import Iterable
from enum import Enum
from typing import Any, Literal, get_args, get_origin

import msgspec


class TomlLines:
    """Line numbers of dotted keys such as `zones[1].limits.water_c.trip`.

    A search through the text and no parser: it is asked only for texts that `tomllib` has read, and a key
    that it does not find is answered with the table around it.
    """

    def __init__(self, text: str) -> None:
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

    def nearest(self, key: str) -> int | None:
        """The line of `key`, or of the nearest enclosing key that the text has; None where there is none."""
        probe = key
        while probe and probe not in self._line_of:
            shorter = re.sub(r"(\.[^.\[]+|\[\d+\]|^[^.\[]+)\Z", "", probe)
            # A quoted key may hold any character, and then nothing matches: drop it one by one.
            probe = shorter if shorter != probe else probe[:-1]
        return self._line_of.get(probe)


def with_words(message: str, key: str, structs: Iterable[type[msgspec.Struct]]) -> str:
    """msgspec's "Invalid enum value 'x'" with the words that the end of `key` takes in these structs."""
    if not message.startswith("Invalid enum value"):
        return message
    field = re.sub(r"\[\d*\]|\[\.\.\.\]", "", key).rpartition(".")[2]
    words: dict[str, None] = {}
    for struct in structs:
        for one in msgspec.structs.fields(struct):
            if one.encode_name == field:
                words |= dict.fromkeys(_words(one.type))
    said = message.replace("Invalid enum value", "is").strip()
    return f"{said}, expected one of {', '.join(words)}" if words else message


def _words(kind: Any) -> list[str]:
    """The words that a type takes, where it is an enumeration or holds one."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [str(member.value) for member in kind]
    if get_origin(kind) is Literal:
        return [str(word) for word in get_args(kind)]
    return [word for part in get_args(kind) for word in _words(part)]
