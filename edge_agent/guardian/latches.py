"""Latched trips and what else must survive kill -9 and a power cut (S07).

One small file, replaced as a whole. A damaged file trips every zone: what was latched is not known, and
unknown is unsafe; a person looks and resets.
"""

import logging
from pathlib import Path

from edge_agent.config import SiteFile
from edge_agent.guardian import durable
from edge_agent.guardian.interlocks.state import DAMAGED, Durable, Trip
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
            return durable.unseal(data, dict[ZoneId, Durable])
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
