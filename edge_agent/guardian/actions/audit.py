"""What the journal says about writes: refused, intended, done, and not confirmed."""

import msgspec

from edge_agent.guardian.arbiter import Permit
from edge_agent.guardian.interlocks.inputs import Finding
from edge_agent.guardian.requests import Refusal
from edge_agent.ipc import Outcome
from shared.alarms import EventKind, Severity
from shared.commands import (
    AnyAction,
    SetPreset,
    StartMining,
    StopMining,
    SwitchOutlet,
    WriteRecord,
    WriteResult,
)
from shared.ids import ZoneId
from shared.inventory import DeviceEntry


def refused(refusal: Refusal, entry: DeviceEntry | None) -> Finding:
    """The arbiter said no; `entry` is None for a device that is not in the site file."""
    request = refusal.request
    return Finding(
        kind=EventKind.REFUSED,
        severity=Severity.LOW,
        key=f"refused/{request.id}",
        title=f"refused for {request.action.device}: {refusal.violations[0]}",
        zone=entry.zone if entry else None,
        device=entry.id if entry else None,
        data={
            "id": request.id,
            "source": str(request.source),
            "why": request.why,
            "asked": told(request.action),
            "violations": "; ".join(refusal.violations),
        },
    )


def not_stopped(entry: DeviceEntry, record: WriteRecord, *, cut: bool) -> Finding:
    """A stop was not confirmed in `stop_confirm_s`; `cut` says whether its outlet is being switched off."""
    return Finding(
        kind=EventKind.ALARM,
        severity=Severity.URGENT,
        key=f"stop/{entry.id}",
        title=f"{entry.id} did not confirm its stop ({record.result}: {record.detail})",
        advice="Its outlet is being cut; look at the machine before you switch it on again."
        if cut
        else "Go and switch this miner off at its breaker or plug.",
        zone=entry.zone,
        device=entry.id,
    )


def not_cut(entry: DeviceEntry, record: WriteRecord) -> Finding:
    """The outlet of a miner that did not stop is not seen off either."""
    return Finding(
        kind=EventKind.ALARM,
        severity=Severity.URGENT,
        key=f"stop/{entry.id}",
        title=f"the outlet of {entry.id} is not seen off ({record.result}: {record.detail})",
        advice="Go and switch this miner off at its breaker or plug.",
        zone=entry.zone,
        device=entry.id,
    )


def written(permit: Permit, record: WriteRecord, entry: DeviceEntry) -> Finding:
    """One write came to its end."""
    request = permit.request
    applied = record.result is WriteResult.APPLIED
    data: dict[str, str | int | float | bool | None] = {
        "id": request.id,
        "source": str(request.source),
        "why": request.why,
        "asked": told(request.action),
        "applied": told(permit.action),
        "narrowed": permit.narrowed,
        "result": str(record.result),
        "before": record.before,
        "after": record.after,
        "took_s": round(record.took_s, 3),
        "confidence": request.confidence,
    }
    if request.model is not None:
        data["model"] = f"{request.model.name} v{request.model.version}"
    return Finding(
        kind=EventKind.ACTION,
        severity=Severity.LOW if applied else Severity.HIGH,
        key=f"action/{request.id}",
        title=f"{entry.id}: {told(permit.action)} is {record.result}"
        + (f" ({record.detail})" if record.detail else ""),
        advice="" if applied else "Read the device's own page; the guardian repeats what it must.",
        zone=entry.zone,
        device=entry.id,
        data=data,
    )


def intent(permit: Permit, entry: DeviceEntry) -> Finding:
    """What must be on the disk before a raise goes out."""
    return Finding(
        kind=EventKind.ACTION,
        severity=Severity.LOW,
        key=f"action/{permit.request.id}",
        title=f"{entry.id}: {told(permit.action)} is permitted",
        zone=entry.zone,
        device=entry.id,
        data={"id": permit.request.id, "source": str(permit.request.source), "why": permit.request.why},
    )


def outcome(outcome: Outcome, zone: ZoneId) -> Finding:
    """What an applied action did, once it settled; or that it was taken back because of a limit."""
    numbers: dict[str, str | int | float | bool | None] = {
        f"{name}_{when}": value if value is None else round(value, 3)
        for when, effect in (("before", outcome.before), ("after", outcome.after))
        for name, value in msgspec.structs.asdict(effect).items()
    }
    back = outcome.rolled_back
    title = f"{outcome.action.device}: {told(outcome.action)} has settled"
    if outcome.disturbed is not None:
        title = f"{outcome.action.device}: {told(outcome.action)} cannot be judged: {outcome.disturbed}"
    return Finding(
        kind=EventKind.ACTION,
        severity=Severity.LOW if back is None else Severity.HIGH,
        key=f"outcome/{outcome.id}",
        title=title
        if back is None
        else f"{outcome.action.device}: {told(outcome.action)} taken back: {back}",
        advice="" if back is None else "Find out why there was no room before you raise it again.",
        zone=zone,
        device=outcome.action.device,
        data={"id": outcome.id, "action": told(outcome.action), "window_s": outcome.window_s, **numbers},
    )


def told(action: AnyAction) -> str:
    """An action in words, for titles and the audit."""
    match action:
        case SetPreset(preset=preset):
            return f"preset {preset}"
        case StopMining():
            return "stop"
        case StartMining():
            return "start"
        case SwitchOutlet(outlet=outlet, on=on):
            return f"outlet {outlet} {'on' if on else 'off'}"
    return f"{action.point} = {action.value:g}"
