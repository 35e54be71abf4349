"""What each miner was told, whether it is there, and what the meter should read once it is. Pure.

A command in flight counts as applied (S18): the meter is corrected by what each miner in flight is still to
lose, and also by what one that restarts on its way will take again. A miner that is not there in time is not
counted any more, so that others are lowered in its place; it is asked on all the same.
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
    for device, goal in state.goals.items():
        miner = given.miners.get(device)
        if goal.release_s is not None or miner is None:
            after[device] = goal
            continue
        there = is_there(goal, miner)
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
        found.append(Wish(order=goal.order, action=action))
    return tuple(found)


# ---------------------------------------------------------------- in flight


def expected_w(state: PowerState, given: PowerInput, rules: Rules) -> float:
    """What the meter will read once everything in flight shows; without a meter, by counting (W)."""
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
    """What one miner in flight will still change on the meter; 0 once it is there and calm, or vain."""
    if miner is None:
        return 0.0
    if goal.release_s is not None:
        return max(miner.full_w(goal) - miner.likely_w, 0.0)
    if goal.vain or not miner.heard:
        return 0.0
    if goal.there and goal.there_s < rules.lag_s:
        return goal.expects_w - goal.from_w  # its own word is ahead of the meter's
    if goal.there and not miner.settling:
        return 0.0
    now_w = miner.power_w if miner.power_w is not None else goal.from_w
    return goal.expects_w - now_w


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
