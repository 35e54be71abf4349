"""What a demand of the core means as a write, and when that has to wait. Pure."""

from edge_agent.guardian import ladder
from edge_agent.guardian.arbiter import Permit
from edge_agent.guardian.interlocks.inputs import Demand, DemandKind
from edge_agent.guardian.requests import Context, DeviceView, Request, Source
from shared.commands import (
    AnyAction,
    Priority,
    SetPoint,
    SetPreset,
    StartMining,
    StopMining,
    SwitchOutlet,
)
from shared.ids import CommandId, DeviceId

RETRY_AFTER_S = 10.0
"""A demand of the core whose write did not take effect is tried again after this long."""
UNSEEN_STEP_PAUSE_S = 300.0
"""A safe preset that was not confirmed: each try may restart mining, and shed and trip stand above it."""
REFUSED_PAUSE_S = 1.0

Part = tuple[DeviceId, str]
"""What writes exclude each other on: a miner as a whole, else each set-point and each outlet of a device."""

_SOURCE = {
    DemandKind.STOP: Source.INTERLOCK,
    DemandKind.LOWER: Source.INTERLOCK,
    DemandKind.COOLING: Source.INTERLOCK,
    DemandKind.SAFE_PRESET: Source.BASELINE,
    DemandKind.START: Source.RESTART,
}


def action_of(demand: Demand, context: Context) -> AnyAction | None:
    """The action behind a demand, or None where nothing needs doing."""
    device = demand.device
    match demand.kind:
        case DemandKind.STOP:
            return StopMining(device=device)
        case DemandKind.START:
            return StartMining(device=device)
        case DemandKind.COOLING:
            return demand.action
        case DemandKind.LOWER:
            view = context.devices[device]
            return ladder.lower(device, view.facts, view.preset, hydro=_hydro(view, context))
        case DemandKind.SAFE_PRESET:
            view = context.devices[device]
            return _to_safe_preset(view, hydro=_hydro(view, context))


def request(demand: Demand, action: AnyAction, command: CommandId) -> Request:
    """What the arbiter is asked."""
    return Request(
        id=command, action=action, priority=demand.priority, source=_SOURCE[demand.kind], why=demand.why
    )


def part_of(action: AnyAction) -> Part:
    """Two fans behind one address must not wait for each other; a miner does one thing at a time."""
    match action:
        case SetPoint(device=device, point=point):
            return device, f"point {point}"
        case SwitchOutlet(device=device, outlet=outlet):
            return device, f"outlet {outlet}"
    return action.device, ""


def must_wait(action: AnyAction, priority: Priority, held: Permit) -> bool:
    """Whether the write in flight on the same part already does this, or must not be disturbed by it."""
    rank = held.request.priority
    stop, held_stop = isinstance(action, StopMining), isinstance(held.action, StopMining)
    if stop and not held_stop and priority >= Priority.SAFE:
        return False  # nothing less is worth waiting for, not even a shed: a person may stand there
    if held_stop and not stop and rank >= Priority.SAFE:
        return True
    return rank > priority or (rank == priority and not (stop and not held_stop))


def is_shed_stop(demand: Demand, action: AnyAction) -> bool:
    """A shed that found no step below: the core has to know that the miner is to come back."""
    return demand.kind is DemandKind.LOWER and isinstance(action, StopMining)


def still_lowers(permit: Permit, context: Context) -> bool:
    """A step that was permitted because nobody knew the running one may be a raise by now."""
    action = permit.action
    if not isinstance(action, SetPreset):
        return True
    view = context.devices[action.device]
    if view.facts is None:
        return True
    wanted_w, now_w = ladder.power_of(view.facts, action.preset), ladder.power_of(view.facts, view.preset)
    return wanted_w is None or now_w is None or wanted_w <= now_w


def pause_key(demand: Demand) -> tuple[Part, DemandKind]:
    """What a pause after a refusal or an unseen effect holds for."""
    part = (demand.device, "") if demand.action is None else part_of(demand.action)
    return part, demand.kind


def pause_s(demand: Demand, *, applied: bool) -> float:
    """How long a demand rests after its write ended (s)."""
    if applied:
        return REFUSED_PAUSE_S
    return UNSEEN_STEP_PAUSE_S if demand.kind is DemandKind.SAFE_PRESET else RETRY_AFTER_S


def _hydro(view: DeviceView, context: Context) -> bool:
    return context.zones[view.entry.zone].hydro


def _to_safe_preset(view: DeviceView, *, hydro: bool) -> AnyAction | None:
    """Down to what `safe_preset` means on this unit, also from a step that is not known (S10).

    None where the miner is known to run at or below it, or to stand still (a preset would start it), or
    where it has no usable step at all.
    """
    wanted = view.entry.safe_preset
    if view.facts is None or wanted is None or (view.state is not None and not view.state.draws_power):
        return None
    safe = ladder.safe(view.facts, wanted, hydro=hydro)
    if safe is None:
        return None
    safe_w, now_w = ladder.power_of(view.facts, safe), ladder.power_of(view.facts, view.preset)
    if safe_w is not None and now_w is not None and now_w <= safe_w:
        return None
    return SetPreset(device=view.entry.id, preset=safe)
