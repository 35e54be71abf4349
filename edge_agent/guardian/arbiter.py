"""The arbiter: narrows every wish to a permit, or refuses it with every limit that stands against it.

Pure: no I/O, no clock. Only this module can make a `Permit`, and the executor accepts nothing else; that
is the safety rule, and it is a type. Order of thought: is the actuator known (S03), is the value sane
(S09, S14), who may act in this mode (S15, S17), is it a raise and may anything be raised (S04, S07, S10,
S12), and how fast (S08).
"""

import math
from enum import StrEnum

import msgspec

from edge_agent.guardian import ladder
from edge_agent.guardian.requests import Context, DeviceView, Memory, Refusal, Request, Source, ZoneView
from edge_agent.ipc import Mode
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
from shared.ids import DeviceId
from shared.telemetry import DeviceKind

_SEAL = object()

_ABILITY: dict[type, Ability] = {
    SetPreset: Ability.PRESET,
    StopMining: Ability.MINING,
    StartMining: Ability.MINING,
    SetPoint: Ability.SETPOINT,
    SwitchOutlet: Ability.OUTLETS,
}


class Direction(StrEnum):
    """Which way an action moves the risk."""

    RAISE = "raise"
    LOWER = "lower"
    SAME = "same"


class Permit:
    """Leave to write one action to one device, now. Made by `decide` only; immutable."""

    __slots__ = ("action", "confirm_s", "direction", "narrowed", "request", "settle_s")

    action: AnyAction
    request: Request
    direction: Direction
    settle_s: float
    confirm_s: float
    narrowed: str

    def __init__(
        self,
        seal: object,
        *,
        action: AnyAction,
        request: Request,
        direction: Direction,
        settle_s: float,
        confirm_s: float,
        narrowed: str,
    ) -> None:
        if seal is not _SEAL:
            raise TypeError("only the arbiter makes permits")
        for name, value in (
            ("action", action),
            ("request", request),
            ("direction", direction),
            ("settle_s", settle_s),
            ("confirm_s", confirm_s),
            ("narrowed", narrowed),
        ):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a permit cannot be changed ({name})")

    def __init_subclass__(cls) -> None:
        raise TypeError("a permit cannot be subclassed")

    def __reduce__(self) -> str:
        raise TypeError("a permit cannot be copied or pickled")

    def __repr__(self) -> str:
        return f"Permit({self.action!r}, {self.direction})"


def decide(request: Request, context: Context) -> Permit | Refusal:
    """The permit for this request, perhaps narrowed, or the refusal that lists every violation."""
    view = context.devices.get(request.action.device)
    if view is None:
        return _refuse(request, [f"unknown device {request.action.device!r}"])
    zone = context.zones[view.entry.zone]
    unsound = [*_unsound(request), *_incapable(request, view, zone, context)]
    if unsound:
        return _refuse(request, unsound)
    action, narrowed = _narrow(request, view, zone)
    direction = _direction(action, view, zone, context)
    violations = [
        *_no_need(request, direction),
        *_not_in_charge(request, direction, view, zone),
        *_model(request, direction, zone, context),
        *(_no_raise(request, view, zone, context) if direction is Direction.RAISE else ()),
        *_too_fast(request, action, direction, view, zone, context),
    ]
    if violations:
        return _refuse(request, violations)
    stop = isinstance(action, StopMining)
    return Permit(
        _SEAL,
        action=action,
        request=request,
        direction=direction,
        settle_s=_settle_s(action, context),
        confirm_s=context.timing.stop_confirm_s if stop else context.timing.write_confirm_s,
        narrowed=narrowed,
    )


def still_allowed(permit: Permit, context: Context) -> tuple[str, ...]:
    """What stands against a raise that had to wait since it was permitted; empty where nothing does.

    The permit's own settling window and its own place in the queue do not count against it.
    """
    view = context.devices[permit.action.device]
    zone = context.zones[view.entry.zone]
    own = msgspec.structs.replace(view, inhibited=None, busy=None)
    request = permit.request
    return (
        *_not_in_charge(request, permit.direction, own, zone),
        *_no_raise(request, own, zone, context),
    )


