"""Power orders as a pure state machine: down to the target, confirmed by the meter, held, and back in stages.

RUNNING → HOLDING (the meter stands at the target for `confirm_for_s`) → RESTORING → ENDED. All orders share
one set of goals, one per lowered miner, and the lowest target counts; when an order ends, what the others
do not need comes back. The meter decides, never the miners' own estimates (plant.md §5): while it is not
there, more miners are lowered, those that did not obey are replaced, and those that climbed back are told
again.
"""

import math

import msgspec

from edge_agent.guardian.interlocks.inputs import Finding
from edge_agent.guardian.power import goals, restore, trim
from edge_agent.guardian.power.orders import (
    PowerInput,
    PowerOrder,
    PowerOutput,
    PowerState,
    Report,
    Rules,
)
from edge_agent.guardian.power.plan import Plan, plan
from edge_agent.ipc import PlanStep, StandingState
from shared.alarms import EventKind, Severity
from shared.commands import ActionOutcome, SetPreset, StopMining
from shared.ids import CommandId

_replace = msgspec.structs.replace

RAMP_EVERY_S = 15.0
"""A ramp goes down in stairs of so many seconds: a step of a ladder is a stair anyway."""


def step(
    state: PowerState, given: PowerInput, rules: Rules, dt: float, *, at_ms: int
) -> tuple[PowerState, PowerOutput]:
    """All power orders after `dt` seconds. `at_ms` (UTC) only dates what is confirmed."""
    found: list[Finding] = []
    reports: list[Report] = []
    before = state = _see(state, given, dt)
    orders = tuple(_advance(order, state, given, rules, dt, at_ms, found, reports) for order in state.orders)
    state = _ended(state, orders, found)
    told = goals.follow(state, given, rules, dt, found)
    state = _replace(state, goals=told)
    state = _lower(state, given, rules)
    state, trimmed = trim.step(state, given, rules, dt, aim_w=aim_w(state, rules))
    state, back = restore.step(state, given, rules, dt, aim_w=aim_w(state, rules), found=found)
    state = _settle(state, found)
    state = _replace(state, steady_w=goals.steady_w(before, state, given, rules))
    wishes = (*goals.wishes(state, given), *restore.wishes(state, given))
    return state, PowerOutput(
        wishes=wishes, bring_back=(*trimmed, *back), found=tuple(found), reports=tuple(reports)
    )


def _see(state: PowerState, given: PowerInput, dt: float) -> PowerState:
    if given.meter_w is None:
        return _replace(state, blind_s=state.blind_s + dt)
    return _replace(state, meter_w=given.meter_w, blind_s=0.0)


# ---------------------------------------------------------------- one order's own life


def _advance(
    order: PowerOrder,
    state: PowerState,
    given: PowerInput,
    rules: Rules,
    dt: float,
    at_ms: int,
    found: list[Finding],
    reports: list[Report],
) -> PowerOrder:
    if not order.active:
        return order
    start_w = order.start_w if order.start_w is not None else given.meter_w
    met = given.meter_w is not None and given.meter_w <= limit_w(order, rules)
    met = met and not _only_dips(order, state, given, rules)
    order = _replace(
        order,
        elapsed_s=order.elapsed_s + dt,
        left_s=None if order.left_s is None else order.left_s - dt,
        signal_age_s=order.signal_age_s + dt,
        start_w=start_w,
        met_s=order.met_s + dt if met else 0.0,
        # An unknown meter neither confirms nor denies.
        missed_s=order.missed_s if given.meter_w is None else 0.0 if met else order.missed_s + dt,
    )
    order = _measured(order, given, rules, at_ms, found, reports)
    if order.signal_s is not None and order.signal_age_s >= order.signal_s:
        found.append(_signal_lost(order))
        return _replace(order, state=StandingState.RESTORING, words="its signal is lost")
    if order.left_s is not None and order.left_s <= 0:
        return _replace(order, state=StandingState.RESTORING, words="its time is over")
    return order


def _only_dips(order: PowerOrder, state: PowerState, given: PowerInput, rules: Rules) -> bool:
    """Whether the meter is low only because miners restart: what they were told does not lead there yet."""
    if order.confirmed_s is not None or state.steady_w is None:
        return False
    return state.steady_w > limit_w(order, rules) and _flies(state, given, order, rules)


