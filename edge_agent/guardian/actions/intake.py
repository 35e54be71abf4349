"""Proposals and signed orders: from whoever asks to one `Result` each."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable

import msgspec

from edge_agent.config import SiteFile
from edge_agent.guardian.actions.carry import Carrier
from edge_agent.guardian.actions.desk import Desk
from edge_agent.guardian.actions.order_trail import OrderTrail
from edge_agent.guardian.actions.orders import OrderRefused, Orders
from edge_agent.guardian.actions.outcomes import Outcomes
from edge_agent.guardian.actions.proposals import Proposals, clashing
from edge_agent.guardian.arbiter import Permit
from edge_agent.guardian.cycle import Cycle
from edge_agent.guardian.interlocks.asks import Denied
from edge_agent.guardian.operators.persons import Persons
from edge_agent.guardian.requests import Claim, Refusal, RefusalKind
from edge_agent.guardian.storage.recorder import Recorder
from edge_agent.ipc import Progress, Result
from shared.artifacts.signing import Signed
from shared.clock import Clock
from shared.commands import (
    ActionOutcome,
    AnyAction,
    CancelOrder,
    CommandBody,
    CommandState,
    Curtail,
    DoActions,
    OrderPreview,
    PreviewOrder,
    Priority,
    Proposal,
    RenewOrder,
    ResetTripOrder,
    SafeStopOrder,
    Schedule,
    SignedBy,
    StandingCap,
    WriteRecord,
    WriteResult,
    outcome_of_parts,
)
from shared.errors import ConfigError, SecurityError
from shared.ids import CommandId, ZoneId, checked_id

log = logging.getLogger(__name__)

MAX_WHY = 400
"""A refusal quotes what a stranger may have written."""
PowerOrderCall = Callable[[CommandBody], Awaitable[Result]]
PreviewCall = Callable[[CommandBody, PreviewOrder], OrderPreview]


class Intake:
    """Everything that may be asked of the guardian from outside, on the event loop."""

    def __init__(
        self,
        site: SiteFile,
        desk: Desk,
        cycle: Cycle,
        orders: Orders,
        persons: Persons,
        recorder: Recorder,
        outcomes: Outcomes,
        clock: Clock,
        *,
        publish: Callable[[Result | Progress], None],
    ) -> None:
        self._site = site
        self._desk = desk
        self._cycle = cycle
        self._orders = orders
        self._persons = persons
        self._recorder = recorder
        self._clock = clock
        self._publish = publish
        self.refused: Counter[str] = Counter()
        """What was refused since the start, by kind."""
        self._carrier = Carrier(site, desk, cycle, outcomes, clock)
        self._proposals = Proposals(desk, self._carrier, clock, publish=publish, refused=self.refused)
        self._running: set[CommandId] = set()
        self._order_lock = asyncio.Lock()
        self.power_order: PowerOrderCall = self._no_power_orders
        """Who carries out caps, curtailments and schedules; set by who builds both."""
        self.preview: PreviewCall = lambda _body, _order: OrderPreview(
            detail="this guardian previews nothing"
        )
        """Who says what an order would do; set likewise."""
        self._trail = OrderTrail(recorder, clock)

    def propose(self, proposal: Proposal) -> None:
        """Take a proposal; its `Result` is published when it is known."""
        self._proposals.take(proposal)

    # ------------------------------------------------------------ signed orders

    def order(self, signed: Signed) -> None:
        """Take a signed order; its `Result` is published when it is known."""
        self._desk.background(self._order(signed))

    async def _order(self, signed: Signed) -> None:
        try:
            async with self._order_lock:
                accepted = await asyncio.to_thread(self._orders.accept, signed)
        except SecurityError as error:
            by = error.by if isinstance(error, OrderRefused) else None
            self._refuse_order(signed, str(error), by)
            return
        if isinstance(accepted, Result):
            if accepted.id not in self._running:
                self._tell(accepted)
            return
        self._running.add(accepted.id)
        try:
            self._accepted(accepted)
            result = self._overtaken(accepted) or await self._carry_out(accepted)
            async with self._order_lock:
                await asyncio.to_thread(self._orders.finish, result)
        finally:  # only now: a repeat that comes in between would be told that the order was interrupted
            self._running.discard(accepted.id)
        self._conclude(result)

    def _accepted(self, body: CommandBody) -> None:
        """Tell that it was verified and counted, before anything is done."""
        seen = self._orders.seen(body.id)
        by, digest = (seen.by, seen.digest) if seen is not None else (None, "")
        if not isinstance(body.order, PreviewOrder):
            self._trail.accepted(body, by, digest)
        self._progress(body.id, CommandState.ACCEPTED, "verified, its counter is stored")

    def _progress(self, command: CommandId, state: CommandState, detail: str) -> None:
        seen = self._orders.seen(command)
        self._publish(
            Progress(
                id=command,
                state=state,
                detail=detail,
                at_ms=self._clock.utc_ms(),
                digest=seen.digest if seen is not None else "",
                by=seen.by if seen is not None else None,
            )
        )

    def _conclude(self, result: Result) -> None:
        if result.preview is None:
            self._trail.ended(result, self._orders.seen(result.id))
        self._tell(result)

    def _tell(self, result: Result) -> None:
        """Publish it with the digest of the message that it answers."""
        seen = self._orders.seen(result.id)
        if seen is not None:
            result = msgspec.structs.replace(result, digest=seen.digest, by=seen.by)
        self._publish(result)

    def _overtaken(self, body: CommandBody) -> Result | None:
        """The refusal of an order that expired while its counter was on its way to a slow disk."""
        late_ms = self._clock.utc_ms() - body.expires_ms
        if late_ms < 0 or isinstance(body.order, SafeStopOrder):
            return None
        why = f"order expired {late_ms} ms ago, while its counter was being stored; nothing was done"
        self.refused["order"] += 1
        result = self._ended(body, ActionOutcome.REJECTED, why)
        return msgspec.structs.replace(result, command_state=CommandState.EXPIRED)

    def _refuse_order(self, signed: Signed, why: str, by: SignedBy | None) -> None:
        command = CommandId(claimed_id(signed))
        self.refused["order"] += 1
        why = "".join(char if char.isprintable() else "?" for char in why)[:MAX_WHY]
        digest = signed.digest
        self._trail.refused(command, why, by, digest)
        self._publish(
            Result(
                id=command,
                outcome=ActionOutcome.REJECTED,
                detail=why,
                violations=(why,),
                command_state=CommandState.EXPIRED if "expired" in why else CommandState.REFUSED,
                at_ms=self._clock.utc_ms(),
                digest=digest,
                by=by,
            )
        )

    async def _carry_out(self, body: CommandBody) -> Result:
        match body.order:
            case DoActions(actions=actions):
                return await self._actions(body, actions)
            case SafeStopOrder(zone=zone):
                return await self._safe_stop_order(body, zone)
            case ResetTripOrder() as order:
                return await self._reset_order(body, order)
            case PreviewOrder() as asked:
                preview = self.preview(body, asked)
                shown = self._ended(body, ActionOutcome.APPLIED, "a preview: nothing was done")
                return msgspec.structs.replace(shown, preview=preview)
            case Curtail() | StandingCap() | Schedule() | CancelOrder() | RenewOrder():
                return await self.power_order(body)

    async def _reset_order(self, body: CommandBody, order: ResetTripOrder) -> Result:
        if not self._site.site.remote_reset:
            why = "site.remote_reset is false: trips are reset on site only"
            return self._ended(body, ActionOutcome.REJECTED, why)
        answer = await self._persons.reset(order.zone, by=_named(body), reason=order.reason)
        if isinstance(answer, Denied):
            return self._ended(body, ActionOutcome.REJECTED, answer.why)
        return self._ended(body, ActionOutcome.APPLIED, f"{len(answer.cleared)} trips reset")

    async def _no_power_orders(self, body: CommandBody) -> Result:
        return self._ended(body, ActionOutcome.REJECTED, "this guardian carries out no power orders")

    async def conclude(self, result: Result) -> None:
        """The final word on an order that was told to be running: kept for whoever asks again, and told."""
        async with self._order_lock:
            await asyncio.to_thread(self._orders.finish, result)
        self._conclude(result)

    def _ended(
        self,
        body: CommandBody,
        outcome: ActionOutcome,
        detail: str,
        *,
        violations: tuple[str, ...] = (),
        writes: tuple[WriteRecord, ...] = (),
        asked: tuple[AnyAction, ...] = (),
        applied: tuple[AnyAction, ...] = (),
    ) -> Result:
        refused = outcome is ActionOutcome.REJECTED
        return Result(
            id=body.id,
            outcome=outcome,
            detail=detail,
            violations=violations or ((detail,) if refused else ()),
            writes=writes,
            asked=asked,
            applied=applied,
            command_state=CommandState.REFUSED if refused else CommandState.DONE,
            at_ms=self._clock.utc_ms(),
        )

    async def _actions(self, body: CommandBody, actions: tuple[AnyAction, ...]) -> Result:
        """Each action through the arbiter; what is refused stands beside what was done."""
        if clashes := clashing(actions):
            self.refused[RefusalKind.CONFLICT] += 1
            return self._ended(body, ActionOutcome.REJECTED, clashes[0], violations=clashes, asked=actions)
        decisions = self._desk.decide_order(body, actions, f"order of {body.actor}")
        permits = [decision for decision in decisions if isinstance(decision, Permit)]
        refusals = [decision for decision in decisions if isinstance(decision, Refusal)]
        for refusal in refusals:
            self._desk.refused(refusal)
            self.refused.update(refusal.kinds)
        for permit in permits:
            self._desk.by_person(permit)
        if permits:
            words = f"{len(permits)} of {len(decisions)} actions are permitted and begun"
            self._progress(body.id, CommandState.RUNNING, words)
        claim = Claim(id=body.id, priority=Priority.ORDER, words=f"order {body.id} of {body.actor}")
        carried = await self._carrier.run(permits, claim)
        done = iter(carried.writes)
        writes = tuple(
            next(done) if isinstance(decision, Permit) else _not_written(decision) for decision in decisions
        )
        parts = [carried.outcome] if permits else []
        outcome = outcome_of_parts([*parts, *(ActionOutcome.REJECTED for _ in refusals)])
        applied = sum(write.result is WriteResult.APPLIED for write in writes)
        violations = tuple(violation for refusal in refusals for violation in refusal.violations)
        detail = f"{applied} of {len(writes)} writes confirmed"
        if not permits and violations:
            detail = violations[0]
        return self._ended(
            body,
            outcome,
            f"{detail}; {carried.words}" if carried.words else detail,
            violations=violations,
            writes=writes,
            asked=actions,
            applied=carried.applied,
        )

    async def _safe_stop_order(self, body: CommandBody, zone: ZoneId | None) -> Result:
        zones = [entry.id for entry in self._site.zones if zone in (None, entry.id)]
        if not zones:
            return self._ended(body, ActionOutcome.REJECTED, f"no zone {zone!r} on this site")
        self._persons.safe_stop(zone, by=_named(body), reason="signed order")
        self._progress(body.id, CommandState.RUNNING, f"stopping {', '.join(zones)}")
        left = await self._wait_stopped(zones)
        if not left:
            return self._ended(body, ActionOutcome.APPLIED, f"zones stopped: {', '.join(zones)}")
        return self._ended(body, ActionOutcome.PARTIAL, f"{left} miners have not confirmed their stop")

    async def _wait_stopped(self, zones: list[ZoneId]) -> int:
        until_s = self._clock.monotonic() + self._site.timing.stop_confirm_s + 2.0
        while True:
            tracks = [track for zone in zones for track in self._cycle.look(zone).miners.values()]
            left = sum(not track.stopped for track in tracks)
            if not left or self._clock.monotonic() >= until_s:
                return left
            await self._clock.sleep(0.5)


def _not_written(refusal: Refusal) -> WriteRecord:
    return WriteRecord(
        action=refusal.request.action,
        result=WriteResult.REJECTED,
        detail="; ".join(refusal.violations),
    )


def _named(body: CommandBody) -> str:
    """Who is behind it, so that the journal joins what a person seems to do with the order."""
    return f"{body.actor} (order {body.id})"


def claimed_id(signed: Signed) -> str:
    """The id that an unverified order claims, only so that its refusal can be told to whom it matters."""
    try:
        return checked_id(msgspec.msgpack.decode(signed.payload, type=CommandBody).id, "order")
    except (msgspec.DecodeError, UnicodeDecodeError, ConfigError):
        return "unreadable"
