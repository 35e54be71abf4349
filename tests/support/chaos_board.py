"""Switches that the chaos run turns inside the agent's process: eight bytes each in a shared file."""

import mmap
import struct
from enum import IntEnum
from pathlib import Path

_CELL = struct.Struct("<q")


class Switch(IntEnum):
    """What can be turned while the agent runs."""

    UTC_OFFSET_MS = 0
    SLOW_COMMIT_MS = 1
    """Each commit takes so much longer, as an SD card's fsync does."""
    DISK_FULL = 2
    """1: SQLite may take no further page and raw files cannot grow."""


class Board:
    """The file, mapped; a write is seen by the other process at once."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_CELL.size * len(Switch)))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _CELL.size * len(Switch))

    def get(self, switch: Switch) -> int:
        return int(_CELL.unpack_from(self._map, switch * _CELL.size)[0])

    def set(self, switch: Switch, value: int) -> None:
        _CELL.pack_into(self._map, switch * _CELL.size, value)

    def close(self) -> None:
        self._map.close()
