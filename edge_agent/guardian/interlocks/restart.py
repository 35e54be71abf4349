"""Bringing miners back after a trip or a safe-stop: cooling proven first, then batch by batch (S08, S12).

The core only asks; how many starts fit into a window is the arbiter's. A batch is what the arbiter let
through before the first read-back; the next is asked for when every start of it is confirmed.
"""

import msgspec

from edge_agent.config import Timing, Zone
from edge_agent.guardian.interlocks import findings, inhibits
from edge_agent.guardian.interlocks.inputs import Demand, DemandKind, Finding, MainsClaim, ZoneInput
from edge_agent.guardian.interlocks.state import SafeWhy, ZoneState
from edge_agent.ipc import Mode
from shared.commands import Priority
from shared.ids import DeviceId, ZoneId
from shared.telemetry import MinerState

MAX_STARTS = 3
"""Permitted starts without a confirmation before a miner is left stopped."""


def allowed(state: ZoneState) -> bool:
    """Whether miners may be brought back in this zone now."""
    if state.zone_trips or state.mode in (Mode.TRIPPED, Mode.MANUAL):
        return False
    return not (state.mode is Mode.SAFE and state.safe_why is SafeWhy.STOP)


def step(
    state: ZoneState, inputs: ZoneInput, zone: ZoneId, timing: Timing
) -> tuple[ZoneState, list[Finding]]:
    """Take note of starts that were permitted, confirmed or given up."""
    if not state.pending:
        return state, []
    started = {miner.device for miner in inputs.miners if any(c.start for c in miner.commanded)}
    starting = [d for d in state.pending if d in state.starting or d in started]
    if not allowed(state) or inputs.mains is not MainsClaim.NONE:
        return msgspec.structs.replace(state, starting=()), []
    starting = [d for d in starting if d not in inputs.held]
    running = {miner.device for miner in inputs.miners if _runs(miner.age_s, miner.state, timing)}
    confirmed = [d for d in starting if d in running]
    gone = [d for d in starting if d not in running and _gave_up(state, d)]
    pending = tuple(d for d in state.pending if d in inputs.held or (d not in running and d not in gone))
    # One that fell silent under its start (a breaker, a dead supply) must not hold up the others; it stays
    # in `pending` and has its turn when it is heard again.
    starting = [d for d in starting if d in pending and not _is_silent(state, d)]
    found = [findings.will_not_start(zone, d, MAX_STARTS) for d in gone]
    batch, batches = state.batch + len(confirmed), state.batches
    if batch and not starting:
        found.append(findings.batch_confirmed(zone, batch, len(pending)))
        batch, batches = 0, batches + 1
    after = msgspec.structs.replace(
        state, pending=pending, starting=tuple(starting), batch=batch, batches=batches
    )
    return after, found


def _runs(age_s: float, state: MinerState | None, timing: Timing) -> bool:
    """Seen drawing power, and not on its way down."""
    fresh = age_s <= timing.stale_after_s and state is not None
    return (
        fresh
        and state is not MinerState.SHUTTING_DOWN
        and state is not MinerState.UNKNOWN
        and (state is not None and state.draws_power)
    )


def _gave_up(state: ZoneState, device: DeviceId) -> bool:
    track = state.miners.get(device)
    return track is not None and track.starts > MAX_STARTS


def _is_silent(state: ZoneState, device: DeviceId) -> bool:
    track = state.miners.get(device)
    return track is not None and track.watch.alarmed


def demands(state: ZoneState, inputs: ZoneInput, zone: Zone) -> list[Demand]:
    """Starts wanted now: the open batch again, or the rest where no batch is open.

    Not while mains are gone or the zone is inhibited, and never of a miner that a power order holds stopped.
    """
    if not state.pending or not allowed(state) or not state.cooling.proven:
        return []
    if inhibits.of_zone(state, zone) is not None:
        return []
    latched = state.latched
    wanted = state.starting or tuple(device for device in state.pending if device not in inputs.held)
    return [
        Demand(
            kind=DemandKind.START,
            device=device,
            priority=Priority.SAFE,
            why="restart after a stop by the guardian",
        )
        for device in wanted
        if device not in latched and device in state.miners and state.miners[device].stopped
    ]


def unfinished(state: ZoneState, inputs: ZoneInput) -> bool:
    """Whether SAFE must wait: miners that answer are to be restarted and no batch is confirmed yet."""
    reachable = any(
        device in state.miners and device not in inputs.held and not state.miners[device].watch.sight.unknown
        for device in state.pending
    )
    return reachable and state.batches == 0
