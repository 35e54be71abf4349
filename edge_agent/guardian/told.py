"""What the guardian says of itself: that it started, on which site file, and whom its devices trust."""

from edge_agent.guardian.interlocks.inputs import Finding
from shared.alarms import EventKind, Severity
from shared.ids import SiteId
from shared.inventory import DeviceEntry


def started(site: SiteId, boot: str, devices: int) -> Finding:
    """A new process is in charge."""
    return Finding(
        kind=EventKind.SYSTEM,
        severity=Severity.LOW,
        key="guardian/start",
        title=f"guardian of {site} started",
        data={"boot": boot, "devices": devices},
    )


def journal_damaged(what: str) -> Finding:
    """The journal on the disk is not what was written."""
    return Finding(
        kind=EventKind.ALARM,
        severity=Severity.HIGH,
        key="guardian/journal",
        title=f"the journal was damaged: {what}",
        advice="Run 'minewarden guardian verify-journal'; check the disk, and who was there.",
    )


def bad_site_file(what: str, why: str) -> Finding:
    """The present site file cannot be used; `what` the guardian does instead."""
    return Finding(
        kind=EventKind.ALARM,
        severity=Severity.URGENT,
        key="guardian/site-file",
        title=f"guardian {what}: {why.splitlines()[0]}",
        advice="Correct it ('minewarden check-config' names each line), then reload the service.",
    )


def model(text: str, kind: EventKind) -> Finding:
    """A model's assignment was taken (MODEL) or refused."""
    severity = Severity.LOW if kind is EventKind.MODEL else Severity.HIGH
    return Finding(kind=kind, severity=severity, key="model/assignment", title=text)


def keyring(text: str, kind: EventKind) -> Finding:
    """The keys that this guardian trusts changed (SYSTEM), or an update was refused."""
    severity = Severity.LOW if kind is EventKind.SYSTEM else Severity.HIGH
    return Finding(kind=kind, severity=severity, key="keyring", title=text)


def keyring_damaged() -> Finding:
    """The stored keyring update cannot be read."""
    return Finding(
        kind=EventKind.ALARM,
        severity=Severity.HIGH,
        key="keyring/damaged",
        title="the stored keyring is damaged: only root keys count, remote orders and models are refused",
        advice="Have the cloud deliver the newest signed keyring again; check the disk.",
    )


def default_password(entry: DeviceEntry, *, stands: bool) -> Finding:
    """A device still has, or no longer has, its vendor's password."""
    advice = "Set a password on the machine and store it with 'minewarden guardian credential set'."
    has = "still has its vendor's default password"
    return Finding(
        kind=EventKind.ALARM if stands else EventKind.ALARM_CLEARED,
        severity=Severity.LOW,
        key=f"default-password/{entry.id}",
        title=f"{entry.id} {has if stands else 'has a password of its own now'}",
        advice=advice if stands else "",
        zone=entry.zone,
        device=entry.id,
    )
