"""Is the actuator known, and is the value sane? Deny by default (S03), clamp last of all (S09)."""

import math

import msgspec

from edge_agent.guardian import ladder
from edge_agent.guardian.requests import Context, DeviceView, RefusalKind, Request, Source, ZoneView
from shared.capabilities import Ability, Capability
from shared.commands import (
    AnyAction,
    Priority,
    SetPoint,
    SetPreset,
    StartMining,
    StopMining,
    SwitchOutlet,
)
from shared.telemetry import METRICS, DeviceKind
from shared.units import Unit

_ABILITY: dict[type, Ability] = {
    SetPreset: Ability.PRESET,
    StopMining: Ability.MINING,
    StartMining: Ability.MINING,
    SetPoint: Ability.SETPOINT,
    SwitchOutlet: Ability.OUTLETS,
}

_MISTAKEN_FOR: dict[Unit, tuple[tuple[str, float, float], ...]] = {
    Unit.CELSIUS: (("°F", 5.0 / 9.0, -160.0 / 9.0), ("K", 1.0, -273.15)),
    Unit.PERCENT: (("a share of 1", 100.0, 0.0), ("hundredths of a per cent", 0.01, 0.0)),
    Unit.WATT: (("kW", 1_000.0, 0.0),),
    Unit.PASCAL: (("kPa", 1_000.0, 0.0), ("bar", 100_000.0, 0.0)),
    Unit.CUBIC_METRE_PER_HOUR: (("l/min", 0.06, 0.0), ("l/s", 3.6, 0.0)),
    Unit.HERTZ: (("rpm", 1.0 / 60.0, 0.0),),
}
"""Unit of a point → (what else it may have been written in, factor, offset to the point's own)."""


def objections(
    request: Request, view: DeviceView, zone: ZoneView, context: Context
) -> dict[RefusalKind, list[str]]:
    """Everything that makes the request impossible, whoever asks and whenever."""
    return {
        RefusalKind.INVALID: [*unsound(request), *out_of_bounds(request, view, zone)],
        RefusalKind.EXPIRED: expired(request),
        RefusalKind.UNKNOWN: incapable(request, view, zone, context),
    }


def unsound(request: Request) -> list[str]:
    """Not a number, or confidence out of its bounds (S14)."""
    found: list[str] = []
    if isinstance(request.action, SetPoint) and not math.isfinite(request.action.value):
        found.append("value is not a finite number")
    if request.confidence is not None and not 0.0 <= request.confidence <= 1.0:
        found.append("confidence is not between 0 and 1")
    return found


def expired(request: Request) -> list[str]:
    """No longer fresh (S14)."""
    return [] if request.ttl_left_s > 0 else ["is no longer fresh"]  # also true of NaN


def incapable(request: Request, view: DeviceView, zone: ZoneView, context: Context) -> list[str]:
    """Unknown ability, preset or outlet (S03)."""
    action = request.action
    capability = capability_of(action, view)
    if capability is None:
        if view.facts is None and _is_blind_and_safe(request, view, zone):
            return []
        known = (
            "its abilities are not known yet" if view.facts is None else "it does not declare this ability"
        )
        return [f"{action.device}: {_ABILITY[type(action)]} is refused, {known}"]
    if isinstance(action, SetPreset):
        return _bad_preset(action, view, zone)
    if isinstance(action, SetPoint) and action.point not in capability.points:
        return [f"{action.device} has no writable point {action.point!r}"]
    if isinstance(action, SwitchOutlet):
        return _bad_outlet(request, action, context)
    return []


def _is_blind_and_safe(request: Request, view: DeviceView, zone: ZoneView) -> bool:
    """The safe direction does not wait for a device to introduce itself."""
    action = request.action
    if isinstance(action, StopMining):
        return request.priority >= Priority.SAFE and view.entry.kind is DeviceKind.MINER
    if not isinstance(action, SetPoint):
        return False
    actuator = zone.cooling.get((action.device, action.point))
    return actuator is not None and action.value == actuator.fail_safe


