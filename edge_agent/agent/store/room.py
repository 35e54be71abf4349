"""What the agent does when the disk has no room: a reserve, then raw frames, then the outbox itself.

A disk that is full cannot even record that it is full. So a file of real blocks is kept beside the store and
given up at the first refusal; the alarm, and the transaction that thins the outbox, fit into what it leaves.
"""

import errno
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Final

from edge_agent.agent.store.database import Store
from edge_agent.agent.store.frames import RawStore

RESERVE_BYTES: Final = 8 * 1024 * 1024
_FILE: Final = "reserve"
_SHRINK: Final = 0.9
_STEPS: Final = 500
_LEAST_OUTBOX: Final = 64 * 1024


def says_full(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, means that there is no room on the disk."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        code = getattr(error, "sqlite_errorcode", None)
        if isinstance(error, sqlite3.Error) and code is not None and code & 0xFF == sqlite3.SQLITE_FULL:
            return True
        error = error.__cause__
    return False


class Room:
    """The folder's reserve and what can be deleted in it. Blocking: call it from the writer thread."""

    def __init__(self, folder: Path, store: Store, raw: RawStore, *, outbox_bytes: int) -> None:
        self._path = folder / _FILE
        self._store = store
        self._raw = raw
        self._outbox_bytes = outbox_bytes
        # A small disk gives a small reserve, never a sixteenth of what it has.
        self._bytes = min(RESERVE_BYTES, shutil.disk_usage(folder).total // 16)

    def keep(self) -> None:
        """Have the reserve, where there is room for it twice; then the outbox has its whole limit again."""
        if self._path.exists():
            return
        if shutil.disk_usage(self._path.parent).free < 2 * self._bytes:
            return
        try:
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._bytes)
                os.fsync(file.fileno())
        except OSError:
            self._path.unlink(missing_ok=True)
            return
        self._store.limit_outbox(self._outbox_bytes)

    def make(self) -> str:
        """Free what can be freed now; says in words what was given up. Raises `StoreError`, `OSError`."""
        self._store.empty_log()
        if self._path.exists():
            self._path.unlink()
            return "its reserve was given up"
        freed = self._raw.make_room(self._bytes)
        if freed >= self._bytes // 2:
            return f"{freed / 1e6:.1f} MB of the oldest raw samples were deleted"
        limit = max(int(self._store.held_bytes * _SHRINK), _LEAST_OUTBOX)
        self._store.limit_outbox(min(limit, self._outbox_bytes))
        steps = self._store.forget_oldest_rollups(_STEPS)
        return f"the outbox is held at {limit / 1e6:.1f} MB, and {steps} old steps of roll-ups are gone"
