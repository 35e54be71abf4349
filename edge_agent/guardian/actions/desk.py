"""Where wishes become writes: asks the arbiter, runs permits concurrently per device, journals all of it.

Runs on the event loop. A write of higher priority preempts one in flight on the same device; a stop
preempts anything else of the same priority, and from `SAFE` on whatever is no stop. Raises wait for their
durable journal entry; the safe direction never waits for storage (S21).
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from weakref import WeakSet

import msgspec

from edge_agent.config import SiteFile
from edge_agent.guardian import action_limits, arbiter, views
from edge_agent.guardian.actions import audit, demanded
from edge_agent.guardian.actions.demanded import Part
from edge_agent.guardian.actions.escalation import Escalation
from edge_agent.guardian.actions.executor import Executor
from edge_agent.guardian.actions.trends import Trends
from edge_agent.guardian.agents.assignments import Assignments
from edge_agent.guardian.agents.lease import Lease
from edge_agent.guardian.arbiter import Direction, Permit
from edge_agent.guardian.cycle import Cycle
from edge_agent.guardian.interlocks import asks
from edge_agent.guardian.interlocks.asks import Granted
from edge_agent.guardian.interlocks.inputs import Commanded, Demand, DemandKind
from edge_agent.guardian.interlocks.state import ZoneState
from edge_agent.guardian.polling.board import Board
from edge_agent.guardian.polling.link import DeviceLink
from edge_agent.guardian.requests import (
    CapView,
    Claim,
    Context,
    DeviceView,
    Memory,
    Refusal,
    Request,
    Source,
)
from edge_agent.guardian.storage.recorder import Recorder
from shared.clock import Clock
from shared.commands import (
    AnyAction,
    CommandBody,
    Priority,
    StartMining,
    StopMining,
    WriteRecord,
    WriteResult,
)
from shared.ids import CommandId, DeviceId, ZoneId
from shared.inventory import DeviceEntry

log = logging.getLogger(__name__)

QUIET_REFUSALS_S = 60.0
"""The same refusal is journalled once in this time; a policy may ask every cycle."""
DURABLE_WITHIN_S = 5.0
PRESET_POLLS = 7
"""A running preset counts as known for so many polls: adapters ask for it every fifth or so."""

_DIGITS = re.compile(r"[0-9.]+")


class Live(msgspec.Struct):
    """A write in flight."""

    permit: Permit
    task: "asyncio.Task[WriteRecord] | None" = None
    preempted_by: str = ""
    begun: bool = False


class Desk:
    """The only caller of arbiter and executor."""

    def __init__(
        self,
        site: SiteFile,
        links: Mapping[DeviceId, DeviceLink],
        board: Board,
        cycle: Cycle,
        executor: Executor,
        recorder: Recorder,
        lease: Lease,
        assignments: Assignments,
        clock: Clock,
        *,
        boot: str,
    ) -> None:
        self._site = site
        self._fast_s = {entry.id: site.fast_s(entry) for entry in site.devices}
        self._boot = boot
        self._entries = {entry.id: entry for entry in site.devices}
        self._links = links
        self._board = board
        self._cycle = cycle
        self._executor = executor
        executor.may_resend = self._may_resend
        self._recorder = recorder
        self._lease = lease
        self._assignments = assignments
        self._clock = clock
        self._live: dict[Part, Live] = {}
        self._writes: set[asyncio.Task[WriteRecord]] = set()
        self._gave_way: WeakSet[asyncio.Task[WriteRecord]] = WeakSet()
        self._background: set[asyncio.Task[None]] = set()
        self._lasting: set[asyncio.Task[None]] = set()
        self._pause_until_s: dict[tuple[Part, DemandKind], float] = {}
        self._refused_at_s: dict[tuple[str, ...], float] = {}
        self._memory = Memory()
        self._escalation = Escalation(self, board, recorder, clock, outlet_known_s=site.timing.lost_after_s)
        self._limits = action_limits.load(site.site.action_limits)
        self._trends = Trends(site, window_s=self._limits.cooling.window_s)
        self._claims: dict[DeviceId, Claim] = {}
        self._cooling_claims: dict[ZoneId, Claim] = {}
        self.caps: Callable[[], tuple[CapView, ...]] = tuple
        """The power caps as of now; set by who knows the meters."""
        self.ordered: Callable[[DeviceId], None] = lambda _device: None
        """Told of each miner that a person's order stops or starts; set by who brings miners back."""
        self._nominal_w = sum(entry.nominal_w or 0.0 for entry in site.miners)
        self._numbers = 0

    # ------------------------------------------------------------ what the arbiter sees

    def _context(self, action: AnyAction | None = None) -> Context:
        """What is known now; whether the device is busy with what `action` would write."""
        now_s = self._clock.monotonic()
        statuses = self._cycle.statuses

        def view(entry: DeviceEntry) -> DeviceView:
            live = None
            if action is not None and action.device == entry.id:
                live = self._live.get(demanded.part_of(action))
            return views.device_view(
                entry,
                self._board.last(entry.id),
                self._links[entry.id].facts,
                statuses[entry.zone],
                now_s=now_s,
                preset_keeps_s=self._preset_keeps_s(entry),
                busy=live.permit.request.priority if live else None,
                busy_with=_words(live.permit) if live else "",
                busy_stop=live is not None and isinstance(live.permit.action, StopMining),
            )

        return Context(
            now_s=now_s,
            timing=self._site.timing,
            ml_may_raise=self._site.site.ml_may_raise,
            ml_may_stop=self._site.site.ml_may_stop,
            limits=self._limits,
            site_nominal_w=self._nominal_w,
            devices=views.LazyViews(self._entries, view),
            zones=views.zone_statuses(self._site, statuses, self._trends.now),
            memory=self._memory,
            lease_overdue_s=self._lease.overdue_s,
            active_model=self._assignments.active,
            journal_ok=self._recorder.journal.ok and self._cycle.latches_ok,
            caps=self.caps(),
            claims=self._claims,
            cooling_claims=self._cooling_claims,
        )

    def _preset_keeps_s(self, entry: DeviceEntry) -> float:
        return max(PRESET_POLLS * self._fast_s[entry.id], self._site.timing.lost_after_s)

    def look(self) -> None:
        """Keep the zones' trends up to date; called every turn, looks every few seconds."""
        now_s = self._clock.monotonic()
        if self._trends.is_due(now_s):
            self._trends.note(self._board.snapshot(), now_s)

    # ------------------------------------------------------------ demands of the core

    def apply(self, demands: tuple[Demand, ...]) -> None:
        """Act on what the core wants; repeated demands find their write in flight, or their pause."""
        self.look()
        if not demands:
            return
        context = self._context()
        for demand in demands:
            if self._clock.monotonic() < self._pause_until_s.get(demanded.pause_key(demand), 0.0):
                continue
            action = demanded.action_of(demand, context)
            if action is None:
                continue
            live = self._live.get(demanded.part_of(action))
            if live is not None and demanded.must_wait(action, demand.priority, live.permit):
                continue
            self._numbers += 1
            command = CommandId(f"{self._boot[:8]}-{demand.kind}-{self._numbers}")
            decision = self.decide(demanded.request(demand, action, command))
            if isinstance(decision, Refusal):
                self._pause(demand, demanded.REFUSED_PAUSE_S)
                if demand.kind is not DemandKind.START:  # a start waits its turn; that is no news
                    self.refused(decision)
                continue
            task = self.launch(decision, shed_stop=demanded.is_shed_stop(demand, decision.action))
            self.background(self._see_through(demand, decision.action, task))

    async def _see_through(
        self, demand: Demand, action: AnyAction, task: "asyncio.Task[WriteRecord]"
    ) -> None:
        record = await task
        if task in self._gave_way:
            return  # to another write, which is seen through by itself
        applied = record.result is WriteResult.APPLIED
        self._pause(demand, demanded.pause_s(demand, applied=applied))
        if isinstance(action, StopMining) and not applied:  # a shed ends in a stop too
            self._escalation.not_stopped(self._entries[demand.device], record)

    def background(self, work: Awaitable[None], *, lasting: bool = False) -> None:
        """Run `work` and keep hold of it until it ends; `lasting` is what nobody waits for."""
        task: asyncio.Task[None] = asyncio.ensure_future(_as_coroutine(work))
        (self._lasting if lasting else self._background).add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._background.discard(task)
        self._lasting.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a write ended in an unforeseen way", exc_info=error)

    def _pause(self, demand: Demand, seconds: float) -> None:
        self._pause_until_s[demanded.pause_key(demand)] = self._clock.monotonic() + seconds

    def _preempt(self, action: AnyAction) -> None:
        live = self._live.pop(demanded.part_of(action), None)
        if live is not None:
            live.preempted_by = audit.told(action)
            if live.task is not None:
                self._gave_way.add(live.task)
                if live.begun:  # cancelled before its first step it would end without a record
                    live.task.cancel()

    # ------------------------------------------------------------ requests of agents and persons

    def decide(self, request: Request) -> Permit | Refusal:
        """Ask the arbiter about one request."""
        return arbiter.decide(request, self._context(request.action))

    def decide_all(self, requests: Iterable[Request]) -> list[Permit | Refusal]:
        """Ask about several that belong together: each counts what was permitted before it as applied."""
        memory = self._memory
        decisions: list[Permit | Refusal] = []
        for request in requests:
            context = msgspec.structs.replace(self._context(request.action), memory=memory)
            decision = arbiter.decide(request, context)
            decisions.append(decision)
            if isinstance(decision, Permit):
                memory = arbiter.note(memory, decision, context)
        return decisions

    def decide_order(
        self, body: CommandBody, actions: Iterable[AnyAction], why: str
    ) -> list[Permit | Refusal]:
        """Ask about a signed order's actions: its preview asks exactly what the order itself will ask."""
        return self.decide_all(
            Request(id=body.id, action=action, priority=Priority.ORDER, source=Source.ORDER, why=why)
            for action in actions
        )

    @contextlib.contextmanager
    def held(self, claim: Claim, devices: Iterable[DeviceId], zones: Iterable[ZoneId]) -> Iterator[None]:
        """Hold devices, and the cooling of zones, against others of the same rank or a lower one."""
        for device in devices:
            self._claims[device] = claim
        for zone in zones:
            self._cooling_claims[zone] = claim
        try:
            yield
        finally:
            for device in [device for device, held in self._claims.items() if held is claim]:
                del self._claims[device]
            for zone in [zone for zone, held in self._cooling_claims.items() if held is claim]:
                del self._cooling_claims[zone]

    def refused(self, refusal: Refusal) -> None:
        """Journal a refusal, once a minute for the same one."""
        request = refusal.request
        same = tuple(_DIGITS.sub("#", violation) for violation in refusal.violations)
        key = (request.action.device, str(request.source), audit.told(request.action), *same)
        now_s = self._clock.monotonic()
        if now_s - self._refused_at_s.get(key, -QUIET_REFUSALS_S) < QUIET_REFUSALS_S:
            return
        if len(self._refused_at_s) > 10_000:
            self._refused_at_s.clear()
        self._refused_at_s[key] = now_s
        self._recorder.record(audit.refused(refusal, self._entries.get(request.action.device)))

    def launch(
        self, permit: Permit, *, exclusive: bool = True, shed_stop: bool = False
    ) -> "asyncio.Task[WriteRecord]":
        """Begin to carry out a permit. Limits count it from now on; the journal has it when it ends.

        A permit outranks whatever is in flight on the same part of its device, and takes its place at once.
        `shed_stop`: a shed found no step below, so the core has to know that the miner is to come back.
        """
        device = permit.action.device
        if exclusive:
            self._preempt(permit.action)
        self._memory = arbiter.note(self._memory, permit, self._context())
        starting = isinstance(permit.action, StartMining)
        if permit.settle_s > 0 or starting or shed_stop:
            command = Commanded(settle_s=permit.settle_s, start=starting, shed_stop=shed_stop)
            self._cycle.commanded(device, command)
        live = Live(permit=permit)
        task = live.task = asyncio.ensure_future(self._run(live))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        if exclusive:
            self._live[demanded.part_of(permit.action)] = live
        return task

    def by_person(self, permit: Permit) -> None:
        """What a person's order stops is no business of a restart any more: who stopped it starts it.

        Power orders and windows do not come by here: what they stop they bring back themselves.
        """
        action = permit.action
        if not isinstance(action, StopMining | StartMining):
            return
        if isinstance(action, StopMining):

            def out(state: ZoneState) -> Granted:
                return Granted(state=asks.take_over(state, [action.device]), found=())

            self._cycle.ask(self._entries[action.device].zone, out, commit=True)
        self.ordered(action.device)

    async def _run(self, live: Live) -> WriteRecord:
        permit = live.permit
        live.begun = True
        try:
            record = _gave_way(live) if live.preempted_by else await self._carry_out(permit)
        except asyncio.CancelledError:
            if not live.preempted_by:
                raise
            record = _gave_way(live)
        finally:
            if self._live.get(demanded.part_of(permit.action)) is live:
                del self._live[demanded.part_of(permit.action)]
        self._recorder.record(audit.written(permit, record, self._entries[permit.action.device]))
        return record

    async def _carry_out(self, permit: Permit) -> WriteRecord:
        if permit.direction is Direction.RAISE and permit.request.source is not Source.INTERLOCK:
            seq = self._recorder.record(audit.intent(permit, self._entries[permit.action.device]))
            if not await self._recorder.durable(seq, timeout_s=DURABLE_WITHIN_S):
                return WriteRecord(
                    action=permit.action,
                    result=WriteResult.REJECTED,
                    detail="the journal could not store the entry, so nothing was raised",
                )
            if against := arbiter.still_allowed(permit, self._context()):
                return WriteRecord(
                    action=permit.action,
                    result=WriteResult.REJECTED,
                    detail=f"no longer allowed: {'; '.join(against)}",
                )
        return await self._executor.execute(permit)

    def _may_resend(self, permit: Permit) -> bool:
        """A permit counts for now: a raise that was not taken is not sent again into a zone that tripped, nor
        a step down that would be one up by now."""
        if permit.direction is not Direction.RAISE:
            return demanded.still_lowers(permit, self._context())
        if permit.request.source is Source.INTERLOCK:
            return True
        return not arbiter.still_allowed(permit, self._context())

    async def close(self) -> None:
        """Let go of whatever is in flight; the devices keep what they were told."""
        tasks: list[asyncio.Task[WriteRecord] | asyncio.Task[None]] = [
            *self._background,
            *self._lasting,
            *self._writes,
        ]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _words(permit: Permit) -> str:
    """Whose write it is and what it does, for whoever finds the device busy."""
    request = permit.request
    return f"{request.source} {request.id}: {audit.told(permit.action)}"


def _gave_way(live: Live) -> WriteRecord:
    return WriteRecord(
        action=live.permit.action,
        result=WriteResult.UNCONFIRMED,
        detail=f"gave way to {live.preempted_by}",
    )


async def _as_coroutine(work: Awaitable[None]) -> None:
    await work
