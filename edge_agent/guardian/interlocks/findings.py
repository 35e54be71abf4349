"""The words of the core's findings: what happened, and what a person does next at 3 a.m."""

from edge_agent.guardian.interlocks.inputs import Finding
from edge_agent.guardian.interlocks.levels import Level
from edge_agent.guardian.interlocks.modes import Cause
from edge_agent.guardian.interlocks.quantities import QUANTITIES
from edge_agent.guardian.interlocks.stale import Sight
from edge_agent.guardian.interlocks.state import BOARD, CAP, CHIP, ZONE_BLIND, ZONE_COOLING, ZONE_HOT, Trip
from edge_agent.ipc import Mode, ZoneStatus
from shared.alarms import EventKind, Severity
from shared.ids import DeviceId, ZoneId

_TRIP_ADVICE = {
    ZONE_COOLING: "Go and look at fans and pumps; when the feedback is back, reset with "
    "'minewarden guardian reset --zone {zone} --reason ...'. Nothing restarts before that.",
    ZONE_HOT: "Check intake, filters and fans of the zone, then reset it. Nothing restarts before that.",
    ZONE_BLIND: "Check network switch and power of the zone; miners may still run hot. Then reset the zone.",
    CHIP: "Check this miner's fans, heat sinks and place in the rack, then reset the zone's trips.",
    BOARD: "Check this miner's fans, heat sinks and place in the rack, then reset the zone's trips.",
}
_KIND_ADVICE = {
    "contact/": "Go there and look before anything else; put the contact back to rest, then reset the zone. "
    "Nothing restarts before that.",
    CAP: "Look at the feeder's meter and breakers and at what else draws power there, then reset it.",
}
_PROBE_ADVICE = (
    "Look at the zone's air or water and at the probes themselves; when the reading is back within its "
    "limits, reset the zone with 'minewarden guardian reset --zone {zone} --reason ...'."
)
_ANY_TRIP_ADVICE = "Find out why, then reset the zone with 'minewarden guardian reset'."

_SIGHT_WORDS = {
    Sight.BLIND: "answers, but tells no usable temperature",
    Sight.STALE: "has not answered for a while",
    Sight.LOST: "is not heard any more",
}


def tripped(zone: ZoneId, trip: Trip) -> Finding:
    """A latch was set: urgent for a zone, high for one miner."""
    where = f"Miner {trip.device}" if trip.device else f"Zone {zone}"
    return Finding(
        kind=EventKind.TRIPPED,
        severity=Severity.HIGH if trip.device else Severity.URGENT,
        key=f"trip/{trip.id}",
        title=f"{where} tripped and is being stopped: {trip.first_out}",
        advice=_trip_advice(trip.interlock).format(zone=zone),
        zone=zone,
        device=trip.device,
        data={"trip": trip.id, "interlock": trip.interlock, "first_out": trip.first_out},
    )


def _trip_advice(interlock: str) -> str:
    by_kind = (advice for head, advice in _KIND_ADVICE.items() if interlock.startswith(head))
    probes = _PROBE_ADVICE if interlock in QUANTITIES else _ANY_TRIP_ADVICE
    return _TRIP_ADVICE.get(interlock) or next(by_kind, probes)


def cleared(zone: ZoneId, trip: Trip, by: str, reason: str) -> Finding:
    """A person reset a latch."""
    return Finding(
        kind=EventKind.CLEARED,
        severity=Severity.HIGH,
        key=f"trip/{trip.id}",
        title=f"{by} reset {trip.interlock} of {trip.device or zone}: {reason}",
        advice="Watch the restart: cooling is proven first, then miners start in batches.",
        zone=zone,
        device=trip.device,
        data={"trip": trip.id, "interlock": trip.interlock, "by": by, "reason": reason},
    )


def heat(
    zone: ZoneId, device: DeviceId, interlock: str, level: Level, value_c: float | None, limit_c: float
) -> Finding | None:
    """A miner crossed warn or shed upwards, or came back to normal; trips speak for themselves."""
    shown = "unknown" if value_c is None else f"{value_c:g} °C"
    data: dict[str, str | int | float | bool | None] = {"value_c": value_c, "limit_c": limit_c}
    key = f"{interlock}/{device}"
    if level is Level.NORMAL:
        return Finding(
            kind=EventKind.ALARM_CLEARED,
            severity=Severity.LOW,
            key=key,
            title=f"{device}: {interlock} is back below its release limit",
            zone=zone,
            device=device,
            data=data,
        )
    if level is Level.TRIP:
        return None
    shed = level is Level.SHED
    return Finding(
        kind=EventKind.SHED if shed else EventKind.ALARM,
        severity=Severity.HIGH if shed else Severity.LOW,
        key=key,
        title=f"{device}: {interlock} {shown} is above {limit_c:g} °C"
        + ("; its preset is being lowered" if shed else ""),
        advice="Look at its fans and filters; if its neighbours are warm too, look at the zone's air.",
        zone=zone,
        device=device,
        data=data,
    )


