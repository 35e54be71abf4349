"""Proof tests of the interlocks (S24): the real core, a made-up danger, and nothing that moves.

Each interlock of a zone is tried on a copy: from a healthy zone that the site file itself describes, one
input is pushed beyond its trip limit, and the core must latch and stop the load within the time that the
limits say. So a limit that cannot act, a role without a probe or a bug in the core shows before the day it
is needed. What a copy cannot show is whether the present inputs are alive: that is told beside it.

`unsafe` is also what an operator's real proof test lays over the live inputs: it can only make them worse.
"""

import math
from collections.abc import Callable

import msgspec

from edge_agent.config import Effect, HighLimits, LowLimits, SensorRole, SiteFile, Zone
from edge_agent.config.zone_checks import FEEDS
from edge_agent.guardian.interlocks import contacts, probes
from edge_agent.guardian.interlocks import site as core
from edge_agent.guardian.interlocks.caps import CapInput
from edge_agent.guardian.interlocks.cooling import Cooling
from edge_agent.guardian.interlocks.inputs import (
    ContactInput,
    Demand,
    DemandKind,
    MinerInput,
    SensorInput,
    ZoneInput,
)
from edge_agent.guardian.interlocks.mains import MainsInput
from edge_agent.guardian.interlocks.site import SiteInput, SiteState
from edge_agent.guardian.interlocks.state import BOARD, CHIP, ZONE_BLIND, ZONE_COOLING, ZONE_HOT
from edge_agent.ipc import Mode
from shared.commands import Priority
from shared.ids import DeviceId, ZoneId
from shared.telemetry import DeviceKind, MinerState

STEP_S = 0.25
SLACK_S = 2.0
"""Beyond the delays of the limits, an interlock must have acted within this."""

