"""The smallest synchronous equivalent of `guardian.desk` and `guardian.executor`, for the closed loop.

The same order of thought, around the same arbiter, demands, views and read-back rules; what is copied here
because the originals are asyncio: one write in flight per part of a device, preemption by rank, pauses after
a refused or failed demand, the wait of a raise for its journal entry with a second look (`still_allowed`),
one resend, confirmation by a later read only, and the outlet where a stop is not confirmed. What the tests of
the originals cover and this does not: cancellation, and time-outs of a request in the middle.
"""

import random
from collections.abc import Callable

import msgspec

from edge_agent.config import SiteFile
from edge_agent.guardian import action_limits, arbiter, readback, views
from edge_agent.guardian.action_limits import ActionLimits
from edge_agent.guardian.actions import demanded
from edge_agent.guardian.actions.demanded import Part
from edge_agent.guardian.actions.desk import PRESET_POLLS
from edge_agent.guardian.actions.executor import GRACE_S, RESEND_STOP_AFTER_S, may_have_missed
from edge_agent.guardian.actions.trends import Trends
from edge_agent.guardian.agents.lease import Lease
from edge_agent.guardian.arbiter import Direction, Permit
from edge_agent.guardian.cycle import Cycle
from edge_agent.guardian.interlocks.inputs import Commanded, Demand, DemandKind
from edge_agent.guardian.requests import Context, DeviceView, Memory, Refusal, Request, Source
from shared.clock import ManualClock
from shared.commands import (
    AnyAction,
    ModelRef,
    Priority,
    StartMining,
    StopMining,
    SwitchOutlet,
    WriteResult,
)
from shared.errors import AuthFailed, DeviceError, Unsupported
from shared.ids import CommandId, DeviceId
from shared.inventory import DeviceEntry
from shared.telemetry import Sample
from support.closed_loop_devices import Devices


class Live(msgspec.Struct, kw_only=True, eq=False):
    """One write in flight."""

    permit: Permit
    began_s: float
    ready_s: float
    """When its journal entry is on the disk."""
    demand: Demand | None = None
    sent: bool = False
    resent: bool = False
    patient_until_s: float = 0.0
    failure: DeviceError | None = None
    seen: Sample | None = None


class Watcher:
    """Who looks at the desk's every word; the monitor overrides what it wants to see."""

    def permitted(self, permit: Permit, context: Context) -> None:
        """A permit was given."""

    def sending(self, permit: Permit, context: Context) -> None:
        """A permit is being sent to its device, for the first time or again."""

    def refused(self, refusal: Refusal) -> None:
        """A request was refused."""

    def ended(self, permit: Permit, result: WriteResult) -> None:
        """A write ended."""

    def unconfirmed_stop(self, permit: Permit, *, cut: bool) -> None:
        """A demanded stop was not confirmed; `cut`: an outlet exists and should be switched off."""


def draw_limits(site: SiteFile, rng: random.Random) -> ActionLimits:
    """The shipped action limits, or hasty ones, so that models and schedules act more often."""
    shipped = action_limits.load(site.site.action_limits)
    if rng.random() < 0.4:
        return shipped
    hasty = {"window_s": 30.0, "stable_s": 30.0}
    return msgspec.structs.replace(
        shipped,
        hashrate=msgspec.structs.replace(shipped.hashrate, **hasty),
        cooling=msgspec.structs.replace(shipped.cooling, **hasty),
    )


