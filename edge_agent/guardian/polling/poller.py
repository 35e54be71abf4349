"""One task per device, three cadences: fast, slow, rare (`cadence`).

* *fast*: `read`, at the device's cadence, sooner while something goes on (`pace`), later and apart while it
  fails (`backoff`); a device that says how long it wants to be left alone is left alone so long;
* *slow*: boards and pools, where the adapter has them; the log of one that got into trouble;
* *rare*: facts and chips.

Slow and rare reads follow a good fast one, each device at a moment of its own, by a queue (`rare`). So a site
of thousands that starts is first seen, and then asked what it is. Devices that decide trips
(`cadence.urgent_devices`) have no back-off. A gap that ends is handed to `backfill`.
"""

import asyncio
import random
from collections.abc import Callable, Mapping

from edge_agent.config import Cadence
from edge_agent.guardian.polling.backfill import Backfill, Backfills
from edge_agent.guardian.polling.backoff import pause_s
from edge_agent.guardian.polling.last_heard import LastHeard
from edge_agent.guardian.polling.link import DeviceLink
from edge_agent.guardian.polling.pace import Pace, Warm
from edge_agent.guardian.polling.rare import RareReads
from shared.clock import Clock
from shared.ids import DeviceId, ZoneId
from shared.telemetry import Sample

BACK_OFF_CAP_S = 30.0
LEFT_ALONE_S = 600.0
"""No device is left alone for longer, whatever it asks for."""
SOONEST_S = 0.05
TICK_S = 0.1
"""Ordinary reads begin at multiples of this, many at once: a processor that wakes up for each of five hundred
reads a second spends more on waking up than on reading."""


class Poller:
    """Keeps reading a set of devices until it is cancelled.

    `periods_s` are their plain cadences (`cadence.periods_s`); `urgent` ones decide trips. `warm` says from
    which temperatures a zone's miners are read faster; `on_facts` is told of facts that are new or different;
    `on_history` takes what devices remember of gaps; `last_heard` knows those that began before this process.
    `groups` are the slow and rare cadences of the devices that are in one.
    """

    def __init__(
        self,
        links: dict[DeviceId, DeviceLink],
        clock: Clock,
        *,
        periods_s: Mapping[DeviceId, float],
        urgent: frozenset[DeviceId],
        on_facts: Callable[[DeviceId], None],
        warm: Mapping[ZoneId, Warm] | None = None,
        on_history: Callable[[Backfill], None] | None = None,
        last_heard: LastHeard | None = None,
        groups: Mapping[DeviceId, Cadence] | None = None,
    ) -> None:
        self._links = links
        self._clock = clock
        self._periods_s = periods_s
        self._urgent = urgent
        self._jitter = random.Random(len(links))  # noqa: S311 - spreads polls, guards nothing
        self.pace = Pace(warm or {}, len(links))
        self._backfills = Backfills(on_history, clock)
        self._last_heard = last_heard
        self._rare = RareReads(clock, self._jitter, on_facts=on_facts, groups=groups)

    async def run(self) -> None:
        """Poll every device; returns only by cancellation."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._backfills.run(), name="backfill")
            group.create_task(self._rare.run(), name="rare reads")
            if self._last_heard is not None:
                group.create_task(
                    self._last_heard.run(self._links.values(), self._backfills), name="last heard"
                )
            for number, link in enumerate(self._links.values()):
                group.create_task(self._device(link, number), name=f"poll {link.device}")

    async def _device(self, link: DeviceLink, number: int) -> None:
        urgent = link.device in self._urgent
        plain_s = self._periods_s[link.device]
        failures = 0
        heard = False
        self._rare.add(link)
        # Spread over one period: devices that are read together are late together.
        await self._clock.sleep(plain_s * number / max(len(self._links), 1))
        while True:
            next_s = self._clock.monotonic()
            sample = await link.read()
            failures = failures + 1 if sample.failure else 0
            if failures == 0:
                if not heard and self._last_heard is not None:
                    self._last_heard.came(link, sample.at_s)
                heard = True
                self._follow(link)
            next_s += self._pause_s(link, sample, failures, plain_s, urgent=urgent)
            if not urgent:
                next_s = round(next_s / TICK_S) * TICK_S
            await self._clock.sleep(max(next_s - self._clock.monotonic(), SOONEST_S))

    def _pause_s(
        self, link: DeviceLink, sample: Sample, failures: int, plain_s: float, *, urgent: bool
    ) -> float:
        """From the beginning of this read to the beginning of the next."""
        if urgent:
            return pause_s(plain_s, failures, cap_s=plain_s, jitter=self._jitter)
        period_s = self.pace.period_s(link.entry, sample, plain_s)
        if failures == 0:
            return period_s
        alone_s = min(link.retry_after_s or 0.0, LEFT_ALONE_S)
        return max(pause_s(plain_s, failures, cap_s=BACK_OFF_CAP_S, jitter=self._jitter), alone_s)

    def _follow(self, link: DeviceLink) -> None:
        """What comes after a good read, where it is due."""
        gap = link.take_gap()
        if gap is not None:
            self._backfills.add(link, gap)
        self._backfills.follow(link)
        self._rare.follow(link)