def note(memory: Memory, permit: Permit, context: Context) -> Memory:
    """The memory after this permit went out: in flight counts as applied (S18)."""
    action, now_s = permit.action, context.now_s
    if isinstance(action, SetPreset):
        return msgspec.structs.replace(memory, preset_at={**memory.preset_at, action.device: now_s})
    if isinstance(action, StartMining):
        watts = context.devices[action.device].entry.nominal_w or 0.0
        recent = [entry for entry in memory.starts if now_s - entry[0] < context.timing.restart_window_s]
        return msgspec.structs.replace(memory, starts=(*recent, (now_s, watts)))
    return memory


def _refuse(request: Request, violations: list[str]) -> Refusal:
    return Refusal(request=request, violations=tuple(violations))


# ---------------------------------------------------------------- sane and possible


def _unsound(request: Request) -> list[str]:
    """Not finite, not fresh, or out of its own bounds (S14)."""
    found: list[str] = []
    if isinstance(request.action, SetPoint) and not math.isfinite(request.action.value):
        found.append("value is not a finite number")
    if not request.ttl_left_s > 0:  # also true of NaN
        found.append("is no longer fresh")
    if request.confidence is not None and not 0.0 <= request.confidence <= 1.0:
        found.append("confidence is not between 0 and 1")
    return found


def _incapable(request: Request, view: DeviceView, zone: ZoneView, context: Context) -> list[str]:
    """Deny by default: unknown ability, preset, point or outlet (S03)."""
    action = request.action
    capability = _capability(action, view)
    if capability is None:
        blind_stop = (
            view.facts is None and isinstance(action, StopMining) and request.priority >= Priority.SAFE
        )
        blind_cooling = view.facts is None and _is_fail_safe(action, zone)
        if (blind_stop and view.entry.kind is DeviceKind.MINER) or blind_cooling:
            return []  # the safe direction does not wait for a device to introduce itself
        known = (
            "its abilities are not known yet" if view.facts is None else "it does not declare this ability"
        )
        return [f"{action.device}: {_ABILITY[type(action)]} is refused, {known}"]
    if isinstance(action, SetPreset):
        return _bad_preset(action, view, zone)
    if isinstance(action, SetPoint):
        return _bad_point(action, capability)
    if isinstance(action, SwitchOutlet):
        return _bad_outlet(request, action, context)
    return []


def _capability(action: AnyAction, view: DeviceView) -> Capability | None:
    """What the device declares for this action; of several set-points the one that has its point."""
    wanted = _ABILITY[type(action)]
    declared = view.facts.capabilities if view.facts is not None else ()
    found = [capability for capability in declared if capability.ability is wanted]
    if isinstance(action, SetPoint):
        found.sort(key=lambda capability: action.point not in capability.points)
    return found[0] if found else None


def _is_fail_safe(action: AnyAction, zone: ZoneView) -> bool:
    return isinstance(action, SetPoint) and zone.fail_safe.get((action.device, action.point)) == action.value


def _bad_preset(action: SetPreset, view: DeviceView, zone: ZoneView) -> list[str]:
    facts = view.facts
    if facts is None or ladder.power_of(facts, action.preset) is None:
        return [f"{action.device} has no preset {action.preset!r}"]
    if ladder.index_of(ladder.usable(facts, hydro=zone.hydro), action.preset) is None:
        return [
            f"preset {action.preset!r} of {action.device} is not tuned, or not for this cooling or supply"
        ]
    return []


def _bad_point(action: SetPoint, capability: Capability) -> list[str]:
    if action.point not in capability.points:
        return [f"{action.device} has no writable point {action.point!r}"]
    low, high = capability.low, capability.high
    if low is None or high is None or not low <= action.value <= high:
        return [f"{action.point} = {action.value:g} is outside {low} to {high}"]
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


# ---------------------------------------------------------------- narrowing and direction