def _measured(
    order: PowerOrder,
    given: PowerInput,
    rules: Rules,
    at_ms: int,
    found: list[Finding],
    reports: list[Report],
) -> PowerOrder:
    """What the meter says about the order's target, and about its deadline."""
    if order.state is StandingState.RUNNING and order.met_s > 0 and order.met_s >= rules.confirm_for_s:
        order = _confirmed(order, given.meter_w, at_ms, found, reports)
    elif order.state is StandingState.HOLDING and order.missed_s > rules.confirm_for_s:
        found.append(_missed(order, given.meter_w))
        order = _replace(order, state=StandingState.RUNNING)
    is_late = order.deadline_s is not None and order.elapsed_s > order.deadline_s
    if is_late and order.confirmed_s is None and not order.late:
        order = _replace(order, late=True)
        found.append(_late(order, given.meter_w))
        text = f"not confirmed by its deadline of {order.deadline_s:g} s: the meter reads {kw(given.meter_w)}"
        reached = given.meter_w is not None and order.start_w is not None and given.meter_w < order.start_w
        outcome = ActionOutcome.PARTIAL if reached else ActionOutcome.UNCONFIRMED
        reports.append(Report(id=order.id, outcome=outcome, detail=f"{text}, asked {kw(order.target_w)}"))
    return order


def _confirmed(
    order: PowerOrder, meter_w: float | None, at_ms: int, found: list[Finding], reports: list[Report]
) -> PowerOrder:
    again = order.confirmed_s is not None
    after = _replace(
        order,
        state=StandingState.HOLDING,
        confirmed_s=order.confirmed_s if again else order.elapsed_s,
        confirmed_ms=order.confirmed_ms if again else at_ms,
    )
    text = f"the meter reads {kw(meter_w)} after {order.elapsed_s:.0f} s, asked {kw(order.target_w)}"
    found.append(_finding(order, f"Power order {order.id} is confirmed: {text}", after_s=order.elapsed_s))
    if not again:
        outcome = ActionOutcome.PARTIAL if order.late else ActionOutcome.APPLIED
        late = "late: " if order.late else ""
        reports.append(Report(id=order.id, outcome=outcome, detail=f"{late}{text}"))
    return after


def _ended(state: PowerState, orders: tuple[PowerOrder, ...], found: list[Finding]) -> PowerState:
    """Take note of orders that went over to RESTORING since the last step."""
    before = {order.id: order for order in state.orders}
    fresh = [order for order in orders if not order.active and before[order.id].active]
    found += [
        _finding(order, f"Power order {order.id} ends, {order.words}: miners come back in stages")
        for order in fresh
    ]
    after = _replace(state, orders=orders)
    return _relaxed(after) if fresh else after


def _relaxed(state: PowerState) -> PowerState:
    return _replace(state, relaxing=True, restoring_s=0.0)


def _settle(state: PowerState, found: list[Finding]) -> PowerState:
    """Orders whose miners are back, or stay down for another order, are over."""
    others = any(order.active for order in state.orders)
    if state.goals and not (others and not state.relaxing):
        return state
    orders = []
    for order in state.orders:
        if order.state is StandingState.RESTORING:
            where = "other orders keep its miners down" if state.goals else "everything is back"
            found.append(_finding(order, f"Power order {order.id} is over: {where}"))
            over = StandingState.CANCELLED if order.cancelled else StandingState.ENDED
            orders.append(_replace(order, state=over))
        else:
            orders.append(order)
    return _replace(state, orders=tuple(orders), relaxing=state.relaxing and bool(state.goals))


# ---------------------------------------------------------------- targets


def limit_w(order: PowerOrder, rules: Rules) -> float:
    """What the meter may read for the target to count as met: a cap has no tolerance above it."""
    return order.target_w if order.cap else order.target_w + rules.tolerance_w(order.target_w)


def _ramped(order: PowerOrder, wanted_w: float) -> float:
    """Not lower than the ramp lets the load fall by now."""
    if order.ramp_w_per_min is None or order.start_w is None:
        return wanted_w
    elapsed_s = order.elapsed_s // RAMP_EVERY_S * RAMP_EVERY_S
    return max(wanted_w, order.start_w - order.ramp_w_per_min * elapsed_s / 60.0)