def capability_of(action: AnyAction, view: DeviceView) -> Capability | None:
    """What the device declares for this action; of several set-points the one that has its point."""
    wanted = _ABILITY[type(action)]
    declared = view.facts.capabilities if view.facts is not None else ()
    found = [capability for capability in declared if capability.ability is wanted]
    if isinstance(action, SetPoint):
        found.sort(key=lambda capability: action.point not in capability.points)
    return found[0] if found else None


def _bad_preset(action: SetPreset, view: DeviceView, zone: ZoneView) -> list[str]:
    facts = view.facts
    if facts is None or ladder.named(facts, action.preset) is None:
        return [f"{action.device} has no preset {action.preset!r}"]
    if ladder.index_of(ladder.usable(facts, hydro=zone.hydro), action.preset) is None:
        return [
            f"preset {action.preset!r} of {action.device} is not tuned, or not for this cooling or supply"
        ]
    return []


def _bad_outlet(request: Request, action: SwitchOutlet, context: Context) -> list[str]:
    """Outlets are for escalation (contracts, trip): nobody else cuts or gives power to a miner."""
    fed = [
        view
        for view in context.devices.values()
        if view.entry.pdu == action.device and view.entry.outlet == action.outlet
    ]
    if not fed:
        return [f"outlet {action.outlet} of {action.device} feeds nothing in the site file"]
    if request.source is not Source.ESCALATION or action.on:
        return ["outlets are switched off by escalation only, and switched on by a person on site"]
    return []


# ---------------------------------------------------------------- values and their bounds


def out_of_bounds(request: Request, view: DeviceView, zone: ZoneView) -> list[str]:
    """A value outside its bounds is refused; the guardian's own are clamped instead (S09)."""
    action = request.action
    if not isinstance(action, SetPoint) or not math.isfinite(action.value):
        return []
    capability = capability_of(action, view)
    if capability is None or action.point not in capability.points:
        return []  # `incapable` says so
    bounds = bounds_of(action, view, zone)
    if bounds is None:
        return [f"{action.point} of {action.device} has no bounds, so nothing is written"]
    low, high = bounds
    if request.source.is_own or low <= action.value <= high:
        return []
    return [f"{action.point} = {action.value:g} is outside {low} to {high}{_hint(action, low, high)}"]


def bounds_of(action: SetPoint, view: DeviceView, zone: ZoneView) -> tuple[float, float] | None:
    """What may be written at all: the device profile's range, narrowed by the site file's (S09)."""
    capability = capability_of(action, view)
    if capability is None or capability.low is None or capability.high is None:
        return None
    actuator = zone.cooling.get((action.device, action.point))
    if actuator is None:
        return capability.low, capability.high
    low, high = max(capability.low, actuator.low), min(capability.high, actuator.high)
    return (low, high) if low <= high else None


def clamp(action: AnyAction, request: Request, view: DeviceView, zone: ZoneView) -> AnyAction:
    """The action with its value inside its bounds, whatever logic came before.

    `off` of the site file is the one value that an interlock may write below `low`: fans that must stand in
    smoke are not kept turning by the clamp that is there for heat.
    """
    bounds = bounds_of(action, view, zone) if isinstance(action, SetPoint) else None
    if not isinstance(action, SetPoint) or bounds is None:
        return action
    actuator = zone.cooling.get((action.device, action.point))
    if actuator is not None and action.value == actuator.off and request.source is Source.INTERLOCK:
        return action
    return msgspec.structs.replace(action, value=min(max(action.value, bounds[0]), bounds[1]))


def _hint(action: SetPoint, low: float, high: float) -> str:
    """What else the number may have meant; only where that would be in bounds."""
    metric = METRICS.get(action.point.split(".", 1)[0])
    if metric is None:
        return ""
    for words, factor, offset in _MISTAKEN_FOR.get(metric.unit, ()):
        if low <= action.value * factor + offset <= high:
            return f"; is it in {words} instead of {metric.unit}?"
    return ""
