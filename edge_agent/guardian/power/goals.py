"""What each miner was told, whether it is there, and what the meter should read once it is. Pure.

A command in flight counts as applied (S18): what it is to take off comes off the meter until it must show.
So the expectation is low rather than high while miners restart, and nothing more is lowered because of it.
A miner that is not there in time is not counted any more, so that others are lowered in its place; it is
asked on all the same.
"""

from collections.abc import Iterable

import msgspec

from edge_agent.guardian.interlocks.inputs import Finding
from edge_agent.guardian.power.orders import Goal, MinerSeen, PowerInput, PowerState, Rules, Wish
from edge_agent.guardian.power.plan import Load
from edge_agent.ipc import PlanStep
from shared.alarms import EventKind, Severity
from shared.commands import SetPreset, StopMining
from shared.ids import CommandId, DeviceId

_replace = msgspec.structs.replace


def follow(
    state: PowerState, given: PowerInput, rules: Rules, dt: float, found: list[Finding]
) -> dict[DeviceId, Goal]:
    """Every held goal after `dt` seconds; goals on their way back are the restore's."""
    after: dict[DeviceId, Goal] = {}
    for device, told in state.goals.items():
        goal, miner = told, given.miners.get(device)
        if goal.release_s is not None or miner is None:
            after[device] = goal
            continue
        there = is_there(goal, miner)
        if goal.up and (there or goal.asked_s + dt >= rules.obey_s):
            goal = _settled(goal, miner, there=there)
            there = True
        asked_s = 0.0 if there or goal.there else goal.asked_s + dt
        vain = not there and (goal.vain or asked_s >= rules.obey_s)
        if goal.there and not there:
            found.append(_climbed(device, goal))
        if vain and not goal.vain:
            found.append(_vain(device, goal))
        after[device] = _replace(
            goal,
            there=there,
            there_s=goal.there_s + dt if there and goal.there else 0.0,
            asked_s=asked_s,
            vain=vain,
            age_s=goal.age_s + dt,
        )
    return after


def is_there(goal: Goal, miner: MinerSeen) -> bool:
    """Whether the miner is seen at its goal or below; a silent one is where it was last seen."""
    if not miner.heard:
        return goal.there
    if not miner.draws:
        return True
    if goal.want is not None and miner.preset is None:
        return goal.there
    if goal.want is None:
        return False
    if goal.up:
        return miner.preset == goal.want
    wanted_w, now_w = miner.label_w(goal.want), miner.label_w(miner.preset)
    return miner.preset == goal.want or (wanted_w is not None and now_w is not None and now_w <= wanted_w)


def wishes(state: PowerState, given: PowerInput) -> tuple[Wish, ...]:
    """What is to be told again, and for the first time; not to a miner that a person has in hand."""
    found: list[Wish] = []
    for device, goal in state.goals.items():
        miner = given.miners.get(device)
        if miner is None or goal.release_s is not None or goal.there or miner.taken is not None:
            continue
        action = (
            StopMining(device=device) if goal.want is None else SetPreset(device=device, preset=goal.want)
        )
        found.append(Wish(order=goal.order, action=action, back=_is_raise(goal, miner)))
    return tuple(found)


def _is_raise(goal: Goal, miner: MinerSeen) -> bool:
    wanted_w, now_w = miner.label_w(goal.want), miner.label_w(miner.preset)
    return goal.up and (wanted_w is None or now_w is None or wanted_w > now_w)


def _settled(goal: Goal, miner: MinerSeen, *, there: bool) -> Goal:
    """A trim that is seen done is a goal like any other; one that got no permit stays where it was."""
    if there or miner.preset is None:
        return _replace(goal, up=False)
    return _replace(goal, up=False, want=miner.preset, from_w=miner.likely_w, expects_w=miner.likely_w)


# ---------------------------------------------------------------- in flight


def expected_w(state: PowerState, given: PowerInput, rules: Rules) -> float:
    """The least that the meter will read once all that lowers shows; without a meter, by counting (W)."""
    pairs = [(goal, given.miners.get(device)) for device, goal in state.goals.items()]
    if given.meter_w is not None:
        return given.meter_w + sum(_to_come_w(goal, miner, rules) for goal, miner in pairs)
    if state.meter_w is None:
        return sum(
            goal.expects_w if goal is not None and not goal.vain else miner.likely_w
            for device, miner in given.miners.items()
            for goal in (state.goals.get(device),)
        )
    fresh = [goal for goal, _ in pairs if not goal.vain and goal.age_s <= state.blind_s + rules.obey_s]
    return state.meter_w - sum(goal.from_w - goal.expects_w for goal in fresh)


def _to_come_w(goal: Goal, miner: MinerSeen | None, rules: Rules) -> float:
    """What one miner in flight takes off the meter. Never more than that is sure to be missing: a miner that
    restarts on its way to another preset draws next to nothing for seconds (miners.md §5), and neither its
    own word nor the meter's of that time says where it will stand."""
    if goal.release_s is not None or goal.up or not in_flight(goal, miner, rules):
        return 0.0
    return min(goal.expects_w - goal.from_w, 0.0)


