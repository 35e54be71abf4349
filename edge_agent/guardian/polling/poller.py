"""One task per device: read at its cadence, back off while it fails, facts at the rare cadence.

Those that decide trips (`cadence.urgent_devices`) have a faster cadence and no back-off.
"""

import asyncio
import random
from collections.abc import Callable

from edge_agent.guardian.polling.backoff import pause_s
from edge_agent.guardian.polling.link import DeviceLink
from shared.clock import Clock
from shared.ids import DeviceId

FACTS_EVERY_S = 600.0
FACTS_RETRY_S = 30.0
BACK_OFF_CAP_S = 30.0


class Poller:
    """Keeps reading a set of devices until it is cancelled; `urgent` ones every `urgent_poll_s`.

    A device's own `poll_s` in the site file goes before both.
    """

    def __init__(
        self,
        links: dict[DeviceId, DeviceLink],
        clock: Clock,
        *,
        poll_s: float,
        urgent_poll_s: float,
        urgent: frozenset[DeviceId],
        on_facts: Callable[[DeviceId], None],
    ) -> None:
        self._links = links
        self._clock = clock
        self._poll_s = poll_s
        self._urgent_poll_s = urgent_poll_s
        self._urgent = urgent
        self._on_facts = on_facts
        self._jitter = random.Random(len(links))  # noqa: S311 - spreads polls, guards nothing

    async def run(self) -> None:
        """Poll every device; returns only by cancellation."""
        async with asyncio.TaskGroup() as group:
            for number, link in enumerate(self._links.values()):
                group.create_task(self._device(link, number), name=f"poll {link.device}")

    async def _device(self, link: DeviceLink, number: int) -> None:
        urgent = link.device in self._urgent
        period_s = link.entry.poll_s or (self._urgent_poll_s if urgent else self._poll_s)
        failures = 0
        facts_due_s = self._clock.monotonic()
        # Spread over one period: devices that are read together are late together.
        await self._clock.sleep(period_s * number / max(len(self._links), 1))
        while True:
            due_s = self._clock.monotonic()
            sample = await link.read()
            failures = failures + 1 if sample.failure else 0
            now_s = self._clock.monotonic()
            if failures == 0 and now_s >= facts_due_s:
                told = await link.read_facts()
                if told:
                    self._on_facts(link.device)
                facts_due_s = self._clock.monotonic() + (FACTS_EVERY_S if told else FACTS_RETRY_S)
            cap_s = period_s if urgent else BACK_OFF_CAP_S
            pause = pause_s(period_s, failures, cap_s=cap_s, jitter=self._jitter)
            due_s += pause
            await self._clock.sleep(max(due_s - self._clock.monotonic(), 0.05))
