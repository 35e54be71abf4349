"""Device-side time-outs (S10): armed at start and after reconnection, fed while the interlocks turn.

A drive with a time-out of its own drives its fans to the safe side when the guardian, its host or the network
is gone. So it is fed only while the interlock loop turns, and what the device says is believed only when it
was read back. A zone whose fans must stand (smoke) has its time-outs disarmed, else they would start again.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping

import msgspec

from edge_agent.config import Timing
from edge_agent.guardian.interlocks.inputs import Finding
from edge_agent.guardian.polling.board import Board
from edge_agent.guardian.polling.link import DeviceLink
from edge_agent.guardian.storage.recorder import Recorder
from firmware_adapters.capabilities import WatchdogControl
from shared.alarms import EventKind, Severity
from shared.capabilities import Ability
from shared.clock import Clock
from shared.errors import DeviceError
from shared.ids import DeviceId

log = logging.getLogger(__name__)

FEEDS_PER_TIMEOUT = 3
CHECK_EVERY_S = 60.0
"""How often an armed device is asked whether it still is."""
ALARM_AFTER_S = 30.0
REQUESTS = 4
"""Arming is a few requests; all of it may take this many request time-outs."""
TOLERANCE = 0.05


class _Dog(msgspec.Struct):
    """What is known of one device's time-out."""

    armed: bool = False
    stands: bool = False
    """Disarmed on purpose."""
    checked_s: float = 0.0
    unarmed_since_s: float | None = None
    alarmed: bool = False


class Watchdogs:
    """Runs on the event loop beside the poller."""

    def __init__(
        self,
        links: Mapping[DeviceId, DeviceLink],
        board: Board,
        recorder: Recorder,
        clock: Clock,
        timing: Timing,
        *,
        turning: Callable[[], bool],
        standing: Callable[[], frozenset[DeviceId]],
    ) -> None:
        """`turning`: whether the interlocks turn. `standing`: devices whose fans must stand still now."""
        self._board = board
        self._recorder = recorder
        self._clock = clock
        self._timing = timing
        self._turning = turning
        self._standing = standing
        self._dogs: dict[DeviceId, _Dog] = {}
        # Of thousands of devices a handful: they are looked through at the safety cadence.
        self._able = tuple(link for link in links.values() if isinstance(link.adapter, WatchdogControl))

    @property
    def armed(self) -> frozenset[DeviceId]:
        """Devices whose time-out was read back as armed."""
        return frozenset(device for device, dog in self._dogs.items() if dog.armed)

    async def run(self) -> None:
        """Tend all of them at the safety cadence until cancelled."""
        while True:
            await self.once()
            await self._clock.sleep(self._timing.safety_poll_s)

    async def once(self) -> None:
        """Arm, feed or check each device once; nothing while the interlocks stand still."""
        if not self._turning():
            return
        await asyncio.gather(*(self._tend(link) for link in self._able if _has_one(link)))

    async def _tend(self, link: DeviceLink) -> None:
        dog = self._dogs.setdefault(link.device, _Dog())
        adapter = link.adapter
        if not isinstance(adapter, WatchdogControl):
            return
        if self._board.last(link.device).failed_in_a_row:
            dog.armed = dog.stands = False  # it may have lost its supply, and with it what it was told
            self._unarmed(link, dog, "it does not answer")
            return
        try:
            async with asyncio.timeout(REQUESTS * self._timing.request_timeout_s):
                await self._speak(link, dog, adapter)
        except (TimeoutError, DeviceError) as error:
            dog.armed = False
            self._unarmed(link, dog, str(error) or "it did not answer in time")
        except Exception as error:
            # Supervisor: an adapter's bug is one time-out that is not armed, not the end of the guardian.
            log.exception("%s: adapter failed in an unforeseen way", link.device)
            dog.armed = False
            self._unarmed(link, dog, f"its adapter failed: {error!r}")

    async def _speak(self, link: DeviceLink, dog: _Dog, adapter: WatchdogControl) -> None:
        if link.device in self._standing():
            if not dog.stands:
                await adapter.disarm()
                dog.stands, dog.armed = True, False
            return
        dog.stands = False
        now_s = self._clock.monotonic()
        if not dog.armed:
            timeout_s = self._timeout_s(link)
            if timeout_s is None:
                self._unarmed(link, dog, "its longest time-out is too short for the safety cadence")
                return
            await adapter.arm(timeout_s)
        elif now_s - dog.checked_s < CHECK_EVERY_S:
            await adapter.feed()
            return
        told_s, wanted_s = await adapter.armed_s(), self._timeout_s(link)
        dog.checked_s = now_s
        dog.armed = (
            told_s is not None and wanted_s is not None and abs(told_s - wanted_s) <= TOLERANCE * wanted_s
        )
        if dog.armed:
            await adapter.feed()
            self._is_armed(link, dog)
        else:
            self._unarmed(link, dog, f"it says {told_s} s instead of {wanted_s:g} s")

    def _timeout_s(self, link: DeviceLink) -> float | None:
        """As long as anything else may be silent, inside the device's range; None where that is too short."""
        capabilities = link.facts.capabilities if link.facts is not None else ()
        ability = next((c for c in capabilities if c.ability is Ability.WATCHDOG), None)
        if ability is None or ability.low is None or ability.high is None:
            return None
        least_s = max(ability.low, FEEDS_PER_TIMEOUT * self._timing.safety_poll_s)
        return min(max(self._timing.lost_after_s, least_s), ability.high) if least_s <= ability.high else None

    # ------------------------------------------------------------ words

    def _unarmed(self, link: DeviceLink, dog: _Dog, why: str) -> None:
        now_s = self._clock.monotonic()
        if dog.unarmed_since_s is None:
            dog.unarmed_since_s = now_s
        if dog.alarmed or now_s - dog.unarmed_since_s < ALARM_AFTER_S:
            return
        dog.alarmed = True
        self._recorder.record(
            Finding(
                kind=EventKind.ALARM,
                severity=Severity.HIGH,
                key=f"watchdog/{link.device}",
                title=f"the time-out of {link.device} is not armed: {why}",
                advice="If this gateway fails its fans keep their last speed; look at the device.",
                zone=link.entry.zone,
                device=link.device,
            )
        )

    def _is_armed(self, link: DeviceLink, dog: _Dog) -> None:
        dog.unarmed_since_s = None
        if not dog.alarmed:
            return
        dog.alarmed = False
        self._recorder.record(
            Finding(
                kind=EventKind.ALARM_CLEARED,
                severity=Severity.LOW,
                key=f"watchdog/{link.device}",
                title=f"the time-out of {link.device} is armed",
                zone=link.entry.zone,
                device=link.device,
            )
        )


def _has_one(link: DeviceLink) -> bool:
    facts = link.facts
    return facts is not None and any(c.ability is Ability.WATCHDOG for c in facts.capabilities)
