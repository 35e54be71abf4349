"""Files that are either the old one or the new one, never half of either."""

import hashlib
import os
from pathlib import Path
from typing import TypeVar

import msgspec

from shared.errors import StoreError

T = TypeVar("T")


class Sealed(msgspec.Struct, frozen=True):
    """A body with its own hash, so that damage shows."""

    sha256: str
    body: str


def replace(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write `data` beside `path`, flush it to the disk, and put it in place. Raises `StoreError`."""
    beside = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        beside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from error


def sync_folder(folder: Path) -> None:
    """Make a rename or a new file in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def seal(value: object) -> bytes:
    """A value as JSON text with its hash."""
    body = msgspec.json.encode(value).decode()
    return msgspec.json.encode(Sealed(hashlib.sha256(body.encode()).hexdigest(), body))


def unseal(data: bytes, kind: type[T]) -> T:
    """The value that was sealed; raises `StoreError` where the bytes are damaged."""
    try:
        sealed = msgspec.json.decode(data, type=Sealed)
        if hashlib.sha256(sealed.body.encode()).hexdigest() != sealed.sha256:
            raise StoreError("hash does not match")
        return msgspec.json.decode(sealed.body, type=kind)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise StoreError(f"does not decode: {error}") from error


def private_folder(folder: Path) -> None:
    """Make the guardian's own folder (0700). Raises `StoreError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be made: {error.strerror}") from error