def aim_w(state: PowerState, rules: Rules) -> float | None:
    """Where planning aims: the tolerance below the lowest limit. None without an active order."""
    aims = [
        _ramped(order, limit_w(order, rules) - rules.tolerance_w(order.target_w))
        for order in state.orders
        if order.active
    ]
    return min(aims, default=None)


def room_w(state: PowerState, given: PowerInput, rules: Rules) -> float | None:
    """What may still be raised up to where the orders aim (W); None where the meter is unknown."""
    aim = aim_w(state, rules)
    if given.meter_w is None:
        return None
    # What is on its way up is in the arbiter's own memory of raises already.
    rising = [goal for goal in state.goals.values() if goal.release_s is not None or goal.up]
    flying_w = sum(max(goal.leads_to_w - goal.from_w, 0.0) for goal in rising)
    now_w = max((state.steady_w or 0.0) - flying_w, given.meter_w)
    return max((math.inf if aim is None else aim) - now_w, 0.0)


def _lower(state: PowerState, given: PowerInput, rules: Rules) -> PowerState:
    """More goals, where the meter with everything in flight would stay above the limit."""
    lowest = min(
        (order for order in state.orders if order.active),
        key=lambda order: (order.target_w, order.id),
        default=None,
    )
    aim = aim_w(state, rules)
    if lowest is None or aim is None:
        return state
    limits = [_ramped(order, limit_w(order, rules)) for order in state.orders if order.active]
    now_w = goals.expected_w(state, given, rules)
    if now_w <= min(limits):
        return state
    span_s = lowest.left_s if lowest.left_s is not None else math.inf
    may_wait = _may_wait(lowest, rules)
    if may_wait and _flies(state, given, lowest, rules):
        return state
    calm = goals.loads(state, given, rules, calm=True)
    found = plan(calm, now_w, aim, span_s)
    if may_wait and not any(goal.order == lowest.id for goal in state.goals.values()):
        found = _first(plan(calm, now_w, now_w - FIRST_SHARE * (now_w - aim), span_s), found)
    if not found.reaches_target:  # then also those that are on their way already
        found = plan(goals.loads(state, given, rules), now_w, aim, span_s)
    if not found.steps:
        return state
    told = goals.added(state, given, found.steps, lowest.id)
    return trim.lowered(_replace(state, goals=told))


FIRST_SHARE = 0.65
"""So much of a drop is told at first where there is time to look at the meter and tell the rest.

Labels are no promise: machines that go from 2700 W to 1850 W save a third more than the labels say in cool
air, because leakage and fans fall with the temperature (the plant model's S19j Pro: 1130 W, labels 860 W).
"""
STAGES = 2.0
"""Settling times that must be left before the deadline to look first and tell more later."""


MORE_THAN_LABELS = 0.35
"""So much more than labelled presets may save: where stops are to save more than that, they are sure."""


def _may_wait(order: PowerOrder, rules: Rules) -> bool:
    """Whether there is time to see what one cut brings before the next, instead of all at once by labels.

    A ramp goes in stairs anyway, and a cap protects something.
    """
    if order.deadline_s is None or order.ramp_w_per_min is not None or order.confirmed_s is not None:
        return False
    return order.deadline_s - order.elapsed_s >= STAGES * (rules.change_s + rules.lag_s)


def _flies(state: PowerState, given: PowerInput, order: PowerOrder, rules: Rules) -> bool:
    """Whether a cut of this order does not show yet."""
    mine = [(device, goal) for device, goal in state.goals.items() if goal.order == order.id]
    return any(goals.in_flight(goal, given.miners.get(device), rules) for device, goal in mine)


def _first(part: Plan, whole: Plan) -> Plan:
    """The presets of a first cut; the whole plan where it is one step, or has miners stop in any case."""
    stops_w = sum(step.saves_w for step in whole.steps if isinstance(step.action, StopMining))
    presets_w = sum(step.saves_w for step in whole.steps if isinstance(step.action, SetPreset))
    if not whole.reaches_target or len(whole.steps) < 2 or stops_w > MORE_THAN_LABELS * presets_w:
        return whole
    steps = tuple(step for step in part.steps if isinstance(step.action, SetPreset))
    return _replace(part, steps=steps, reaches_target=True) if steps else whole


