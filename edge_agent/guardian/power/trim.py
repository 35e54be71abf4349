"""Giving back what an order lowered too far: each kilowatt below the target is lost hashing. Pure.

Where the meter has stood below the target by more than the tolerance and the smallest step, with nothing in
flight, for the time that a change takes to settle, the best hashes per watt come back, as far as the highest
reading of that time lets them. A trim that was lowered again makes the next one wait four times as long, so
that the two never take turns.
"""

import math

import msgspec

from edge_agent.guardian.power import restore
from edge_agent.guardian.power.goals import ceiling_w, in_flight
from edge_agent.guardian.power.orders import Goal, MinerSeen, PowerInput, PowerState, Rules
from edge_agent.ipc import StandingState
from shared.ids import DeviceId

BACKOFF = 4.0
MOST_UNDONE = 5
SLACK_W = 1.0
"""Rounding of the meter: less than this below is no room."""

_replace = msgspec.structs.replace


class _Rise(msgspec.Struct, frozen=True):
    """One miner up to `step`, its own former preset or one between; None: a start."""

    device: DeviceId
    step: str | None
    takes_w: float


def step(
    state: PowerState, given: PowerInput, rules: Rules, dt: float, *, aim_w: float | None
) -> tuple[PowerState, tuple[DeviceId, ...]]:
    """The state after `dt` seconds and the stopped miners to hand to their zones now."""
    state = _replace(state, rise_wait_s=max(state.rise_wait_s - dt, 0.0))
    if aim_w is None:
        return _replace(state, low_s=0.0, trimmed=False, trims_undone=0), ()
    active = [order for order in state.orders if order.active]
    calm = all(order.state is StandingState.HOLDING for order in active)
    calm = calm and not any(in_flight(g, given.miners.get(d), rules) for d, g in state.goals.items())
    smallest_w = _smallest_w(state, given) if calm else None
    if given.meter_w is None or smallest_w is None:
        return _replace(state, low_s=0.0), ()
    tolerance_w = min(rules.within_pct / 100.0 * order.target_w for order in active)
    if given.meter_w >= aim_w - max(tolerance_w, smallest_w):
        return _replace(state, low_s=0.0), ()
    peak_w = max(state.low_peak_w, given.meter_w) if state.low_s > 0 else given.meter_w
    state = _replace(state, low_s=state.low_s + dt, low_peak_w=peak_w)
    if state.low_s < rules.change_s * BACKOFF ** min(state.trims_undone, MOST_UNDONE):
        return state, ()
    room_w = aim_w - max(peak_w, ceiling_w(state, given, rules)) - _unsettled_w(state, given) - SLACK_W
    return _given_back(state, given, rules, room_w)


def lowered(state: PowerState) -> PowerState:
    """More had to go down: where that undoes a trim, the next one waits longer."""
    undone = state.trims_undone + 1 if state.trimmed else state.trims_undone
    return _replace(state, trimmed=False, trims_undone=undone, low_s=0.0)


def _given_back(
    state: PowerState, given: PowerInput, rules: Rules, room_w: float
) -> tuple[PowerState, tuple[DeviceId, ...]]:
    goals, back, released = dict(state.goals), [], list(state.released)
    ramps = [o.ramp_w_per_min for o in state.orders if o.active and o.ramp_w_per_min is not None]
    ramp, wait_s = min(ramps, default=math.inf), state.rise_wait_s
    spent_w = sum(watts for _, watts in released)
    for device, goal in restore.best_first(goals, given):
        miner = given.miners.get(device)
        if wait_s > 0 or miner is None or not _can_rise(goal, miner):
            continue
        window_w = rules.window_w - spent_w if released else math.inf
        rise = next((r for r in _rises(device, goal, miner) if r.takes_w <= min(room_w, window_w)), None)
        if rise is None:
            continue
        goals[device] = _raised(goal, miner, rise)
        if rise.step is None:
            back.append(device)
        released.append((0.0, rise.takes_w))
        spent_w += rise.takes_w
        room_w -= rise.takes_w
        wait_s = rise.takes_w / ramp * 60.0
    if len(released) == len(state.released):
        return state, ()
    after = _replace(
        state, goals=goals, released=tuple(released), rise_wait_s=wait_s, trimmed=True, low_s=0.0
    )
    return after, tuple(back)


def _raised(goal: Goal, miner: MinerSeen, rise: _Rise) -> Goal:
    if rise.step is None or rise.step == goal.was:
        return _replace(goal, release_s=0.0, from_w=miner.likely_w, back_w=miner.likely_w + rise.takes_w)
    return _replace(
        goal,
        want=rise.step,
        up=True,
        from_w=miner.likely_w,
        expects_w=miner.likely_w + rise.takes_w,
        there=False,
        there_s=0.0,
        asked_s=0.0,
        age_s=0.0,
    )


def _can_rise(goal: Goal, miner: MinerSeen) -> bool:
    known = goal.release_s is None and not goal.up and not goal.vain and goal.there
    return known and miner.heard and miner.taken is None and restore.may_rise(miner)


def _rises(device: DeviceId, goal: Goal, miner: MinerSeen) -> list[_Rise]:
    """How far one miner may come back, the most first."""
    if goal.want is None:
        return [_Rise(device, None, max(miner.nominal_w - miner.likely_w, 0.0))] if not miner.draws else []
    now_w, was_w = miner.label_w(miner.preset), miner.label_w(goal.was)
    if now_w is None or was_w is None:
        return []
    steps = [step for step in miner.steps if now_w < step.power_w <= was_w]
    # By the label at least, which is what the arbiter counts with.
    return [
        _Rise(device, step.name, max(miner.draws_at_w(step.name) - miner.likely_w, step.power_w - now_w))
        for step in reversed(steps)
    ]


def _smallest_w(state: PowerState, given: PowerInput) -> float | None:
    """The smallest step that could be given back, None where there is none."""
    return min(
        (
            rise.takes_w
            for device, goal in state.goals.items()
            if (miner := given.miners.get(device)) is not None and _can_rise(goal, miner)
            for rise in _rises(device, goal, miner)
        ),
        default=None,
    )


def _unsettled_w(state: PowerState, given: PowerInput) -> float:
    """What miners that start or tune for other reasons may still take."""
    return sum(
        max(label_w if (label_w := miner.label_w(miner.preset)) is not None else miner.nominal_w, 0.0)
        for device, miner in given.miners.items()
        if miner.settling and miner.draws and device not in state.goals
    )