def unseen(zone: ZoneId, device: DeviceId, sight: Sight) -> Finding:
    """A miner has been unknown for 30 s."""
    return Finding(
        kind=EventKind.ALARM,
        severity=Severity.LOW,
        key=f"no-data/{device}",
        title=f"{device} {_SIGHT_WORDS[sight]}; it counts as running and hot, nothing is raised there",
        advice="Check its network cable and power; if it answers in a browser, check its credential.",
        zone=zone,
        device=device,
        data={"sight": str(sight)},
    )


def seen(zone: ZoneId, device: DeviceId) -> Finding:
    """Data is back."""
    return Finding(
        kind=EventKind.ALARM_CLEARED,
        severity=Severity.LOW,
        key=f"no-data/{device}",
        title=f"{device} is heard again",
        zone=zone,
        device=device,
    )


def silent_zone(zone: ZoneId) -> Finding:
    """Nothing of a zone was ever heard since the guardian started."""
    return Finding(
        kind=EventKind.ALARM,
        severity=Severity.URGENT,
        key=f"silent/{zone}",
        title=f"No miner of zone {zone} has answered since the guardian started",
        advice="Check the zone's network and the hosts in the site file. Nothing can be stopped now.",
        zone=zone,
    )


def heard_zone(zone: ZoneId) -> Finding:
    """The first miner of a silent zone answered."""
    return Finding(
        kind=EventKind.ALARM_CLEARED,
        severity=Severity.LOW,
        key=f"silent/{zone}",
        title=f"Zone {zone} answers",
        zone=zone,
    )


def mode(zone: ZoneId, before: Mode, after: Mode, cause: Cause, detail: str = "") -> Finding:
    """A transition of the mode machine."""
    return Finding(
        kind=EventKind.MODE,
        severity=Severity.LOW,
        key=f"mode/{zone}",
        title=f"Zone {zone}: {before} → {after} ({cause}{': ' + detail if detail else ''})",
        zone=zone,
        data={"from": str(before), "to": str(after), "cause": str(cause)},
    )


def batch_confirmed(zone: ZoneId, count: int, left: int) -> Finding:
    """All starts of one batch were confirmed by read-back."""
    return Finding(
        kind=EventKind.SYSTEM,
        severity=Severity.LOW,
        key=f"restart/{zone}",
        title=f"restart batch confirmed: {count} miners of zone {zone} run again, {left} to go",
        zone=zone,
        data={"confirmed": count, "left": left},
    )


def will_not_start(zone: ZoneId, device: DeviceId, attempts: int) -> Finding:
    """A miner did not come back after several permitted starts."""
    return Finding(
        kind=EventKind.ALARM,
        severity=Severity.LOW,
        key=f"restart/{device}",
        title=f"{device} did not start after {attempts} attempts and is left stopped",
        advice="Look at the miner's own log; start it by hand or by an order when it is well.",
        zone=zone,
        device=device,
    )


def late(turn_s: float) -> Finding:
    """A turn of the interlocks took far longer than it should."""
    return Finding(
        kind=EventKind.ALARM,
        severity=Severity.HIGH,
        key="guardian/late",
        title=f"the interlocks came {turn_s:.1f} s after their last turn; they should every 0.25 s",
        advice="Look at what else runs on this gateway; trips come later by as much.",
    )


def zone_status(zone: ZoneId, status: ZoneStatus) -> Finding:
    """The zone's state in plain words, for whoever only sees events (the cloud)."""
    zone_trips = [trip for trip in status.trips if trip.device is None]
    return Finding(
        kind=EventKind.SYSTEM,
        severity=Severity.LOW,
        key=f"zone-status/{zone}",
        title=f"Zone {zone} is {status.mode}",
        zone=zone,
        data={
            "mode": str(status.mode),
            "cooling_proven": status.cooling_proven,
            "tripped": bool(zone_trips),
            "first_out": zone_trips[0].first_out if zone_trips else None,
            "latched": len(status.trips) - len(zone_trips),
            "inhibited": len(status.inhibited),
            "restarting": status.restarting,
        },
    )