def _narrow(request: Request, view: DeviceView, zone: ZoneView) -> tuple[AnyAction, str]:
    """Models and schedules move one step of the ladder at a time; orders and interlocks go straight."""
    action = request.action
    if not isinstance(action, SetPreset) or request.priority > Priority.ML or view.facts is None:
        return action, ""
    steps = ladder.usable(view.facts, hydro=zone.hydro)
    wanted, now = ladder.index_of(steps, action.preset), ladder.index_of(steps, view.preset)
    if wanted is None or now is None or abs(wanted - now) <= 1:
        return action, ""
    step = steps[now + (1 if wanted > now else -1)].name
    return SetPreset(device=action.device, preset=step), f"one step per change: {step!r} of {action.preset!r}"


def _direction(action: AnyAction, view: DeviceView, zone: ZoneView, context: Context) -> Direction:
    """Towards more heat or less cooling is a raise; where it cannot be told, it is a raise."""
    match action:
        case StopMining():
            return Direction.LOWER
        case StartMining():
            return Direction.RAISE
        case SwitchOutlet(on=on):
            return Direction.RAISE if on else Direction.LOWER
        case SetPreset(preset=preset):
            return _preset_direction(preset, view, context)
        case SetPoint(point=point, value=value):
            safe = zone.fail_safe.get((action.device, point))
            return _point_direction(value, safe, view.points.get(point))


def _preset_direction(preset: str, view: DeviceView, context: Context) -> Direction:
    if view.facts is None:
        return Direction.RAISE
    wanted_w = ladder.power_of(view.facts, preset)
    now_w = ladder.power_of(view.facts, view.preset)
    if wanted_w is None or now_w is None or view.age_s > context.timing.stale_after_s:
        return Direction.RAISE
    if preset == view.preset:
        return Direction.SAME
    return Direction.RAISE if wanted_w >= now_w else Direction.LOWER


def _point_direction(value: float, safe: float | None, now: float | None) -> Direction:
    if safe is not None and value == safe:
        return Direction.LOWER
    if safe is None or now is None:
        return Direction.RAISE
    if value == now:
        return Direction.SAME
    between = min(now, safe) <= value <= max(now, safe)
    return Direction.LOWER if between else Direction.RAISE


# ---------------------------------------------------------------- who may act


def _no_need(request: Request, direction: Direction) -> list[str]:
    if direction is Direction.SAME and request.priority < Priority.SAFE:
        return [f"{request.action.device} already runs that"]
    return []


def _not_in_charge(request: Request, direction: Direction, view: DeviceView, zone: ZoneView) -> list[str]:
    """S17: trip > local manual > safe mode > order > model > schedule."""
    found: list[str] = []
    if view.busy is not None and (
        view.busy > request.priority
        or (view.busy == request.priority and not isinstance(request.action, StopMining))
    ):
        found.append(f"another write to {request.action.device} is in flight")
    needed = {Mode.TRIPPED: Priority.TRIP, Mode.MANUAL: Priority.MANUAL, Mode.SAFE: Priority.SAFE}.get(
        zone.mode
    )
    if needed is None or request.priority >= needed:
        return found
    harmless = direction is not Direction.RAISE and request.priority in (Priority.ORDER, Priority.SAFE)
    if zone.mode is Mode.MANUAL or not harmless:
        found.append(f"zone {view.entry.zone} is {zone.mode}, {request.source} has no say there")
    return found


def _model(request: Request, direction: Direction, zone: ZoneView, context: Context) -> list[str]:
    """A model acts only in ML_ACTIVE, under the assigned name, version and hash (S14)."""
    if request.priority > Priority.ML:
        return []
    found: list[str] = []
    if isinstance(request.action, StopMining | SwitchOutlet):
        found.append("a policy may lower a miner but not switch it off on this site")
    if request.model is None:
        return found
    if zone.mode is not Mode.ML_ACTIVE:
        found.append(f"zone is {zone.mode}, a model acts in {Mode.ML_ACTIVE} only")
    if request.model != context.active_model:
        found.append(f"model {request.model.name} v{request.model.version} is not the assigned one")
    if direction is Direction.RAISE and not context.ml_may_raise:
        found.append("site.ml_may_raise is false: a model may only lower power or raise cooling")
    return found


