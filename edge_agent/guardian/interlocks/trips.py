"""Which trips fire, and whether the cause of a latched one is still there."""

from collections.abc import Iterator

import msgspec

from edge_agent.config import Timing, Zone
from edge_agent.guardian.interlocks import contacts, levels, miners, probes
from edge_agent.guardian.interlocks.inputs import MainsClaim, ZoneInput
from edge_agent.guardian.interlocks.levels import Level
from edge_agent.guardian.interlocks.quantities import QUANTITIES
from edge_agent.guardian.interlocks.stale import Sight
from edge_agent.guardian.interlocks.state import (
    BOARD,
    CAP,
    CHIP,
    NEW_MINER,
    ZONE_BLIND,
    ZONE_COOLING,
    ZONE_HOT,
    MinerTrack,
    Trip,
    ZoneState,
)
from shared.ids import DeviceId

SEVERAL = 3
SEVERAL_SHARE = 0.10
"""So many miners over their trip limit, or two and more than this share, are zone evidence."""


def fired(state: ZoneState, inputs: ZoneInput, zone: Zone, timing: Timing) -> tuple[Trip, ...]:
    """New latches after this step's observations; first the most local evidence."""
    new = [*_hot_miners(state, inputs, zone, timing), *_capped_miners(state, inputs)]
    standing = {trip.interlock for trip in state.zone_trips}
    for interlock, first_out in _zone_evidence(state, inputs, zone, timing):
        if interlock not in standing:
            standing.add(interlock)
            new.append(_trip(interlock, inputs.at_ms, first_out, zone.id))
    return tuple(new)


def _zone_evidence(
    state: ZoneState, inputs: ZoneInput, zone: Zone, timing: Timing
) -> Iterator[tuple[str, str]]:
    """(interlock, first condition in words) of whatever trips the whole zone now."""
    loaded = any(_is_load(track, state.mains) for track in state.miners.values())
    yield from _contacts(state, zone)
    if loaded:
        yield from _probes(state, inputs, zone, timing)
    for claim in state.feeders:
        if claim.trip is not None and claim.miners is None:
            yield CAP + claim.cap, claim.trip
    if loaded and state.cooling.lost:
        yield ZONE_COOLING, _cooling(state, zone)
    several = _several(state)
    if several is not None:
        yield ZONE_HOT, several
    if state.blind_for_s >= timing.lost_after_s:
        yield (
            ZONE_BLIND,
            f"no miner of the zone has told a usable temperature for {timing.lost_after_s:g} s and more",
        )


def _may_run(track: MinerTrack) -> bool:
    """One that was seen stopped and is lost since may have rebooted and mine again (miners.md §1.7)."""
    return not track.stopped or track.watch.sight is Sight.LOST


def _is_load(track: MinerTrack, mains: MainsClaim) -> bool:
    """Whether cooling and probes have something to protect here. A miner that was never heard is no load.

    While mains are gone or just back, one that was stopped for it and fell silent has no power, as its fans
    have none: that is no loss of cooling, and a latch would need a person after every power cut.
    """
    stands = not _may_run(track) if mains is MainsClaim.NONE else track.stopped
    return track.heard and not stands


def _trip(interlock: str, at_ms: int, first_out: str, where: str, device: DeviceId | None = None) -> Trip:
    return Trip(
        id=f"{interlock.replace('/', '-')}-{where}-{at_ms}",
        interlock=interlock,
        at_ms=at_ms,
        first_out=first_out,
        device=device,
    )


def _contacts(state: ZoneState, zone: Zone) -> Iterator[tuple[str, str]]:
    for contact in zone.contacts:
        name = contacts.interlock(contact.name)
        track = state.contacts[contact.name]
        if name in state.bypasses.names or not contacts.trips(track, contact):
            continue
        if track.acting:
            yield name, f"{contact.name} is active ({contact.device} {contact.point})"
        else:
            where = f"{contact.device} {contact.point}"
            yield name, f"it is not known any more whether {contact.name} is active ({where})"


def _probes(state: ZoneState, inputs: ZoneInput, zone: Zone, timing: Timing) -> Iterator[tuple[str, str]]:
    names = state.bypasses.names
    for role, group in state.probes.items():
        told = probes.known(inputs.sensors.get(role, ()))
        fed = {name: limits for name, limits in probes.fed(role, zone).items() if name not in names}
        for name, limits in fed.items():
            limit = group.limits[name]
            tighten = probes.tightened(limits, alone=group.strength.alone)
            if levels.trips(limit.standing, limit.value, limits, tighten):
                quantity = QUANTITIES[name]
                closer = f", {tighten:g} closer with one probe left" if tighten else ""
                shown = f"{quantity.words} {quantity.shown(limit.value)}"
                yield name, f"{shown}, trip limit {quantity.shown(limits.trip)}{closer} ({told})"
        if fed and probes.lost(group, timing):
            yield next(iter(fed)), f"no probe of {QUANTITIES[role].words} is known any more ({told})"


