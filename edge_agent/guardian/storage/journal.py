"""The guardian's journal: segmented, bounded, hash-chained, flushed to disk; pulled by cursor (S21).

One JSON line per entry; `hash` covers the entry and the hash before it, so a changed, moved or removed
line shows. `append` never waits: it links the entry and leaves the disk to `flush`, which a thread of its
own calls; raises and resets wait with `is_durable`. When the disk is full, a reserve file is given up so
that trips can still be written; until there is room for a new one the journal is not `ok`, so that nothing is
raised on what is left. Only durable entries are handed out, because an entry that a crash takes
back would leave its number to another one.
"""

import errno
import logging
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from edge_agent.guardian.storage import durable
from edge_agent.guardian.storage.journal_chain import (
    GENESIS,
    SEGMENTS,
    Broken,
    digest,
    glance,
    head_path,
    link,
    noted_head,
    segments,
    verify,
)
from edge_agent.ipc import JournalEntry
from shared.alarms import Event
from shared.clock import Clock
from shared.errors import StoreError

__all__ = ["SEGMENTS", "Broken", "Journal", "digest", "glance", "link", "segments", "verify"]

log = logging.getLogger(__name__)

SEGMENT_BYTES = 1024 * 1024
RESERVE_BYTES = 256 * 1024
PENDING_MAX = 10_000
PAGE_BYTES = 256 * 1024
RECENT = 2_000
"""Durable entries kept in memory, so that a reader who keeps up costs no disk."""


