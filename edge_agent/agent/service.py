"""The supervisor: the one place where any exception is caught, so that one part failing stops no other."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Final

from shared.clock import Clock

_FIRST_S: Final = 0.5
_CAP_S: Final = 30.0
_HEALTHY_S: Final = 60.0
"""A part that ran this long starts again with the shortest wait."""

log = logging.getLogger("minewarden.agent")


def full_jitter(attempt: int, *, first_s: float, cap_s: float) -> float:
    """Wait before retry number `attempt` (from 0): anywhere between 0 and the doubled, capped step."""
    return secrets.SystemRandom().uniform(0.0, min(cap_s, first_s * 2.0 ** min(attempt, 32)))


class Service:
    """One long-running part of the agent. Subclasses write `run` and call `tick` while they are well."""

    name: str = "service"
    stall_s: float = 30.0
    """No tick for this long means stuck; the watchdog then stays silent and systemd restarts the agent."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.restarts = 0
        self.last_error = ""
        self._ticked_s = clock.monotonic()

    async def run(self) -> None:
        """Do the work until cancelled; returning early counts as a failure and is restarted."""
        raise NotImplementedError

    def tick(self) -> None:
        """Say that the loop turns."""
        self._ticked_s = self.clock.monotonic()

    @property
    def stalled(self) -> bool:
        """Whether the loop stopped turning."""
        return self.clock.monotonic() - self._ticked_s > self.stall_s

    async def supervise(self) -> None:
        """Run, and restart with growing, jittered waits, until cancelled."""
        attempt = 0
        while True:
            started = self.clock.monotonic()
            try:
                await self.run()
                self.last_error = "returned"
            except Exception as error:  # the supervisor: whatever a part dies of, the others go on
                self.last_error = f"{type(error).__name__}: {error}"
                log.exception("%s failed and is restarted", self.name)
            self.restarts += 1
            attempt = 0 if self.clock.monotonic() - started > _HEALTHY_S else attempt + 1
            self.tick()
            await self.clock.sleep(full_jitter(attempt, first_s=_FIRST_S, cap_s=_CAP_S))


async def run_all(services: Sequence[Service], stop: asyncio.Event, *, on_ready: Callable[[], None]) -> None:
    """Run all parts until `stop`, then end them in reverse order."""
    tasks = [asyncio.create_task(service.supervise(), name=service.name) for service in services]
    on_ready()
    await stop.wait()
    for task in reversed(tasks):
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
