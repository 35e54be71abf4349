"""One zone's step: cooling, miners, trips, mode, restart; and the demands that follow.

Demands are levels, not edges: a tripped zone asks to stop whatever is not seen stopped at every step, so
a lost command, a miner that mines again after a reboot or a restart of this process changes nothing.
"""

import msgspec

from edge_agent.config import Timing, Zone
from edge_agent.guardian.interlocks import cooling, findings, miners, restart, trips
from edge_agent.guardian.interlocks.inputs import (
    Demand,
    DemandKind,
    Finding,
    ModelClaim,
    ZoneInput,
    ZoneOutputs,
)
from edge_agent.guardian.interlocks.modes import Cause, next_mode
from edge_agent.guardian.interlocks.state import SafeWhy, Trip, ZoneState, durable
from edge_agent.guardian.interlocks.temperature import Level
from edge_agent.ipc import Mode, ZoneStatus
from shared.commands import Priority, SetPoint
from shared.ids import DeviceId

Stepped = tuple[ZoneState, ZoneOutputs, tuple[Finding, ...]]
_replace = msgspec.structs.replace


def step(before: ZoneState, inputs: ZoneInput, zone: Zone, timing: Timing, dt: float) -> Stepped:
    """The zone after `dt` seconds (monotonic), what it wants done, and what people should know."""
    found: list[Finding] = []
    state = _observe(before, inputs, zone, timing, dt, found)
    state = _trip(state, inputs, zone, timing, found)
    state = _modes(state, inputs, zone, timing, found)
    state, told = restart.step(state, inputs, zone.id, timing)
    found += told
    outputs = ZoneOutputs(
        demands=_demands(state, inputs, zone, timing),
        status=status(state, zone),
        durable=durable(state) != durable(before),
    )
    return state, outputs, tuple(found)


def _observe(
    state: ZoneState, inputs: ZoneInput, zone: Zone, timing: Timing, dt: float, found: list[Finding]
) -> ZoneState:
    tracks = trips.tracks_of(state, inputs)
    for miner in inputs.miners:
        old = tracks[miner.device]
        new = miners.step(old, miner, zone.limits, timing, dt)
        tracks[miner.device] = new
        found += miners.told(zone.id, miner, old, new, zone.limits)
    heard = any(track.heard for track in tracks.values())
    silent_s = 0.0 if heard else state.silent_for_s + dt
    alarmed = silent_s > timing.lost_after_s and bool(tracks)
    if alarmed and not state.silent_alarmed:
        found.append(findings.silent_zone(zone.id))
    if state.silent_alarmed and not alarmed:
        found.append(findings.heard_zone(zone.id))
    # A zone that was never heard accumulates no loss of cooling: there is nothing to protect yet.
    cooling_dt = 0.0 if inputs.cooling_value is None and not heard else dt
    return _replace(
        state,
        miners=tracks,
        cooling=cooling.step(state.cooling, inputs.cooling_value, zone.cooling_proof, cooling_dt),
        blind_for_s=state.blind_for_s + dt if trips.all_blind(tracks) else 0.0,
        silent_for_s=silent_s,
        silent_alarmed=alarmed,
    )


def _trip(state: ZoneState, inputs: ZoneInput, zone: Zone, timing: Timing, found: list[Finding]) -> ZoneState:
    new = trips.fired(state, inputs, zone, timing)
    if new:
        found += [findings.tripped(zone.id, trip) for trip in new]
        state = _latch(state, new)
        if state.zone_trips and state.mode is not Mode.TRIPPED:
            state = _move(state, zone, Cause.TRIP, found, state.zone_trips[0].first_out)
    return _replace(state, trips=trips.with_causes(state))


def _latch(state: ZoneState, new: tuple[Trip, ...]) -> ZoneState:
    latched = {trip.device for trip in new if trip.device is not None} | state.latched
    whole = any(trip.device is None for trip in new)
    stopping = _running(state) if whole else ()
    pending = tuple(dict.fromkeys(d for d in (*state.pending, *stopping) if d not in latched))
    if whole:  # a start that is under way is called back by a stop
        tracks = {device: miners.doubted(track) for device, track in state.miners.items()}
        state = _replace(state, miners=tracks)
    return _replace(state, trips=(*state.trips, *new), pending=pending, starting=(), batch=0)


def _running(state: ZoneState) -> tuple[DeviceId, ...]:
    return tuple(device for device, track in state.miners.items() if track.heard and not track.stopped)


def _move(state: ZoneState, zone: Zone, cause: Cause, found: list[Finding], detail: str = "") -> ZoneState:
    """Follow the table; a transition that it does not list leaves the zone where it is."""
    mode = next_mode(state.mode, cause)
    if mode is None:
        return state
    found.append(findings.mode(zone.id, state.mode, mode, cause, detail))
    return _replace(state, mode=mode)