_replace = msgspec.structs.replace
Unsafe = Callable[[SiteInput], SiteInput]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One interlock after its test. `after_s` is None where it did not act in time."""

    zone: ZoneId
    interlock: str
    within_s: float
    after_s: float | None
    detail: str

    @property
    def passed(self) -> bool:
        return self.after_s is not None


def interlocks(site: SiteFile, zone: Zone) -> tuple[str, ...]:
    """Every interlock of the zone that can trip, by the name that trips carry."""
    limits = [name for role in probes.roles(zone) for name in probes.fed(role, zone)]
    tripping = [contacts.interlock(c.name) for c in zone.contacts if c.effect is Effect.TRIP]
    caps = [f"cap/{cap.id}" for cap in site.power_caps if zone.id in _zones_of(site, cap.id)]
    count = len(_miners(site, zone))
    miners = (CHIP, BOARD, ZONE_BLIND) if count else ()
    several = (ZONE_HOT,) if count > 1 else ()
    return (*miners, *several, ZONE_COOLING, *limits, *tripping, *caps)


def run(site: SiteFile, zone: Zone, interlock: str) -> Row:
    """Test one interlock on a copy. Raises `KeyError` for a name that `interlocks` does not list."""
    if interlock not in interlocks(site, zone):
        raise KeyError(interlock)
    site = _part(site, zone, interlock)
    state, healthy = _healthy(site, zone)
    push = unsafe(site, zone, interlock)
    within_s = delay_s(site, zone, interlock) + SLACK_S
    passed_s = 0.0
    while passed_s <= within_s:
        state, outputs, _ = core.step(state, push(healthy), site, STEP_S)
        passed_s += STEP_S
        latched = {trip.interlock for trip in state.zones[zone.id].trips}
        if interlock in latched:
            missing = _missing(site, zone, state, outputs.zones[zone.id].demands)
            if missing:
                detail = f"latched, but {missing}"
                return Row(zone=zone.id, interlock=interlock, within_s=within_s, after_s=None, detail=detail)
            detail = "latched, load told to stop"
            return Row(zone=zone.id, interlock=interlock, within_s=within_s, after_s=passed_s, detail=detail)
    return Row(
        zone=zone.id, interlock=interlock, within_s=within_s, after_s=None, detail="did not latch in time"
    )


def _part(site: SiteFile, zone: Zone, interlock: str) -> SiteFile:
    """The zones that the interlock acts in: with twenty more a test starves the live ones for minutes."""
    caps = tuple(cap for cap in site.power_caps if interlock == f"cap/{cap.id}")
    zones = {zone.id}.union(*(_zones_of(site, cap.id) for cap in caps))
    here = tuple(each for each in site.zones if each.id in zones)
    return _replace(site, zones=here, power_caps=caps)


def _missing(site: SiteFile, zone: Zone, state: SiteState, demands: tuple[Demand, ...]) -> str:
    """What the core should want now and does not."""
    here = state.zones[zone.id]
    stopping = {d.device for d in demands if d.kind is DemandKind.STOP and d.priority is Priority.TRIP}
    wanted = set(_miners(site, zone)) if here.mode is Mode.TRIPPED else set(here.latched)
    if left := wanted - stopping:
        return f"{len(left)} of {len(wanted)} miners are not told to stop"
    return ""


# ---------------------------------------------------------------- a healthy zone


def _miners(site: SiteFile, zone: Zone) -> tuple[DeviceId, ...]:
    return tuple(d.id for d in site.devices if d.zone == zone.id and d.kind is DeviceKind.MINER)


def _zones_of(site: SiteFile, cap_id: str) -> set[ZoneId]:
    cap = next(cap for cap in site.power_caps if cap.id == cap_id)
    if cap.pdu is None:
        return set(cap.zones)
    return {d.zone for d in site.devices if d.pdu == cap.pdu and d.kind is DeviceKind.MINER}


def _healthy(site: SiteFile, zone: Zone) -> tuple[SiteState, SiteInput]:
    """The site as the file wants it: everything known, cool, proven and running."""
    inputs = SiteInput(
        zones={each.id: _healthy_zone(site, each) for each in site.zones},
        caps={cap.id: CapInput(value=cap.limits.release * 0.5) for cap in site.power_caps},
        mains=MainsInput(on_battery=False, runtime_s=1e6),
    )
    state = core.start(site, {})
    proven = {name: _replace(each, cooling=Cooling(proven=True)) for name, each in state.zones.items()}
    state = _replace(state, zones=proven)
    for _ in range(2):
        state, _, _ = core.step(state, inputs, site, STEP_S)
    zones = {name: _replace(each, mode=Mode.LOCAL_AUTO) for name, each in state.zones.items()}
    return _replace(state, zones=zones), inputs


def _healthy_zone(site: SiteFile, zone: Zone) -> ZoneInput:
    limits = zone.limits
    chip_c, board_c = limits.chip_temp_c.release - 5.0, limits.board_temp_c.release - 5.0
    return ZoneInput(
        miners=tuple(
            MinerInput(device=device, age_s=0.5, state=MinerState.MINING, chip_c=chip_c, board_c=board_c)
            for device in _miners(site, zone)
        ),
        cooling_value=zone.cooling_proof.proven_above,
        cooling_others=(zone.cooling_proof.proven_above,) * len(zone.cooling_proof.others),
        cooling_points=tuple(actuator.fail_safe for actuator in zone.cooling_actuators),
        cooling_at_fail_safe=(False,) * len(zone.cooling_actuators),
        sensors={role: _probes(zone, role, _good(zone, role)) for role in probes.roles(zone)},
        contacts=tuple(ContactInput(name=contact.name, active=False) for contact in zone.contacts),
        bypass_key=None if zone.bypass_key is None else False,
    )


def _probes(zone: Zone, role: SensorRole, value: float | None) -> tuple[SensorInput, ...]:
    return tuple(
        SensorInput(device=DeviceId(sensor.device), value=value)
        for sensor in zone.sensors
        if sensor.role is role
    )


def _good(zone: Zone, role: SensorRole) -> float:
    """A value that none of the role's limits minds: between the low side's release and the high side's."""
    highs = [x.release for name in FEEDS[role] if isinstance(x := getattr(zone.limits, name), HighLimits)]
    lows = [x.release for name in FEEDS[role] if isinstance(x := getattr(zone.limits, name), LowLimits)]
    if highs and lows:
        return (highs[0] + lows[0]) / 2.0
    return highs[0] * 0.9 if highs else lows[0] * 1.1


