"""Latched trips and what else must survive kill -9 and a power cut (S07).

One small file, replaced as a whole. A damaged file trips every zone: what was latched is not known, and
unknown is unsafe; a person looks and resets. A site file that was edited meanwhile clears nothing: a miner's
latch follows the miner into its zone, and what was kept of a zone that has gone (renamed, split) counts for
the zones that are new, or for all where none is.
"""

import logging
from pathlib import Path

import msgspec

from edge_agent.config import SiteFile
from edge_agent.guardian.interlocks.state import DAMAGED, Durable, SafeWhy, Trip
from edge_agent.guardian.storage import durable
from edge_agent.ipc import Mode
from shared.errors import StoreError
from shared.ids import ZoneId

log = logging.getLogger(__name__)


class Latches:
    """The file of latches. `save` is called by the interlock thread and waits for the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self, site: SiteFile, *, at_ms: int) -> dict[ZoneId, Durable]:
        """What was kept; nothing on the first start, a trip of every zone where the file is damaged."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            return self._all_tripped(site, f"cannot be read: {error.strerror}", at_ms)
        try:
            return placed(durable.unseal(data, dict[ZoneId, Durable]), site)
        except StoreError as error:
            return self._all_tripped(site, str(error), at_ms)

    def _all_tripped(self, site: SiteFile, why: str, at_ms: int) -> dict[ZoneId, Durable]:
        log.error("%s: %s; every zone is tripped until a person resets it", self._path, why)
        return {
            zone.id: Durable(
                mode=Mode.TRIPPED,
                trips=(
                    Trip(
                        id=f"{DAMAGED}-{zone.id}-{at_ms}",
                        interlock=DAMAGED,
                        at_ms=at_ms,
                        first_out=f"latch file is damaged ({why}); what was latched is not known",
                    ),
                ),
            )
            for zone in site.zones
        }

    def save(self, kept: dict[ZoneId, Durable]) -> None:
        """Replace the file and wait for the disk. Raises `StoreError`."""
        durable.replace(self._path, durable.seal(kept))


def placed(kept: dict[ZoneId, Durable], site: SiteFile) -> dict[ZoneId, Durable]:
    """What was kept, put where the site file of today has its zones and miners."""
    zones = [zone.id for zone in site.zones]
    where = {entry.id: entry.zone for entry in site.devices}
    homes = {zone: [zone] if zone in zones else [z for z in zones if z not in kept] or zones for zone in kept}
    found = {zone: Durable() for zone in zones}
    for old, entry in kept.items():
        for zone in homes[old]:
            found[zone] = _stricter(found[zone], entry)
        for trip in entry.trips:
            for zone in homes[old] if trip.device is None else [where.get(trip.device, homes[old][0])]:
                found[zone] = msgspec.structs.replace(found[zone], trips=_with(found[zone].trips, trip))
        for device in entry.pending:
            zone = where.get(device, homes[old][0])
            found[zone] = msgspec.structs.replace(found[zone], pending=(*found[zone].pending, device))
    return found


def _stricter(one: Durable, other: Durable) -> Durable:
    """`one` with the mode of whichever lets less happen: tripped, safe-stop, manual, after a reset, start."""
    mode = max((one, other), key=_strictness)
    why = SafeWhy.STOP if SafeWhy.STOP in (one.safe_why, other.safe_why) else mode.safe_why
    return msgspec.structs.replace(one, mode=mode.mode, safe_why=why)


def _strictness(entry: Durable) -> int:
    if entry.mode is Mode.SAFE:
        return {SafeWhy.STOP: 3, SafeWhy.RESET: 1}.get(entry.safe_why, 0)
    return 4 if entry.mode is Mode.TRIPPED else 2


def _with(trips: tuple[Trip, ...], trip: Trip) -> tuple[Trip, ...]:
    return trips if any(known.id == trip.id for known in trips) else (*trips, trip)
