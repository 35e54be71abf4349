"""The words of findings about a zone's probes, contacts, feedbacks and bypasses."""

from edge_agent.config import Contact, Effect, SensorRole, Zone
from edge_agent.guardian.interlocks import bypass, contacts, probes
from edge_agent.guardian.interlocks.bypass import Asked, Bypass
from edge_agent.guardian.interlocks.contacts import ContactTrack
from edge_agent.guardian.interlocks.inputs import Finding
from edge_agent.guardian.interlocks.levels import Level, Limits
from edge_agent.guardian.interlocks.probes import OPEN, UNHEARD, Group, Limit
from edge_agent.guardian.interlocks.proof import Proof, feedbacks_of
from edge_agent.guardian.interlocks.quantities import QUANTITIES, beyond
from edge_agent.guardian.interlocks.voting import Strength
from shared.alarms import EventKind, Severity
from shared.ids import DeviceId, ZoneId

_HARMLESS_POINTS = ("door_open",)
"""An alarm of these wakes nobody."""


# ---------------------------------------------------------------- probes


def of_probes(zone: Zone, before: dict[SensorRole, Group], after: dict[SensorRole, Group]) -> list[Finding]:
    """What changed on the zone's probes."""
    found: list[Finding] = []
    for role, group in after.items():
        old = before.get(role, UNHEARD)
        for name, limits in probes.fed(role, zone).items():
            found += _limit(zone.id, name, limits, old.limits.get(name, OPEN), group.limits[name])
        words = QUANTITIES[role].words
        found += _strength(zone.id, f"probes/{zone.id}/{role}", words, "probes", old.strength, group.strength)
        found += _stuck(zone, role, old, group)
    return found


def _limit(zone: ZoneId, name: str, limits: Limits, before: Limit, after: Limit) -> list[Finding]:
    """Warn and shed on the way up, and the way back to normal; trips speak for themselves."""
    was, now = before.standing.level, after.standing.level
    if now is was or now is Level.TRIP or (now < was and now is not Level.NORMAL):
        return []
    quantity = QUANTITIES[name]
    key = f"{name}/{zone}"
    data: dict[str, str | int | float | bool | None] = {"value": after.value}
    if now is Level.NORMAL:
        return [
            Finding(
                kind=EventKind.ALARM_CLEARED,
                severity=Severity.LOW,
                key=key,
                title=f"Zone {zone}: {quantity.words} is back within limits ({quantity.shown(after.value)})",
                zone=zone,
                data={**data, "limit": limits.release},
            )
        ]
    shed = now is Level.SHED
    limit = limits.shed if shed else limits.warn
    shown = f"{quantity.words} {quantity.shown(after.value)} is {beyond(limits)} {quantity.shown(limit)}"
    done = "every preset is being lowered" if shed else "nothing is raised there"
    return [
        Finding(
            kind=EventKind.SHED if shed else EventKind.ALARM,
            severity=Severity.HIGH if shed else Severity.LOW,
            key=key,
            title=f"Zone {zone}: {shown}; {done}",
            advice="Look at what feeds the zone: intake, pads, pumps, valves, dry cooler, dehumidifier.",
            zone=zone,
            data={**data, "limit": limit},
        )
    ]


def _strength(
    zone: ZoneId, key: str, words: str, what: str, before: Strength, after: Strength
) -> list[Finding]:
    if after.told == before.told:
        return []
    if after.told is None:
        return [
            Finding(
                kind=EventKind.ALARM_CLEARED,
                severity=Severity.LOW,
                key=key,
                title=f"Zone {zone}: all {after.of} {what} of {words} are good again",
                zone=zone,
            )
        ]
    effect = {
        0: "; nothing is raised in the zone, and it trips where this lasts",
        1: "; nothing is raised in the zone"
        if what == "feedbacks"
        else "; its limits stand closer and nothing is raised in the zone",
    }
    severity = {0: Severity.URGENT, 1: Severity.HIGH}.get(after.told, Severity.LOW)
    return [
        Finding(
            kind=EventKind.ALARM,
            severity=severity,
            key=key,
            title=f"Zone {zone}: {after.told} of {after.of} {what} of {words} are good"
            + effect.get(after.told, ""),
            advice="Check their cables, power and addresses; replace a probe that stands still.",
            zone=zone,
            data={"good": after.told, "of": after.of},
        )
    ]


