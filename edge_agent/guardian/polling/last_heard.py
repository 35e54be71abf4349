"""When devices were last heard, kept on the disk: an outage of the gateway itself is a gap too.

One small file, replaced at most once in `NOTE_S`: a time for the whole site, and those devices by name whose
gap was open then (silent, or not asked for yet). A guardian that starts takes the beginning of the gaps from
it. Wall clocks are compared here, so one that is not synchronised writes nothing and makes no gap.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from pathlib import Path

import msgspec

from edge_agent.guardian.polling.backfill import GAP_S, MOST_S, Backfills, Gap
from edge_agent.guardian.polling.link import DeviceLink
from edge_agent.guardian.storage import durable
from shared.clock import Clock
from shared.errors import StoreError
from shared.ids import DeviceId

log = logging.getLogger(__name__)

NOTE_S = 60.0
"""A gap begins up to so much too early after a power cut: a few records that we had already."""


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """UTC ms. Who is not in `silent` was heard less than `GAP_S` before `at_ms` and has nothing open."""

    at_ms: int
    silent: dict[DeviceId, int | None] = {}
    """When the open gap of each began; None: it was never heard, so its gap has no beginning."""


class LastHeard:
    """The file of one site, for those of its devices that remember.

    `synchronised` says whether the wall clock may be believed, `room` whether the disk has room for more than
    the journal.
    """

    def __init__(
        self, path: Path, clock: Clock, *, synchronised: Callable[[], bool], room: Callable[[], bool]
    ) -> None:
        self._path = path
        self._clock = clock
        self._synchronised = synchronised
        self._room = room
        self._kept = self._load()
        self._came: list[tuple[DeviceLink, float]] = []
        self._failing = False

    def _load(self) -> Heard | None:
        try:
            return durable.unseal(self._path.read_bytes(), Heard)
        except FileNotFoundError:
            return None
        except (OSError, StoreError) as error:
            log.warning("%s: %s; the time before this start stays unknown", self._path, error)
            return None

    def came(self, link: DeviceLink, at_s: float) -> None:
        """Its first good read in this process began at `at_s`."""
        if link.remembers and self._kept is not None:
            self._came.append((link, at_s))

    async def run(self, links: Collection[DeviceLink], backfills: Backfills) -> None:
        """Keep the file, and tell of gaps that began before this process, until cancelled.

        Returns at once where no device remembers anything.
        """
        told = [link for link in links if link.remembers]
        while told:
            await self._clock.sleep(NOTE_S)
            if self._synchronised():
                self._tell(backfills)
                await self._keep(self._heard(told, backfills))

    def _tell(self, backfills: Backfills) -> None:
        came, self._came = self._came, []
        offset_ms = self._clock.utc_ms() - self._clock.monotonic() * 1000
        for link, to_s in came:
            before_ms = self._before_ms(link.device)
            if before_ms is None:
                continue
            from_s = max((before_ms - offset_ms) / 1000, to_s - MOST_S)
            if to_s - from_s >= GAP_S:
                backfills.add(link, Gap(from_s=from_s, to_s=to_s))

    def _before_ms(self, device: DeviceId) -> int | None:
        if self._kept is None:
            return None
        return self._kept.silent.get(device, self._kept.at_ms)

    def _heard(self, links: Collection[DeviceLink], backfills: Backfills) -> Heard:
        """How it stands now. Where nobody answers the time stands still, so that nothing is written."""
        now_s, now_ms = self._clock.monotonic(), self._clock.utc_ms()
        silent: dict[DeviceId, int | None] = {}
        for link in links:
            since_s = _open_since_s(link, backfills, now_s)
            if link.last_good is None:
                silent[link.device] = self._before_ms(link.device)
            elif since_s is not None:
                began_ms = now_ms - round((now_s - since_s) * 1000)
                known_ms = self._kept.silent.get(link.device) if self._kept is not None else None
                # The same gap as at the last time, whose beginning moves with no correction of the clock.
                silent[link.device] = began_ms if known_ms is None else min(known_ms, began_ms)
        still = self._kept is not None and len(silent) == len(links)
        return Heard(at_ms=self._kept.at_ms if still and self._kept is not None else now_ms, silent=silent)

    async def _keep(self, heard: Heard) -> None:
        if heard == self._kept or not self._room():
            return
        self._kept = heard
        try:
            await asyncio.to_thread(durable.replace, self._path, durable.seal(heard))
        except StoreError as error:
            if not self._failing:
                log.warning("when devices were last heard is not kept: %s", error)
            self._failing = True
        else:
            self._failing = False


def _open_since_s(link: DeviceLink, backfills: Backfills, now_s: float) -> float | None:
    """Since when there is something to ask this device; None where all is known."""
    since_s = backfills.open_since_s(link.device)
    if since_s is None and link.last_good is not None and now_s - link.last_good.at_s >= GAP_S:
        return link.last_good.at_s
    return since_s
