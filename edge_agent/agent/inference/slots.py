"""Model slots on disk: active, candidate, previous. Every change of slots is one rename.

::

    models/blobs/<sha256>/model.onnx assignment.bin      content-addressed, written once
    models/slots -> slots.7                              one symlink says which generation counts
    models/slots.7/active -> ../blobs/<sha256>           at most three links per generation
    models/incoming/<sha256>/<n>                         chunks of a download, resumable

A swap touches two or three slots. Making a whole new generation and renaming one symlink makes it atomic:
a crash at any point leaves either the old or the new set.
"""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Final

import msgspec

from shared.artifacts.signing import Signed
from shared.errors import ArtifactError
from shared.wire import codec

_LINK: Final = "slots"
_MODEL: Final = "model.onnx"
_ASSIGNMENT: Final = "assignment.bin"


class SlotMap(msgspec.Struct, frozen=True, kw_only=True):
    """SHA-256 of the model in each slot, or None."""

    active: str | None = None
    candidate: str | None = None
    previous: str | None = None


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A model file and the signed assignment it came with."""

    path: Path
    data: bytes
    signed: Signed


class Slots:
    """The slots of one gateway. Blocking; called rarely."""

    def __init__(self, folder: Path) -> None:
        self.folder = self._folder = folder
        self._blobs = folder / "blobs"
        self._blobs.mkdir(parents=True, exist_ok=True)
        self.incoming = folder / "incoming"
        self.incoming.mkdir(exist_ok=True)
        self.arriving: str | None = None
        """A blob that is being tested and stands in no slot yet; not to be cleared away."""

    def current(self) -> SlotMap:
        """Which model is where."""
        generation = self._folder / _LINK
        found = {
            name: link.readlink().name if (link := generation / name).is_symlink() else None
            for name in ("active", "candidate", "previous")
        }
        return SlotMap(**found)

    def set(self, slots: SlotMap) -> None:
        """Make this the slots, all at once; models in no slot are removed afterwards."""
        old = self._generation()
        new = self._folder / f"{_LINK}.{old + 1}"
        shutil.rmtree(new, ignore_errors=True)  # what a crash may have left
        new.mkdir()
        for name, sha256 in msgspec.structs.asdict(slots).items():
            if sha256 is not None:
                (new / name).symlink_to(Path("..") / "blobs" / sha256)
        _sync(new)
        self._point_at(new.name)
        self._collect(slots, keep=new.name)

    def put(self, data: bytes, sha256: str, signed: Signed) -> None:
        """Store a model file under its hash, durable on return."""
        folder = self._blobs / sha256
        folder.mkdir(exist_ok=True)
        durable_write(folder / _MODEL, data)
        self.put_assignment(sha256, signed)
        _sync(self._blobs)

    def put_assignment(self, sha256: str, signed: Signed) -> None:
        """Store a newer assignment of a model that is already here."""
        durable_write(self._blobs / sha256 / _ASSIGNMENT, codec.encode(signed))

    def load(self, sha256: str) -> Stored:
        """A stored model; raises `ArtifactError` where it is missing or damaged."""
        folder = self._blobs / sha256
        try:
            return Stored(
                path=folder / _MODEL,
                data=(folder / _MODEL).read_bytes(),
                signed=codec.decode((folder / _ASSIGNMENT).read_bytes(), Signed),
            )
        except OSError as error:
            raise ArtifactError(f"model {sha256[:12]} cannot be read: {error}") from error

    def _generation(self) -> int:
        link = self._folder / _LINK
        with contextlib.suppress(OSError, ValueError):
            return int(link.readlink().name.rpartition(".")[2])
        return 0

    def _point_at(self, name: str) -> None:
        fresh = self._folder / f"{_LINK}.new"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(name)
        fresh.replace(self._folder / _LINK)
        _sync(self._folder)

    def _collect(self, slots: SlotMap, *, keep: str) -> None:
        used = {slots.active, slots.candidate, slots.previous, self.arriving}
        for blob in self._blobs.iterdir():
            if blob.name not in used:
                shutil.rmtree(blob, ignore_errors=True)
        for generation in self._folder.glob(f"{_LINK}.*"):
            if generation.name != keep and not generation.is_symlink():
                shutil.rmtree(generation, ignore_errors=True)


def durable_write(path: Path, data: bytes) -> None:
    """Whole or not at all, and durable."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
