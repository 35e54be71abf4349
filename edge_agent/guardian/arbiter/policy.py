"""How far and how fast models and schedules may go: the site's action limits, and what the site allows them.

Bounds, largest step, rest between changes, temperature and its swing. They never bind an order of a person,
safe mode or a trip. The step itself was made by `steps`; here it is judged, and where it could not be made
small enough it is refused.
"""

from edge_agent.guardian import ladder
from edge_agent.guardian.arbiter import steps
from edge_agent.guardian.arbiter.direction import Direction
from edge_agent.guardian.requests import Context, DeviceView, Request, ZoneView
from shared.commands import (
    AnyAction,
    Priority,
    SetPoint,
    SetPreset,
    StartMining,
    StopMining,
)


def objections(
    request: Request,
    action: AnyAction,
    direction: Direction,
    view: DeviceView,
    zone: ZoneView,
    context: Context,
) -> list[str]:
    """Every action limit that `action`, the step towards what was asked, would break."""
    if request.priority > Priority.ML:
        return []
    found = allowed_at_all(action, direction, context)
    if isinstance(action, SetPoint):
        return found + _cooling(request, action, direction, view, zone, context)
    if isinstance(action, SetPreset):
        found += _preset(request, action, view, context)
    if isinstance(action, StartMining):
        found += _bounds(view.preset, view, context)
    found += _rested(view, context)
    if direction is Direction.RAISE:
        found += _too_hot(view, context)
    return found


def allowed_at_all(action: AnyAction, direction: Direction, context: Context) -> list[str]:
    """What the site file lets no policy do."""
    found: list[str] = []
    if isinstance(action, StopMining) and not context.ml_may_stop:
        found.append(
            "site.ml_may_stop is false: a policy may lower a miner but not switch it off on this site"
        )
    if direction is Direction.RAISE and not context.ml_may_raise:
        found.append("site.ml_may_raise is false: a policy may only lower power or raise cooling")
    return found


# ---------------------------------------------------------------- hashrate


def _preset(request: Request, action: SetPreset, view: DeviceView, context: Context) -> list[str]:
    """The target within its share of nominal, the step within its own; judged on what was asked for."""
    asked = request.action.preset if isinstance(request.action, SetPreset) else action.preset
    found = _bounds(asked, view, context)
    if steps.restarts_mining(view) or view.facts is None:
        return found
    now = ladder.share_of(view.facts, view.preset, view.entry.nominal_w)
    then = ladder.share_of(view.facts, action.preset, view.entry.nominal_w)
    if now is None or then is None or not steps.within_step(then - now, context):
        limits = context.limits.hashrate
        size = "unknown" if now is None or then is None else f"{abs(then - now):.2f} of nominal"
        found.append(
            f"the step to {action.preset!r} is {size}, allowed are {limits.step_share:.2f} "
            f"per {limits.window_s:g} s"
        )
    return found


def _bounds(preset: str | None, view: DeviceView, context: Context) -> list[str]:
    limits = context.limits.hashrate
    share = ladder.share_of(view.facts, preset, view.entry.nominal_w) if view.facts is not None else None
    if share is None:
        return [f"{view.entry.id}: what share of its nominal hashrate that would be is not known"]
    if limits.low_share - steps.ROUNDING <= share <= limits.high_share + steps.ROUNDING:
        return []
    return [
        f"preset {preset!r} is {share:.2f} of nominal hashrate, allowed are "
        f"{limits.low_share:.2f} to {limits.high_share:.2f}"
    ]


def _rested(view: DeviceView, context: Context) -> list[str]:
    changed_s = context.memory.changed_at.get(view.entry.id)
    if changed_s is None:
        return []
    left_s = context.limits.hashrate.stable_s - (context.now_s - changed_s)
    if left_s <= 0:
        return []
    return [f"{view.entry.id} changed {context.now_s - changed_s:.0f} s ago and rests {left_s:.0f} s more"]


def _too_hot(view: DeviceView, context: Context) -> list[str]:
    limit_c = context.limits.cooling.max_chip_c
    if view.chip_c is None or view.chip_c < limit_c:
        return []
    return [f"{view.entry.id} has a chip at {view.chip_c:.1f} °C, nothing is proposed above {limit_c:g} °C"]


# ---------------------------------------------------------------- cooling


def _cooling(
    request: Request,
    action: SetPoint,
    direction: Direction,
    view: DeviceView,
    zone: ZoneView,
    context: Context,
) -> list[str]:
    largest = steps.largest_change(action, view, zone, context)
    if largest is None:
        return [f"{action.point} of {action.device} is no cooling actuator of the site: no policy writes it"]
    found: list[str] = []
    now, limits = view.points.get(action.point), context.limits.cooling
    if now is None:
        found.append(f"{action.point} of {action.device} is not known now: no step can be measured")
    elif not abs(action.value - now) <= largest + steps.ROUNDING:
        found.append(
            f"{action.point} would move by {abs(action.value - now):g}, allowed are {largest:g} "
            f"per {limits.window_s:g} s"
        )
    found += _zone_rested(request, view, context)
    if direction is not Direction.LOWER:  # more cooling is never refused for heat
        found += _zone_calm(view, zone, context)
    return found


def _zone_rested(request: Request, view: DeviceView, context: Context) -> list[str]:
    """The actuators of one proposal move together; another proposal waits."""
    cooled = context.memory.cooled_at.get(view.entry.zone)
    if cooled is None or cooled[1] == request.id:
        return []
    left_s = context.limits.cooling.stable_s - (context.now_s - cooled[0])
    if left_s <= 0:
        return []
    return [
        f"cooling of zone {view.entry.zone} changed {context.now_s - cooled[0]:.0f} s ago "
        f"and rests {left_s:.0f} s more"
    ]


def _zone_calm(view: DeviceView, zone: ZoneView, context: Context) -> list[str]:
    limits, found = context.limits.cooling, []
    if zone.chip_c is None:
        found.append(f"zone {view.entry.zone} tells no chip temperature: no policy takes cooling away")
    elif not zone.chip_c < limits.max_chip_c:
        found.append(
            f"zone {view.entry.zone} has a chip at {zone.chip_c:.1f} °C, nothing is proposed "
            f"above {limits.max_chip_c:g} °C"
        )
    if zone.swing_k is None:
        found.append(
            f"zone {view.entry.zone} was not watched for {limits.window_s:g} s yet: how fast its temperature "
            "moves is not known"
        )
    elif not zone.swing_k <= limits.max_swing_k:
        found.append(
            f"the temperature of zone {view.entry.zone} moved by {zone.swing_k:.1f} K within "
            f"{limits.window_s:g} s, allowed are {limits.max_swing_k:g} K"
        )
    return found
