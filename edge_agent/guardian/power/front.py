"""Power orders from outside: signed ones, a person's cancel, previews, and what people are shown."""

import math

import msgspec

from edge_agent.guardian.interlocks.inputs import Finding
from edge_agent.guardian.power import curtailment, schedules
from edge_agent.guardian.power.book import Book
from edge_agent.guardian.power.curtailment import kw
from edge_agent.guardian.power.orders import PowerOrder
from edge_agent.guardian.power.runner import Change, PowerOrders
from edge_agent.guardian.power.schedules import OVER, Scheduled
from edge_agent.ipc import PlanPreview, PlanRequest, Result, StandingOrder, StandingState
from shared.alarms import EventKind, Severity
from shared.commands import (
    ActionOutcome,
    CancelOrder,
    CommandBody,
    CommandState,
    Curtail,
    DoActions,
    RenewOrder,
    Schedule,
    StandingCap,
)
from shared.ids import CommandId

MAX_DURATION_S = 7 * 24 * 3600.0
NOT_STORED = "the disk does not take the order, so nothing is done; look at the gateway's disk"
NO_TABLE = "the site file has no [curtailment]: without a meter no power order can be proven"
_replace = msgspec.structs.replace


class PowerFront:
    """What `Intake`, the operators' desk and the status ask of the power orders."""

    def __init__(self, orders: PowerOrders) -> None:
        self._orders = orders

    # ------------------------------------------------------------ signed orders

    async def carry_out(self, body: CommandBody) -> Result:
        """Take one order in; its final word comes later, from the meter. Returns at once."""
        match body.order:
            case Curtail() as order:
                return await self._begin(body, _curtailment(body, order, self._orders.clock.utc_ms()))
            case StandingCap(cap_w=cap_w):
                return await self._cap(body, cap_w)
            case Schedule() as schedule:
                return await self._schedule(body, schedule)
            case CancelOrder(target=target):
                why = self.cancel(target, body.actor, "signed order")
                return self._answer(body, why, f"order {target} is cancelled")
            case RenewOrder(target=target):
                return self._answer(body, self._renew(target), f"order {target} goes on")
        return self._answer(body, "this is no power order", "")

    async def _begin(self, body: CommandBody, order: PowerOrder) -> Result:
        why = self._refusal(order)
        if why is None and not await self._orders.change(_with_order(order)):
            why = NOT_STORED
        if why is None:
            self._accepted(body, f"to {kw(order.target_w)}")
        return self._answer(body, why, f"accepted: down to {kw(order.target_w)}", running=True)

    def _refusal(self, order: PowerOrder) -> str | None:
        """Why this cannot be carried out, as a sentence; the first of what stands against it."""
        if self._orders.rules is None:
            return NO_TABLE
        numbers = [order.target_w, order.deadline_s, order.left_s, order.ramp_w_per_min, order.signal_s]
        if not all(number is None or math.isfinite(number) for number in numbers):
            return "a number of the order is not finite"
        left_s = order.left_s
        positive = (order.deadline_s, order.ramp_w_per_min, order.signal_s)
        against = (
            (order.target_w < 0, f"target {order.target_w:g} W is below zero"),
            (
                left_s is not None and not 0 < left_s <= MAX_DURATION_S,
                f"duration {left_s or 0:g} s is not between 0 and {MAX_DURATION_S:g} s",
            ),
            (
                any(number is not None and number <= 0 for number in positive),
                "deadline, ramp and signal must be above zero where they are given",
            ),
        )
        return next((why for stands, why in against if stands), None)

    async def _cap(self, body: CommandBody, cap_w: float | None) -> Result:
        if cap_w is not None:
            order = PowerOrder(id=body.id, actor=body.actor, target_w=cap_w, cap=True)
            return await self._begin(body, order)
        standing = [order for order in self._orders.book.power.orders if order.cap and order.active]
        for order in standing:
            self.cancel(order.id, body.actor, "the cap is taken away")
        return self._answer(body, None, "the standing cap is taken away" if standing else "no cap stood")

    async def _schedule(self, body: CommandBody, schedule: Schedule) -> Result:
        open_now = sum(entry.state not in OVER for entry in self._orders.book.schedules)
        why = schedules.refusal(schedule, self._orders.time.now_ms(), open_now)
        if why is None and isinstance(schedule.what, Curtail):
            why = self._refusal(_curtailment(body, schedule.what, 0))
        why = why or self._unknown_devices(schedule)
        entry = Scheduled(id=body.id, actor=body.actor, schedule=schedule)
        if why is None and not await self._orders.change(_with_schedule(entry)):
            why = NOT_STORED
        if why is None:
            self._accepted(body, "as a schedule")
        return self._answer(body, why, "stored; it starts by itself")

    def _unknown_devices(self, schedule: Schedule) -> str | None:
        """Refused when it is sent, and not found out when it starts."""
        known = {entry.id for entry in self._orders.site.devices}
        actions = schedule.what.actions if isinstance(schedule.what, DoActions) else ()
        unknown = sorted({action.device for action in (*actions, *schedule.revert)} - known)
        return f"no device {', '.join(unknown)} on this site" if unknown else None

    def _renew(self, target: CommandId) -> str | None:
        after = curtailment.renewed(self._orders.book.power, target)
        if after is None:
            return f"no running power order {target!r}"
        self._orders.book = _replace(self._orders.book, power=after)
        return None

    def _answer(self, body: CommandBody, why: str | None, detail: str, *, running: bool = False) -> Result:
        refused = why is not None
        state = CommandState.REFUSED if refused else CommandState.RUNNING if running else CommandState.DONE
        outcome = ActionOutcome.UNCONFIRMED if running else ActionOutcome.APPLIED
        return Result(
            id=body.id,
            outcome=ActionOutcome.REJECTED if refused else outcome,
            detail=why or detail,
            violations=(why,) if why is not None else (),
            command_state=state,
            at_ms=self._orders.clock.utc_ms(),
        )

    def _accepted(self, body: CommandBody, what: str) -> None:
        self._orders.recorder.record(
            Finding(
                kind=EventKind.ACTION,
                severity=Severity.LOW,
                key=f"power-order/{body.id}",
                title=f"Power order {body.id} of {body.actor} accepted, {what}",
                data={"id": body.id, "actor": body.actor},
            )
        )

    # ------------------------------------------------------------ persons

    def cancel(self, target: CommandId, by: str, reason: str) -> str | None:
        """Take an order back; why that cannot be done, or None. Takes effect at once."""
        book, words = self._orders.book, f"cancelled by {by}: {reason}"
        power = curtailment.cancelled(book.power, target, words)
        entry = next((e for e in book.schedules if e.id == target and e.state not in OVER), None)
        if power is None and entry is None:
            return f"no scheduled or running order {target!r}; 'minewarden guardian orders' lists them"
        if power is not None:
            self._orders.change_now(lambda book: _replace(book, power=power))
        else:
            self._orders.change_now(_without_window(target, words))
        self._orders.recorder.record(_cancelled(target, words))
        return None

    def preview(self, asked: PlanRequest) -> PlanPreview:
        """What this curtailment would do now; nothing is done."""
        rules = self._orders.rules
        now_ms = self._orders.clock.utc_ms()
        why = self._refusal(_as_order(asked.id, "preview", asked.order, now_ms))
        if rules is None or why is not None:
            return PlanPreview(
                id=asked.id,
                steps=(),
                now_w=None,
                expected_w=None,
                reaches_target=False,
                takes_s=0.0,
                detail=why or NO_TABLE,
            )
        given = self._orders.looker.look()
        steps, _, expected_w, reaches, takes_s = curtailment.preview(
            self._orders.book.power, given, rules, asked.order.target_w, asked.order.duration_s
        )
        return PlanPreview(
            id=asked.id,
            steps=steps,
            now_w=given.meter_w,
            expected_w=expected_w,
            reaches_target=reaches,
            takes_s=takes_s,
            detail=""
            if given.meter_w is not None
            else "the meter is not known: counted from the miners' own words",
        )

    def standing(self) -> tuple[StandingOrder, ...]:
        """Every order that stands or stood lately, for people."""
        power = self._orders.book.power
        running = tuple(_shown(order, power.meter_w, power.blind_s) for order in power.orders)
        return running + tuple(_shown_window(entry) for entry in self._orders.book.schedules)


