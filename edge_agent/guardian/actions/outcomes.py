"""Watches what applied actions did: before and after, and back at once where a limit is involved.

A raise by a model or a schedule after which its miner, its zone or a cap above it reaches `warn` inside the
watch is taken back, through the arbiter and in the safe direction. A change that only made the economics
worse is left to the agent, which has the numbers from here and the follow-ups after hours of its own.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from edge_agent.config import SiteFile
from edge_agent.guardian import views
from edge_agent.guardian.actions import audit, effects
from edge_agent.guardian.actions.desk import Desk
from edge_agent.guardian.arbiter import Direction, Permit
from edge_agent.guardian.cycle import Cycle
from edge_agent.guardian.interlocks.levels import Level
from edge_agent.guardian.polling.board import Board
from edge_agent.guardian.polling.ring import Kept, Ring
from edge_agent.guardian.requests import Request, Source
from edge_agent.guardian.storage.recorder import Recorder
from edge_agent.ipc import Effect, Mode, Outcome
from shared.clock import Clock
from shared.commands import AnyAction, Priority, SetPoint, SetPreset, StartMining, StopMining
from shared.ids import DeviceId, ZoneId
from shared.telemetry import Sample

_decoder = msgspec.msgpack.Decoder(Sample)

WINDOW_S = 60.0
"""Before and after are means over so long."""
LOOK_EVERY_S = 1.0
MAX_AT_ONCE = 256
"""More are counted and not watched: an order for a thousand miners is told by the site's meter."""


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """One applied action under watch."""

    permit: Permit
    devices: tuple[DeviceId, ...]
    zone: ZoneId
    before: Effect
    undo: AnyAction | None
    """What takes it back where a limit is involved; None where nothing does."""
    levels: frozenset[str]
    """Zone limits that stood already when it began."""


class _Live(msgspec.Struct, kw_only=True, eq=False):
    """A watch that runs, until it is due or something happens."""

    watch: Watch
    until_s: float
    reached: str | None = None
    disturbed: str | None = None

    @property
    def ended(self) -> bool:
        """Whether its story is over before its time."""
        return self.reached is not None or self.disturbed is not None


