"""Which trips fire, and whether the cause of a latched one is still there."""

import msgspec

from edge_agent.config import Timing, Zone
from edge_agent.guardian.interlocks import miners
from edge_agent.guardian.interlocks.inputs import ZoneInput
from edge_agent.guardian.interlocks.state import (
    BOARD,
    CHIP,
    NEW_MINER,
    ZONE_BLIND,
    ZONE_COOLING,
    ZONE_HOT,
    MinerTrack,
    Trip,
    ZoneState,
)
from edge_agent.guardian.interlocks.temperature import Level
from shared.ids import DeviceId

SEVERAL = 3
SEVERAL_SHARE = 0.10
"""So many miners over their trip limit, or two and more than this share, are zone evidence."""


def fired(state: ZoneState, inputs: ZoneInput, zone: Zone, timing: Timing) -> tuple[Trip, ...]:
    """New latches after this step's tracks and cooling were worked out; first the most local evidence."""
    new = [*_hot_miners(state, inputs, zone, timing)]
    standing = {trip.interlock for trip in state.zone_trips}
    running = any(track.heard and not track.stopped for track in state.miners.values())
    for interlock, first_out in (
        (ZONE_COOLING, _cooling(state, inputs, zone) if running else None),
        (ZONE_HOT, _several(state)),
        (ZONE_BLIND, _blind(state, timing)),
    ):
        if first_out is not None and interlock not in standing:
            new.append(_trip(interlock, inputs.at_ms, first_out, zone.id))
    return tuple(new)


def _trip(interlock: str, at_ms: int, first_out: str, where: str, device: DeviceId | None = None) -> Trip:
    return Trip(
        id=f"{interlock}-{where}-{at_ms}",
        interlock=interlock,
        at_ms=at_ms,
        first_out=first_out,
        device=device,
    )


def _hot_miners(state: ZoneState, inputs: ZoneInput, zone: Zone, timing: Timing) -> list[Trip]:
    latched = {(trip.device, trip.interlock) for trip in state.trips}
    new: list[Trip] = []
    for miner in inputs.miners:
        track = state.miners[miner.device]
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


def _cooling(state: ZoneState, inputs: ZoneInput, zone: Zone) -> str | None:
    if not state.cooling.lost:
        return None
    proof = zone.cooling_proof
    value = "unknown" if inputs.cooling_value is None else f"{inputs.cooling_value:g}"
    return f"cooling lost: {proof.device} {proof.point} is {value}, must be above {proof.lost_below:g}"


def _several(state: ZoneState) -> str | None:
    count = sum(track.over_trip_s >= 0 for track in state.miners.values())
    if count >= SEVERAL or (count >= 2 and count > SEVERAL_SHARE * len(state.miners)):
        return f"{count} of {len(state.miners)} miners were above their trip limit"
    return None


def _blind(state: ZoneState, timing: Timing) -> str | None:
    if state.blind_for_s < timing.lost_after_s:
        return None
    return f"no miner of the zone has told a usable temperature for {timing.lost_after_s:g} s and more"


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
    if trip.device is not None:
        track = state.miners.get(trip.device)
        return track is not None and _still_hot(track, trip.interlock)
    if trip.interlock == ZONE_COOLING:
        return not state.cooling.good_for_s > 0
    if trip.interlock == ZONE_HOT:
        return any(max(t.chip.level, t.board.level) >= Level.SHED for t in state.miners.values())
    if trip.interlock == ZONE_BLIND:
        return all_blind(state.miners) or not any(track.heard for track in state.miners.values())
    return False


def _still_hot(track: MinerTrack, interlock: str) -> bool:
    heat = track.chip if interlock == CHIP else track.board
    return heat.level is not Level.NORMAL or not track.heard or track.watch.sight.unknown


def tracks_of(state: ZoneState, inputs: ZoneInput) -> dict[DeviceId, MinerTrack]:
    """Tracks for exactly the miners of the inputs; new ones start unseen."""
    return {miner.device: state.miners.get(miner.device, NEW_MINER) for miner in inputs.miners}