def _curtailment(body: CommandBody, order: Curtail, now_ms: int) -> PowerOrder:
    return _as_order(body.id, body.actor, order, now_ms)


def _as_order(command: CommandId, actor: str, order: Curtail, now_ms: int) -> PowerOrder:
    return PowerOrder(
        id=command,
        actor=actor,
        target_w=order.target_w,
        deadline_s=order.deadline_s,
        left_s=order.duration_s,
        end_ms=now_ms + round(order.duration_s * 1000) if math.isfinite(order.duration_s) else None,
        ramp_w_per_min=order.ramp_w_per_min,
        signal_s=order.signal_s,
    )


def _with_order(order: PowerOrder) -> Change:
    return lambda book: _replace(book, power=curtailment.begun(book.power, order))


def _with_schedule(entry: Scheduled) -> Change:
    return lambda book: _replace(book, schedules=(*book.schedules, entry))


def _without_window(target: CommandId, words: str) -> Change:
    def change(book: Book) -> Book:
        entries = tuple(_off(entry, words) if entry.id == target else entry for entry in book.schedules)
        return _replace(book, schedules=entries)

    return change


def _off(entry: Scheduled, words: str) -> Scheduled:
    if entry.state is StandingState.RUNNING:
        return schedules.taken_back(entry, words, [])
    return _replace(entry, state=StandingState.CANCELLED, words=words, left_s=None)


def _cancelled(target: CommandId, words: str) -> Finding:
    return Finding(
        kind=EventKind.ACTION,
        severity=Severity.LOW,
        key=f"power-order/{target}",
        title=f"Power order {target} {words}",
        data={"id": target},
    )


def _shown(order: PowerOrder, meter_w: float | None, blind_s: float) -> StandingOrder:
    what = "standing cap" if order.cap else "curtailment"
    words = f"{what} to {kw(order.target_w)}" + (f", {order.words}" if order.words else "")
    return StandingOrder(
        id=order.id,
        state=order.state,
        words=words + (", late" if order.late and order.active else ""),
        actor=order.actor,
        end_ms=order.end_ms,
        target_w=order.target_w,
        meter_w=None if blind_s > 0 else meter_w,
        confirmed_ms=order.confirmed_ms,
    )


def _shown_window(entry: Scheduled) -> StandingOrder:
    what = entry.schedule.what
    words = (
        f"curtailment to {kw(what.target_w)}" if isinstance(what, Curtail) else f"{len(what.actions)} actions"
    )
    return StandingOrder(
        id=entry.id,
        state=entry.state,
        words=f"scheduled {words}" + (f", {entry.words}" if entry.words else ""),
        actor=entry.actor,
        start_ms=entry.schedule.start_ms,
        end_ms=entry.schedule.end_ms,
        target_w=what.target_w if isinstance(what, Curtail) else None,
    )