def _capped_miners(state: ZoneState, inputs: ZoneInput) -> list[Trip]:
    """A cap of one PDU latches what hangs on it; the zone goes on."""
    latched = {(trip.device, trip.interlock) for trip in state.trips}
    return [
        _trip(CAP + claim.cap, inputs.at_ms, claim.trip, device, device)
        for claim in state.feeders
        if claim.trip is not None and claim.miners is not None
        for device in sorted(claim.miners & state.miners.keys())
        if _may_run(state.miners[device]) and (device, CAP + claim.cap) not in latched
    ]


def _hot_miners(state: ZoneState, inputs: ZoneInput, zone: Zone, timing: Timing) -> list[Trip]:
    latched = {(trip.device, trip.interlock) for trip in state.trips}
    new: list[Trip] = []
    for miner in inputs.miners:
        track = state.miners[miner.device]
        if track is miners.CALM:
            continue
        chip_c, board_c = miners.values(miner, timing)
        for interlock, heat, value_c, limit in (
            (CHIP, track.chip, chip_c, zone.limits.chip_temp_c),
            (BOARD, track.board, board_c, zone.limits.board_temp_c),
        ):
            hot = heat.level is Level.TRIP and value_c is not None and value_c >= limit.trip
            if hot and (miner.device, interlock) not in latched:
                text = f"{interlock} {value_c:g} °C, trip limit {limit.trip:g} °C"
                new.append(_trip(interlock, inputs.at_ms, text, miner.device, miner.device))
    return new


def _cooling(state: ZoneState, zone: Zone) -> str:
    proof = zone.cooling_proof
    value = "unknown" if state.proof.value is None else f"{state.proof.value:g}"
    still = " (a feedback stands still although its set-point was moved)" if any(state.proof.stuck) else ""
    return f"cooling lost: {proof.device} {proof.point} is {value}{still}, must be above {proof.lost_below:g}"


def _several(state: ZoneState) -> str | None:
    count = sum(track.over_trip_s >= 0 for track in state.miners.values())
    if count >= SEVERAL or (count >= 2 and count > SEVERAL_SHARE * len(state.miners)):
        return f"{count} of {len(state.miners)} miners were above their trip limit"
    return None


def all_blind(tracks: dict[DeviceId, MinerTrack]) -> bool:
    """Whether every miner that may run is unknown, in a zone that was heard since the guardian started.

    A zone that never answered is SAFE with an urgent alarm instead: a guardian that starts before the
    network does would otherwise need a person after every power cut.
    """
    running = [track for track in tracks.values() if not track.stopped]
    heard = any(track.heard for track in tracks.values())
    return heard and bool(running) and all(track.watch.sight.unknown for track in running)


def with_causes(state: ZoneState) -> tuple[Trip, ...]:
    """The latched trips, each with whether its cause is still present."""
    trips = []
    for trip in state.trips:
        present = _present(trip, state)
        trips.append(
            trip if present is trip.cause_present else msgspec.structs.replace(trip, cause_present=present)
        )
    return tuple(trips)


def _present(trip: Trip, state: ZoneState) -> bool:
    if trip.interlock.startswith(CAP):
        return any(claim.cause for claim in state.feeders if CAP + claim.cap == trip.interlock)
    if trip.device is not None:
        track = state.miners.get(trip.device)
        return track is not None and _still_hot(track, trip.interlock)
    if trip.interlock == ZONE_COOLING:
        return not state.cooling.good_for_s > 0
    if trip.interlock == ZONE_HOT:
        return any(miners.is_hot(track) for track in state.miners.values())
    if trip.interlock == ZONE_BLIND:
        return all_blind(state.miners) or not any(track.heard for track in state.miners.values())
    return _zone_cause(trip.interlock, state)


def _zone_cause(interlock: str, state: ZoneState) -> bool:
    """Of a probe's limits or a contact; one that the site file does not name any more has no cause left."""
    for group in state.probes.values():
        if interlock in group.limits:
            return probes.cause(group, interlock)
    for name, track in state.contacts.items():
        if contacts.interlock(name) == interlock:
            return track.active is not False
    return False


def _still_hot(track: MinerTrack, interlock: str) -> bool:
    heat = track.chip if interlock == CHIP else track.board
    return heat.level is not Level.NORMAL or not track.heard or track.watch.sight.unknown


def tracks_of(state: ZoneState, inputs: ZoneInput) -> dict[DeviceId, MinerTrack]:
    """Tracks for exactly the miners of the inputs; new ones start unseen."""
    return {miner.device: state.miners.get(miner.device, NEW_MINER) for miner in inputs.miners}