# ---------------------------------------------------------------- dangers


def unsafe(site: SiteFile, zone: Zone, interlock: str) -> Unsafe:
    """The overlay that makes this interlock's input dangerous and leaves all else as it is."""
    if interlock.startswith("cap/"):
        cap = next(cap for cap in site.power_caps if f"cap/{cap.id}" == interlock)
        return lambda seen: _replace(
            seen, caps={**seen.caps, cap.id: _over(seen.caps.get(cap.id), cap.limits.trip * 1.05)}
        )
    change = _zone_danger(zone, interlock)
    return lambda seen: _replace(seen, zones={**seen.zones, zone.id: change(seen.zones[zone.id])})


def _over(seen: CapInput | None, value: float) -> CapInput:
    return CapInput(value=value) if seen is None else _replace(seen, value=value)


Change = Callable[[ZoneInput], ZoneInput]


def _zone_danger(zone: Zone, interlock: str) -> Change:
    chip_c, board_c = zone.limits.chip_temp_c.trip + 1.0, zone.limits.board_temp_c.trip + 1.0
    of_miners: dict[str, Change] = {
        CHIP: lambda seen: _miners_as(seen, 1, age_s=0.0, chip_c=chip_c),
        BOARD: lambda seen: _miners_as(seen, 1, age_s=0.0, board_c=board_c),
        ZONE_HOT: lambda seen: _miners_as(seen, len(seen.miners), age_s=0.0, chip_c=chip_c),
        ZONE_BLIND: lambda seen: _miners_as(seen, len(seen.miners), age_s=math.inf),
        ZONE_COOLING: _without_cooling,
    }
    if interlock in of_miners:
        return of_miners[interlock]
    if interlock.startswith("contact/"):
        return lambda seen: _replace(seen, contacts=_pressed(seen.contacts, interlock))
    role = next(role for role, names in FEEDS.items() if interlock in names)
    bad = _probes(zone, role, _bad(zone, interlock))
    return lambda seen: _replace(seen, sensors={**seen.sensors, role: bad})


def _without_cooling(seen: ZoneInput) -> ZoneInput:
    return _replace(seen, cooling_value=None, cooling_others=(None,) * len(seen.cooling_others))


def _miners_as(seen: ZoneInput, count: int, **fields: float) -> ZoneInput:
    """The first `count` miners with other readings, and running: a stopped one makes no heat to test with."""
    state = {} if math.isinf(fields["age_s"]) else {"state": MinerState.MINING}
    changed = tuple(_replace(miner, **state, **fields) for miner in seen.miners[:count])
    return _replace(seen, miners=(*changed, *seen.miners[count:]))


def _pressed(told: tuple[ContactInput, ...], interlock: str) -> tuple[ContactInput, ...]:
    return tuple(
        _replace(contact, active=True) if contacts.interlock(contact.name) == interlock else contact
        for contact in told
    )


def _bad(zone: Zone, name: str) -> float:
    limits: HighLimits | LowLimits = getattr(zone.limits, name)
    step = abs(limits.trip - limits.shed)
    return limits.trip + step if isinstance(limits, HighLimits) else limits.trip - step


def delay_s(site: SiteFile, zone: Zone, interlock: str) -> float:
    """How long the site file lets this interlock wait, s."""
    if interlock == ZONE_COOLING:
        return zone.cooling_proof.lost_after_s
    if interlock == ZONE_BLIND:
        return site.timing.lost_after_s
    if interlock.startswith("cap/"):
        return next(c.limits.on_delay_s for c in site.power_caps if f"cap/{c.id}" == interlock)
    if interlock.startswith("contact/"):
        return next(c.on_delay_s for c in zone.contacts if contacts.interlock(c.name) == interlock)
    if interlock in (CHIP, BOARD, ZONE_HOT):
        return 0.0
    limits: HighLimits | LowLimits = getattr(zone.limits, interlock)
    return limits.on_delay_s
