"""Model files in chunks over MQTT, for sites with no HTTPS way to the cloud.

A site asks for the parts it lacks, so a transfer resumes by itself. Only files of models that were
assigned to the site are served, one request at a time, each part waiting for the broker.
"""

import asyncio
import hashlib
import logging

from cloud.ingest.decoding import Wanted
from cloud.kit.broker import Link
from cloud.kit.database import Database
from cloud.kit.problems import Unavailable
from cloud.models.blobs import BlobStore
from cloud.rollouts import repository
from shared.errors import ArtifactError
from shared.ids import SiteId
from shared.wire import codec, topics
from shared.wire.envelope import CHUNK_BYTES, Chunk

MAX_WAITING = 64
MAX_PER_REQUEST = 256
_log = logging.getLogger(__name__)


class ChunkServer:
    """Answers `up/get`."""

    def __init__(self, link: Link, database: Database, blobs: BlobStore) -> None:
        self._link = link
        self._database = database
        self._blobs = blobs
        self._queue: asyncio.Queue[Wanted] = asyncio.Queue(MAX_WAITING)

    def ask(self, wanted: Wanted) -> None:
        """Take a request; dropped where too many wait, because the site asks again."""
        if self._queue.full():
            _log.warning("chunk request of site %s is dropped: too many wait", wanted.site)
            return
        self._queue.put_nowait(wanted)

    async def run(self) -> None:
        """Serve for ever; ends only by cancellation."""
        while True:
            wanted = await self._queue.get()
            try:
                await self.serve(wanted)
            except (Unavailable, ArtifactError) as error:
                _log.warning("chunks for site %s: %s", wanted.site, error)
            except Exception:  # noqa: BLE001 - supervisor: one bad request must not end the server
                _log.exception("chunks for site %s", wanted.site)

    async def serve(self, wanted: Wanted) -> int:
        """Send the parts that were asked for and exist; how many were sent."""
        site, sha256 = wanted.site, wanted.request.sha256
        async with self._database.read() as session:
            if not await repository.may_fetch(session, site, sha256):
                raise ArtifactError(f"no model with file {sha256[:64]!r} was assigned to this site")
        data = await self._blobs.get(sha256)
        total = max(1, -(-len(data) // CHUNK_BYTES))
        numbers = [number for number in wanted.request.chunks[:MAX_PER_REQUEST] if 0 <= number < total]
        for number in numbers:
            await self._send(site, sha256, number, total, data)
        return len(numbers)

    async def _send(self, site: SiteId, sha256: str, number: int, total: int, data: bytes) -> None:
        part = data[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES]
        chunk = Chunk(
            sha256=sha256,
            number=number,
            total=total,
            chunk_sha256=hashlib.sha256(part).hexdigest(),
            data=part,
        )
        await self._link.send(topics.chunk(site, sha256, number), codec.encode(chunk))
