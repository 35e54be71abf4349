"""`minewarden store vacuum | salvage`: the commands that write, each only where nobody else does."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec

from edge_agent.agent.store.cli_inspect import size
from edge_agent.agent.store.database import Store
from edge_agent.agent.store.opening import FILE_NAME
from edge_agent.agent.store.salvage import salvage
from shared.clock import Clock
from shared.errors import StoreError

_ANY_SIZE: Final = 1 << 60
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


def vacuum(state: Path) -> int:
    """Rewrite the file without its free pages. Raises `StoreError` while an agent has it open."""
    path = state / FILE_NAME
    if not path.is_file():
        raise StoreError(f"{path}: there is no store here")
    before, free = path.stat().st_size, shutil.disk_usage(state).free
    if free < before:
        raise StoreError(f"{size(before)} of free room is needed for the copy, the disk has {size(free)}")
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0.0)) as db:
        _alone(db, path)
        verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise StoreError(f"{path} is damaged ({verdict}): start the agent, it saves what still opens")
        db.execute("VACUUM")
    print(f"{path}: {size(before)} before, {size(path.stat().st_size)} now")
    return 0


def _alone(db: sqlite3.Connection, path: Path) -> None:
    """Take the file for this connection alone; a running agent's open connection stands against it."""
    try:
        db.execute("PRAGMA locking_mode=EXCLUSIVE")
        db.execute("BEGIN EXCLUSIVE")
        db.execute("COMMIT")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in _BUSY:
            raise
        raise StoreError(
            f"{path} is in use: stop the agent first (systemctl stop minewarden-agent). A running agent "
            "gives free pages back by itself, a little each minute"
        ) from error


def salvage_into(source: Path, folder: Path, clock: Clock) -> int:
    """Copy what opens of a damaged store into a fresh one in `folder`."""
    if not source.is_file():
        raise StoreError(f"{source}: there is no such file")
    if (folder / FILE_NAME).exists():
        raise StoreError(f"{folder} has a store already; name an empty folder, nothing is written over")
    folder.mkdir(parents=True, exist_ok=True)
    store = Store(folder / FILE_NAME, clock, outbox_bytes=_ANY_SIZE)
    try:
        found = salvage(source, store)
    finally:
        store.close()
    words = {
        "batches": "batches that wait for the cloud",
        "rollups": "steps of roll-ups",
        "values": "small values (cursors, counters)",
        "broken": "lines that were found and could not be believed",
        "lost_rows": "rows in them",
        "unknown_numbers": "batch numbers of which nothing is known; their tombstones are in the outbox",
    }
    for name, value in msgspec.structs.asdict(found).items():
        print(f"{value:>8}  {words[name]}")
    print(f"written to {folder / FILE_NAME}")
    return 0 if found.batches or found.rollups or found.values else 1
