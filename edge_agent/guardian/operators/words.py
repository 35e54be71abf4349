"""The guardian's answers as a person reads them in a terminal."""

from collections.abc import Iterable
from datetime import UTC, datetime

from edge_agent.guardian.actions import audit
from edge_agent.ipc import (
    CapStatus,
    Mode,
    PlanPreview,
    StandingOrder,
    StandingState,
    Status,
    TripInfo,
    ZoneStatus,
)


def status(told: Status) -> list[str]:
    """Zones first, then power, then what was refused."""
    lease = "never held" if told.lease_left_s is None else f"{told.lease_left_s:.0f} s left"
    lines = [f"lease {lease}, model {told.assignment or 'none'}, journal {told.journal_head}"]
    if told.on_battery is not None:
        lines.append(f"mains: {_battery(told)}" if told.on_battery else "mains: present")
    for name, zone in told.zones.items():
        lines += _zone(name, zone)
    for cap_id, cap in told.caps.items():
        lines.append(_cap(cap_id, cap))
    ended = (StandingState.ENDED, StandingState.CANCELLED)
    lines += orders(order for order in told.orders if order.state not in ended)
    if told.refused:
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(told.refused.items()))
        lines.append(f"refused since the start: {counts}")
    return lines


def _battery(told: Status) -> str:
    left_s = told.battery_left_s
    left = "runtime unknown" if left_s is None else f"{left_s / 60.0:.0f} min left by the UPS's own word"
    return f"ON BATTERY, {left}"


def _cap(name: str, cap: CapStatus) -> str:
    unit = f" {cap.unit}" if cap.unit else ""
    value = "unknown" if cap.value is None else f"{cap.value:g}{unit}"
    return f"cap {name}: {value}, nothing is raised beyond {cap.limit:g}{unit} ({cap.level})"


def _zone(name: str, zone: ZoneStatus) -> list[str]:
    cooling = "proven" if zone.cooling_proven else "NOT proven"
    lines = [f"{name}: {zone.mode}, cooling {cooling}{', restarting' if zone.restarting else ''}"]
    if zone.why:
        lines.append(f"  {zone.why}")
    if zone.mode is Mode.MANUAL:
        back = f"minewarden guardian mode local-auto --zone {name} --reason ..."
        lines.append(f"  a person works by hand; hand it back with: {back}")
    lines += [f"  TRIP {_trip(trip)}" for trip in zone.trips]
    if zone.trips:
        lines.append("  what to do about trips: minewarden guardian trips")
    lines += [f"  {interlock}: {level}" for interlock, level in zone.levels.items()]
    lines += [f"  BYPASSED {interlock}: {left_s} s left" for interlock, left_s in zone.bypassed.items()]
    lines += [f"  bypass of {interlock} waits, {whose}" for interlock, whose in zone.bypass_asked.items()]
    return lines + _inhibited(zone)


def _inhibited(zone: ZoneStatus) -> list[str]:
    """By reason, because after a restart of a large site a thousand miners have the same one."""
    by_reason: dict[str, list[str]] = {}
    for device, why in zone.inhibited.items():
        by_reason.setdefault(why, []).append(device)
    lines = []
    for why, devices in by_reason.items():
        some = ", ".join(devices[:4]) + (f" and {len(devices) - 4} more" if len(devices) > 4 else "")
        lines.append(f"  inhibited ({why}): {some}")
    return lines


def _trip(trip: TripInfo) -> str:
    cause = "cause present" if trip.cause_present else "cause gone, can be reset"
    return f"{trip.interlock} ({trip.device or 'whole zone'}): {trip.first_out}; {cause}"


def trips(told: Status) -> list[str]:
    """Every latched trip with what to type next."""
    found = [trip for zone in told.zones.values() for trip in zone.trips]
    if not found:
        return ["no trip is latched"]
    lines: list[str] = []
    for trip in sorted(found, key=lambda trip: trip.at_ms):
        lines += [
            trip.id,
            f"  zone {trip.zone}, {trip.interlock} ({trip.device or 'whole zone'}), since {utc(trip.at_ms)}",
            f"  first out: {trip.first_out}",
            "  cause is still present: remove it first"
            if trip.cause_present
            else f"  cause is gone: minewarden guardian reset {trip.id} --reason ...",
        ]
    return [*lines, "what happened around a trip: minewarden guardian explain TRIP"]


def orders(standing: Iterable[StandingOrder]) -> list[str]:
    """Standing and scheduled orders, one line each."""
    lines = []
    for order in standing:
        parts = [f"order {order.id}: {order.state}, {order.words} (by {order.actor})"]
        if order.start_ms is not None:
            parts.append(f"from {utc(order.start_ms)}")
        if order.end_ms is not None:
            parts.append(f"until {utc(order.end_ms)}")
        if order.target_w is not None:
            meter = "unknown" if order.meter_w is None else f"{order.meter_w / 1000:.1f} kW"
            parts.append(f"target {order.target_w / 1000:.1f} kW, meter {meter}")
        if order.confirmed_ms is not None:
            parts.append(f"confirmed by the meter {utc(order.confirmed_ms)}")
        lines.append(", ".join(parts))
    return lines


def plan(preview: PlanPreview) -> list[str]:
    """What a curtailment would do; nothing was done."""
    now = "unknown" if preview.now_w is None else f"{preview.now_w / 1000:.1f} kW"
    then = "unknown" if preview.expected_w is None else f"{preview.expected_w / 1000:.1f} kW"
    reach = "reaches the target" if preview.reaches_target else "does NOT reach the target"
    lines = [
        f"now {now}, then {then} in about {preview.takes_s:.0f} s: {reach}; {len(preview.steps)} steps, "
        "nothing was done"
    ]
    if preview.detail:
        lines.append(preview.detail)
    return lines + [
        f"  {step.action.device}: {audit.told(step.action)} (-{step.saves_w / 1000:.2f} kW)"
        for step in preview.steps
    ]


def utc(at_ms: int) -> str:
    """A time for people, in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