def _modes(
    state: ZoneState, inputs: ZoneInput, zone: Zone, timing: Timing, found: list[Finding]
) -> ZoneState:
    lease_lost = inputs.lease_overdue_s >= timing.lease_safe_s
    if lease_lost and state.mode in (Mode.LOCAL_AUTO, Mode.ML_SHADOW, Mode.ML_ACTIVE):
        state = _replace(_move(state, zone, Cause.LEASE_LOST, found), safe_why=SafeWhy.LEASE, batches=0)
    elif lease_lost and state.mode is Mode.SAFE and state.safe_why is SafeWhy.START:
        state = _replace(state, safe_why=SafeWhy.LEASE)
    if state.mode is Mode.SAFE and not lease_lost and _stable(state):
        state = _move(state, zone, Cause.STABLE, found)
    if state.mode is Mode.LOCAL_AUTO and inputs.model is not ModelClaim.NONE:
        state = _move(state, zone, Cause.ASSIGNED, found)
    if state.mode is Mode.ML_SHADOW and inputs.model is ModelClaim.ACTIVE:
        state = _move(state, zone, Cause.ACTIVATED, found)
    if state.mode is Mode.ML_SHADOW and inputs.model is ModelClaim.NONE:
        state = _move(state, zone, Cause.WITHDRAWN, found)
    if state.mode is Mode.ML_ACTIVE and inputs.model is not ModelClaim.ACTIVE:
        shadow = inputs.model is ModelClaim.SHADOW
        state = _move(state, zone, Cause.DEMOTED if shadow else Cause.MODEL_INVALID, found)
    return state


def _stable(state: ZoneState) -> bool:
    hot = any(max(t.chip.level, t.board.level) >= Level.SHED for t in state.miners.values())
    return (
        state.cooling.proven
        and not hot
        and state.safe_why is not SafeWhy.STOP
        and not state.zone_trips
        and not restart.unfinished(state)
    )


# ---------------------------------------------------------------- outputs


def status(state: ZoneState, zone: Zone) -> ZoneStatus:
    """The zone as the sockets tell it."""
    latched = state.latched
    reasons = {d: miners.inhibit(track, latched=d in latched) for d, track in state.miners.items()}
    return ZoneStatus(
        mode=state.mode,
        cooling_proven=state.cooling.proven,
        trips=tuple(trip.info(zone.id) for trip in state.trips),
        inhibited={device: why for device, why in reasons.items() if why is not None},
        restarting=bool(state.pending) and restart.allowed(state),
    )


def _demands(state: ZoneState, inputs: ZoneInput, zone: Zone, timing: Timing) -> tuple[Demand, ...]:
    stops = _stops(state)
    stopping = {demand.device for demand in stops}
    sheds = [demand for demand in _sheds(state, inputs, zone, timing) if demand.device not in stopping]
    baseline: list[Demand] = []
    if state.mode is Mode.SAFE and inputs.lease_overdue_s >= timing.lease_safe_s:
        baseline = [
            Demand(
                kind=DemandKind.SAFE_PRESET,
                device=device,
                priority=Priority.SAFE,
                why="no lease: safe set-points",
            )
            for device, track in state.miners.items()
            if track.heard and not track.stopped and device not in stopping
        ]
    return (*stops, *_cooling(state, inputs, zone, timing), *sheds, *baseline, *restart.demands(state))


def _stops(state: ZoneState) -> list[Demand]:
    whole = state.mode is Mode.TRIPPED
    asked = state.mode is Mode.SAFE and state.safe_why is SafeWhy.STOP
    latched = state.latched
    found: list[Demand] = []
    for device, track in state.miners.items():
        tripped = whole or device in latched
        if track.stopped or not (tripped or asked):
            continue
        found.append(
            Demand(
                kind=DemandKind.STOP,
                device=device,
                priority=Priority.TRIP if tripped else Priority.SAFE,
                why="trip" if tripped else "safe-stop",
            )
        )
    return found


def _sheds(state: ZoneState, inputs: ZoneInput, zone: Zone, timing: Timing) -> list[Demand]:
    """Worst first: where the arbiter or the network is slow, the hottest miner goes down first."""
    over: list[tuple[float, DeviceId]] = []
    for miner in inputs.miners:
        excess_c = miners.excess(miner, zone.limits, state.miners[miner.device], timing)
        if excess_c is not None:
            over.append((-excess_c, miner.device))
    return [
        Demand(
            kind=DemandKind.LOWER,
            device=device,
            priority=Priority.TRIP,
            why=f"{-negative:.1f} °C above its shed limit",
        )
        for negative, device in sorted(over)
    ]


def _cooling(state: ZoneState, inputs: ZoneInput, zone: Zone, timing: Timing) -> list[Demand]:
    """Cooling fails on (S11): while tripped, and in SAFE for every reason but a plain start."""
    lease_lost = inputs.lease_overdue_s >= timing.lease_safe_s
    safe = state.mode is Mode.SAFE and (lease_lost or state.safe_why in (SafeWhy.STOP, SafeWhy.RESET))
    if state.mode is not Mode.TRIPPED and not safe:
        return []
    known = inputs.cooling_at_fail_safe or (False,) * len(zone.cooling_actuators)
    return [
        Demand(
            kind=DemandKind.COOLING,
            device=DeviceId(actuator.device),
            priority=Priority.TRIP,
            why="cooling fails on",
            action=SetPoint(device=DeviceId(actuator.device), point=actuator.point, value=actuator.fail_safe),
        )
        for actuator, there in zip(zone.cooling_actuators, known, strict=True)
        if not there
    ]
