"""Runs proof tests: on schedule and on order without acting, and for real where an operator asks (S24)."""

import asyncio
import logging
from collections.abc import Iterable, Sequence

from edge_agent.config import SiteFile
from edge_agent.guardian.cycle import Cycle
from edge_agent.guardian.interlocks.inputs import Finding
from edge_agent.guardian.operators import proof_test
from edge_agent.guardian.operators.proof_test import Row
from edge_agent.guardian.storage.recorder import Recorder
from edge_agent.ipc import Lines, Refused
from shared.alarms import EventKind, Severity
from shared.clock import Clock
from shared.ids import DeviceId, ZoneId

log = logging.getLogger(__name__)

DURABLE_WITHIN_S = 5.0
LOOKS_EVERY_S = 0.25


class Proving:
    """The proof tests of one site."""

    def __init__(self, site: SiteFile, cycle: Cycle, recorder: Recorder, clock: Clock) -> None:
        self._site = site
        self._zones = {zone.id: zone for zone in site.zones}
        self._cycle = cycle
        self._recorder = recorder
        self._clock = clock
        self._proven: ZoneId | None = None
        """The zone that a real test runs in; the made-up danger has one slot."""

    async def keep(self) -> None:
        """Test every zone now and at the site file's cadence, until cancelled."""
        while True:
            for zone in self._zones:
                rows = await self._rows(zone, None)
                self._journal(zone, rows, "on schedule")
            await self._clock.sleep(self._site.timing.proof_test_every_s)

    async def on_order(self, zone: ZoneId, interlock: str | None, *, by: str, reason: str) -> Lines | Refused:
        """Test without acting, for a person; nothing on the site moves."""
        if why := self._unknown(zone, interlock):
            return Refused(why=why)
        rows = await self._rows(zone, interlock)
        self._journal(zone, rows, f"by {by}: {reason}")
        lines = [f"Proof test of zone {zone}, nothing was moved:"]
        for row in rows:
            if row.after_s is None:
                lines.append(f"  FAILED  {row.interlock:<20} {row.detail} (allowed {row.within_s:.1f} s)")
            else:
                took = f"after {row.after_s:.2f} s, allowed {row.within_s:.1f} s"
                lines.append(f"  passed  {row.interlock:<20} {row.detail} {took}")
        lines.append(f"{sum(row.passed for row in rows)} of {len(rows)} interlocks act as the site file says")
        return Lines(lines=tuple(lines), good=all(row.passed for row in rows))

    async def actuate(self, zone: ZoneId, interlock: str | None, *, by: str, reason: str) -> Lines | Refused:
        """Trip for real and wait until every miner that is heard has stopped; a person resets it then."""
        if interlock is None:
            return Refused(why="a real proof test trips one interlock; name it with --interlock")
        if why := self._unknown(zone, interlock) or self._in_the_way(zone, reason):
            return Refused(why=why)
        self._proven = zone
        try:
            seq = self._recorder.record(_begun(zone, interlock, by, reason))
            if not await self._recorder.durable(seq, timeout_s=DURABLE_WITHIN_S):
                return Refused(why="the journal cannot store this, so it is not done; look at the disk")
            return await self._watch(zone, interlock, by)
        finally:
            self._proven = None

    def _in_the_way(self, zone: ZoneId, reason: str) -> str | None:
        if not reason.strip():
            return "a real proof test needs a reason; give one with --reason"
        if self._proven is not None:
            return f"a real proof test of {self._proven} is running; wait for it"
        if self._latched(zone):
            return f"zone {zone} has latched trips: reset them first"
        return None

    async def _watch(self, zone: ZoneId, interlock: str, by: str) -> Lines:
        """Trip it, see the miners stop, and journal what came of it."""
        began_s = self._clock.monotonic()
        stood = {device for device, track in self._cycle.look(zone).miners.items() if track.stopped}
        await self._provoke(zone, interlock)
        took_s = self._clock.monotonic() - began_s
        if interlock not in self._latched(zone):
            said = f"FAILED: {interlock} did not latch within {took_s:.1f} s"
            self._recorder.record(_ended(zone, interlock, by, said, failed=True, shown=False))
            return Lines(lines=(said,), good=False)
        lines = [f"{interlock} latched after {took_s:.2f} s"]
        stop_by_s = self._clock.monotonic() + self._site.timing.stop_confirm_s + 2.0
        while self._running(zone) and self._clock.monotonic() < stop_by_s:
            await self._clock.sleep(LOOKS_EVERY_S)
        took_s = self._clock.monotonic() - began_s
        left = self._running(zone)
        ran, counts = self._counted(zone, stood)
        if left:
            lines.append(
                f"FAILED: {left} miners have not confirmed their stop after {took_s:.1f} s; {counts}"
            )
        elif ran:
            lines.append(f"every miner that is heard has confirmed its stop after {took_s:.2f} s; {counts}")
        else:
            lines.append(f"NO STOP WAS SHOWN: {counts}; test again while miners run")
        said = ", ".join(lines)
        self._recorder.record(_ended(zone, interlock, by, said, failed=left > 0, shown=ran > 0))
        lines.append("the trip stays latched: see 'minewarden guardian trips', then reset it")
        return Lines(lines=tuple(lines), good=not left and ran > 0)

    async def _provoke(self, zone: ZoneId, interlock: str) -> None:
        """Lay the danger over the live inputs until the interlock latches or its time is over."""
        allowed_s = proof_test.delay_s(self._site, self._zones[zone], interlock) + proof_test.SLACK_S
        trip_by_s = self._clock.monotonic() + allowed_s
        self._cycle.pretend(proof_test.unsafe(self._site, self._zones[zone], interlock))
        try:
            while interlock not in self._latched(zone) and self._clock.monotonic() < trip_by_s:
                await self._clock.sleep(LOOKS_EVERY_S)
        finally:
            self._cycle.pretend(None)

    def _counted(self, zone: ZoneId, stood: set[DeviceId]) -> tuple[int, str]:
        """How many miners ran and stopped; and in words what every one that was to stop did."""
        tracks = {device: self._cycle.look(zone).miners[device] for device in self._wanted(zone)}
        silent = sum(not track.heard for track in tracks.values())
        idle = sum(track.heard and track.stopped and device in stood for device, track in tracks.items())
        ran = sum(track.heard and track.stopped and device not in stood for device, track in tracks.items())
        return ran, f"{ran} ran and stopped, {idle} stood already, {silent} are not heard"

    def _latched(self, zone: ZoneId) -> set[str]:
        return {trip.interlock for trip in self._cycle.look(zone).trips}

    def _wanted(self, zone: ZoneId) -> Iterable[DeviceId]:
        """Miners that the zone's trips want stopped."""
        state = self._cycle.look(zone)
        return state.latched if not state.zone_trips else state.miners.keys()

    def _running(self, zone: ZoneId) -> int:
        """Those that are heard and not seen stopped."""
        tracks = self._cycle.look(zone).miners
        return sum(tracks[device].heard and not tracks[device].stopped for device in self._wanted(zone))

    def _unknown(self, zone: ZoneId, interlock: str | None) -> str | None:
        if zone not in self._zones:
            return f"no zone {zone!r} on this site; it has {', '.join(self._zones)}"
        known = proof_test.interlocks(self._site, self._zones[zone])
        if interlock is not None and interlock not in known:
            return f"zone {zone} has no interlock {interlock!r}; it has {', '.join(known)}"
        return None

    async def _rows(self, zone: ZoneId, interlock: str | None) -> list[Row]:
        here = self._zones[zone]
        names = [interlock] if interlock is not None else proof_test.interlocks(self._site, here)
        return [await asyncio.to_thread(proof_test.run, self._site, here, name) for name in names]

    def _journal(self, zone: ZoneId, rows: Sequence[Row], why: str) -> None:
        failed = [f"{row.interlock}: {row.detail}" for row in rows if not row.passed]
        good = len(rows) - len(failed)
        self._recorder.record(
            Finding(
                kind=EventKind.ALARM if failed else EventKind.SYSTEM,
                severity=Severity.URGENT if failed else Severity.LOW,
                key=f"proof-test/{zone}",
                title=f"Proof test of zone {zone} ({why}): {good} of {len(rows)} interlocks act"
                + (f"; NOT: {'; '.join(failed)}" if failed else ""),
                advice="Do not run this zone unattended; check the limits and probes of what failed."
                if failed
                else "",
                zone=zone,
                data={"passed": good, "failed": len(failed)},
            )
        )


def _begun(zone: ZoneId, interlock: str, by: str, reason: str) -> Finding:
    return Finding(
        kind=EventKind.ACTION,
        severity=Severity.HIGH,
        key=f"proof-test/{zone}",
        title=f"{by} proves {interlock} of zone {zone} for real: {reason}",
        advice="Miners stop and the trip latches; reset it when the test is over.",
        zone=zone,
        data={"by": by, "reason": reason, "interlock": interlock},
    )


def _ended(zone: ZoneId, interlock: str, by: str, said: str, *, failed: bool, shown: bool) -> Finding:
    """What a real test came to. Its own key: the next test on a copy takes no failure of this back."""
    advice = "Find out why before this zone runs unattended: this is what is there for the day of need."
    if not failed:
        advice = "" if shown else "Test again while miners run."
    return Finding(
        kind=EventKind.ALARM if failed else EventKind.ALARM_CLEARED if shown else EventKind.SYSTEM,
        severity=Severity.URGENT if failed else Severity.LOW if shown else Severity.HIGH,
        key=f"proof-test/{zone}/{interlock}",
        title=f"Real proof test of {interlock} in zone {zone} by {by}: {said}",
        advice=advice,
        zone=zone,
        data={"by": by, "interlock": interlock},
    )
