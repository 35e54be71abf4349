"""Bringing miners back after an order: cooling first, in stages, spread at random (plant.md §5). Pure.

At most `window_w` comes back per restart window, presets and starts alike; every miner waits for a random
time of its own, the same at each try because it is made from order and device. A stopped miner is handed to
its zone, whose restart logic and whose arbiter's limits start it; a lowered one goes back to what ran
before.
"""

import hashlib

import msgspec

from edge_agent.guardian.interlocks.inputs import Finding
from edge_agent.guardian.power.goals import ceiling_w
from edge_agent.guardian.power.orders import Goal, MinerSeen, PowerInput, PowerState, Rules, Wish
from shared.alarms import EventKind, Severity
from shared.commands import SetPreset
from shared.ids import CommandId, DeviceId

GIVE_UP_S = 1800.0
"""A miner that is not back after this long is left as it is, and told."""

_replace = msgspec.structs.replace


def step(
    state: PowerState,
    given: PowerInput,
    rules: Rules,
    dt: float,
    *,
    aim_w: float | None,
    found: list[Finding],
) -> tuple[PowerState, tuple[DeviceId, ...]]:
    """The state after `dt` seconds, and the stopped miners to hand to their zones now.

    `aim_w` is what the orders that still stand allow (W); None: nothing stands any more.
    """
    kept = _on_their_way(state, given, dt, found)
    released = tuple((age_s + dt, watts) for age_s, watts in state.released if age_s + dt < rules.window_s)
    state = _replace(state, goals=kept, released=released)
    blocked = aim_w is not None and (not state.relaxing or given.meter_w is None)
    if not state.goals or blocked:
        return state, ()
    state = _replace(state, restoring_s=state.restoring_s + dt)
    return _release(state, given, rules, aim_w)


def _on_their_way(
    state: PowerState, given: PowerInput, dt: float, found: list[Finding]
) -> dict[DeviceId, Goal]:
    kept: dict[DeviceId, Goal] = {}
    for device, goal in state.goals.items():
        miner = given.miners.get(device)
        if goal.release_s is None:
            kept[device] = goal
        elif miner is None or (is_back(goal, miner) and not _still_rises(goal, miner)):
            continue
        elif goal.release_s + dt >= GIVE_UP_S:
            found.append(_given_up(device, goal))
        else:
            kept[device] = _replace(goal, release_s=goal.release_s + dt)
    return kept


def _still_rises(goal: Goal, miner: MinerSeen) -> bool:
    """Back, but not at its power yet: what the meter shows meanwhile is no room for others."""
    return miner.taken is None and miner.settling and (goal.release_s or 0.0) < GIVE_UP_S


def is_back(goal: Goal, miner: MinerSeen) -> bool:
    """Whether it runs what it ran before; a stopped one that somebody took meanwhile is its zone's."""
    if miner.taken is not None:
        return goal.want is None  # in its zone's restart by now; a preset waits until the miner is free again
    if not miner.heard or not miner.draws:
        return False
    return goal.was is None or miner.preset == goal.was


def _release(
    state: PowerState, given: PowerInput, rules: Rules, aim_w: float | None
) -> tuple[PowerState, tuple[DeviceId, ...]]:
    goals, released = dict(state.goals), list(state.released)
    back: list[DeviceId] = []
    spent_w = sum(watts for _, watts in released)
    room_w = None if aim_w is None else aim_w - ceiling_w(state, given, rules)
    waiting = False
    for device, goal in best_first(goals, given):
        miner = given.miners.get(device)
        if miner is None or not may_rise(miner):
            waiting = True
            continue
        takes_w = max(miner.full_w(goal) - miner.likely_w, 0.0)
        if room_w is not None and takes_w > room_w:
            continue
        early = state.restoring_s < jitter_s(goal.order, device, rules.jitter_s)
        if early or (released and spent_w + takes_w > rules.window_w):
            waiting = True
            continue
        goals[device] = _replace(goal, release_s=0.0, from_w=miner.likely_w, back_w=miner.likely_w + takes_w)
        if goal.want is None and not (miner.heard and miner.draws):
            back.append(device)
        released.append((0.0, takes_w))
        spent_w += takes_w
        room_w = None if room_w is None else room_w - takes_w
    relaxing = waiting or any(goal.release_s is not None for goal in goals.values())
    after = _replace(state, goals=goals, released=tuple(released), relaxing=state.relaxing and relaxing)
    return after, tuple(back)


def may_rise(miner: MinerSeen) -> bool:
    """Cooling first: proven, and no inlet that rises (plant.md §5); a taken one is its zone's business."""
    return miner.taken is not None or (miner.cooled and not miner.warming)


def best_first(goals: dict[DeviceId, Goal], given: PowerInput) -> list[tuple[DeviceId, Goal]]:
    """Held goals, the most hashing per watt first."""

    def rank(entry: tuple[DeviceId, Goal]) -> tuple[float, DeviceId]:
        device, goal = entry
        miner = given.miners.get(device)
        step = next((s for s in miner.steps if s.name == goal.was), None) if miner is not None else None
        if step is None or step.hashrate_ths <= 0:
            return float("inf"), device
        return step.power_w / step.hashrate_ths, device

    return sorted(((d, goal) for d, goal in goals.items() if goal.release_s is None), key=rank)


def jitter_s(order: CommandId, device: DeviceId, most_s: float) -> float:
    """A wait between 0 and `most_s` that looks random and is the same at every try."""
    digest = hashlib.sha256(f"{order}/{device}".encode()).digest()
    return most_s * int.from_bytes(digest[:4], "big") / 2**32


def wishes(state: PowerState, given: PowerInput) -> tuple[Wish, ...]:
    """Presets to go back to; a stopped miner's once it runs again."""
    found: list[Wish] = []
    for device, goal in state.goals.items():
        miner = given.miners.get(device)
        if goal.release_s is None or goal.was is None or miner is None:
            continue
        if miner.heard and miner.draws and miner.taken is None and miner.preset != goal.was:
            found.append(Wish(order=goal.order, action=SetPreset(device=device, preset=goal.was), back=True))
    return tuple(found)


def called_back(goals: dict[DeviceId, Goal]) -> dict[DeviceId, Goal]:
    """Goals when a new order begins: what was on its way back stays down until it is not needed."""
    return {
        device: goal
        if goal.release_s is None
        else _replace(
            goal, release_s=None, from_w=goal.back_w, age_s=0.0, asked_s=0.0, there=False, vain=False
        )
        for device, goal in goals.items()
    }


def _given_up(device: DeviceId, goal: Goal) -> Finding:
    return Finding(
        kind=EventKind.ALARM,
        severity=Severity.LOW,
        key=f"power-order/{goal.order}/{device}",
        title=f"{device} is not back {GIVE_UP_S / 60:.0f} minutes after power order {goal.order}",
        advice="Look at the miner's own log; start it, or set its preset, by hand or by an order.",
        device=device,
    )