def _stuck(zone: Zone, role: SensorRole, before: Group, after: Group) -> list[Finding]:
    """Which probe it is, because the count alone would send a person to the wrong one."""
    sensors = [sensor for sensor in zone.sensors if sensor.role is role]
    old = [still.stuck for still in before.stills] or [False] * len(after.stills)
    return [
        still_told(
            zone.id, DeviceId(sensor.device), sensor.point, stuck=still.stuck, why="its siblings moved"
        )
        for sensor, was, still in zip(sensors, old, after.stills, strict=True)
        if still.stuck is not was
    ]


def still_told(zone: ZoneId, device: DeviceId, point: str, *, stuck: bool, why: str) -> Finding:
    """A reading stands still although it should not, or moves again."""
    if not stuck:
        return Finding(
            kind=EventKind.ALARM_CLEARED,
            severity=Severity.LOW,
            key=f"stuck/{device}",
            title=f"{device}: {point} moves again and counts again",
            zone=zone,
            device=device,
        )
    return Finding(
        kind=EventKind.ALARM,
        severity=Severity.HIGH,
        key=f"stuck/{device}",
        title=f"{device}: {point} has not moved although {why}; it does not count any more",
        advice="Go and compare it with an instrument in your hand; power-cycle or replace it.",
        zone=zone,
        device=device,
    )


# ---------------------------------------------------------------- feedback of cooling


def of_proof(zone: Zone, before: Proof, after: Proof) -> list[Finding]:
    """What changed on the feedbacks of cooling."""
    found: list[Finding] = []
    if after.strength.of > 1:
        key = f"cooling-feedback/{zone.id}"
        found += _strength(zone.id, key, "cooling", "feedbacks", before.strength, after.strength)
    old = before.stuck or (False,) * len(after.stuck)
    for ref, was, now in zip(feedbacks_of(zone), old, after.stuck, strict=True):
        if now is not was:
            device = DeviceId(ref.device)
            found.append(still_told(zone.id, device, ref.point, stuck=now, why="its set-point was moved"))
    return found


# ---------------------------------------------------------------- contacts


def of_contacts(zone: Zone, before: dict[str, ContactTrack], after: dict[str, ContactTrack]) -> list[Finding]:
    """What changed on the zone's contacts."""
    found: list[Finding] = []
    for contact in zone.contacts:
        old, new = before.get(contact.name, contacts.UNHEARD), after[contact.name]
        if new.acting is not old.acting:
            found.append(_acting(zone.id, contact, acting=new.acting))
        if new.missed is not old.missed:
            found.append(_missed(zone.id, contact, missed=new.missed))
    return found


def _acting(zone: ZoneId, contact: Contact, *, acting: bool) -> Finding:
    done = {
        Effect.ALARM: "",
        Effect.INHIBIT: "; nothing is raised in the zone",
        Effect.TRIP: "; the zone is being stopped",
    }[contact.effect]
    harmless = contact.point.split(".")[0] in _HARMLESS_POINTS and contact.effect is not Effect.TRIP
    return Finding(
        kind=EventKind.ALARM if acting else EventKind.ALARM_CLEARED,
        severity=Severity.HIGH if acting and not harmless else Severity.LOW,
        key=f"contact/{zone}/{contact.name}",
        title=f"Zone {zone}: {contact.name} is active{done}"
        if acting
        else f"Zone {zone}: {contact.name} is at rest again",
        advice=f"Go and look ({contact.device}, {contact.point})." if acting else "",
        zone=zone,
        device=DeviceId(contact.device),
    )