# ---------------------------------------------------------------- raising


def _no_raise(request: Request, view: DeviceView, zone: ZoneView, context: Context) -> list[str]:
    """What forbids any raise, whoever asks; only an interlock's own cooling write is exempt."""
    found: list[str] = []
    starting = isinstance(request.action, StartMining)
    if zone.tripped:
        found.append(f"zone {view.entry.zone} is tripped")
    if view.latched:
        found.append(f"{view.entry.id} has a latched trip")
    if view.inhibited is not None:
        found.append(f"{view.entry.id} is inhibited: {view.inhibited}")
    if view.age_s > context.timing.stale_after_s:
        found.append(f"{view.entry.id} was last heard more than {context.timing.stale_after_s:g} s ago")
    if not zone.cooling_proven:
        found.append(f"cooling of zone {view.entry.zone} is not proven")
    if context.lease_overdue_s >= context.timing.lease_hold_s and not (
        request.source is Source.RESTART or request.priority >= Priority.MANUAL
    ):
        found.append("no lease: nothing is raised while the agent is silent")
    if not context.journal_ok:
        found.append("the journal cannot store entries: nothing is raised before it can")
    if not starting and zone.mode is Mode.SAFE:
        found.append(f"zone {view.entry.zone} is in {Mode.SAFE}: nothing above the baseline")
    return found


def _too_fast(
    request: Request,
    action: AnyAction,
    direction: Direction,
    view: DeviceView,
    zone: ZoneView,
    context: Context,
) -> list[str]:
    """Rate limits (S08). The safe direction of interlocks, safe mode and orders is never slowed down."""
    found: list[str] = []
    timing, memory, now_s = context.timing, context.memory, context.now_s
    limited = request.priority <= Priority.ML or direction is Direction.RAISE
    if isinstance(action, SetPreset) and direction is Direction.RAISE and request.priority <= Priority.ML:
        found += _unknown_step(action, view, zone)
    if (
        isinstance(action, SetPreset)
        and limited
        and (at_s := memory.preset_at.get(action.device)) is not None
    ):
        left_s = timing.preset_dwell_s - (now_s - at_s)
        if left_s > 0:
            found.append(f"preset changed {now_s - at_s:.0f} s ago, {left_s:.0f} s of dwell are left")
    if isinstance(action, StartMining):
        found += _start_limits(action.device, view, context)
    return found


def _unknown_step(action: SetPreset, view: DeviceView, zone: ZoneView) -> list[str]:
    """One step up needs a step to stand on; `_narrow` could not bound a raise from anywhere else."""
    steps = ladder.usable(view.facts, hydro=zone.hydro) if view.facts is not None else ()
    if ladder.index_of(steps, view.preset) is not None:
        return []
    return [f"{action.device}: which step it runs is not known, or not a tuned one: no policy raises it"]


def _start_limits(device: DeviceId, view: DeviceView, context: Context) -> list[str]:
    timing, now_s = context.timing, context.now_s
    found: list[str] = []
    stopped_s = view.stopped_for_s
    if stopped_s is None:
        found.append(f"{device} is not seen stopped")
    elif stopped_s < timing.restart_after_stop_s:
        found.append(f"stopped for {stopped_s:.0f} s, at least {timing.restart_after_stop_s:g} s are needed")
    recent_w = [w for at_s, w in context.memory.starts if now_s - at_s < timing.restart_window_s]
    budget_w = timing.restart_power_pct / 100.0 * context.site_nominal_w
    wanted_w = view.entry.nominal_w or 0.0
    if recent_w and sum(recent_w) + wanted_w > budget_w:
        found.append(
            f"{sum(recent_w):.0f} W were started in the last {timing.restart_window_s:g} s, "
            f"{wanted_w:.0f} W more exceed {budget_w:.0f} W"
        )
    return found


def _settle_s(action: AnyAction, context: Context) -> float:
    """How long a miner's readings may be odd afterwards, in s; the site file's word."""
    return context.timing.settle_s if isinstance(action, SetPreset | StartMining) else 0.0
