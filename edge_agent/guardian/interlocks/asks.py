"""What persons may ask of a zone: reset, safe-stop, mode, bypass. Pure; a refusal is a sentence."""

from collections.abc import Iterable

import msgspec

from edge_agent.config import Timing, Zone
from edge_agent.guardian.interlocks import bypass, findings, miners, zone_findings
from edge_agent.guardian.interlocks.bypass import Asked, Bypass
from edge_agent.guardian.interlocks.inputs import Finding
from edge_agent.guardian.interlocks.modes import Cause, next_mode
from edge_agent.guardian.interlocks.state import ZONE_HOT, SafeWhy, Trip, ZoneState
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


def reset(state: ZoneState, zone: ZoneId, *, by: str, reason: str, trip: str | None = None) -> Answer:
    """Clear every latch whose cause is gone (S07), or the one named by its id; refused where none is, or
    without a reason."""
    if not reason.strip():
        return Denied("a reset needs a reason; give one with --reason")
    asked = tuple(entry for entry in state.trips if trip is None or entry.id == trip)
    if not asked:
        what = "no latched trip" if trip is None else f"no latched trip {trip}"
        return Denied(f"zone {zone} has {what}")
    gone = tuple(entry for entry in asked if not entry.cause_present)
    if not gone:
        present = "; ".join(f"{entry.interlock}: {entry.first_out}" for entry in asked)
        return Denied(f"the cause is still present, remove it first: {present}")
    found = [findings.cleared(zone, entry, by, reason) for entry in gone]
    kept = tuple(entry for entry in state.trips if entry not in gone)
    freed = {entry.device for entry in gone if entry.device} - {
        entry.device for entry in kept if entry.device
    }
    again = tuple(
        device
        for device, track in state.miners.items()
        if device in freed and device not in state.pending and not track.left
    )
    # Who was over its limit counts towards "several miners" for minutes: that latch would be back at once.
    whole = not kept or any(entry.interlock == ZONE_HOT for entry in gone)
    tracks = {
        device: miners.reset(track) if device in freed or whole else track
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
        if track.heard and not track.stopped and not track.left and device not in latched
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


def distrust(state: ZoneState, zone: ZoneId) -> Answer:
    """The present site file cannot be used and an older one runs: nobody works by hand on that."""
    after = next_mode(state.mode, Cause.BAD_CONFIG)
    if after is None:
        return Denied(f"zone {zone} is {state.mode} anyway")
    found = findings.mode(zone, state.mode, after, Cause.BAD_CONFIG)
    return Granted(state=_replace(state, mode=after, safe_why=SafeWhy.RESET), found=(found,))


# ---------------------------------------------------------------- miners that others stopped


def bring_back(state: ZoneState, devices: Iterable[DeviceId]) -> ZoneState:
    """Hand stopped miners over to the zone's restart: cooling proven first, then in batches (S08, S12).

    For whoever stopped them and lets go: a curtailment that ended, mains that are back, a shed. Latched ones
    are a person's business and stay out, and so are those that a person stopped.
    """
    out = state.latched | {device for device, track in state.miners.items() if track.left}
    coming = (device for device in devices if device not in out)
    return _replace(state, pending=tuple(dict.fromkeys((*state.pending, *coming))))


def take_over(state: ZoneState, devices: Iterable[DeviceId]) -> ZoneState:
    """Take miners out of the zone's restart, for whoever stops them and will start them himself.

    A trip, a reset or the end of a curtailment brings none of them back, until they were started by somebody
    else. This is remembered as long as the process lives.
    """
    taken = frozenset(devices)
    tracks = {
        device: _replace(track, left=True, shed_stop_s=0.0) if device in taken else track
        for device, track in state.miners.items()
    }
    return _replace(
        state,
        miners=tracks,
        pending=tuple(device for device in state.pending if device not in taken),
        starting=tuple(device for device in state.starting if device not in taken),
    )


# ---------------------------------------------------------------- bypasses


def open_bypass(
    state: ZoneState, zone: Zone, timing: Timing, *, interlock: str, seconds: float, by: str, reason: str
) -> Answer:
    """Ask to set one interlock aside (S16). It opens at once where the key switch is turned, else it waits
    for the key or, where the zone has none, for `confirm_bypass` by another person."""
    asked = Asked(interlock=interlock, by=by, reason=reason, seconds=seconds)
    latched = frozenset(trip.interlock for trip in state.zone_trips)
    why = bypass.refusal(state.bypasses, zone, timing, asked, latched)
    if why is not None:
        return Denied(why)
    has_key = zone.bypass_key is not None
    others = tuple(entry for entry in state.bypasses.asked if entry.interlock != interlock)
    if has_key and state.bypasses.key is True:
        return _opened(state, zone.id, others, bypass.opening(asked, None))
    bypasses = _replace(state.bypasses, asked=(*others, asked))
    found = zone_findings.bypass_asked(zone.id, asked, has_key=has_key)
    return Granted(state=_replace(state, bypasses=bypasses), found=(found,))


def confirm_bypass(state: ZoneState, zone: Zone, *, interlock: str, by: str) -> Answer:
    """The second fact from a second person, where the zone has no key switch."""
    asked = state.bypasses.request(interlock)
    if asked is None:
        return Denied(f"nobody asked to bypass {interlock} of zone {zone.id}; ask with 'bypass open' first")
    if zone.bypass_key is not None:
        return Denied(f"zone {zone.id} has a key switch: turn it to open the bypass")
    if by == asked.by:
        return Denied(f"{by} asked for it; another person has to confirm it")
    latched = frozenset(trip.interlock for trip in state.zone_trips)
    if interlock in latched:
        return Denied(f"{interlock} of zone {zone.id} tripped meanwhile: reset it first")
    others = tuple(entry for entry in state.bypasses.asked if entry is not asked)
    return _opened(state, zone.id, others, bypass.opening(asked, by))


def _opened(state: ZoneState, zone: ZoneId, asked: tuple[Asked, ...], entry: Bypass) -> Granted:
    bypasses = _replace(state.bypasses, open=(*state.bypasses.open, entry), asked=asked)
    found = zone_findings.bypass_open(zone, entry)
    return Granted(state=_replace(state, bypasses=bypasses), found=(found,))


def close_bypass(state: ZoneState, zone: ZoneId, *, interlock: str, by: str) -> Answer:
    """End a bypass, or take a request back. Always granted where there is one: it is the safe direction."""
    entry, asked = state.bypasses.of(interlock), state.bypasses.request(interlock)
    why = f"closed by {by}"
    found = [zone_findings.bypass_ended(zone, entry, why)] if entry else []
    found += [zone_findings.bypass_refused(zone, asked, why)] if asked else []
    if not found:
        return Denied(f"{interlock} of zone {zone} is not bypassed")
    bypasses = _replace(
        state.bypasses,
        open=tuple(known for known in state.bypasses.open if known is not entry),
        asked=tuple(known for known in state.bypasses.asked if known is not asked),
    )
    return Granted(state=_replace(state, bypasses=bypasses), found=tuple(found))
