"""Mains and the UPS that carries the site while they are gone (UPS-MIB, RFC 1628; plant.md §6). Pure.

On battery for `on_delay_s`: nothing is raised. As the runtime falls below one stage after the other, miners
go to their safe preset and then stop; a stage that was entered stays, because a UPS promises more as soon as
its load is shed. When mains are back for `restore_after_s`, the zones restart what they stopped, in batches.

A UPS that is not heard holds everything and is told after 30 s, but stops nothing by itself as long as its
last word was "mains". If its last word was "battery", the runtime it last promised is counted down here.
"""

import msgspec

from edge_agent.config import Mains
from edge_agent.guardian.interlocks.inputs import Finding, Frozen, MainsClaim
from shared.alarms import EventKind, Severity

UNKNOWN_ALARM_S = 30.0
KEY = "mains"
UPS_KEY = "mains/ups"


class MainsInput(Frozen, frozen=True, kw_only=True):
    """What the UPS says at one step; None where it is not known."""

    on_battery: bool | None = None
    runtime_s: float | None = None


class MainsState(Frozen, frozen=True, kw_only=True):
    """What is remembered. A guardian that starts holds until it has seen mains for `restore_after_s`."""

    on_for_s: float = 0.0
    """On battery, by its last word, for so long."""
    off_for_s: float = 0.0
    lost: bool = False
    """On battery for `on_delay_s`, and not back for `restore_after_s` since."""
    settled: bool = False
    """Mains were seen for `restore_after_s` since the start or the last loss."""
    stage: int = 0
    """How many stages were entered."""
    runtime_s: float | None = None
    unknown_s: float = 0.0
    alarmed: bool = False


def step(
    state: MainsState, given: MainsInput, mains: Mains, dt: float
) -> tuple[MainsState, MainsClaim, list[Finding]]:
    """The mains after `dt` seconds, what that asks of every zone, and what people should know."""
    after = _heard(state, given, dt)
    if after.on_for_s > 0:
        after = _on_battery(after, given, mains, dt)
    elif given.on_battery is False and after.off_for_s >= mains.restore_after_s:
        after = msgspec.structs.replace(after, lost=False, settled=True, stage=0, runtime_s=None)
    return after, claim(after, given, mains), _told(state, after, mains)


def _heard(state: MainsState, given: MainsInput, dt: float) -> MainsState:
    """Times since the UPS's last word; a silent one is taken to be where it last was."""
    unknown_s = state.unknown_s + dt if given.on_battery is None else 0.0
    on_battery = state.on_for_s > 0 if given.on_battery is None else given.on_battery
    off = given.on_battery is False
    return msgspec.structs.replace(
        state,
        on_for_s=state.on_for_s + dt if on_battery else 0.0,
        off_for_s=state.off_for_s + dt if off else 0.0,
        unknown_s=unknown_s,
        alarmed=unknown_s > UNKNOWN_ALARM_S,
    )


def _on_battery(state: MainsState, given: MainsInput, mains: Mains, dt: float) -> MainsState:
    runtime_s = given.runtime_s
    if runtime_s is None and state.runtime_s is not None:
        runtime_s = max(state.runtime_s - dt, 0.0)
    elif runtime_s is None:  # never told: as little as the first stage is made for, counted down from there
        runtime_s = mains.stages[0].runtime_below_s
    lost = state.lost or state.on_for_s >= mains.on_delay_s
    below = sum(runtime_s < stage.runtime_below_s for stage in mains.stages)
    return msgspec.structs.replace(
        state,
        lost=lost,
        settled=state.settled and not lost,
        runtime_s=runtime_s,
        stage=max(state.stage, below) if lost else state.stage,
    )


def claim(state: MainsState, given: MainsInput, mains: Mains) -> MainsClaim:
    """What the state asks of every zone."""
    if state.stage:
        stop = mains.stages[state.stage - 1].stop
        return MainsClaim.STOP if stop else MainsClaim.SAFE_PRESET
    if state.lost or not state.settled or given.on_battery is None:
        return MainsClaim.HOLD
    return MainsClaim.NONE


def _told(before: MainsState, after: MainsState, mains: Mains) -> list[Finding]:
    found: list[Finding] = []
    if after.lost and not before.lost:
        found.append(_lost(after))
    if after.stage > before.stage:
        found.append(_stage(after, mains))
    if before.lost and not after.lost:
        title = f"Mains are back for {mains.restore_after_s:g} s; what was stopped restarts in batches"
        found.append(Finding(kind=EventKind.ALARM_CLEARED, severity=Severity.LOW, key=KEY, title=title))
    if after.alarmed is not before.alarmed:
        found.append(_silent(after, mains))
    return found


def _lost(state: MainsState) -> Finding:
    return Finding(
        kind=EventKind.ALARM,
        severity=Severity.URGENT,
        key=KEY,
        title=f"Mains are lost: the UPS carries the site, {state.runtime_s or 0.0:.0f} s by its own estimate",
        advice="Find out how long the outage lasts; miners are lowered and stopped as the runtime falls.",
        data={"runtime_s": state.runtime_s},
    )


def _stage(state: MainsState, mains: Mains) -> Finding:
    stage = mains.stages[state.stage - 1]
    done = "all miners stop" if stage.stop else "all miners go to their safe preset"
    return Finding(
        kind=EventKind.SHED,
        severity=Severity.URGENT,
        key=KEY,
        title=f"UPS runtime {state.runtime_s or 0.0:.0f} s is below {stage.runtime_below_s:g} s: {done}",
        advice="They come back by themselves, in batches, when mains have been back for a while; a zone that "
        "tripped meanwhile (its fans stood without mains) waits for your reset.",
        data={"runtime_s": state.runtime_s, "stage": state.stage},
    )


def _silent(state: MainsState, mains: Mains) -> Finding:
    if not state.alarmed:
        return Finding(
            kind=EventKind.ALARM_CLEARED,
            severity=Severity.LOW,
            key=UPS_KEY,
            title=f"{mains.device} is heard again",
        )
    last = "on battery: its runtime is counted down" if state.on_for_s > 0 else "on mains"
    return Finding(
        kind=EventKind.ALARM,
        severity=Severity.HIGH,
        key=UPS_KEY,
        title=f"{mains.device} is not heard, its last word was {last}; nothing is raised meanwhile",
        advice="Check the UPS's network card and its SNMP community.",
    )
