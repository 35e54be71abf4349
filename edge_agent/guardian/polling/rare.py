"""What a device is asked slowly and rarely: a queue of those whose turn has come.

*slow* are boards and pools; *rare* are facts and chips. The log is asked only where something went wrong, at
most once per slow cadence. How long each takes to come again is said by the site file's groups.

A site of thousands that starts wants everybody's facts at once, and until they are known nothing may be told
to a machine. They are asked `RARE_READS` at a time in the order in which they came due, facts first and logs
last, beside the fast reads, which never wait for them.
"""

import asyncio
import math
import random
from collections.abc import Callable, Mapping
from enum import IntEnum

from edge_agent.config import Cadence
from edge_agent.guardian.polling.link import DeviceLink
from shared.clock import Clock
from shared.ids import DeviceId

PLAIN = Cadence(name="plain")
"""Of a device that is in no group of the site file."""
FACTS_EVERY_S = PLAIN.rare_s
FACTS_RETRY_S = 30.0
APART = 0.25
"""Part of a rare cadence by which each turn of it may come sooner or later."""
RARE_READS = 8


class _Ask(IntEnum):
    """In the order of their urgency."""

    FACTS = 0
    DETAILS = 1
    CHIPS = 2
    LOG = 3


class RareReads:
    """Asks what is due of devices that answer. `on_facts` is told of facts that are new or different.

    `groups` are the cadences of the devices that are in one.
    """

    def __init__(
        self,
        clock: Clock,
        jitter: random.Random,
        *,
        on_facts: Callable[[DeviceId], None],
        groups: Mapping[DeviceId, Cadence] | None = None,
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._on_facts = on_facts
        self._groups = groups or {}
        self._due: dict[tuple[DeviceId, _Ask], float] = {}
        """When each is asked again (s, monotonic); one that waits or is under way is not among them."""
        self._waiting: asyncio.PriorityQueue[tuple[_Ask, int, DeviceLink]] = asyncio.PriorityQueue()
        self._number = 0

    def add(self, link: DeviceLink) -> None:
        """From now on ask this device what it is, and for its details from a moment of its own on."""
        now_s, cadence = self._clock.monotonic(), self._cadence(link)
        self._due[link.device, _Ask.FACTS] = (
            now_s if link.facts is None else now_s + self._apart(cadence.rare_s)
        )
        if link.has_details:
            self._due[link.device, _Ask.DETAILS] = now_s + cadence.slow_s * self._jitter.random()
        if link.has_chips:
            self._due[link.device, _Ask.CHIPS] = now_s + cadence.rare_s * self._jitter.random()
        if link.has_logs:
            self._due[link.device, _Ask.LOG] = now_s

    def follow(self, link: DeviceLink) -> None:
        """After a good read: what is due of this device joins the queue."""
        now_s = self._clock.monotonic()
        for ask in _Ask:
            if self._due.get((link.device, ask), math.inf) <= now_s and _is_wanted(link, ask):
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
                wait_s = await self._ask(link, ask)
            self._due[link.device, ask] = self._clock.monotonic() + wait_s

    async def _ask(self, link: DeviceLink, ask: _Ask) -> float:
        """Ask it; in how many seconds to ask again."""
        cadence = self._cadence(link)
        match ask:
            case _Ask.FACTS:
                return await self._facts(link)
            case _Ask.DETAILS:
                await link.read_details()
                return self._apart(cadence.slow_s)
            case _Ask.CHIPS:
                await link.read_chips()
                return self._apart(cadence.rare_s)
            case _Ask.LOG:
                await link.read_log()
                return self._apart(cadence.slow_s)

    async def _facts(self, link: DeviceLink) -> float:
        """Ask what the device is; in how many seconds to ask again."""
        before = link.facts
        told = await link.read_facts()
        # Only news: whoever listens tells the whole site's inventory to agents.
        if told and link.facts != before:
            self._on_facts(link.device)
        return self._apart(self._cadence(link).rare_s) if told else FACTS_RETRY_S

    def _cadence(self, link: DeviceLink) -> Cadence:
        return self._groups.get(link.device, PLAIN)

    def _apart(self, period_s: float) -> float:
        """The period, a little shorter or longer each time."""
        return period_s * self._jitter.uniform(1 - APART, 1 + APART)


def _is_wanted(link: DeviceLink, ask: _Ask) -> bool:
    """Whether it is worth a turn now: what a firmware lacks is known only once it said what it is."""
    match ask:
        case _Ask.CHIPS:
            return link.has_chips
        case _Ask.LOG:
            return link.wants_log
        case _:
            return True