def ramp_w_per_min(state: PowerState) -> float:
    """The slowest ramp of the running orders (W per minute), infinite where none has one."""
    ramps = [o.ramp_w_per_min for o in state.orders if o.active and o.ramp_w_per_min is not None]
    return min(ramps, default=math.inf)


def preview(
    state: PowerState, given: PowerInput, rules: Rules, target_w: float, duration_s: float
) -> tuple[tuple[PlanStep, ...], float, float, bool, float]:
    """What an order would do now, nothing done: (steps, W now, W after, reaches the target, s to show)."""
    now_w = goals.expected_w(state, given, rules)
    found = plan(goals.loads(state, given, rules), now_w, target_w, duration_s)
    return found.steps, now_w, found.expected_w, found.reaches_target, found.takes_s


# ---------------------------------------------------------------- asked from outside


def begun(state: PowerState, order: PowerOrder) -> PowerState:
    """The state with a new order. A new cap takes the place of the old one."""
    orders = [entry for entry in state.orders if entry.id != order.id]
    if order.cap:
        orders = [_replaced(entry) if entry.cap and entry.active else entry for entry in orders]
    raised = any(new.state is not old.state for new, old in zip(orders, state.orders, strict=False))
    after = _replace(state, orders=(*_recent(orders), order), goals=restore.called_back(state.goals))
    return _relaxed(after) if raised else after


KEEP_ENDED = 50


def _recent(orders: list[PowerOrder]) -> list[PowerOrder]:
    over = [entry for entry in orders if entry.state in (StandingState.ENDED, StandingState.CANCELLED)]
    gone = {entry.id for entry in over[:-KEEP_ENDED]}
    return [entry for entry in orders if entry.id not in gone]


def _replaced(order: PowerOrder) -> PowerOrder:
    return _replace(order, state=StandingState.ENDED, words="another cap took its place")


def cancelled(state: PowerState, target: CommandId, words: str) -> PowerState | None:
    """The state with this order on its way back; None where no such order is active."""
    if not any(order.id == target and order.active for order in state.orders):
        return None
    orders = tuple(
        _replace(order, state=StandingState.RESTORING, words=words, cancelled=True)
        if order.id == target
        else order
        for order in state.orders
    )
    return _relaxed(_replace(state, orders=orders))


def renewed(state: PowerState, target: CommandId) -> PowerState | None:
    """The state with this order's signal heard; None where no such order is active."""
    if not any(order.id == target and order.active for order in state.orders):
        return None
    orders = tuple(_replace(o, signal_age_s=0.0) if o.id == target else o for o in state.orders)
    return _replace(state, orders=orders)


# ---------------------------------------------------------------- words


def kw(watts: float | None) -> str:
    """Power for people."""
    return "unknown" if watts is None else f"{watts / 1000:.1f} kW"


def _finding(order: PowerOrder, title: str, **data: float) -> Finding:
    return Finding(
        kind=EventKind.ACTION,
        severity=Severity.LOW,
        key=f"power-order/{order.id}",
        title=title,
        data={"id": order.id, "target_w": order.target_w, **data},
    )


def _alarm(order: PowerOrder, title: str, advice: str) -> Finding:
    return Finding(
        kind=EventKind.ALARM,
        severity=Severity.HIGH,
        key=f"power-order/{order.id}",
        title=title,
        advice=advice,
        data={"id": order.id, "target_w": order.target_w},
    )


def _late(order: PowerOrder, meter_w: float | None) -> Finding:
    text = f"Power order {order.id} is late: the meter reads {kw(meter_w)}, asked {kw(order.target_w)}"
    return _alarm(
        order, text, "Look which miners do not answer, and what else draws power behind this meter."
    )


def _missed(order: PowerOrder, meter_w: float | None) -> Finding:
    text = f"Power order {order.id} is not held: the meter reads {kw(meter_w)}, asked {kw(order.target_w)}"
    return _alarm(order, text, "More miners are being lowered; look what started behind this meter.")


def _signal_lost(order: PowerOrder) -> Finding:
    text = f"Power order {order.id} was not renewed for {order.signal_s:g} s: its signal is lost, it ends"
    return _alarm(order, text, "Ask whoever sent it whether the curtailment still stands.")
