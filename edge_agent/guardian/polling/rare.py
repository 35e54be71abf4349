"""What a device is asked rarely, facts and details: a queue of those whose turn has come.

A site of thousands that starts wants everybody's facts at once, and until they are known nothing may be told
to a machine. They are asked `RARE_READS` at a time in the order in which they came due, facts before details,
beside the fast reads, which never wait for them.
"""

import asyncio
import math
import random
from collections.abc import Callable
from enum import IntEnum

from edge_agent.guardian.polling.link import DeviceLink
from shared.clock import Clock
from shared.ids import DeviceId

DETAILS_EVERY_S = 300.0
FACTS_EVERY_S = 600.0
FACTS_RETRY_S = 30.0
APART = 0.25
"""Part of a rare cadence by which each turn of it may come sooner or later."""
RARE_READS = 8


class _Ask(IntEnum):
    """In the order of their urgency."""

    FACTS = 0
    DETAILS = 1


class RareReads:
    """Asks what is due of devices that answer. `on_facts` is told of facts that are new or different."""

    def __init__(self, clock: Clock, jitter: random.Random, *, on_facts: Callable[[DeviceId], None]) -> None:
        self._clock = clock
        self._jitter = jitter
        self._on_facts = on_facts
        self._due: dict[tuple[DeviceId, _Ask], float] = {}
        """When each is asked again (s, monotonic); one that waits or is under way is not among them."""
        self._waiting: asyncio.PriorityQueue[tuple[_Ask, int, DeviceLink]] = asyncio.PriorityQueue()
        self._number = 0

    def add(self, link: DeviceLink) -> None:
        """From now on ask this device what it is, and for its details from a moment of its own on."""
        now_s = self._clock.monotonic()
        self._due[link.device, _Ask.FACTS] = (
            now_s if link.facts is None else now_s + self._apart(FACTS_EVERY_S)
        )
        if link.has_details:
            self._due[link.device, _Ask.DETAILS] = now_s + DETAILS_EVERY_S * self._jitter.random()

    def follow(self, link: DeviceLink) -> None:
        """After a good read: what is due of this device joins the queue."""
        now_s = self._clock.monotonic()
        for ask in _Ask:
            if self._due.get((link.device, ask), math.inf) <= now_s:
                del self._due[link.device, ask]
                self._number += 1
                self._waiting.put_nowait((ask, self._number, link))

    async def run(self) -> None:
        """Work through the queue; returns only by cancellation."""
        async with asyncio.TaskGroup() as group:
            for number in range(RARE_READS):
                group.create_task(self._work(), name=f"rare reads {number}")

    async def _work(self) -> None:
        while True:
            ask, _, link = await self._waiting.get()
            wait_s = 0.0
            # One that fell silent while it waited would hold this worker for its whole deadline.
            if link.answers:
                wait_s = await (self._facts(link) if ask is _Ask.FACTS else self._details(link))
            self._due[link.device, ask] = self._clock.monotonic() + wait_s

    async def _facts(self, link: DeviceLink) -> float:
        """Ask what the device is; in how many seconds to ask again."""
        before = link.facts
        told = await link.read_facts()
        # Only news: whoever listens tells the whole site's inventory to agents.
        if told and link.facts != before:
            self._on_facts(link.device)
        return self._apart(FACTS_EVERY_S) if told else FACTS_RETRY_S

    async def _details(self, link: DeviceLink) -> float:
        await link.read_details()
        return self._apart(DETAILS_EVERY_S)

    def _apart(self, period_s: float) -> float:
        """The period, a little shorter or longer each time."""
        return period_s * self._jitter.uniform(1 - APART, 1 + APART)
