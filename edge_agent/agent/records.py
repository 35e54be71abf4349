"""The agent's durable memory as the other parts use it: async, one thread behind, waking the uplink."""

import asyncio
from typing import TypeVar

import msgspec

from edge_agent.agent.store.database import Store
from edge_agent.agent.store.frames import RawStore
from edge_agent.agent.store.rows import Commit
from edge_agent.agent.store.writer import Writer
from edge_agent.agent.view import SiteView
from shared.alarms import Event
from shared.telemetry import Sample

T = TypeVar("T")


class Records:
    """Commits, events and small values. Raises `StoreError` where the disk refuses."""

    def __init__(self, store: Store, raw: RawStore, writer: Writer, view: SiteView) -> None:
        self.store = store
        self.raw = raw
        self.writer = writer
        self.fresh = asyncio.Event()
        """Set when there is something new to publish; the uplink clears it."""
        self._view = view

    async def commit(self, commit: Commit) -> None:
        """Make it durable, then let the uplink and the status page know."""
        await self.writer.call(self.store.commit, commit)
        self._view.events.extend(commit.events)
        self.fresh.set()

    async def emit(self, *events: Event, meta: dict[str, bytes] | None = None) -> None:
        """Events go down at once, with the values that change with them."""
        if events or meta:
            await self.commit(Commit(events=events, meta=meta or {}))

    async def append_raw(self, samples: list[Sample]) -> None:
        """Raw samples into their frames."""
        if samples:
            await self.writer.call(self.raw.append, samples)

    async def get(self, key: str, kind: type[T]) -> T | None:
        """One small value; None where it was never set."""
        data = await self.writer.call(self.store.meta, key)
        return None if data is None else msgspec.msgpack.decode(data, type=kind)

    async def put(self, key: str, value: object) -> None:
        await self.commit(Commit(meta={key: msgspec.msgpack.encode(value)}))
