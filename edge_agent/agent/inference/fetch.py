"""Fetching a model file in chunks over MQTT: resumable over restarts, every chunk checked by its own hash."""

import hashlib
import shutil
from pathlib import Path
from typing import Final

from shared.artifacts.manifest import MAX_MODEL_BYTES, Manifest, check_bytes
from shared.errors import ArtifactError
from shared.wire.envelope import CHUNK_BYTES, Chunk, ChunkRequest

WINDOW: Final = 16
"""Chunks asked for at once (2 MiB): one lost request costs little."""


class Fetch:
    """One download. Chunks lie as files until the whole file's hash matches."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        """Take up where an earlier download of the same file stopped. Raises `ArtifactError`."""
        if not 0 < manifest.size <= MAX_MODEL_BYTES:
            raise ArtifactError(f"model of {manifest.size} bytes, allowed are 1 to {MAX_MODEL_BYTES}")
        self.manifest = manifest
        self.total = -(-manifest.size // CHUNK_BYTES)
        self.bad = 0
        """Chunks that did not match their hash or their place."""
        self._folder = folder / manifest.sha256
        for other in folder.iterdir():
            if other != self._folder:
                shutil.rmtree(other, ignore_errors=True)  # an assignment that was superseded
        self._folder.mkdir(exist_ok=True)
        self._have = {n for n in range(self.total) if self._complete(n)}

    @property
    def missing(self) -> list[int]:
        return [n for n in range(self.total) if n not in self._have]

    def request(self) -> ChunkRequest | None:
        """The next parts to ask for, or None when all are here."""
        wanted = self.missing[:WINDOW]
        return ChunkRequest(sha256=self.manifest.sha256, chunks=tuple(wanted)) if wanted else None

    def take(self, chunk: Chunk) -> bool:
        """Keep a chunk; False for one that is not ours, already here or damaged."""
        if chunk.sha256 != self.manifest.sha256 or chunk.number in self._have:
            return False
        fits = chunk.total == self.total and 0 <= chunk.number < self.total
        if (
            not fits
            or len(chunk.data) != self._size(chunk.number)
            or hashlib.sha256(chunk.data).hexdigest() != chunk.chunk_sha256
        ):
            self.bad += 1
            return False
        part = self._folder / f"{chunk.number}.part"
        part.write_bytes(chunk.data)
        part.replace(self._folder / str(chunk.number))
        self._have.add(chunk.number)
        return True

    def assemble(self) -> bytes:
        """The whole file; raises `ArtifactError`, and starts over, if its hash is not the manifest's."""
        data = b"".join((self._folder / str(n)).read_bytes() for n in range(self.total))
        try:
            check_bytes(self.manifest, data)
        except ArtifactError:
            self.discard()
            raise
        return data

    def discard(self) -> None:
        """Remove what was fetched."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._have.clear()

    def _size(self, number: int) -> int:
        return min(CHUNK_BYTES, self.manifest.size - number * CHUNK_BYTES)

    def _complete(self, number: int) -> bool:
        path = self._folder / str(number)
        return path.is_file() and path.stat().st_size == self._size(number)
