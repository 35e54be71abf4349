"""What persons may ask of a zone: reset, safe-stop, mode. Pure; a refusal is a sentence, not an exception."""

import msgspec

from edge_agent.guardian.interlocks import findings, miners
from edge_agent.guardian.interlocks.inputs import Finding
from edge_agent.guardian.interlocks.modes import Cause, next_mode
from edge_agent.guardian.interlocks.state import SafeWhy, Trip, ZoneState
from edge_agent.ipc import Mode
from shared.alarms import EventKind, Severity
from shared.ids import DeviceId, ZoneId

_replace = msgspec.structs.replace


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """The zone after the ask, and what is to be journalled before it takes effect."""

    state: ZoneState
    found: tuple[Finding, ...]
    cleared: tuple[Trip, ...] = ()


class Denied(msgspec.Struct, frozen=True):
    """Why not, and what to do."""

    why: str


Answer = Granted | Denied


def reset(state: ZoneState, zone: ZoneId, *, by: str, reason: str) -> Answer:
    """Clear every latch whose cause is gone (S07); refused where none is, or without a reason."""
    if not reason.strip():
        return Denied("a reset needs a reason; give one with --reason")
    if not state.trips:
        return Denied(f"zone {zone} has no latched trip")
    gone = tuple(trip for trip in state.trips if not trip.cause_present)
    if not gone:
        present = "; ".join(f"{trip.interlock}: {trip.first_out}" for trip in state.trips)
        return Denied(f"the cause is still present, remove it first: {present}")
    found = [findings.cleared(zone, trip, by, reason) for trip in gone]
    kept = tuple(trip for trip in state.trips if trip.cause_present)
    freed = {trip.device for trip in gone if trip.device} - {trip.device for trip in kept if trip.device}
    again = tuple(device for device in state.miners if device in freed and device not in state.pending)
    tracks = {
        device: miners.reset(track) if device in freed or not kept else track
        for device, track in state.miners.items()
    }
    after = _replace(state, trips=kept, miners=tracks, pending=(*state.pending, *again))
    if state.zone_trips and not after.zone_trips:
        found.append(findings.mode(zone, state.mode, Mode.SAFE, Cause.RESET, f"by {by}"))
        # A safe-stop that was asked for before or during the trip outlives the reset.
        why = SafeWhy.STOP if state.safe_why is SafeWhy.STOP else SafeWhy.RESET
        after = _replace(after, mode=Mode.SAFE, safe_why=why, batches=0, batch=0, starting=())
    return Granted(state=after, found=tuple(found), cleared=gone)


def safe_stop(state: ZoneState, zone: ZoneId, *, by: str, reason: str) -> Granted:
    """Stop the zone. Always granted: it is the safe direction; a tripped zone stays tripped."""
    found = [
        Finding(
            kind=EventKind.ACTION,
            severity=Severity.HIGH,
            key=f"safe-stop/{zone}",
            title=f"{by} stopped zone {zone}: {reason}",
            advice="It stays stopped until someone on site hands it back with 'minewarden guardian mode'.",
            zone=zone,
            data={"by": by, "reason": reason},
        )
    ]
    mode = next_mode(state.mode, Cause.SAFE_STOP)
    if mode is not None:
        found.append(findings.mode(zone, state.mode, mode, Cause.SAFE_STOP, f"by {by}"))
    pending = tuple(dict.fromkeys((*state.pending, *_stoppable(state))))
    after = _replace(
        state,
        miners={device: miners.doubted(track) for device, track in state.miners.items()},
        mode=state.mode if mode is None else mode,
        safe_why=SafeWhy.STOP,
        pending=pending,
        starting=(),
        batch=0,
        batches=0,
    )
    return Granted(state=after, found=tuple(found))


def _stoppable(state: ZoneState) -> tuple[DeviceId, ...]:
    latched = state.latched
    return tuple(
        device
        for device, track in state.miners.items()
        if track.heard and not track.stopped and device not in latched
    )


def set_mode(state: ZoneState, zone: ZoneId, mode: Mode, *, by: str, reason: str) -> Answer:
    """A local operator takes over (manual) or hands back (local-auto)."""
    if mode not in (Mode.MANUAL, Mode.LOCAL_AUTO):
        return Denied(f"an operator can choose manual or local-auto, not {mode}")
    cause = Cause.OPERATOR_MANUAL if mode is Mode.MANUAL else Cause.OPERATOR_AUTO
    if mode is Mode.LOCAL_AUTO and state.mode is Mode.SAFE and state.safe_why is SafeWhy.STOP:
        # Handing back ends the safe-stop; the zone itself still waits in SAFE until cooling is proven.
        found = findings.mode(
            zone, state.mode, state.mode, cause, f"{by}: {reason}; waits for proven cooling"
        )
        return Granted(state=_replace(state, safe_why=SafeWhy.RESET), found=(found,))
    after = next_mode(state.mode, cause)
    if after is None:
        return Denied(f"zone {zone} is {state.mode}; from there no operator can go to {mode}")
    found = findings.mode(zone, state.mode, after, cause, f"{by}: {reason}")
    return Granted(state=_replace(state, mode=after, safe_why=SafeWhy.RESET), found=(found,))
