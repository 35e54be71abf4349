"""From committed changes to what every viewer's page shows, without asking the database once per viewer.

Changes are names. At most twice a second the hub reads what they name, once, and hands the same text to
all viewers. A viewer that does not keep up is told to start again from a snapshot.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import msgspec

from cloud.kit.changes import Changes
from shared.clock import Clock

COALESCE_S = 0.5
MAX_BEHIND = 256
_log = logging.getLogger(__name__)


class Update(msgspec.Struct, frozen=True, kw_only=True):
    """One server-sent event: its name and its JSON."""

    event: str
    data: str


Reader = Callable[[Changes], Awaitable[list[Update]]]


class Viewer:
    """One open page."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Update | None] = asyncio.Queue(MAX_BEHIND)
        self.behind = False
        """Updates were lost to this viewer; it needs a snapshot."""

    def offer(self, update: Update | None) -> None:
        if self.queue.full():
            while not self.queue.empty():
                self.queue.get_nowait()
            self.behind = True
        self.queue.put_nowait(update)


class Hub:
    """Fans changes out to viewers."""

    def __init__(self, clock: Clock, read: Reader) -> None:
        self._clock = clock
        self._read = read
        self._dirty = Changes()
        self._wake = asyncio.Event()
        self._viewers: set[Viewer] = set()
        self._closed = False

    @property
    def is_watched(self) -> bool:
        return bool(self._viewers)

    def publish(self, changes: Changes) -> None:
        """Note what changed; costs nothing while nobody looks."""
        if self._viewers:
            self._dirty.merge(changes)
            self._wake.set()

    @contextmanager
    def viewer(self) -> Iterator[Viewer]:
        """Be a viewer for as long as the block lasts."""
        viewer = Viewer()
        self._viewers.add(viewer)
        if self._closed:
            viewer.offer(None)
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)

    def close(self) -> None:
        """Let all viewers go, so that open streams do not keep the server from ending."""
        self._closed = True
        for viewer in self._viewers:
            viewer.offer(None)

    async def run(self) -> None:
        """Read and hand out for ever; ends only by cancellation."""
        while True:
            await self._wake.wait()
            await self._clock.sleep(COALESCE_S)
            self._wake.clear()
            changes, self._dirty = self._dirty, Changes()
            try:
                updates = await self._read(changes)
            except Exception:  # noqa: BLE001 - supervisor: a database that is away now must not end the live view
                _log.exception("live view cannot read what changed")
                for viewer in self._viewers:
                    viewer.behind = True  # what changed is forgotten here; a snapshot makes up for it
                continue
            for update in updates:
                for viewer in self._viewers:
                    viewer.offer(update)
