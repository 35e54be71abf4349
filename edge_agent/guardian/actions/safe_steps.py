"""Tells people where a miner may not run the `safe_preset` that its site file names for it (S10)."""

from edge_agent.config import SiteFile
from edge_agent.guardian import ladder
from edge_agent.guardian.interlocks.inputs import Finding
from edge_agent.guardian.storage.recorder import Recorder
from shared.alarms import EventKind, Severity
from shared.capabilities import DeviceFacts
from shared.ids import DeviceId
from shared.inventory import DeviceEntry


class SafeSteps:
    """Looks at each ladder as it is read; one alarm per miner until its ladder has the step."""

    def __init__(self, site: SiteFile, recorder: Recorder) -> None:
        self._hydro = frozenset(zone.id for zone in site.zones if zone.cooling == "hydro")
        self._recorder = recorder
        self._without: set[DeviceId] = set()

    def note(self, entry: DeviceEntry, facts: DeviceFacts | None) -> None:
        """The facts of one device were read; None where they are not known."""
        wanted = entry.safe_preset
        if facts is None or wanted is None:
            return
        instead = ladder.safe(facts, wanted, hydro=entry.zone in self._hydro)
        lacks = instead != wanted
        if lacks == (entry.id in self._without):
            return
        (self._without.add if lacks else self._without.discard)(entry.id)
        self._recorder.record(_lacks(entry, wanted, instead) if lacks else _has(entry, wanted))


def _lacks(entry: DeviceEntry, wanted: str, instead: str | None) -> Finding:
    then = (
        "and no other step that it may run: nothing lowers it when the agent is lost or on battery"
        if instead is None
        else f"it goes to {instead!r} instead"
    )
    return Finding(
        kind=EventKind.ALARM,
        severity=Severity.LOW if instead is not None else Severity.HIGH,
        key=f"safe-preset/{entry.id}",
        title=f"{entry.id} may not run its safe_preset {wanted!r}, {then}",
        advice="Name a tuned step of this unit's own ladder as its safe_preset in the site file.",
        zone=entry.zone,
        device=entry.id,
    )


def _has(entry: DeviceEntry, wanted: str) -> Finding:
    return Finding(
        kind=EventKind.ALARM_CLEARED,
        severity=Severity.LOW,
        key=f"safe-preset/{entry.id}",
        title=f"{entry.id} may run its safe_preset {wanted!r}",
        zone=entry.zone,
        device=entry.id,
    )
