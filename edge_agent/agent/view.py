"""What the agent knows right now, for policies and for the status page. Filled by the guardian's messages.

One mutable object on one event loop; nothing here is durable and nothing here decides.
"""

from collections import deque
from typing import Final

from edge_agent.config import SiteFile
from edge_agent.ipc import Health, Hello, Inventory, Mode, Status, ZoneStatus
from shared.alarms import Event
from shared.capabilities import DeviceFacts
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import RollupRow, Sample

_LAST_EVENTS: Final = 50


class SiteView:
    """Last word of each source, with its time."""

    def __init__(self, site: SiteFile) -> None:
        self.site = site
        self.devices: dict[DeviceId, DeviceEntry] = {device.id: device for device in site.devices}
        self.facts: dict[DeviceId, DeviceFacts] = {}
        self.keep_days: dict[DeviceId, float] = {}
        """For how long raw values are worth keeping (days), where a device's profile says so."""
        self.hello: Hello | None = None
        self.status: Status | None = None
        self.status_at_s: float | None = None
        self.health: Health | None = None
        self.guardian_connected = False
        self.guardian_since_ms: int | None = None
        self.sample_ms: dict[DeviceId, int] = {}
        self.failures: dict[DeviceId, str] = {}
        self.rows: dict[DeviceId, RollupRow] = {}
        self.rows_taken = 0
        """How many rows came; rises with each one, whatever the wall clock does."""
        self.events: deque[Event] = deque(maxlen=_LAST_EVENTS)
        self.journal_cursor = 0
        self.quarantine: dict[str, int] = {}
        self.quarantine_last = ""

    @property
    def zones(self) -> dict[ZoneId, ZoneStatus]:
        """Zones as the guardian last said; empty before its first word and while it is away."""
        return self.status.zones if self.status is not None and self.guardian_connected else {}

    def mode_of(self, device: DeviceId) -> Mode | None:
        """Mode of the device's zone; None while unknown, which is no permission for anything."""
        entry = self.devices.get(device)
        zone = self.zones.get(entry.zone) if entry is not None else None
        return zone.mode if zone is not None else None

    def inhibited(self, device: DeviceId) -> bool:
        """Whether the guardian allows no raise there."""
        return any(device in zone.inhibited for zone in self.zones.values())

    def take_inventory(self, message: Inventory) -> None:
        """Part 0 of a whole inventory starts anew, the others and changes add to it."""
        if message.part == 0 and not message.change:
            self.devices, self.facts, self.keep_days = {}, {}, {}
        self.devices |= {device.id: device for device in message.devices}
        self.facts |= message.facts
        self.keep_days |= message.keep_days

    def take_sample(self, sample: Sample) -> None:
        if sample.failure is None:
            self.sample_ms[sample.device] = sample.at_ms
            self.failures.pop(sample.device, None)
        else:
            self.failures[sample.device] = sample.failure

    def take_rows(self, rows: list[RollupRow]) -> None:
        for row in rows:
            self.rows[row.device] = row
        self.rows_taken += len(rows)

    def quarantined(self, why: str, detail: str) -> None:
        """Count a message that could not be used."""
        self.quarantine[why] = self.quarantine.get(why, 0) + 1
        self.quarantine_last = detail
