"""Who may act, in this mode and at this moment (S14, S15, S17)."""

from edge_agent.guardian.arbiter.direction import Direction
from edge_agent.guardian.requests import Claim, Context, DeviceView, RefusalKind, Request, ZoneView
from edge_agent.ipc import Mode
from shared.commands import ModelRef, Priority, SetPoint, StopMining

_NEEDED = {Mode.TRIPPED: Priority.TRIP, Mode.MANUAL: Priority.MANUAL, Mode.SAFE: Priority.SAFE}
"""Mode → what outranks it."""


def objections(
    request: Request, direction: Direction, view: DeviceView, zone: ZoneView, context: Context
) -> dict[RefusalKind, list[str]]:
    """What stands against this asker."""
    return {
        RefusalKind.NEEDLESS: no_need(request, direction),
        RefusalKind.CONFLICT: conflicts(request, view, zone, context),
        RefusalKind.AUTHORITY: outranked(request, direction, view, zone),
        RefusalKind.MODEL: model(request, zone, context),
    }


def no_need(request: Request, direction: Direction) -> list[str]:
    """Nothing to change: said to whoever asks, and never to the guardian's own repeated demands."""
    if direction is Direction.SAME and request.priority < Priority.SAFE:
        return [f"{request.action.device} already runs that"]
    return []


def conflicts(request: Request, view: DeviceView, zone: ZoneView, context: Context) -> list[str]:
    """Writes in flight, and proposals or orders that still hold the device or the zone's cooling.

    The higher priority takes over; of equals the first one stays, except that a stop takes over. A stop of
    safe mode or above takes over any write but a stop, also a trip's: nothing lowers a miner further.
    """
    device, found = view.entry.id, []
    stop = isinstance(request.action, StopMining)
    urgent_stop = stop and request.priority >= Priority.SAFE and not view.busy_stop
    if view.busy is not None and not urgent_stop and _stays(view.busy, request.priority, stop=stop):
        whose = f" ({view.busy_with})" if view.busy_with else ""
        found.append(f"another write to {device} is in flight{whose}")
    if _holds(claim := context.claims.get(device), request, stop=stop) and claim is not None:
        found.append(f"{device} is held by {claim.words}")
    if isinstance(request.action, SetPoint) and (device, request.action.point) in zone.cooling:
        claim = context.cooling_claims.get(view.entry.zone)
        if _holds(claim, request, stop=False) and claim is not None:
            found.append(f"cooling of zone {view.entry.zone} is held by {claim.words}")
    return found


def _stays(held: Priority, asks: Priority, *, stop: bool) -> bool:
    return held > asks or (held == asks and not stop)


def _holds(claim: Claim | None, request: Request, *, stop: bool) -> bool:
    return (
        claim is not None and claim.id != request.id and _stays(claim.priority, request.priority, stop=stop)
    )


def outranked(request: Request, direction: Direction, view: DeviceView, zone: ZoneView) -> list[str]:
    """S17: trip > local manual > safe mode > order > model > schedule."""
    needed = _NEEDED.get(zone.mode)
    if needed is None or request.priority >= needed:
        return []
    harmless = direction is not Direction.RAISE and request.priority in (Priority.ORDER, Priority.SAFE)
    if harmless and zone.mode is not Mode.MANUAL:
        return []
    return [f"zone {view.entry.zone} is {zone.mode}, {request.source} has no say there"]


def model(request: Request, zone: ZoneView, context: Context) -> list[str]:
    """A model acts only in ML_ACTIVE, under the assigned name, version and hash (S14)."""
    if request.model is None or request.priority > Priority.ML:
        return []
    found: list[str] = []
    if zone.mode is not Mode.ML_ACTIVE:
        found.append(f"zone is {zone.mode}, a model acts in {Mode.ML_ACTIVE} only")
    if request.model != context.active_model:
        found.append(_not_assigned(request.model, context.active_model))
    return found


def _not_assigned(asks: ModelRef, active: ModelRef | None) -> str:
    sentence = f"model {asks.name} v{asks.version} is not the assigned one"
    if active is None:
        return f"{sentence}: none is active on this site"
    if asks.name != active.name or asks.version != active.version:
        return f"{sentence}: that is {active.name} v{active.version}; the agent loads it at its next cycle"
    return f"{sentence}: its file's hash {asks.sha256[:12]} is stale, assigned is {active.sha256[:12]}"
