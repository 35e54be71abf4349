"""What a zone wants done: stops, lower presets, cooling, starts.

Demands are levels, not edges: they are repeated at every step until they are seen to be so. Load comes before
cooling in the list, and cooling is switched off (smoke) only once the stops of an earlier step are out (S12).
"""

import math

from edge_agent.config import CoolingActuator, FansAfterTrip, Timing, Zone
from edge_agent.guardian.interlocks import contacts, levels, miners, probes, restart
from edge_agent.guardian.interlocks.inputs import Demand, DemandKind, MainsClaim, ZoneInput
from edge_agent.guardian.interlocks.quantities import QUANTITIES, beyond
from edge_agent.guardian.interlocks.stale import Sight
from edge_agent.guardian.interlocks.state import SafeWhy, ZoneState
from edge_agent.ipc import Mode
from shared.commands import Priority, SetPoint
from shared.ids import DeviceId


def of_zone(
    before: ZoneState, state: ZoneState, inputs: ZoneInput, zone: Zone, timing: Timing
) -> tuple[Demand, ...]:
    """All demands of one step from `before` to `state`, the most urgent first."""
    stops = _stops(state)
    stopping = {demand.device for demand in stops}
    sheds = [demand for demand in _sheds(state, inputs, zone, timing) if demand.device not in stopping]
    baseline = [demand for demand in _baseline(state, inputs, timing) if demand.device not in stopping]
    cooling = _cooling(before, state, inputs, zone, timing)
    return (*stops, *cooling, *sheds, *baseline, *restart.demands(state, inputs, zone))


def _stops(state: ZoneState) -> list[Demand]:
    """Who is not seen stopped and must be. Mains that are gone outrank a local operator as a trip does.

    A miner that was seen stopped and is lost since may have rebooted and mine again (miners.md §1.7): lost
    counts as running, so a trip asks it as well.
    """
    whole = state.mode is Mode.TRIPPED
    mains = state.mains is MainsClaim.STOP
    asked = state.mode is Mode.SAFE and state.safe_why is SafeWhy.STOP
    latched = state.latched
    if not (whole or mains or asked or latched):
        return []
    found: list[Demand] = []
    for device, track in state.miners.items():
        tripped = whole or device in latched
        urgent = tripped or mains
        seen_stopped = track.stopped and not (urgent and track.watch.sight is Sight.LOST)
        if seen_stopped or not (urgent or asked):
            continue
        found.append(
            Demand(
                kind=DemandKind.STOP,
                device=device,
                priority=Priority.TRIP if urgent else Priority.SAFE,
                why="trip" if tripped else "mains are gone" if mains else "safe-stop",
            )
        )
    return found


# ---------------------------------------------------------------- shed


def _sheds(state: ZoneState, inputs: ZoneInput, zone: Zone, timing: Timing) -> list[Demand]:
    """Worst first: where the arbiter or the network is slow, the hottest miner goes down first."""
    whys: dict[DeviceId, str] = {}
    over: list[tuple[float, DeviceId]] = []
    for miner in inputs.miners:
        track = state.miners[miner.device]
        if track is miners.CALM:
            continue
        excess_c = miners.excess(miner, zone.limits, track, timing)
        if excess_c is not None:
            over.append((-excess_c, miner.device))
    for negative, device in sorted(over):
        whys[device] = f"{-negative:.1f} °C above its shed limit"
    for claim in state.feeders:
        for device in claim.lower:
            if _may_step(state, device):
                whys.setdefault(device, f"power cap {claim.cap} is above its shed limit")
    why = _whole_zone(state, zone)
    if why is not None:
        for device in _hottest_first(inputs, zone, timing):
            if _may_step(state, device):
                whys.setdefault(device, why)
    return [
        Demand(kind=DemandKind.LOWER, device=device, priority=Priority.TRIP, why=why)
        for device, why in whys.items()
    ]


def _whole_zone(state: ZoneState, zone: Zone) -> str | None:
    """Which of the zone's quantities wants every miner one step lower now, in words."""
    names = state.bypasses.names
    for role, group in state.probes.items():
        name = probes.sheds(group, role, zone, names)
        if name is not None:
            side = beyond(probes.fed(role, zone)[name])
            return f"{QUANTITIES[name].words} of the zone is {side} its shed limit"
    return None


