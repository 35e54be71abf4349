"""How fast (S08). The safe direction of interlocks, safe mode and orders is never slowed down."""

from edge_agent.guardian import ladder
from edge_agent.guardian.arbiter.direction import Direction
from edge_agent.guardian.requests import Context, DeviceView, Request, ZoneView
from shared.commands import AnyAction, Priority, SetPreset, StartMining
from shared.ids import DeviceId

HOUR_S = 3600.0


def too_fast(
    request: Request,
    action: AnyAction,
    direction: Direction,
    view: DeviceView,
    zone: ZoneView,
    context: Context,
) -> list[str]:
    """Dwell between preset changes, and the limits of starts."""
    if isinstance(action, StartMining):
        return _start_limits(action.device, view, context)
    if not isinstance(action, SetPreset):
        return []
    by_policy, raising = request.priority <= Priority.ML, direction is Direction.RAISE
    found = _unknown_step(action, view, zone) if by_policy and raising else []
    if by_policy or raising:
        found += _dwell(action.device, context)
    return found


def _dwell(device: DeviceId, context: Context) -> list[str]:
    at_s = context.memory.preset_at.get(device)
    if at_s is None:
        return []
    left_s = context.timing.preset_dwell_s - (context.now_s - at_s)
    if left_s <= 0:
        return []
    return [f"preset changed {context.now_s - at_s:.0f} s ago, {left_s:.0f} s of dwell are left"]


def _unknown_step(action: SetPreset, view: DeviceView, zone: ZoneView) -> list[str]:
    """One step up needs a step to stand on; `steps` could not bound a raise from anywhere else."""
    usable = ladder.usable(view.facts, hydro=zone.hydro) if view.facts is not None else ()
    if ladder.index_of(usable, view.preset) is not None:
        return []
    return [f"{action.device}: which step it runs is not known, or not a tuned one: no policy raises it"]


def _start_limits(device: DeviceId, view: DeviceView, context: Context) -> list[str]:
    timing, now_s = context.timing, context.now_s
    found: list[str] = []
    stopped_s = view.stopped_for_s
    if stopped_s is None:
        found.append(f"{device} is not seen stopped")
    elif not stopped_s >= timing.restart_after_stop_s:
        found.append(f"stopped for {stopped_s:.0f} s, at least {timing.restart_after_stop_s:g} s are needed")
    hour = [at_s for at_s in context.memory.starts_of.get(device, ()) if now_s - at_s < HOUR_S]
    if len(hour) >= timing.starts_per_hour:
        found.append(
            f"{device} was started {len(hour)} times in an hour, allowed are {timing.starts_per_hour}"
        )
    recent_w = [w for at_s, w in context.memory.starts if now_s - at_s < timing.restart_window_s]
    budget_w = timing.restart_power_pct / 100.0 * context.site_nominal_w
    wanted_w = view.entry.nominal_w or 0.0
    if recent_w and not sum(recent_w) + wanted_w <= budget_w:  # so that no number is no permit
        found.append(
            f"{sum(recent_w):.0f} W were started in the last {timing.restart_window_s:g} s, "
            f"{wanted_w:.0f} W more exceed {budget_w:.0f} W"
        )
    return found
