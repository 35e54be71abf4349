"""One zone's step: what is seen, what trips, the mode, the restart; and the demands that follow.

Demands are levels, not edges: a tripped zone asks to stop whatever is not seen stopped at every step, so
a lost command, a miner that mines again after a reboot or a restart of this process changes nothing.
"""

import math

import msgspec

from edge_agent.config import Timing, Zone
from edge_agent.guardian.interlocks import (
    asks,
    bypass,
    contacts,
    cooling,
    demands,
    findings,
    inhibits,
    miners,
    probes,
    proof,
    restart,
    trips,
    zone_findings,
)
from edge_agent.guardian.interlocks.inputs import Finding, MainsClaim, ModelClaim, ZoneInput, ZoneOutputs
from edge_agent.guardian.interlocks.levels import Level
from edge_agent.guardian.interlocks.modes import Cause, next_mode
from edge_agent.guardian.interlocks.state import SafeWhy, Trip, ZoneState, durable
from edge_agent.ipc import Mode, ZoneStatus
from shared.ids import DeviceId

Stepped = tuple[ZoneState, ZoneOutputs, tuple[Finding, ...]]
_replace = msgspec.structs.replace


def step(before: ZoneState, inputs: ZoneInput, zone: Zone, timing: Timing, dt: float) -> Stepped:
    """The zone after `dt` seconds (monotonic), what it wants done, and what people should know."""
    found: list[Finding] = []
    state = _observe(before, inputs, zone, timing, dt, found)
    state = _watch(state, inputs, zone, timing, dt, found)
    state = _cool(state, inputs, zone, timing, dt, found)
    state = _trip(state, inputs, zone, timing, found)
    state = _mains(before, state, inputs)
    state = _shed_stopped(state)
    state = _modes(state, inputs, zone, timing, found)
    state, told = restart.step(state, inputs, zone.id, timing)
    found += told
    outputs = ZoneOutputs(
        demands=demands.of_zone(before, state, inputs, zone, timing),
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
    return _replace(
        state,
        miners=tracks,
        blind_for_s=state.blind_for_s + dt if trips.all_blind(tracks) else 0.0,
        silent_for_s=silent_s,
        silent_alarmed=alarmed,
    )


def _watch(
    state: ZoneState, inputs: ZoneInput, zone: Zone, timing: Timing, dt: float, found: list[Finding]
) -> ZoneState:
    """Probes, contacts, bypasses; and what caps and mains claim."""
    groups = probes.step(state.probes, inputs, zone, dt)
    tracks = contacts.step(state.contacts, inputs.contacts, zone.contacts, timing, dt)
    has_key = zone.bypass_key is not None
    bypasses, news = bypass.step(state.bypasses, key=inputs.bypass_key, has_key=has_key, dt=dt)
    found += zone_findings.of_probes(zone, state.probes, groups)
    found += zone_findings.of_contacts(zone, state.contacts, tracks)
    found += zone_findings.of_bypasses(zone.id, news)
    return _replace(
        state,
        probes=groups,
        contacts=tracks,
        bypasses=bypasses,
        feeders=inputs.feeders,
        mains=inputs.mains,
    )


def _cool(
    state: ZoneState, inputs: ZoneInput, zone: Zone, timing: Timing, dt: float, found: list[Finding]
) -> ZoneState:
    told = proof.step(state.proof, inputs, zone, timing, dt)
    found += zone_findings.of_proof(zone, state.proof, told)
    # A zone that was never heard accumulates no loss of cooling: there is nothing to protect yet.
    heard = any(track.heard for track in state.miners.values())
    cooling_dt = 0.0 if told.value is None and not heard else dt
    after = cooling.step(state.cooling, told.value, zone.cooling_proof, cooling_dt)
    return _replace(state, proof=told, cooling=after)


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
    state = _called_back(state) if whole else state
    return _replace(state, trips=(*state.trips, *new), pending=pending, starting=(), batch=0)


def _called_back(state: ZoneState) -> ZoneState:
    """A start that is under way is called back by a stop: its miner is not known to be stopped."""
    return _replace(state, miners={device: miners.doubted(track) for device, track in state.miners.items()})


def _mains(before: ZoneState, state: ZoneState, inputs: ZoneInput) -> ZoneState:
    """Mains that are gone stop the zone without a latch: what ran comes back by itself, in batches."""
    if inputs.mains is not MainsClaim.STOP:
        return state
    if before.mains is not MainsClaim.STOP:
        state = _called_back(state)
    latched = state.latched
    stopping = (device for device in _running(state) if device not in latched)
    return _replace(state, pending=tuple(dict.fromkeys((*state.pending, *stopping))), starting=(), batch=0)


def _shed_stopped(state: ZoneState) -> ZoneState:
    """A shed ends by itself: who was stopped at the bottom of its ladder waits for the zone's restart, which
    the arbiter lets through only below `release`. Latched ones are a person's business."""
    seen = [device for device, track in state.miners.items() if track.shed_stop_s > 0 and track.stopped]
    if not seen:
        return state
    tracks = {device: _replace(state.miners[device], shed_stop_s=0.0) for device in seen}
    return asks.bring_back(_replace(state, miners={**state.miners, **tracks}), seen)


def _running(state: ZoneState) -> tuple[DeviceId, ...]:
    """Who is to come back after a stop of the whole zone."""
    return tuple(
        device
        for device, track in state.miners.items()
        if track.heard and not track.stopped and not track.left
    )


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
    if state.mode is Mode.SAFE and not lease_lost and _stable(state, inputs, zone):
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


def _stable(state: ZoneState, inputs: ZoneInput, zone: Zone) -> bool:
    return (
        state.cooling.proven
        and not any(miners.is_hot(track) for track in state.miners.values())
        and state.safe_why is not SafeWhy.STOP
        and not state.zone_trips
        and not restart.unfinished(state, inputs)
        and not inhibits.holds_safe(state, zone)
    )


# ---------------------------------------------------------------- outputs


def status(state: ZoneState, zone: Zone) -> ZoneStatus:
    """The zone as the sockets tell it."""
    return ZoneStatus(
        mode=state.mode,
        cooling_proven=state.cooling.proven,
        trips=tuple(trip.info(zone.id) for trip in state.trips),
        inhibited=inhibits.all_of(state, zone),
        restarting=bool(state.pending) and restart.allowed(state),
        levels=_levels(state),
        bypassed={entry.interlock: math.ceil(entry.left_s) for entry in state.bypasses.open},
        bypass_asked=_asked(state, zone),
        why=state.safe_why.words if state.mode is Mode.SAFE else "",
    )


def _asked(state: ZoneState, zone: Zone) -> dict[str, str]:
    """Requests that wait; without their time, which would be a change of status at every step."""
    waits = "turn the key switch" if zone.bypass_key is not None else "another person has to confirm it"
    return {asked.interlock: f"asked by {asked.by}: {waits}" for asked in state.bypasses.asked}


def _levels(state: ZoneState) -> dict[str, str]:
    """The zone's interlocks that do not stand at normal, in words."""
    found: dict[str, str] = {}
    for group in state.probes.values():
        for name, limit in group.limits.items():
            if group.unknown or limit.standing.level is not Level.NORMAL:
                found[name] = "unknown" if group.unknown else limit.standing.level.word
    for name, track in state.contacts.items():
        word = contacts.level(track)
        if word is not None:
            found[contacts.interlock(name)] = word
    return found
