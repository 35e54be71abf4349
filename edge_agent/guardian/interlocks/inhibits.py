"""Why nothing may be raised, in a whole zone or on one miner. Words only: a number would change each step."""

from edge_agent.config import Zone
from edge_agent.guardian.interlocks import contacts, miners
from edge_agent.guardian.interlocks.inputs import MainsClaim
from edge_agent.guardian.interlocks.levels import Level
from edge_agent.guardian.interlocks.probes import Group
from edge_agent.guardian.interlocks.quantities import QUANTITIES
from edge_agent.guardian.interlocks.state import ZoneState
from edge_agent.guardian.requests import SETTLING
from shared.ids import DeviceId


def of_zone(state: ZoneState, zone: Zone) -> str | None:
    """Why nothing may be raised anywhere in the zone, miners and less cooling alike; None where nothing
    stands against it."""
    open_ = state.bypasses.open
    if open_:
        return f"{open_[0].interlock} is bypassed"
    for contact in zone.contacts:
        why = contacts.inhibit(state.contacts.get(contact.name, contacts.UNHEARD), contact)
        if why is not None:
            return why
    for role, group in state.probes.items():
        why = _of_group(QUANTITIES[role].words, group)
        if why is not None:
            return why
    if state.proof.strength.alone:
        return "only one feedback of cooling is left"
    for claim in state.feeders:
        if claim.miners is None and claim.inhibit is not None:
            return claim.inhibit
    return None if state.mains is MainsClaim.NONE else "on battery, or mains not back for long enough"


def _of_group(words: str, group: Group) -> str | None:
    if group.unknown:
        return f"{words} is not known"
    for name, limit in group.limits.items():
        if limit.standing.level is not Level.NORMAL:
            return f"{QUANTITIES[name].words} ({limit.standing.level.word})"
    return f"only one probe of {words} is left" if group.strength.alone else None


def all_of(state: ZoneState, zone: Zone) -> dict[DeviceId, str]:
    """Device → why nothing may be raised there: miners, and cooling devices where it is the whole zone.

    A miner's own reason is told first, and that it settles last: the arbiter overlooks a permit's own window
    when a raise goes out, and nothing else may hide behind it.
    """
    latched = state.latched
    found: dict[DeviceId, str] = {}
    settling: dict[DeviceId, str] = {}
    for device, track in state.miners.items():
        if track is not miners.CALM or device in latched:
            why = miners.inhibit(track, latched=device in latched)
            if why is not None:
                (settling if why is SETTLING else found)[device] = why
    for claim in state.feeders:
        if claim.miners is not None and claim.inhibit is not None:
            found = {**dict.fromkeys(sorted(claim.miners & state.miners.keys()), claim.inhibit), **found}
    whole = of_zone(state, zone)
    if whole is None:
        return {**settling, **found}
    cooling = (DeviceId(actuator.device) for actuator in zone.cooling_actuators)
    return {**dict.fromkeys((*state.miners, *cooling), whole), **found}


def holds_safe(state: ZoneState, zone: Zone) -> bool:
    """Whether a zone in SAFE must wait: a probe stands high or is not known, or a contact that trips is not
    seen at rest. What is bypassed does not count; it inhibits."""
    names = state.bypasses.names
    for group in state.probes.values():
        open_limits = {name: limit for name, limit in group.limits.items() if name not in names}
        worst = max((limit.standing.level for limit in open_limits.values()), default=Level.NORMAL)
        if open_limits and (group.unknown or worst >= Level.SHED):
            return True
    return any(
        contacts.interlock(contact.name) not in names
        and contacts.holds_safe(state.contacts.get(contact.name, contacts.UNHEARD), contact)
        for contact in zone.contacts
    )
