"""Scheduled orders: stored on site, started and ended without the cloud, taken back at the end. Pure.

A window starts by the trusted time of day and ends by seconds counted from there. Its actions are wanted
until they are seen done; what is taken back is what the order says, else what ran before. A window that was
missed as a whole (no power, no time of day) is told and not made up for.
"""

import msgspec

from edge_agent.guardian.interlocks.inputs import Finding
from edge_agent.guardian.power.orders import PowerOrder
from edge_agent.ipc import StandingState
from shared.alarms import EventKind, Severity
from shared.commands import AnyAction, Curtail, DoActions, Schedule
from shared.ids import CommandId

MAX_SCHEDULES = 200
MAX_AHEAD_MS = 31 * 24 * 3_600_000
"""No window starts more than a month ahead: what was meant then nobody knows any more."""
MAX_WINDOW_MS = 7 * 24 * 3_600_000
GIVE_UP_S = 1800.0
"""A revert that is still refused after so long is left, and told."""

OVER = (StandingState.ENDED, StandingState.CANCELLED)
_replace = msgspec.structs.replace


class Scheduled(msgspec.Struct, frozen=True, kw_only=True):
    """One window and where it is."""

    id: CommandId
    actor: str
    schedule: Schedule
    state: StandingState = StandingState.SCHEDULED
    left_s: float | None = None
    """Of the window once it runs, of the revert after that."""
    before: tuple[AnyAction, ...] = ()
    """What brings back what ran before."""
    words: str = ""


class ScheduleOutput(msgspec.Struct, frozen=True, kw_only=True):
    """What one step of the schedules wants. `starting` are windows whose actions begin with this step."""

    schedules: tuple[Scheduled, ...]
    curtailments: tuple[PowerOrder, ...] = ()
    starting: tuple[CommandId, ...] = ()
    found: tuple[Finding, ...] = ()


def step(schedules: tuple[Scheduled, ...], now_ms: int | None, dt: float) -> ScheduleOutput:
    """All schedules after `dt` seconds; `now_ms` is the trusted UTC, None where there is none."""
    after: list[Scheduled] = []
    curtailments: list[PowerOrder] = []
    starting: list[CommandId] = []
    found: list[Finding] = []
    for entry in schedules:
        if entry.state is StandingState.SCHEDULED:
            moved = _due(entry, now_ms, found)
            if moved.state is StandingState.RUNNING and isinstance(entry.schedule.what, Curtail):
                curtailments.append(_curtailment(moved, entry.schedule.what))
                continue  # from here on it is a power order like any other, under the same id
            if moved.state is StandingState.RUNNING:
                starting.append(entry.id)
            after.append(moved)
        else:
            after.append(_runs(entry, dt, found))
    return ScheduleOutput(
        schedules=_recent(after),
        curtailments=tuple(curtailments),
        starting=tuple(starting),
        found=tuple(found),
    )


def _due(entry: Scheduled, now_ms: int | None, found: list[Finding]) -> Scheduled:
    window = entry.schedule
    if now_ms is None or now_ms < window.start_ms:
        return entry
    if now_ms >= window.end_ms:
        found.append(_missed(entry))
        return _replace(entry, state=StandingState.ENDED, words="its window was missed")
    found.append(_told(entry, "starts"))
    return _replace(entry, state=StandingState.RUNNING, left_s=(window.end_ms - now_ms) / 1000.0)


def _runs(entry: Scheduled, dt: float, found: list[Finding]) -> Scheduled:
    if entry.state in OVER or entry.left_s is None:
        return entry
    left_s = entry.left_s - dt
    if left_s > 0:
        return _replace(entry, left_s=left_s)
    if entry.state is StandingState.RUNNING:
        return taken_back(entry, "its window is over", found)
    found.append(_not_back(entry))
    return _replace(entry, state=StandingState.ENDED, left_s=None, words="not all of it came back")


def taken_back(entry: Scheduled, words: str, found: list[Finding]) -> Scheduled:
    """A running window on its way back."""
    found.append(_told(entry, f"ends, {words}: it is taken back"))
    return _replace(entry, state=StandingState.RESTORING, left_s=GIVE_UP_S, words=words)


def wanted(entry: Scheduled) -> tuple[AnyAction, ...]:
    """The actions that should be seen done now."""
    if entry.state is StandingState.RUNNING and isinstance(entry.schedule.what, DoActions):
        return entry.schedule.what.actions
    if entry.state is StandingState.RESTORING:
        return entry.schedule.revert or entry.before
    return ()


def refusal(schedule: Schedule, now_ms: int | None, count: int) -> str | None:
    """Why this schedule cannot be taken, or None."""
    if now_ms is None:
        return "this gateway does not know the time of day, so it takes no schedule"
    start_ms, end_ms = schedule.start_ms, schedule.end_ms
    reasons = (
        ("the window ends before it starts", end_ms <= start_ms),
        ("the window is over already", end_ms <= now_ms),
        ("the window starts more than 31 days ahead", start_ms > now_ms + MAX_AHEAD_MS),
        ("the window is longer than 7 days; make it a standing order", end_ms - start_ms > MAX_WINDOW_MS),
        (f"{MAX_SCHEDULES} schedules are stored already; cancel some", count >= MAX_SCHEDULES),
    )
    return next((why for why, holds in reasons if holds), None)


def _curtailment(entry: Scheduled, what: Curtail) -> PowerOrder:
    return PowerOrder(
        id=entry.id,
        actor=entry.actor,
        target_w=what.target_w,
        deadline_s=what.deadline_s,
        left_s=entry.left_s,
        end_ms=entry.schedule.end_ms,
        ramp_w_per_min=what.ramp_w_per_min,
        signal_s=what.signal_s,
    )


def _recent(entries: list[Scheduled]) -> tuple[Scheduled, ...]:
    over = [entry.id for entry in entries if entry.state in OVER]
    gone = set(over[:-50])
    return tuple(entry for entry in entries if entry.id not in gone)


def _told(entry: Scheduled, what: str) -> Finding:
    return Finding(
        kind=EventKind.ACTION,
        severity=Severity.LOW,
        key=f"schedule/{entry.id}",
        title=f"Schedule {entry.id} of {entry.actor} {what}",
        data={"id": entry.id},
    )


def _missed(entry: Scheduled) -> Finding:
    return Finding(
        kind=EventKind.ALARM,
        severity=Severity.HIGH,
        key=f"schedule/{entry.id}",
        title=f"Schedule {entry.id} was missed: the guardian did not run, or knew no time, in its window",
        advice="Send it again if it is still wanted; check the gateway's clock synchronisation.",
        data={"id": entry.id},
    )


def _not_back(entry: Scheduled) -> Finding:
    return Finding(
        kind=EventKind.ALARM,
        severity=Severity.LOW,
        key=f"schedule/{entry.id}",
        title=f"Not everything of schedule {entry.id} came back in {GIVE_UP_S / 60:.0f} minutes",
        advice="Look at the devices that it named, and set by hand what is missing.",
        data={"id": entry.id},
    )