class Outcomes:
    """Runs on the event loop; one background task looks after all watches, as long as there are any.

    The ring's samples are unpacked in a thread, once for all watches that end together: an order for a
    thousand miners must not hold up whoever else uses the loop.
    """

    def __init__(
        self,
        site: SiteFile,
        desk: Desk,
        cycle: Cycle,
        board: Board,
        ring: Ring,
        recorder: Recorder,
        clock: Clock,
        *,
        publish: Callable[[Outcome], None],
    ) -> None:
        self._zone_of = {entry.id: entry.zone for entry in site.devices}
        self._miners = views.miners_by_zone(site)
        self._cools = {
            (DeviceId(actuator.device), actuator.point): zone.id
            for zone in site.zones
            for actuator in zone.cooling_actuators
        }
        self._desk = desk
        self._cycle = cycle
        self._board = board
        self._ring = ring
        self._recorder = recorder
        self._clock = clock
        self._publish = publish
        self._live: list[_Live] = []
        self.counts: Counter[str] = Counter()
        """What became of watches: told, rolled back, not watched because there were too many."""

    # ------------------------------------------------------------ before

    async def before(self, permits: Sequence[Permit]) -> dict[AnyAction, Watch]:
        """The last minute of what these permits will touch; called before anything is written."""
        touched = {permit.action: self._touched(permit.action) for permit in permits}
        seen = await self._seen(frozenset(device for devices in touched.values() for device in devices))
        return {
            permit.action: Watch(
                permit=permit,
                devices=touched[permit.action],
                zone=self._zone(permit.action),
                before=effects.effect(seen, touched[permit.action]),
                undo=self.undo_of(permit) if _may_be_undone(permit) else None,
                levels=frozenset(self._cycle.statuses[self._zone(permit.action)].levels),
            )
            for permit in permits
        }

    def _zone(self, action: AnyAction) -> ZoneId:
        cooled = self._cools.get((action.device, action.point)) if isinstance(action, SetPoint) else None
        return self._zone_of[action.device] if cooled is None else cooled

    def _touched(self, action: AnyAction) -> tuple[DeviceId, ...]:
        """A miner itself; of cooling, the miners of its zone."""
        if isinstance(action, SetPoint):
            return self._miners[self._zone(action)]
        return (action.device,)

    async def _seen(self, devices: frozenset[DeviceId]) -> Mapping[DeviceId, list[Sample]]:
        """The last window's samples of these devices; the ring holds them packed."""
        now_s = self._clock.monotonic()
        kept = self._ring.between(now_s - WINDOW_S, now_s)
        return await asyncio.to_thread(_unpacked, kept, devices)

    def undo_of(self, permit: Permit) -> AnyAction | None:
        """What brings the device back to what it runs now; None where that is not known."""
        action, last = permit.action, self._board.last(permit.action.device)
        if isinstance(action, StartMining):
            return StopMining(device=action.device)
        if isinstance(action, SetPreset):
            return None if last.preset is None else SetPreset(device=action.device, preset=last.preset)
        if isinstance(action, SetPoint):
            now = last.good.usable(action.point) if last.good is not None else None
            return None if now is None else msgspec.structs.replace(action, value=now)
        return None

    # ------------------------------------------------------------ the watch

    @property
    def watched(self) -> int:
        """How many actions are under watch."""
        return len(self._live)

    def watch(self, watch: Watch) -> None:
        """Follow an applied action through its settling and one window more."""
        if self.watched >= MAX_AT_ONCE:
            self.counts["not watched"] += 1
            return
        permit = watch.permit
        until_s = self._clock.monotonic() + max(permit.settle_s, permit.shows_s) + WINDOW_S
        self._live.append(_Live(watch=watch, until_s=until_s))
        if self.watched == 1:
            self._desk.background(self._look_after(), lasting=True)

    async def _look_after(self) -> None:
        """Look at every watch, as long as there are any."""
        while self._live:
            await self._clock.sleep(LOOK_EVERY_S)
            now_s = self._clock.monotonic()
            for live in self._live:
                live.reached = self.limit_reached(live.watch) if live.watch.undo is not None else None
                live.disturbed = self._disturbance(live.watch)
            over = [live for live in self._live if live.ended or now_s >= live.until_s]
            if over:
                self._desk.background(self._end(over), lasting=True)
                self._live = [live for live in self._live if live not in over]

    async def _end(self, over: Sequence[_Live]) -> None:
        """Take back what led to a limit, then tell what each of them did."""
        words = await asyncio.gather(*(self._taken_back(live) for live in over))
        told = [live for live in over if not live.disturbed]
        seen = await self._seen(frozenset(device for live in told for device in live.watch.devices))
        for live, word in zip(over, words, strict=True):
            effect = Effect() if live.disturbed else effects.effect(seen, live.watch.devices)
            self._tell(live.watch, effect, word, live.disturbed)

    async def _taken_back(self, live: _Live) -> str | None:
        if live.reached is None:
            return None
        return f"{live.reached}; {await self._roll_back(live.watch, live.reached)}"

    def _disturbance(self, watch: Watch) -> str | None:
        """What stopped these miners meanwhile: their hashrate is then no effect of the action."""
        status = self._cycle.statuses[watch.zone]
        if status.mode in (Mode.TRIPPED, Mode.SAFE):
            return f"zone {watch.zone} is {status.mode}"
        latched = {trip.device for trip in status.trips} & set(watch.devices)
        return f"{', '.join(sorted(map(str, latched)))} tripped" if latched else None

    def limit_reached(self, watch: Watch) -> str | None:
        """The first limit at `warn` or beyond that this raise may have led to, in words."""
        device, status = watch.permit.action.device, self._cycle.statuses[watch.zone]
        tracks = self._cycle.look(watch.zone).miners
        for miner in watch.devices:
            track = tracks.get(miner)
            if track is not None and max(track.chip.level, track.board.level) >= Level.WARN:
                what = "chip" if track.chip.level >= Level.WARN else "board"
                return (
                    f"{what} temperature of {miner} reached {max(track.chip.level, track.board.level).word}"
                )
        for name in status.levels:
            if name not in watch.levels:
                return f"{name} of zone {watch.zone} reached {status.levels[name]}"
        for cap in self._desk.caps():
            if device in cap.devices and cap.room_w is not None and cap.room_w < 0:
                return f"power cap {cap.id} is {-cap.room_w:.0f} W above warn"
        return None

    async def _roll_back(self, watch: Watch, why: str) -> str:
        self.counts["rolled back"] += 1
        action = watch.undo
        if action is None:
            return "there is nothing to go back to"
        request = Request(
            id=watch.permit.request.id,
            action=action,
            priority=Priority.SAFE,
            source=Source.ROLLBACK,
            why=f"{why} after {audit.told(watch.permit.action)}",
        )
        decision = self._desk.decide(request)
        if not isinstance(decision, Permit):
            self._desk.refused(decision)
            return f"{audit.told(action)} was not possible: {'; '.join(decision.violations)}"
        record = await self._desk.launch(decision)
        return f"{audit.told(action)} is {record.result}"

    def _tell(self, watch: Watch, after: Effect, rolled_back: str | None, disturbed: str | None) -> None:
        outcome = Outcome(
            id=watch.permit.request.id,
            action=watch.permit.action,
            before=watch.before,
            after=after,
            window_s=WINDOW_S,
            rolled_back=rolled_back,
            disturbed=disturbed,
            at_ms=self._clock.utc_ms(),
        )
        self.counts["told"] += 1
        self._recorder.record(audit.outcome(outcome, watch.zone))
        self._publish(outcome)


def _unpacked(kept: Iterable[Kept], devices: frozenset[DeviceId]) -> dict[DeviceId, list[Sample]]:
    """Runs in a thread."""
    return effects.by_device(_decoder.decode(one.packed) for one in kept if one.device in devices)


def _may_be_undone(permit: Permit) -> bool:
    """Only what a policy raised; what a person ordered stands, and lowering leads to no limit."""
    return permit.direction is Direction.RAISE and permit.request.source is Source.POLICY