class Journal:
    """The journal of one guardian. Thread-safe."""

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        boot: str,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        keep_segments: int = SEGMENTS,
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._boot = boot
        self._segment_bytes = segment_bytes
        self._keep_segments = keep_segments
        self._lock = threading.Lock()
        self._pending: deque[JournalEntry] = deque(maxlen=PENDING_MAX)
        self._io = threading.Lock()
        self._file: int | None = None
        self._size = 0
        self._head = 0
        self._last_hash = GENESIS
        self._recent: deque[JournalEntry] = deque(maxlen=RECENT)
        self._resume: Path | None = None
        self._reserved = False
        self.durable_head = 0
        self.ok = True
        self.repaired = ""
        self._open()

    # ------------------------------------------------------------ opening

    def _open(self) -> None:
        durable.private_folder(self._folder)
        last: JournalEntry | None = None
        for segment in reversed(segments(self._folder)):
            last = self._mend(segment)
            if last is not None:
                break
        if last is not None:
            self._head, self._last_hash = last.seq, last.hash
        lost = noted_head(self._folder)
        if lost > self._head:
            self.repaired = f"entries {self._head + 1} to {lost} are missing"
            self._head = lost  # numbers are never used twice, so that a reader's cursor stays true
        self.repaired = self.repaired or glance(self._folder, keep_segments=self._keep_segments)
        self.durable_head = self._head
        self.ok = self._reserve()

    def _mend(self, segment: Path) -> JournalEntry | None:
        """The last whole entry of a segment; a torn end (power cut) is cut off, damage is kept and told."""
        data = segment.read_bytes()
        whole, last = 0, None
        for line in data.splitlines(keepends=True):
            try:
                entry = msgspec.json.decode(line, type=JournalEntry)
            except msgspec.DecodeError:
                break
            if not line.endswith(b"\n"):
                break
            whole, last = whole + len(line), entry
        if whole == len(data):
            self._resume = segment
            return last
        rest = data[whole:]
        if b"\n" not in rest:  # the end of the last write: never confirmed to anybody
            os.truncate(segment, whole)
            self._resume = segment
            return last
        self.repaired = f"{segment.name} is damaged after {whole} bytes"
        log.error("journal: %s; 'minewarden guardian verify-journal' tells more", self.repaired)
        return self._last_readable(data) or last

    @staticmethod
    def _last_readable(data: bytes) -> JournalEntry | None:
        for line in reversed(data.splitlines()):
            try:
                return msgspec.json.decode(line, type=JournalEntry)
            except msgspec.DecodeError:
                continue
        return None

    def _reserve(self) -> bool:
        """Make sure that there is a reserve; False where there is no room for it.

        Not tried before there is room for it twice: latches and orders live on what it gave up.
        """
        reserve = self._folder / "journal.reserve"
        try:
            if not reserve.exists() or reserve.stat().st_size < RESERVE_BYTES:
                disk = os.statvfs(self._folder)
                if disk.f_bavail * disk.f_frsize < 2 * RESERVE_BYTES:
                    return False
                durable.replace(reserve, os.urandom(RESERVE_BYTES))
        except (OSError, StoreError) as error:
            log.warning("journal: no reserve for a full disk: %s", error)
            reserve.with_name(reserve.name + ".new").unlink(missing_ok=True)
            return False
        self._reserved = True
        return True

    # ------------------------------------------------------------ writing

    @property
    def head(self) -> int:
        """Highest entry number that exists, durable or not."""
        with self._lock:
            return self._head

    def append(self, event: Event) -> int:
        """Link an event into the chain and return its number; `flush` brings it to the disk.

        An event without an id gets one from its number, so ids never repeat over restarts.
        """
        with self._lock:
            seq = self._head + 1
            if not event.id:
                event = msgspec.structs.replace(event, id=f"{self._boot[:8]}-{seq}")
            entry = link(seq, self._clock.utc_ms(), self._clock.monotonic(), event, self._last_hash)
            if len(self._pending) == PENDING_MAX:
                log.error("journal: memory is full too, entry %d is lost", self._pending[0].seq)
            self._pending.append(entry)
            self._head, self._last_hash = seq, entry.hash
            return seq

    def is_durable(self, seq: int) -> bool:
        """Whether the entry of that number is on the disk."""
        return self.durable_head >= seq

    def flush(self) -> bool:
        """Bring what is pending to the disk. Called by one thread.

        False where the disk refused, and where it took the entries only because the reserve was given up.
        """
        with self._io:
            with self._lock:
                entries = list(self._pending)
            if entries and not self._bring(entries):
                return False
            told, self.ok = self.ok, self._reserved or self._reserve()
            if self.ok and not told:
                log.info("journal: there is room again")
            return self.ok

    def _bring(self, entries: list[JournalEntry]) -> bool:
        data = b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)
        try:
            self._write(entries[0].seq, data)
        except OSError as error:
            self._failed(error)
            return False
        self.durable_head = entries[-1].seq
        with self._lock:
            self._recent.extend(entries)
            while self._pending and self._pending[0].seq <= self.durable_head:
                self._pending.popleft()
        return True

    def _write(self, first_seq: int, data: bytes) -> None:
        if self._file is None or self._size + len(data) > self._segment_bytes:
            self._next_segment(first_seq)
        assert self._file is not None  # noqa: S101 - narrows the type after _next_segment
        before = self._size
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, before)
            raise
        self._size = before + len(data)
        try:
            head_path(self._folder).write_text(str(first_seq + data.count(b"\n") - 1))
        except OSError as error:
            # The entries are on the disk; to call that a failure would write them a second time.
            log.warning("journal: its head is not noted: %s", error.strerror)

    def _next_segment(self, first_seq: int) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
        path = self._resume or self._folder / f"journal-{first_seq:012d}.jsonl"
        self._resume = None
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = os.fstat(self._file).st_size
        durable.sync_folder(self._folder)
        for old in segments(self._folder)[: -self._keep_segments]:
            old.unlink()

    def _failed(self, error: OSError) -> None:
        if self.ok:
            log.error("journal: cannot be written: %s; nothing is raised until it can", error.strerror)
        self.ok = False
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            self._reserved = False
            (self._folder / "journal.reserve").unlink(missing_ok=True)

    def close(self) -> None:
        """Write what is pending and let go of the file."""
        self.flush()
        with self._io:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    # ------------------------------------------------------------ reading

    def page(self, cursor: int) -> tuple[JournalEntry, ...]:
        """Durable entries after `cursor`, oldest first, up to about 256 kB."""
        with self._lock:
            recent = tuple(self._recent)
        if recent and recent[0].seq <= cursor + 1:
            return _fitting(entry for entry in recent if entry.seq > cursor)
        return _fitting(self._stored_after(cursor))

    def newest_first(self) -> Iterator[JournalEntry]:
        """Every durable entry that reads, newest first. Reads files: not for the event loop."""
        for path in reversed(segments(self._folder)):
            for line in reversed(path.read_bytes().splitlines()):
                try:
                    yield msgspec.json.decode(line, type=JournalEntry)
                except msgspec.DecodeError:
                    continue  # as in _stored_after

    def _stored_after(self, cursor: int) -> Iterator[JournalEntry]:
        for line in self._lines_after(cursor):
            try:
                entry = msgspec.json.decode(line, type=JournalEntry)
            except msgspec.DecodeError:
                continue  # damage is told by `repaired` and by verify; readers get what holds
            if cursor < entry.seq <= self.durable_head:
                yield entry

    def _lines_after(self, cursor: int) -> Iterator[bytes]:
        files = segments(self._folder)
        firsts = [int(path.stem.removeprefix("journal-")) for path in files]
        start = max((i for i, first in enumerate(firsts) if first <= cursor + 1), default=0)
        for path in files[start:]:
            yield from path.read_bytes().splitlines()


def _fitting(entries: Iterable[JournalEntry]) -> tuple[JournalEntry, ...]:
    """As many entries as fit into a page, at least one where there is one."""
    page: list[JournalEntry] = []
    size = 0
    for entry in entries:
        size += len(msgspec.json.encode(entry))
        if page and size > PAGE_BYTES:
            break
        page.append(entry)
    return tuple(page)