def _may_step(state: ZoneState, device: DeviceId) -> bool:
    """One step at a time: the next only when the last one had time to show. Who is not heard takes none."""
    track = state.miners.get(device)
    if track is None or track.stopped or track.watch.sight in (Sight.STALE, Sight.LOST):
        return False
    return track.shed_wait_s <= 0


def _hottest_first(inputs: ZoneInput, zone: Zone, timing: Timing) -> list[DeviceId]:
    """By how close the hottest chip is to its own limit; what is not known counts as hottest."""

    def coolness(chip_c: float | None) -> float:
        limits = zone.limits.chip_temp_c
        return -math.inf if chip_c is None else -levels.excess(chip_c, limits.shed, limits)

    ranked = [(coolness(miners.values(m, timing)[0]), m.device) for m in inputs.miners]
    return [device for _, device in sorted(ranked)]


# ---------------------------------------------------------------- baseline


def _baseline(state: ZoneState, inputs: ZoneInput, timing: Timing) -> list[Demand]:
    """Safe presets: in SAFE without a lease, and on battery."""
    mains = state.mains is MainsClaim.SAFE_PRESET and state.mode not in (Mode.MANUAL, Mode.TRIPPED)
    if not mains and not _leaderless(state, inputs, timing):
        return []
    return [
        Demand(
            kind=DemandKind.SAFE_PRESET,
            device=device,
            priority=Priority.SAFE,
            why="on battery: safe presets" if mains else "no lease: safe set-points",
        )
        for device, track in state.miners.items()
        if track.heard and not track.stopped
    ]


def _leaderless(state: ZoneState, inputs: ZoneInput, timing: Timing) -> bool:
    return state.mode is Mode.SAFE and inputs.lease_overdue_s >= timing.lease_safe_s


# ---------------------------------------------------------------- cooling


def _cooling(
    before: ZoneState, state: ZoneState, inputs: ZoneInput, zone: Zone, timing: Timing
) -> list[Demand]:
    """Cooling fails on (S11): while tripped, and in SAFE for every reason but a plain start."""
    if state.mode is Mode.TRIPPED:
        fans = fans_after(state, zone)
    elif _leaderless(state, inputs, timing) or (
        state.mode is Mode.SAFE and state.safe_why in (SafeWhy.STOP, SafeWhy.RESET)
    ):
        fans = FansAfterTrip.ON
    else:
        return []
    if fans is FansAfterTrip.LEAVE or (fans is FansAfterTrip.OFF and before.mode is not Mode.TRIPPED):
        return []
    off = fans is FansAfterTrip.OFF
    there = (
        *(inputs.cooling_at_off if off else inputs.cooling_at_fail_safe),
        *(False,) * len(zone.cooling_actuators),
    )
    return [
        _setpoint(actuator, off=off)
        for actuator, done in zip(zone.cooling_actuators, there, strict=False)
        if not done
    ]


def fans_after(state: ZoneState, zone: Zone) -> FansAfterTrip:
    """What the standing trips of a zone want of its fans: off (fire) outranks on (heat) outranks leave."""
    fans = {contacts.interlock(contact.name): contact.fans for contact in zone.contacts}
    wants = {fans.get(trip.interlock) or FansAfterTrip.ON for trip in state.zone_trips}
    if FansAfterTrip.OFF in wants:
        return FansAfterTrip.OFF
    return FansAfterTrip.LEAVE if wants == {FansAfterTrip.LEAVE} else FansAfterTrip.ON


def _setpoint(actuator: CoolingActuator, *, off: bool) -> Demand:
    value = actuator.off if off and actuator.off is not None else actuator.fail_safe
    device = DeviceId(actuator.device)
    return Demand(
        kind=DemandKind.COOLING,
        device=device,
        priority=Priority.TRIP,
        why="smoke: the load was told to stop, cooling goes off" if off else "cooling fails on",
        action=SetPoint(device=device, point=actuator.point, value=value),
    )
