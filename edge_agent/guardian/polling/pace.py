"""How soon a device that answers is read again.

Every device has its plain cadence. It is read `FASTER` times as often while its last sample shows that
something is going on: it is in transition (starting, stopping, restarting), or warm. *Warm* is at or above
the `release` limit of its zone, the value below which the site's own file calls a miner cool again; no number
of ours is in that. At most `SHARE` of the devices are hurried at a time, the first that ask: a whole site
that starts at once, or a hot day, is watched at the plain cadence rather than too late.

Devices that fail are slowed down by `backoff`; those that decide trips have their own `cadence`.
"""

from collections.abc import Mapping

import msgspec

from edge_agent.config import SiteFile
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import Sample

FASTER = 2.0
SHARE = 0.1
AT_LEAST = 8
"""So many may always be hurried, on however small a site."""


class Warm(msgspec.Struct, frozen=True, kw_only=True):
    """From which temperatures (°C) a miner of one zone is warm."""

    chip_c: float
    board_c: float

    def is_met(self, sample: Sample) -> bool:
        """Whether a usable reading of the sample is that warm; one without temperatures is not."""
        chip_c, board_c = sample.usable("chip_temp_max_c"), sample.usable("board_temp_max_c")
        return (chip_c is not None and chip_c >= self.chip_c) or (
            board_c is not None and board_c >= self.board_c
        )


def warm_of(site: SiteFile) -> dict[ZoneId, Warm]:
    """The zones' own `release` limits."""
    return {
        zone.id: Warm(chip_c=zone.limits.chip_temp_c.release, board_c=zone.limits.board_temp_c.release)
        for zone in site.zones
    }


class Pace:
    """Who is hurried now, among `devices` of them."""

    def __init__(self, warm: Mapping[ZoneId, Warm], devices: int) -> None:
        self._warm = warm
        self._most = max(int(devices * SHARE), AT_LEAST)
        self._hurried: set[DeviceId] = set()

    @property
    def hurried(self) -> frozenset[DeviceId]:
        """Devices that are read faster now."""
        return frozenset(self._hurried)

    def period_s(self, entry: DeviceEntry, sample: Sample, plain_s: float) -> float:
        """Seconds from the read that brought this sample to the next."""
        if sample.failure is not None or not self._is_busy(entry, sample):
            self._hurried.discard(entry.id)
            return plain_s
        if entry.id not in self._hurried:
            if len(self._hurried) >= self._most:
                return plain_s
            self._hurried.add(entry.id)
        return plain_s / FASTER

    def _is_busy(self, entry: DeviceEntry, sample: Sample) -> bool:
        if sample.state is not None and sample.state.settling:
            return True
        warm = self._warm.get(entry.zone)
        return warm is not None and warm.is_met(sample)
