"""Models and schedules move step by step (S08); orders and interlocks go straight to where they want."""

import msgspec

from edge_agent.guardian import ladder
from edge_agent.guardian.arbiter import possible
from edge_agent.guardian.requests import Context, DeviceView, Request, ZoneView
from shared.capabilities import DeviceFacts, Preset
from shared.commands import AnyAction, Priority, SetPoint, SetPreset

ROUNDING = 1e-9
"""A step that is exactly the limit is not refused for the last bit of a float."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """The first step towards what was asked; `then` is the one to propose after it, None at the end."""

    action: AnyAction
    why: str = ""
    then: AnyAction | None = None


def narrow(request: Request, view: DeviceView, zone: ZoneView, context: Context) -> Step:
    """The step that may be made now. What it cannot bound is left whole, for `policy` to refuse."""
    action = request.action
    if request.priority > Priority.ML or view.facts is None:
        return Step(action=action)
    if isinstance(action, SetPreset):
        return _preset_step(action, view.facts, view, zone, context)
    if isinstance(action, SetPoint):
        return _point_step(action, view, zone, context)
    return Step(action=action)


def _preset_step(
    action: SetPreset, facts: DeviceFacts, view: DeviceView, zone: ZoneView, context: Context
) -> Step:
    way = _way(facts, view.preset, action.preset, hydro=zone.hydro)
    first = _reach(way, facts, view, context, running=view.preset)
    if first >= len(way):
        return Step(action=action)
    step = way[first - 1].name
    second = first + _reach(way[first:], facts, view, context, running=step)
    return Step(
        action=SetPreset(device=action.device, preset=step),
        why=f"one step per change: {step!r} of {action.preset!r}",
        then=SetPreset(device=action.device, preset=way[second - 1].name),
    )


def _way(facts: DeviceFacts, running: str | None, wanted: str, *, hydro: bool) -> tuple[Preset, ...]:
    """The usable steps from the running one (left out) to the wanted one, in the order of travel."""
    now, then = ladder.named(facts, running), ladder.named(facts, wanted)
    if now is None or then is None:
        return ()
    steps = ladder.usable(facts, hydro=hydro)
    if then.power_w >= now.power_w:
        return tuple(step for step in steps if now.power_w < step.power_w <= then.power_w)
    return tuple(step for step in reversed(steps) if then.power_w <= step.power_w < now.power_w)


def _reach(
    way: tuple[Preset, ...], facts: DeviceFacts, view: DeviceView, context: Context, *, running: str | None
) -> int:
    """How many steps of the way fit into one change, at least one: `policy` refuses one that is too large."""
    if restarts_mining(view):
        return 1
    now = ladder.share_of(facts, running, view.entry.nominal_w)
    count = 0
    for step in way:
        share = ladder.share_of(facts, step.name, view.entry.nominal_w)
        if now is None or share is None or not within_step(share - now, context):
            break
        count += 1
    return max(count, 1)


def within_step(change: float, context: Context) -> bool:
    """Whether a change of hashrate, as a share of nominal, is small enough for one window."""
    return abs(change) <= context.limits.hashrate.step_share + ROUNDING


def restarts_mining(view: DeviceView) -> bool:
    """Whether a change of preset restarts mining; then its step is one preset per dwell time."""
    capability = possible.capability_of(SetPreset(device=view.entry.id, preset=""), view)
    return capability is not None and capability.restarts_mining


def _point_step(action: SetPoint, view: DeviceView, zone: ZoneView, context: Context) -> Step:
    now, largest = view.points.get(action.point), largest_change(action, view, zone, context)
    if now is None or largest is None or abs(action.value - now) <= largest + ROUNDING:
        return Step(action=action)
    signed = largest if action.value > now else -largest
    left = abs(action.value - now) - largest
    step = msgspec.structs.replace(action, value=now + signed)
    after = action.value if left <= largest + ROUNDING else now + 2 * signed
    return Step(
        action=step,
        why=f"one step per change: {action.point} = {step.value:g} of {action.value:g}",
        then=msgspec.structs.replace(action, value=after),
    )


def largest_change(action: SetPoint, view: DeviceView, zone: ZoneView, context: Context) -> float | None:
    """The largest change of a cooling point in one window, in its own unit; None for any other point."""
    bounds = possible.bounds_of(action, view, zone)
    if bounds is None or (action.device, action.point) not in zone.cooling:
        return None
    return context.limits.cooling.step_share * (bounds[1] - bounds[0])
