"""From a request to a permit or a refusal. The only place where permits are made."""

import msgspec

from edge_agent.guardian.arbiter import authority, direction, policy, possible, raising, rates, steps
from edge_agent.guardian.arbiter.direction import Direction
from edge_agent.guardian.requests import (
    SETTLING,
    Context,
    DeviceView,
    Memory,
    Refusal,
    RefusalKind,
    Request,
    ZoneView,
)
from shared.commands import AnyAction, SetPoint, SetPreset, StartMining, StopMining

CONFIRM_SETTLES = 1.5
"""A change counts as not confirmed after so many times what the device itself declares for it."""

CLAMPED = "clamped to what the device and the site file allow"

_SEAL = object()
_replace = msgspec.structs.replace


class Permit:
    """Leave to write one action to one device, now. Made by `decide` only; immutable.

    `settle_s` is how long the device's readings may be odd afterwards, `confirm_s` how long a read may take
    to show the change, `shows_s` what the device declares for it. `narrowed` says why `action` is less than
    what was asked, and `then` is the next step towards that.
    """

    __slots__ = ("action", "confirm_s", "direction", "narrowed", "request", "settle_s", "shows_s", "then")

    action: AnyAction
    request: Request
    direction: Direction
    settle_s: float
    confirm_s: float
    shows_s: float
    narrowed: str
    then: AnyAction | None

    def __init__(
        self,
        seal: object,
        *,
        action: AnyAction,
        request: Request,
        direction: Direction,
        settle_s: float,
        confirm_s: float,
        shows_s: float,
        narrowed: str,
        then: AnyAction | None,
    ) -> None:
        if seal is not _SEAL:
            raise TypeError("only the arbiter makes permits")
        for name, value in (
            ("action", action),
            ("request", request),
            ("direction", direction),
            ("settle_s", settle_s),
            ("confirm_s", confirm_s),
            ("shows_s", shows_s),
            ("narrowed", narrowed),
            ("then", then),
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
        unknown = [f"unknown device {request.action.device!r}"]
        return _refusal(request, {RefusalKind.UNKNOWN: unknown})
    zone = context.zones[view.entry.zone]
    if impossible := _standing(possible.objections(request, view, zone, context)):
        return _refusal(request, impossible)
    step = steps.narrow(request, view, zone, context)
    action = possible.clamp(step.action, request, view, zone)
    way = direction.of(action, request, view, zone, context)
    if against := _standing(_objections(request, action, way, view, zone, context)):
        return _refusal(request, against)
    return Permit(
        _SEAL,
        action=action,
        request=request,
        direction=way,
        settle_s=_settle_s(action, view, context),
        confirm_s=_confirm_s(action, view, context),
        shows_s=_shows_s(action, view),
        narrowed=step.why if action == step.action else CLAMPED,
        then=step.then,
    )


def _objections(
    request: Request,
    action: AnyAction,
    way: Direction,
    view: DeviceView,
    zone: ZoneView,
    context: Context,
) -> dict[RefusalKind, list[str]]:
    """Everything that stands against what can be done at all, here and now."""
    found = authority.objections(request, way, view, zone, context)
    if way is Direction.RAISE:
        found[RefusalKind.RAISE] = raising.forbidden(request, view, zone, context)
        found[RefusalKind.CAP] = raising.over_caps(action, view, context)
    found[RefusalKind.RATE] = rates.too_fast(request, action, way, view, zone, context)
    found[RefusalKind.LIMIT] = policy.objections(request, action, way, view, zone, context)
    return found


def _standing(found: dict[RefusalKind, list[str]]) -> dict[RefusalKind, list[str]]:
    return {kind: sentences for kind, sentences in found.items() if sentences}


def _refusal(request: Request, against: dict[RefusalKind, list[str]]) -> Refusal:
    return Refusal(
        request=request,
        violations=tuple(sentence for sentences in against.values() for sentence in sentences),
        kinds=tuple(against),
    )


def still_allowed(permit: Permit, context: Context) -> tuple[str, ...]:
    """What stands against a raise that had to wait since it was permitted; empty where nothing does.

    The permit's own settling window, its own place in the queue and its own watts do not count against it;
    any other inhibit does: a zone that became warm, went on battery or was bypassed meanwhile.
    """
    request, device = permit.request, permit.action.device
    view = context.devices[device]
    zone = context.zones[view.entry.zone]
    inhibited = None if view.inhibited == SETTLING else view.inhibited
    own = _replace(view, inhibited=inhibited, busy=None)
    others = _replace(context, memory=_without_latest(context.memory, permit))
    return (
        *authority.conflicts(request, own, zone, others),
        *authority.outranked(request, permit.direction, own, zone),
        *raising.forbidden(request, own, zone, others),
        *raising.over_caps(permit.action, own, others),
    )


def _without_latest(memory: Memory, permit: Permit) -> Memory:
    """The memory without what `note` put in for this permit's watts."""
    mine = [entry for entry in memory.raises if entry.device == permit.action.device]
    return _replace(memory, raises=tuple(entry for entry in memory.raises if entry not in mine[-1:]))


def note(memory: Memory, permit: Permit, context: Context) -> Memory:
    """The memory after this permit went out: in flight counts as applied (S18)."""
    action, now_s = permit.action, context.now_s
    view = context.devices[action.device]
    if isinstance(action, SetPoint):
        zone = context.zones[view.entry.zone]
        if (action.device, action.point) not in zone.cooling:
            return memory
        cooled = {**memory.cooled_at, view.entry.zone: (now_s, permit.request.id)}
        return _replace(memory, cooled_at=cooled)
    memory = _replace(memory, changed_at={**memory.changed_at, action.device: now_s})
    if permit.direction is Direction.RAISE and isinstance(action, SetPreset | StartMining):
        shown = raising.noted(memory.raises, action, view, context, settle_s=permit.settle_s)
        memory = _replace(memory, raises=shown)
    if isinstance(action, SetPreset):
        return _replace(memory, preset_at={**memory.preset_at, action.device: now_s})
    if isinstance(action, StartMining):
        return _with_start(memory, view, context)
    return memory


def _with_start(memory: Memory, view: DeviceView, context: Context) -> Memory:
    now_s, device = context.now_s, view.entry.id
    recent = [entry for entry in memory.starts if now_s - entry[0] < context.timing.restart_window_s]
    hour = [at_s for at_s in memory.starts_of.get(device, ()) if now_s - at_s < rates.HOUR_S]
    return _replace(
        memory,
        starts=(*recent, (now_s, view.entry.nominal_w or 0.0)),
        starts_of={**memory.starts_of, device: (*hour, now_s)},
    )


# ---------------------------------------------------------------- waits


def _shows_s(action: AnyAction, view: DeviceView) -> float:
    capability = possible.capability_of(action, view)
    return capability.settle_s if capability is not None else 0.0


def _settle_s(action: AnyAction, view: DeviceView, context: Context) -> float:
    """How long a miner's readings may be odd afterwards, in s: the device's word, else the site file's."""
    if not isinstance(action, SetPreset | StartMining):
        return 0.0
    return _shows_s(action, view) or context.timing.settle_s


def _confirm_s(action: AnyAction, view: DeviceView, context: Context) -> float:
    """A stop escalates on time (S13); any other change is waited for as long as the device declares."""
    if isinstance(action, StopMining):
        return context.timing.stop_confirm_s
    return max(context.timing.write_confirm_s, CONFIRM_SETTLES * _shows_s(action, view))
