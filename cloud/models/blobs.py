"""Model files on disk, each under its own SHA-256; the name is the check."""

import asyncio
import hashlib
import os
import re
from pathlib import Path

from shared.artifacts.manifest import MAX_MODEL_BYTES
from shared.errors import ArtifactError

_SHA256 = re.compile(r"[0-9a-f]{64}")


class BlobStore:
    """A folder of immutable files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, data: bytes) -> str:
        """Keep these bytes; returns their SHA-256. Raises `ArtifactError` where they are too many."""
        if len(data) > MAX_MODEL_BYTES:
            raise ArtifactError(f"model file of {len(data)} bytes is larger than {MAX_MODEL_BYTES}")
        sha256 = hashlib.sha256(data).hexdigest()
        await asyncio.to_thread(self._write, sha256, data)
        return sha256

    async def get(self, sha256: str) -> bytes:
        """The bytes; raises `ArtifactError` where they are missing or not what they were."""
        return await asyncio.to_thread(self._read, sha256)

    async def part(self, sha256: str, first: int, last: int | None) -> tuple[bytes, int]:
        """Bytes `first..last` (inclusive, None = to the end) and the file's size; raises `ArtifactError`.

        The file's hash is not checked for each part; who puts the parts together checks the whole.
        """
        return await asyncio.to_thread(self._read_part, sha256, first, last)

    def _read_part(self, sha256: str, first: int, last: int | None) -> tuple[bytes, int]:
        if not _SHA256.fullmatch(sha256):
            raise ArtifactError(f"{sha256!r} is not a SHA-256")
        try:
            with (self._folder / sha256).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(min(first, size))
                return file.read(-1 if last is None else last - first + 1), size
        except OSError as error:
            raise ArtifactError(f"model file {sha256} cannot be read: {error.strerror}") from error

    def _write(self, sha256: str, data: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        final = self._folder / sha256
        if final.exists():
            return
        part = self._folder / f"{sha256}.part"
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(final)

    def _read(self, sha256: str) -> bytes:
        if not _SHA256.fullmatch(sha256):
            raise ArtifactError(f"{sha256!r} is not a SHA-256")
        try:
            data = (self._folder / sha256).read_bytes()
        except OSError as error:
            raise ArtifactError(f"model file {sha256} cannot be read: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ArtifactError(f"model file {sha256} is damaged on disk")
        return data