def _missed(zone: ZoneId, contact: Contact, *, missed: bool) -> Finding:
    done = "" if contact.on_unknown is Effect.ALARM else "; it counts as active"
    return Finding(
        kind=EventKind.ALARM if missed else EventKind.ALARM_CLEARED,
        severity=Severity.HIGH if missed else Severity.LOW,
        key=f"contact-unknown/{zone}/{contact.name}",
        title=f"Zone {zone}: it is not known whether {contact.name} is active{done}"
        if missed
        else f"Zone {zone}: {contact.name} is known again",
        advice=f"Check network and power of {contact.device}." if missed else "",
        zone=zone,
        device=DeviceId(contact.device),
    )


# ---------------------------------------------------------------- bypasses


def of_bypasses(zone: ZoneId, news: bypass.News) -> list[Finding]:
    """What changed on the zone's bypasses."""
    return [
        *(bypass_open(zone, entry) for entry in news.opened),
        *(bypass_ended(zone, entry, why) for entry, why in news.ended),
        *(_bypass_lapsed(zone, entry) for entry in news.lapsed),
        *(_bypass_stands(zone, entry) for entry in news.reminded),
    ]


def _about(zone: ZoneId, kind: EventKind, severity: Severity, interlock: str, title: str) -> Finding:
    alarm = kind is EventKind.ALARM
    advice = f"End it with 'minewarden guardian bypass close {interlock}' as soon as the work is done."
    return Finding(
        kind=kind,
        severity=severity,
        key=f"bypass/{zone}/{interlock}",
        title=title,
        advice=advice if alarm else "",
        zone=zone,
        data={"interlock": interlock},
    )


def bypass_asked(zone: ZoneId, asked: Asked, *, has_key: bool) -> Finding:
    """A person asked; the second fact is missing."""
    needs = "the key switch" if has_key else "another person's confirmation"
    title = (
        f"{asked.by} asks to bypass {asked.interlock} of zone {zone} for {asked.seconds:.0f} s: "
        f"{asked.reason}; waits for {needs}"
    )
    return _about(zone, EventKind.ACTION, Severity.HIGH, asked.interlock, title)


def bypass_open(zone: ZoneId, entry: Bypass) -> Finding:
    """Both facts are there."""
    by = f"{entry.by}, confirmed by {entry.second or 'the key switch'}"
    title = (
        f"{entry.interlock} of zone {zone} is BYPASSED for {entry.left_s:.0f} s ({by}): {entry.reason}; "
        "nothing is raised there meanwhile"
    )
    return _about(zone, EventKind.ALARM, Severity.HIGH, entry.interlock, title)


def bypass_ended(zone: ZoneId, entry: Bypass, why: str) -> Finding:
    """The interlock acts again."""
    title = f"{entry.interlock} of zone {zone} acts again: {why}"
    return _about(zone, EventKind.ALARM_CLEARED, Severity.LOW, entry.interlock, title)


def bypass_refused(zone: ZoneId, asked: Asked, why: str) -> Finding:
    """A request that was taken back or closed before its second fact came."""
    title = f"The request of {asked.by} to bypass {asked.interlock} of zone {zone} ended: {why}"
    return _about(zone, EventKind.ACTION, Severity.LOW, asked.interlock, title)


def _bypass_lapsed(zone: ZoneId, asked: Asked) -> Finding:
    return bypass_refused(zone, asked, "its second fact did not come in time")


def _bypass_stands(zone: ZoneId, entry: Bypass) -> Finding:
    title = (
        f"{entry.interlock} of zone {zone} is still BYPASSED, for {entry.left_s:.0f} s more: {entry.reason}"
    )
    return _about(zone, EventKind.ALARM, Severity.HIGH, entry.interlock, title)
