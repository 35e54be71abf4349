"""Replies of real machines, where they are at hand; they stay outside the repository."""

from pathlib import Path

import pytest

from firmware_adapters.transport.line_json import MemoryLine

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"


def recorded_line(folder: str) -> MemoryLine:
    """A socket that answers as recorded in `folder`; skips the test where that is missing."""
    found = sorted((RECORDINGS / folder).glob("*.json"))
    if not found:
        pytest.skip(f"no recordings of {folder} on this machine")
    return MemoryLine({file.stem: file.read_bytes() for file in found})