class SyncDesk:
    """The only caller of the arbiter and the only writer in the closed loop."""

    def __init__(
        self,
        site: SiteFile,
        devices: Devices,
        lease: Callable[[], Lease],
        clock: ManualClock,
        rng: random.Random,
        watcher: Watcher,
    ) -> None:
        self._site = site
        self._devices = devices
        self._lease = lease
        self._clock = clock
        self._rng = rng
        self._watcher = watcher
        self._nominal_w = sum(entry.nominal_w or 0.0 for entry in site.miners)
        self._numbers = 0
        self.journal_ok = True
        self.limits = draw_limits(site, rng)
        self.active_model: ModelRef | None = None
        self._changes = 0
        self._made: tuple[tuple[object, ...], Context] | None = None
        self.forget()

    def forget(self) -> None:
        """The process starts anew."""
        self.changed()
        self.live: dict[Part, Live] = {}
        self._beside: list[Live] = []
        self._pause_until_s: dict[tuple[Part, DemandKind], float] = {}
        self.memory = Memory()
        self._trends = Trends(self._site, window_s=self.limits.cooling.window_s)

    def serve(self, cycle: Cycle) -> None:
        """Whose statuses and caps count from now on."""
        self._cycle = cycle

    def changed(self) -> None:
        """Statuses, lease or assignment are other ones now."""
        self._changes += 1

    # ---------------------------------------------------------------- what the arbiter sees

    def context(self, action: AnyAction | None = None) -> Context:
        """The site as the arbiter sees it now; made once until a sample, a permit or time changes it.

        A device that has several parts is busy with what is written to the one that `action` would write.
        """
        now_s = self._clock.monotonic()
        part = demanded.part_of(action) if action is not None else None
        part = part if part is not None and part[1] else None
        state = (now_s, self._changes, self._devices.published, id(self.memory), self.journal_ok, part)
        if self._made is None or self._made[0] != state:
            self._made = (state, self._make_context(now_s, part))
        return self._made[1]

    def _make_context(self, now_s: float, part: Part | None) -> Context:
        statuses = self._cycle.statuses

        def view(entry: DeviceEntry) -> DeviceView:
            is_meant = part is not None and part[0] == entry.id
            live = self.live.get(part if part is not None and is_meant else (entry.id, ""))
            poll_s = entry.poll_s or self._site.timing.poll_s
            return views.device_view(
                entry,
                self._devices.board.last(entry.id),
                self._devices.facts.get(entry.id),
                statuses[entry.zone],
                now_s=now_s,
                preset_keeps_s=max(PRESET_POLLS * poll_s, self._site.timing.lost_after_s),
                busy=live.permit.request.priority if live else None,
                busy_stop=live is not None and isinstance(live.permit.action, StopMining),
            )

        return Context(
            now_s=now_s,
            timing=self._site.timing,
            ml_may_raise=self._site.site.ml_may_raise,
            ml_may_stop=self._site.site.ml_may_stop,
            limits=self.limits,
            site_nominal_w=self._nominal_w,
            devices=views.LazyViews(self._devices.entries, view),
            zones=views.zone_statuses(self._site, statuses, self._trends.now),
            memory=self.memory,
            lease_overdue_s=self._lease().overdue_s,
            active_model=self.active_model,
            journal_ok=self.journal_ok,
            caps=self._cycle.cap_views,
        )

    # ---------------------------------------------------------------- demands of the core

    def apply(self, demands: tuple[Demand, ...]) -> None:
        """Act on what the core wants."""
        if self._trends.is_due(self._clock.monotonic()):
            self._trends.note(self._devices.board.snapshot(), self._clock.monotonic())
        if not demands:
            return
        context = self.context()
        for demand in demands:
            if self._clock.monotonic() < self._pause_until_s.get(demanded.pause_key(demand), 0.0):
                continue
            action = demanded.action_of(demand, context)
            if action is None:
                continue
            live = self.live.get(demanded.part_of(action))
            if live is not None and demanded.must_wait(action, demand.priority, live.permit):
                continue
            self._numbers += 1
            decision = self.decide(demanded.request(demand, action, CommandId(f"core-{self._numbers}")))
            if isinstance(decision, Refusal):
                self._pause(demand, demanded.REFUSED_PAUSE_S)
                continue
            self.launch(decision, demand=demand)

    def _pause(self, demand: Demand, seconds: float) -> None:
        self._pause_until_s[demanded.pause_key(demand)] = self._clock.monotonic() + seconds

    # ---------------------------------------------------------------- requests

    def decide(self, request: Request) -> Permit | Refusal:
        """Ask the arbiter, making room first where the request outranks a write in flight."""
        context = self.context(request.action)
        decision = arbiter.decide(request, context)
        if isinstance(decision, Refusal):
            self._watcher.refused(decision)
            return decision
        self._watcher.permitted(decision, context)
        self._changes += 1
        preempted = self.live.pop(demanded.part_of(request.action), None)
        if preempted is not None:
            self._watcher.ended(preempted.permit, WriteResult.UNCONFIRMED)
        return decision

    def launch(self, permit: Permit, *, demand: Demand | None = None, exclusive: bool = True) -> None:
        """Begin to carry out a permit; limits count it from now on."""
        self.memory = arbiter.note(self.memory, permit, self.context())
        device = permit.action.device
        starting = isinstance(permit.action, StartMining)
        shed_stop = demand is not None and demanded.is_shed_stop(demand, permit.action)
        if permit.settle_s > 0 or starting or shed_stop:
            command = Commanded(settle_s=permit.settle_s, start=starting, shed_stop=shed_stop)
            self._cycle.commanded(device, command)
        now_s = self._clock.monotonic()
        waits = permit.direction is Direction.RAISE and permit.request.source is not Source.INTERLOCK
        live = Live(permit=permit, began_s=now_s, ready_s=now_s, demand=demand)
        if waits:
            live.ready_s += self._rng.choice((0.0, 0.0, 1.0, 3.0))
        self._changes += 1
        if exclusive:
            self.live[demanded.part_of(permit.action)] = live
        else:
            self._beside.append(live)
        self._advance(live)

    # ---------------------------------------------------------------- time

    def tick(self) -> None:
        """Let every write in flight go on."""
        for live in (*self.live.values(), *self._beside):
            self._advance(live)

    def _advance(self, live: Live) -> None:
        now_s, permit = self._clock.monotonic(), live.permit
        if not live.sent:
            if now_s < live.ready_s:
                return
            if not self._may_still_go(live):
                self._end(live, WriteResult.REJECTED)
                return
            live.sent = True
            if self._send(live) is not None:
                return
        sample = self._devices.read(permit.action.device)
        if sample.failure is None:
            live.seen = sample
        if readback.confirmed(permit.action, sample, self._devices.entries[permit.action.device]):
            self._end(live, WriteResult.APPLIED)
        elif now_s >= max(live.began_s + permit.confirm_s, live.patient_until_s):
            self._end(live, WriteResult.UNCONFIRMED)
        elif may_have_missed(permit.action, live.failure) and self._may_resend(live):
            self._send(live)
        elif not live.resent and self._resend_due(live) and self._may_resend(live):
            live.resent = True
            self._send(live)
            if not isinstance(permit.action, StopMining):
                live.patient_until_s = now_s + permit.shows_s + GRACE_S

    def _may_still_go(self, live: Live) -> bool:
        permit = live.permit
        if permit.direction is not Direction.RAISE or permit.request.source is Source.INTERLOCK:
            return True
        return self.journal_ok and not arbiter.still_allowed(permit, self.context())

    def _may_resend(self, live: Live) -> bool:
        permit = live.permit
        if permit.direction is not Direction.RAISE and not demanded.still_lowers(permit, self.context()):
            return False
        return readback.may_resend(permit.action, live.seen) and self._may_still_go(live)

    def _send(self, live: Live) -> WriteResult | None:
        """Ask the device; the result where that already ends the write."""
        self._watcher.sending(live.permit, self.context())
        live.failure = self._devices.write(live.permit)
        ends: dict[type, WriteResult] = {
            Unsupported: WriteResult.UNSUPPORTED,
            AuthFailed: WriteResult.REJECTED,
        }
        result = ends.get(type(live.failure)) if live.failure is not None and not live.resent else None
        if result is not None:
            self._end(live, result)
        return result

    def _resend_due(self, live: Live) -> bool:
        confirm_s = live.permit.confirm_s
        if isinstance(live.permit.action, StopMining):
            wait_s = min(RESEND_STOP_AFTER_S, confirm_s / 2)
        else:
            wait_s = max(confirm_s / 2, live.permit.shows_s + GRACE_S)
        return self._clock.monotonic() - live.began_s >= wait_s

    def _end(self, live: Live, result: WriteResult) -> None:
        part = demanded.part_of(live.permit.action)
        self._changes += 1
        if self.live.get(part) is live:
            del self.live[part]
        if live in self._beside:
            self._beside.remove(live)
        self._watcher.ended(live.permit, result)
        if live.demand is None:
            return
        applied = result is WriteResult.APPLIED
        self._pause(live.demand, demanded.pause_s(live.demand, applied=applied))
        if isinstance(live.permit.action, StopMining) and not applied:
            self._escalate(live)

    def _escalate(self, live: Live) -> None:
        entry = self._devices.entries[live.permit.action.device]
        if entry.pdu is None or entry.outlet is None:
            self._watcher.unconfirmed_stop(live.permit, cut=False)
            return
        if self._is_cut(entry.pdu, entry.outlet):
            return
        self._watcher.unconfirmed_stop(live.permit, cut=True)
        self._numbers += 1
        request = Request(
            id=CommandId(f"escalation-{self._numbers}"),
            action=SwitchOutlet(device=entry.pdu, outlet=entry.outlet, on=False),
            priority=Priority.TRIP,
            source=Source.ESCALATION,
            why=f"stop of {entry.id} is not confirmed",
        )
        context = self.context(request.action)
        decision = arbiter.decide(request, context)
        if isinstance(decision, Refusal):
            self._watcher.refused(decision)
            return
        self._watcher.permitted(decision, context)
        self.launch(decision, exclusive=False)

    def _is_cut(self, pdu: DeviceId, outlet: int) -> bool:
        good = self._devices.board.last(pdu).good
        if good is None or self._clock.monotonic() - good.at_s > self._site.timing.lost_after_s:
            return False
        return good.usable(f"outlet_on.{outlet}") == 0.0

    @property
    def in_flight(self) -> dict[DeviceId, AnyAction]:
        """What is being written to which device."""
        return {live.permit.action.device: live.permit.action for live in self.live.values()}

    def waits_for(self, device: DeviceId, kind: DemandKind) -> float:
        """Seconds that a demand is still paused."""
        return max(self._pause_until_s.get(((device, ""), kind), 0.0) - self._clock.monotonic(), 0.0)
