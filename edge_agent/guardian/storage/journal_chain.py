"""The journal's hash chain: how entries link, and where a chain does not hold any more (S21)."""

import contextlib
import hashlib
import os
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import msgspec

from edge_agent.ipc import JournalEntry
from shared.alarms import Event
from shared.errors import StoreError

GENESIS = "0" * 64
SEGMENTS = 64
"""So many segments are kept; the oldest go first."""
TAIL_BYTES = 256 * 1024
"""More than any line is long."""


def link(seq: int, at_ms: int, at_s: float, event: Event, previous: str) -> JournalEntry:
    """The next entry of the chain."""
    bare = JournalEntry(seq=seq, at_ms=at_ms, at_s=at_s, event=event, previous=previous, hash="")
    return msgspec.structs.replace(bare, hash=digest(bare))


def digest(entry: JournalEntry) -> str:
    """The hash that an entry must carry."""
    bare = msgspec.structs.replace(entry, hash="")
    return hashlib.sha256(msgspec.json.encode(bare)).hexdigest()


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """Where a chain does not hold."""

    where: str
    why: str


def verify(folder: Path, *, keep_segments: int = SEGMENTS) -> tuple[int, list[Broken]]:
    """Walk the whole journal; returns how many entries hold, and every place where the chain breaks.

    Raises `StoreError` where there is no journal, or none that this user may read: neither is a good one.
    """
    try:
        good, broken = _verified(folder, keep_segments)
    except PermissionError as error:
        raise StoreError(
            f"{error.filename or folder}: this user may not read the journal; run it as the guardian's user, "
            "for example: sudo -u minewarden-guardian minewarden guardian verify-journal --site FILE"
        ) from error
    if not good and not broken:
        raise StoreError(f"there is no journal at {folder}: has the guardian ever run with this site file?")
    return good, broken


def _verified(folder: Path, keep_segments: int) -> tuple[int, list[Broken]]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        next(folder.iterdir(), None)  # what may not be read looks empty to `glob`, and is not
    files = segments(folder)
    broken = _beginning(files, keep_segments)
    good, last = _walk(files, broken)
    head = noted_head(folder)
    if head and (last is None or last.seq < head):
        broken.append(Broken(where="end", why=f"entries up to {head} were written and are missing"))
    return good, broken


def glance(folder: Path, *, keep_segments: int = SEGMENTS) -> str:
    """What `verify` would find without reading all: the newest segment, and how the older ones meet.

    A sentence, empty where all holds. For the start, which cannot wait for 64 MB to be hashed.
    """
    files = segments(folder)
    broken = _beginning(files, keep_segments)
    for older, newer in pairwise(files):
        before, after = _last_line(older), _first_line(newer)
        if before is not None and after is not None and (why := _mismatch(after, before, first=False)):
            broken.append(Broken(where=newer.name, why=why))
    _walk(files[-1:], broken)
    return "; ".join(f"{place.where}: {place.why}" for place in broken[:1])


def _beginning(files: list[Path], keep_segments: int) -> list[Broken]:
    """The oldest segments go by themselves only while the newer ones are as many as are kept."""
    first = _first_line(files[0]) if files else None
    if first is None or first.seq == 1 or len(files) >= keep_segments:
        return []
    return [Broken(where=files[0].name, why=f"entries 1 to {first.seq - 1} before it are missing")]


def _first_line(path: Path) -> JournalEntry | None:
    with path.open("rb") as file:
        return _decoded(file.readline())


def _last_line(path: Path) -> JournalEntry | None:
    """The last entry of a segment, read from its end."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - TAIL_BYTES, 0))
        lines = file.read().splitlines()
    return _decoded(lines[-1]) if lines else None


def _decoded(line: bytes) -> JournalEntry | None:
    try:
        return msgspec.json.decode(line, type=JournalEntry)
    except msgspec.DecodeError:
        return None


def _walk(files: Iterable[Path], broken: list[Broken]) -> tuple[int, JournalEntry | None]:
    """Check every line of these segments; adds to `broken`, returns the entries that hold and the last."""
    good = 0
    last: JournalEntry | None = None
    for segment in files:
        for number, line in enumerate(segment.read_bytes().split(b"\n"), start=1):
            if not line:
                continue
            where = f"{segment.name}:{number}"
            try:
                entry = msgspec.json.decode(line, type=JournalEntry)
            except msgspec.DecodeError as error:
                broken.append(Broken(where=where, why=f"does not decode: {error}"))
                last = None
                continue
            if why := _mismatch(entry, last, first=good == 0 and not broken):
                broken.append(Broken(where=where, why=why))
            else:
                good += 1
            last = entry
    return good, last


def _mismatch(entry: JournalEntry, last: JournalEntry | None, *, first: bool) -> str | None:
    if digest(entry) != entry.hash:
        return f"entry {entry.seq} was changed"
    if last is not None and entry.seq != last.seq + 1:
        return f"entry {entry.seq} follows {last.seq}"
    if last is not None and entry.previous != last.hash:
        return f"entry {entry.seq} does not link to the one before it"
    if first and entry.seq == 1 and entry.previous != GENESIS:
        return "the first entry does not start the chain"
    return None


def segments(folder: Path) -> list[Path]:
    """Segment files, oldest first."""
    return sorted(folder.glob("journal-*.jsonl"))


def head_path(folder: Path) -> Path:
    """Where that number stands."""
    return folder / "journal.head"


def noted_head(folder: Path) -> int:
    """The highest number that was ever noted as durable, 0 where none is known."""
    try:
        return int(head_path(folder).read_text() or 0)
    except (OSError, ValueError):
        return 0
