"""What the action limits look at in each zone: its hottest chip, and how far its temperature moved lately.

The zone's temperature is that of its inlet (air or water) probes, or of its chips where it has none; the
higher middle value of several, so that one that lies does not count (S05).
"""

import statistics
from collections import deque
from collections.abc import Mapping

from edge_agent.config import SensorRole, SiteFile, Zone
from edge_agent.guardian import views
from edge_agent.guardian.polling.board import NEVER, Last
from edge_agent.guardian.views import Trend
from shared.ids import DeviceId, ZoneId

EVERY_S = 5.0
_INLET = (SensorRole.INLET_AIR, SensorRole.WATER)


class Trends:
    """Looks at the board every few seconds; a gap in what it sees begins the window anew."""

    def __init__(self, site: SiteFile, *, window_s: float) -> None:
        self._zones = site.zones
        self._miners = views.miners_by_zone(site)
        self._stale_s = site.timing.stale_after_s
        self._lost_s = site.timing.lost_after_s
        self._window_s = window_s
        self._seen: dict[ZoneId, deque[tuple[float, float]]] = {zone.id: deque() for zone in site.zones}
        self._due_s = float("-inf")
        self.now: dict[ZoneId, Trend] = {zone.id: Trend() for zone in site.zones}

    def note(self, snapshot: Mapping[DeviceId, Last], now_s: float) -> None:
        """Take note of what is known now; more often than every `EVERY_S` does nothing."""
        if now_s < self._due_s:
            return
        self._due_s = now_s + EVERY_S
        for zone in self._zones:
            chips = self._chips(zone.id, snapshot, now_s)
            swing_k = self._swing(zone.id, self._temperature(zone, chips, snapshot, now_s), now_s)
            self.now[zone.id] = Trend(chip_c=max(chips, default=None), swing_k=swing_k)

    def is_due(self, now_s: float) -> bool:
        """Whether `note` would look: making a snapshot costs something."""
        return now_s >= self._due_s

    def _chips(self, zone: ZoneId, snapshot: Mapping[DeviceId, Last], now_s: float) -> list[float]:
        known = [snapshot.get(device, NEVER) for device in self._miners[zone]]
        return [
            last.chip_c
            for last in known
            if last.chip_c is not None and last.good is not None and now_s - last.good.at_s <= self._stale_s
        ]

    def _temperature(
        self, zone: Zone, chips: list[float], snapshot: Mapping[DeviceId, Last], now_s: float
    ) -> float | None:
        probes = [sensor for sensor in zone.sensors if sensor.role in _INLET]
        values = chips
        if probes:
            values = []
            for probe in probes:
                good = snapshot.get(DeviceId(probe.device), NEVER).good
                value = good.usable(probe.point) if good is not None else None
                if good is not None and value is not None and now_s - good.at_s <= self._lost_s:
                    values.append(value)
        return statistics.median_high(values) if values else None

    def _swing(self, zone: ZoneId, value: float | None, now_s: float) -> float | None:
        seen = self._seen[zone]
        if value is None or (seen and now_s - seen[-1][0] > 2 * EVERY_S):
            seen.clear()
        if value is None:
            return None
        seen.append((now_s, value))
        while len(seen) > 1 and now_s - seen[1][0] >= self._window_s:
            seen.popleft()
        if now_s - seen[0][0] < self._window_s:
            return None
        values = [entry[1] for entry in seen]
        return max(values) - min(values)
