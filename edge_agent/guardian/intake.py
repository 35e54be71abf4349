"""Proposals and signed orders: from whoever asks to one `Result` each."""

import asyncio
import logging
from collections.abc import Callable

import msgspec

from edge_agent.config import SiteFile
from edge_agent.guardian.arbiter import Permit
from edge_agent.guardian.cycle import Cycle
from edge_agent.guardian.desk import Desk
from edge_agent.guardian.interlocks.asks import Denied
from edge_agent.guardian.interlocks.inputs import Finding
from edge_agent.guardian.orders import Orders
from edge_agent.guardian.persons import Persons
from edge_agent.guardian.recorder import Recorder
from edge_agent.guardian.requests import Request, Source
from edge_agent.ipc import Result
from shared.alarms import EventKind, Severity
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
    Priority,
    Proposal,
    RenewOrder,
    ResetTripOrder,
    SafeStopOrder,
    Schedule,
    StandingCap,
    WriteRecord,
    WriteResult,
    outcome_of,
)
from shared.errors import SecurityError
from shared.ids import CommandId, ZoneId

log = logging.getLogger(__name__)

KEEP_RESULTS = 2_000
MAX_TTL_S = 600.0


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
        clock: Clock,
        *,
        publish: Callable[[Result], None],
    ) -> None:
        self._site = site
        self._desk = desk
        self._cycle = cycle
        self._orders = orders
        self._persons = persons
        self._recorder = recorder
        self._clock = clock
        self._publish = publish
        self._results: dict[CommandId, Result] = {}
        self._running: set[CommandId] = set()
        self._order_lock = asyncio.Lock()

    # ------------------------------------------------------------ proposals

    def propose(self, proposal: Proposal) -> None:
        """Take a proposal; its `Result` is published when it is known. Repeated ids get the first one."""
        if known := self._results.get(proposal.id):
            self._publish(known)
        elif proposal.id not in self._running:
            self._running.add(proposal.id)
            self._desk.background(self._propose(proposal))

    async def _propose(self, proposal: Proposal) -> None:
        ttl_s = proposal.ttl_s if proposal.ttl_s <= MAX_TTL_S else float("nan")
        request = Request(
            id=proposal.id,
            action=proposal.actions[0],
            priority=Priority.ML if proposal.model is not None else Priority.SCHEDULE,
            source=Source.POLICY,
            why=f"{proposal.policy}: {proposal.reason}",
            model=proposal.model,
            confidence=proposal.confidence,
            ttl_left_s=ttl_s,
        )
        decision = self._desk.decide(request)
        if not isinstance(decision, Permit):
            self._desk.refused(decision)
            self._finish(self._rejected(proposal.id, proposal.actions, decision.violations))
            return
        record = await self._desk.launch(decision)
        outcome = outcome_of([record.result])
        if outcome is ActionOutcome.APPLIED and decision.narrowed:
            outcome = ActionOutcome.PARTIAL
        self._finish(
            Result(
                id=proposal.id,
                outcome=outcome,
                detail=decision.narrowed or record.detail,
                writes=(record,),
                asked=proposal.actions,
                applied=(decision.action,),
                at_ms=self._clock.utc_ms(),
            )
        )

    def _rejected(
        self, command: CommandId, actions: tuple[AnyAction, ...], violations: tuple[str, ...]
    ) -> Result:
        return Result(
            id=command,
            outcome=ActionOutcome.REJECTED,
            detail=violations[0],
            violations=violations,
            asked=actions,
            at_ms=self._clock.utc_ms(),
        )

    def _finish(self, result: Result) -> None:
        self._running.discard(result.id)
        self._results[result.id] = result
        while len(self._results) > KEEP_RESULTS:
            del self._results[next(iter(self._results))]
        self._publish(result)

    # ------------------------------------------------------------ signed orders

    def order(self, signed: Signed) -> None:
        """Take a signed order; its `Result` is published when it is known."""
        self._desk.background(self._order(signed))

    async def _order(self, signed: Signed) -> None:
        try:
            async with self._order_lock:
                accepted = await asyncio.to_thread(self._orders.accept, signed)
        except SecurityError as error:
            self._refuse_order(signed, str(error))
            return
        if isinstance(accepted, Result):
            if accepted.id not in self._running:
                self._publish(accepted)
            return
        self._running.add(accepted.id)
        try:
            result = await self._carry_out(accepted)
            async with self._order_lock:
                await asyncio.to_thread(self._orders.finish, result)
        finally:  # only now: a repeat that comes in between would be told that the order was interrupted
            self._running.discard(accepted.id)
        self._publish(result)

    def _refuse_order(self, signed: Signed, why: str) -> None:
        command = CommandId(claimed_id(signed))
        self._recorder.record(
            Finding(
                kind=EventKind.REFUSED,
                severity=Severity.HIGH,
                key=f"order/{command}",
                title=f"signed order refused: {why}",
                advice="If you did not expect this, ask who sends commands in this site's name.",
                data={"id": command, "why": why},
            )
        )
        self._publish(
            Result(
                id=command,
                outcome=ActionOutcome.REJECTED,
                detail=why,
                violations=(why,),
                command_state=CommandState.EXPIRED if "expired" in why else CommandState.REFUSED,
                at_ms=self._clock.utc_ms(),
            )
        )

    async def _carry_out(self, body: CommandBody) -> Result:
        match body.order:
            case DoActions(actions=actions):
                return await self._actions(body, actions)
            case SafeStopOrder(zone=zone):
                return await self._safe_stop_order(body, zone)
            case ResetTripOrder(zone=zone, reason=reason):
                if not self._site.site.remote_reset:
                    why = "site.remote_reset is false: trips are reset on site only"
                    return self._ended(body, ActionOutcome.REJECTED, why)
                answer = await self._persons.reset(zone, by=body.actor, reason=reason)
                if isinstance(answer, Denied):
                    return self._ended(body, ActionOutcome.REJECTED, answer.why)
                return self._ended(body, ActionOutcome.APPLIED, f"{len(answer.cleared)} trips reset")
            case Curtail() | StandingCap() | Schedule() | CancelOrder() | RenewOrder():
                return self._ended(body, ActionOutcome.REJECTED, "power orders are not carried out yet")

    def _ended(
        self,
        body: CommandBody,
        outcome: ActionOutcome,
        detail: str,
        *,
        violations: tuple[str, ...] = (),
        writes: tuple[WriteRecord, ...] = (),
    ) -> Result:
        refused = outcome is ActionOutcome.REJECTED
        return Result(
            id=body.id,
            outcome=outcome,
            detail=detail,
            violations=violations or ((detail,) if refused else ()),
            writes=writes,
            command_state=CommandState.REFUSED if refused else CommandState.DONE,
            at_ms=self._clock.utc_ms(),
        )

    async def _actions(self, body: CommandBody, actions: tuple[AnyAction, ...]) -> Result:
        violations: list[str] = []

        async def one(action: AnyAction) -> WriteRecord:
            request = Request(
                id=body.id,
                action=action,
                priority=Priority.ORDER,
                source=Source.ORDER,
                why=f"order of {body.actor}",
            )
            decision = self._desk.decide(request)
            if isinstance(decision, Permit):
                return await self._desk.launch(decision)
            self._desk.refused(decision)
            violations.extend(decision.violations)
            return WriteRecord(
                action=action, result=WriteResult.REJECTED, detail="; ".join(decision.violations)
            )

        writes = tuple(await asyncio.gather(*(one(action) for action in actions)))
        applied = sum(write.result is WriteResult.APPLIED for write in writes)
        return self._ended(
            body,
            outcome_of([write.result for write in writes]),
            f"{applied} of {len(writes)} writes confirmed",
            violations=tuple(violations),
            writes=writes,
        )

    async def _safe_stop_order(self, body: CommandBody, zone: ZoneId | None) -> Result:
        zones = [entry.id for entry in self._site.zones if zone in (None, entry.id)]
        if not zones:
            return self._ended(body, ActionOutcome.REJECTED, f"no zone {zone!r} on this site")
        self._persons.safe_stop(zone, by=body.actor, reason="signed order")
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


def claimed_id(signed: Signed) -> str:
    """The id that an unverified order claims, only so that its refusal can be told to whom it matters."""
    try:
        return str(msgspec.msgpack.decode(signed.payload, type=CommandBody).id)[:64]
    except msgspec.DecodeError:
        return "unreadable"
