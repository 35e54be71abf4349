"""Opening the store: a damaged file is set aside, never repaired in place, and never stops the agent.

What still opens of it goes into a fresh file (`salvage.py`); the damaged one stays for people to look at.
"""

from pathlib import Path

import msgspec

from edge_agent.agent.store.database import Connect, Store, StoreDamaged, connect
from edge_agent.agent.store.salvage import Salvaged, salvage
from shared.clock import Clock

FILE_NAME = "agent.sqlite"


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A usable store; where the damaged one went if there was one, and what came over from it."""

    store: Store
    quarantined: Path | None = None
    why: str = ""
    salvaged: Salvaged | None = None


def open_store(folder: Path, clock: Clock, *, outbox_bytes: int, connect: Connect = connect) -> Opened:
    """Open the store in `folder`, or quarantine what is there and start a fresh one.

    The fresh store has a new epoch, so no batch number is ever used twice. Raises `StoreError` where the
    file cannot be opened now (no room, no rights, somebody holds it): a sound outbox stays where it is, and
    the next start tries again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    try:
        return Opened(store=Store(path, clock, outbox_bytes=outbox_bytes, connect=connect))
    except StoreDamaged as error:
        aside = _set_aside(path, clock.utc_ms())
        fresh = Store(path, clock, outbox_bytes=outbox_bytes, connect=connect)
        return Opened(store=fresh, quarantined=aside, why=str(error), salvaged=salvage(aside, fresh))


def _set_aside(path: Path, now_ms: int) -> Path:
    """Rename the file with its WAL, so that a person can still salvage what opens."""
    aside = path.with_name(f"{path.name}.corrupt.{now_ms}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside
