"""Which way an action moves the risk. Where it cannot be told, it is a raise."""

from enum import StrEnum

from edge_agent.guardian import ladder
from edge_agent.guardian.requests import Context, DeviceView, Request, Source, ZoneView
from shared.commands import AnyAction, SetPoint, SetPreset, StopMining, SwitchOutlet


class Direction(StrEnum):
    """Which way an action moves the risk."""

    RAISE = "raise"
    LOWER = "lower"
    SAME = "same"


def of(action: AnyAction, request: Request, view: DeviceView, zone: ZoneView, context: Context) -> Direction:
    """Towards more heat or less cooling is a raise."""
    if isinstance(action, SwitchOutlet):
        return Direction.RAISE if action.on else Direction.LOWER
    if isinstance(action, SetPoint):
        actuator = zone.cooling.get((action.device, action.point))
        if actuator is not None and action.value == actuator.off and request.source is Source.INTERLOCK:
            return Direction.LOWER  # smoke: the site file says that standing fans are the safe side
        return _point(
            action.value, None if actuator is None else actuator.fail_safe, view.points.get(action.point)
        )
    if isinstance(action, SetPreset):
        return _preset(action.preset, request.source, view, zone, context)
    return Direction.LOWER if isinstance(action, StopMining) else Direction.RAISE


def _stands(view: DeviceView) -> bool:
    return view.state is not None and not view.state.draws_power


def _is_safe_from_unknown(preset: str, view: DeviceView, *, hydro: bool) -> bool:
    """A running miner whose step is not known may be anywhere: S10 names the step it goes to."""
    wanted = view.entry.safe_preset
    if view.facts is None or wanted is None:
        return preset == wanted
    unknown = ladder.named(view.facts, view.preset) is None
    return unknown and preset == ladder.safe(view.facts, wanted, hydro=hydro)


def _preset(preset: str, source: Source, view: DeviceView, zone: ZoneView, context: Context) -> Direction:
    if _stands(view) and source is not Source.INTERLOCK:
        return Direction.RAISE  # writing a preset starts mining
    if source is Source.BASELINE and _is_safe_from_unknown(preset, view, hydro=zone.hydro):
        return Direction.LOWER
    wanted_w = ladder.power_of(view.facts, preset) if view.facts is not None else None
    now_w = ladder.power_of(view.facts, view.preset) if view.facts is not None else None
    if wanted_w is None or now_w is None or view.age_s > context.timing.stale_after_s:
        return Direction.RAISE
    if preset == view.preset:
        return Direction.SAME
    return Direction.LOWER if wanted_w < now_w else Direction.RAISE


def _point(value: float, safe: float | None, now: float | None) -> Direction:
    if safe is not None and value == safe:
        return Direction.LOWER
    if safe is None or now is None:
        return Direction.RAISE
    if value == now:
        return Direction.SAME
    between = min(now, safe) <= value <= max(now, safe)
    return Direction.LOWER if between else Direction.RAISE
