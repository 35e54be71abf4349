"""First-out capture: what tripped first, and the inputs from a minute before to a minute after (S23).

The ring of samples holds more than two minutes, so nothing is buffered twice: at the trip the minute before
is written at once (a crash keeps it), and a minute later the file is written again with both halves. Trips of
one zone that follow within that minute join the capture of the first: their order is the story.
"""

import asyncio
import logging
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from edge_agent.guardian.polling.ring import Kept, Ring
from edge_agent.guardian.storage import durable
from edge_agent.ipc import TripInfo
from shared.clock import Clock
from shared.errors import StoreError
from shared.ids import DeviceId, ZoneId
from shared.telemetry import DeviceKind, Sample

log = logging.getLogger(__name__)

BEFORE_S = 75.0
"""A minute, and one slow sweep more, so that what stood a minute before is among it."""
AFTER_S = 60.0
KEEP = 40
"""Captures kept; the oldest go first (about 1.5 MB each for a zone of 1,000 miners)."""


class Capture(msgspec.Struct, frozen=True, kw_only=True):
    """One story: its trips in the order they fired, and every sample around the first.

    `at_s` is the first trip on the guardian's monotonic clock, `offsets_s` when each trip fired after it.
    """

    zone: ZoneId
    at_s: float
    at_ms: int
    trips: tuple[TripInfo, ...]
    offsets_s: tuple[float, ...]
    samples: tuple[Sample, ...]
    complete: bool = False
    zone_devices: tuple[DeviceId, ...] = ()
    """What is not a miner in the trip's zone; samples do not say where their device stands."""


class Captures:
    """The folder of captures. `tripped` is called on the event loop; files are written in a thread."""

    def __init__(
        self,
        folder: Path,
        ring: Ring,
        places: Mapping[DeviceId, tuple[ZoneId, DeviceKind]],
        clock: Clock,
        *,
        background: Callable[[Awaitable[None]], None],
    ) -> None:
        self._folder = folder
        self._ring = ring
        self._places = places
        self._clock = clock
        self._background = background
        self._open: dict[ZoneId, Capture] = {}

    def tripped(self, trip: TripInfo) -> None:
        """A trip fired: open its zone's capture, or join the one that is open."""
        now_s = self._clock.monotonic()
        story = self._open.get(trip.zone)
        if story is not None:
            self._open[trip.zone] = msgspec.structs.replace(
                story, trips=(*story.trips, trip), offsets_s=(*story.offsets_s, now_s - story.at_s)
            )
            return
        self._open[trip.zone] = Capture(
            zone=trip.zone,
            at_s=now_s,
            at_ms=trip.at_ms,
            trips=(trip,),
            offsets_s=(0.0,),
            samples=(),
            zone_devices=tuple(
                device
                for device, (where, kind) in self._places.items()
                if where == trip.zone and kind is not DeviceKind.MINER
            ),
        )
        self._background(self._follow(trip.zone))

    async def _follow(self, zone: ZoneId) -> None:
        await self._write(self._open[zone])
        await self._clock.sleep(max(self._open[zone].at_s + AFTER_S - self._clock.monotonic(), 0.0))
        await self._write(msgspec.structs.replace(self._open.pop(zone), complete=True))

    async def _write(self, story: Capture) -> None:
        """With the samples so far: the zone's devices, and what is not a miner anywhere on the site."""
        around = self._ring.between(story.at_s - BEFORE_S, story.at_s + AFTER_S)
        try:
            await asyncio.to_thread(self._save, story, around)
        except StoreError:
            log.exception("capture of %s is not stored", story.trips[0].id)

    def _save(self, story: Capture, around: Iterator[Kept]) -> None:
        wanted = {
            device
            for device, (where, kind) in self._places.items()
            if where == story.zone or kind is not DeviceKind.MINER
        }
        samples = tuple(msgspec.Raw(kept.packed) for kept in around if kept.device in wanted)
        whole = {**msgspec.structs.asdict(story), "samples": samples}
        durable.private_folder(self._folder)
        durable.replace(self._folder / _name(story), zlib.compress(msgspec.msgpack.encode(whole), 6))
        for old in stored(self._folder)[:-KEEP]:
            old.unlink(missing_ok=True)


def _name(story: Capture) -> str:
    return f"{story.at_ms:015d}-{story.zone}.capture"


def stored(folder: Path) -> list[Path]:
    """Capture files, oldest first."""
    return sorted(folder.glob("*.capture"))


def find(folder: Path, trip: str) -> Capture | None:
    """The capture that holds this trip, or None. Damaged files are passed over."""
    for path in reversed(stored(folder)):
        try:
            story = msgspec.msgpack.decode(zlib.decompress(path.read_bytes()), type=Capture)
        except (OSError, zlib.error, msgspec.DecodeError):
            log.warning("%s cannot be read", path.name)
            continue
        if any(known.id == trip for known in story.trips):
            return story
    return None