def in_flight(goal: Goal, miner: MinerSeen | None, rules: Rules) -> bool:
    """Whether the meter may not show yet what this miner was told; a vain or silent one is not waited for."""
    if goal.release_s is not None:
        return goal.release_s <= 2 * rules.restart_s  # one that does not come back holds up no other
    if miner is None or goal.vain or not miner.heard:
        return False
    return not goal.there or goal.there_s < rules.lag_s or miner.settling


def steady_w(before: PowerState, after: PowerState, given: PowerInput, rules: Rules) -> float | None:
    """What the meter will read once everything told shows, by counting: raises are judged by this too.

    Counted from the meter when nothing was in flight last, so the dip of restarting miners is no room.
    """
    flying = any(in_flight(goal, given.miners.get(d), rules) for d, goal in after.goals.items())
    if not flying and given.meter_w is not None:
        return given.meter_w
    base_w = before.steady_w if before.steady_w is not None else given.meter_w
    if base_w is None:
        return None
    return base_w + sum(
        _leads_to_w(goal) - _leads_to_w(before.goals.get(device), goal)
        for device, goal in after.goals.items()
    )


def _leads_to_w(goal: Goal | None, fresh: Goal | None = None) -> float:
    if goal is None:
        return 0.0 if fresh is None else fresh.from_w
    return goal.from_w if goal.vain else goal.leads_to_w


def ceiling_w(state: PowerState, given: PowerInput, rules: Rules) -> float:
    """The most that the meter will read once everything told shows (W)."""
    seen_w = expected_w(state, given, rules)
    return seen_w if state.steady_w is None else max(seen_w, state.steady_w, given.meter_w or 0.0)


# ---------------------------------------------------------------- planning


def loads(state: PowerState, given: PowerInput, rules: Rules, *, calm: bool = False) -> list[Load]:
    """The miners that a plan may count on, as they will be once what they were told shows.

    `calm` leaves out those in flight: telling one twice in a row costs it two restarts.
    """
    found: list[Load] = []
    for device, miner in given.miners.items():
        goal = state.goals.get(device)
        if not miner.heard or not miner.draws or miner.taken is not None:
            continue
        if goal is not None and (goal.vain or goal.want is None):
            continue
        held = goal is not None and goal.release_s is None
        if calm and goal is not None and not (held and goal.there):
            continue
        now_w = miner.likely_w
        found.append(
            Load(
                device=device,
                power_w=goal.expects_w if goal is not None and held else now_w,
                hashrate_ths=_hashrate(miner, goal if held else None),
                preset=goal.want if goal is not None and held else miner.preset,
                steps=miner.steps,
                change_s=rules.change_s,
                restart_s=rules.restart_s,
            )
        )
    return found


def _hashrate(miner: MinerSeen, goal: Goal | None) -> float | None:
    """What it hashes, or by its label where it is on its way to another preset or does not say."""
    if goal is None and not miner.settling and miner.hashrate_ths:
        return miner.hashrate_ths
    preset = miner.preset if goal is None else goal.want
    return next((step.hashrate_ths for step in miner.steps if step.name == preset), miner.hashrate_ths)


def added(
    state: PowerState, given: PowerInput, steps: Iterable[PlanStep], order: CommandId
) -> dict[DeviceId, Goal]:
    """The goals with a plan's steps; what ran before the first of them is what comes back."""
    after = dict(state.goals)
    for planned in steps:
        device = planned.action.device
        miner, old = given.miners[device], state.goals.get(device)
        held = old is not None and old.release_s is None
        from_w = old.expects_w if old is not None and held else miner.likely_w
        after[device] = Goal(
            order=order,
            want=planned.action.preset if isinstance(planned.action, SetPreset) else None,
            was=old.was if old is not None else miner.preset,
            from_w=miner.likely_w,
            expects_w=from_w - planned.saves_w,
        )
    return after


# ---------------------------------------------------------------- words


def _climbed(device: DeviceId, goal: Goal) -> Finding:
    return Finding(
        kind=EventKind.SYSTEM,
        severity=Severity.LOW,
        key=f"power-order/{goal.order}/{device}",
        title=f"{device} left what power order {goal.order} told it; it is told again",
        advice="Its preset switcher or a reboot does that: switch the switcher off where orders are common.",
        device=device,
    )


def _vain(device: DeviceId, goal: Goal) -> Finding:
    asked = "stop" if goal.want is None else f"go to {goal.want!r}"
    return Finding(
        kind=EventKind.ALARM,
        severity=Severity.LOW,
        key=f"power-order/{goal.order}/{device}",
        title=f"{device} did not {asked} for power order {goal.order}; others take its place",
        advice="Look at the miner: it answers late, or not at all, or ignores what it is told.",
        device=device,
    )
