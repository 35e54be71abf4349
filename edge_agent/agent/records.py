"""The agent's durable memory as the other parts use it: async, one thread behind, waking the uplink."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from edge_agent.agent.store.database import Store, StoreDamaged
from edge_agent.agent.store.frames import RawStore
from edge_agent.agent.store.room import Room, says_full
from edge_agent.agent.store.rows import Commit, Receipt
from edge_agent.agent.store.writer import Writer
from edge_agent.agent.view import SiteView
from shared.alarms import Event
from shared.errors import StoreError
from shared.telemetry import Sample

T = TypeVar("T")


class Records:
    """Commits, events and small values. Raises `StoreError` where the disk refuses."""

    def __init__(
        self, store: Store, raw: RawStore, writer: Writer, view: SiteView, *, room: Room | None = None
    ) -> None:
        self.store = store
        self.raw = raw
        self.writer = writer
        self.room = room
        self.damaged = asyncio.Event()
        """Set when the open file turned out to be damaged: only a start anew can set it aside."""
        self.fresh = asyncio.Event()
        """Set when there is something new to publish; the uplink clears it."""
        self.planner: Callable[[Sequence[Event]], dict[str, bytes]] | None = None
        """Asked before events are committed: values that must become durable with them."""
        self._view = view

    async def commit(self, commit: Commit) -> Receipt:
        """Make it durable, then let the uplink and the status page know."""
        if self.planner is not None and commit.events:
            commit = msgspec.structs.replace(commit, meta=self.planner(commit.events) | commit.meta)
        try:
            receipt = await self.writer.call(self.store.commit, commit)
        except StoreDamaged:
            self.damaged.set()
            raise
        self._view.events.extend((*commit.events, *receipt.events))
        self.fresh.set()
        return receipt

    async def emit(self, *events: Event, meta: dict[str, bytes] | None = None) -> None:
        """Events go down at once, with the values that change with them."""
        if events or meta:
            await self.commit(Commit(events=events, meta=meta or {}))

    async def append_raw(self, samples: list[Sample]) -> None:
        """Raw samples into their frames."""
        if samples:
            await self.writer.call(self.raw.append, samples)

    async def make_room(self, refused: StoreError) -> str:
        """What was given up because the disk is full, in words; empty where that is not what is wrong."""
        if self.room is None or not says_full(refused):
            return ""
        try:
            return await self.writer.call(self.room.make)
        except (StoreError, OSError) as error:
            return f"nothing could be given up: {error}"

    async def get(self, key: str, kind: type[T]) -> T | None:
        """One small value; None where it was never set."""
        data = await self.writer.call(self.store.meta, key)
        return None if data is None else msgspec.msgpack.decode(data, type=kind)

    async def put(self, key: str, value: object) -> None:
        await self.commit(Commit(meta={key: msgspec.msgpack.encode(value)}))
