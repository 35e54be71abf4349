"""Raw samples at full resolution: compressed, append-only column frames, one file series per poll group.

A frame holds some seconds of samples of one device kind, column by column, deflated. It costs about
0.4 bytes of flash per byte of reading where a database row per device costs 64 to 72 (contracts, Telemetry
rows). A file is only ever appended to; a torn tail (power cut) is cut off at the next opening. A newest
file that is damaged otherwise is set aside then, and what is sound of it goes into a fresh one; readers of
any file step over damage (`frame_file`). The oldest files go when the folder is over its limit, and those
that are older than their kind of device is worth.

File = frames, each zlib of msgpack `Frame`. A file's name tells the time of its first frame, so it is over
where the next one begins.
"""

import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from edge_agent.agent.store.frame_file import Scan, framed, scan
from shared.errors import StoreError
from shared.frames import Frame, pack
from shared.telemetry import DeviceKind, Sample

SEGMENT_BYTES: Final = 4 * 1024 * 1024
SEGMENT_MS: Final = 24 * 3600 * 1000
"""A file holds a day at most, so that age can be told apart for devices that say little."""
_DAY_MS: Final = 24 * 3600 * 1000
SUFFIX: Final = ".frames"
ASIDE: Final = ".corrupt"


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was found damaged at the start: how many places, and how many frames are sound.

    `aside` names the copy of what was found; empty where the disk had no room, and the file is as it was.
    """

    file: str
    places: int
    saved: int
    aside: str = ""


def read_frames(path: Path, on_damage: Callable[[int], None] | None = None) -> Iterator[Frame]:
    """The sound frames of one file.

    `on_damage` is told in how many places it is damaged, after the last frame; a torn tail is none, a frame
    that does not decode for all its checksum is one.
    """
    decoder = msgspec.msgpack.Decoder(Frame)
    found = scan(path.read_bytes())
    damaged = found.damaged
    for body in found.bodies:
        try:
            frame = decoder.decode(zlib.decompress(body))
        except (zlib.error, msgspec.DecodeError, UnicodeDecodeError):
            damaged += 1
        else:
            yield frame
    if damaged and on_damage is not None:
        on_damage(damaged)


def began_ms(path: Path) -> int:
    """Time of the first frame of a file (UTC ms), from its name."""
    return int(path.stem.rpartition("-")[2])


class RawStore:
    """Appends frames, bounded in bytes first and in age second. Blocking: call it from the writer thread.

    `keep_days` says for how many days frames of a kind are kept; kinds that it leaves out have no age limit.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keep_bytes: int,
        keep_days: Mapping[DeviceKind, float] | None = None,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.keep_days: Mapping[DeviceKind, float] = keep_days or {}
        self._folder = folder
        self._keep_bytes = keep_bytes
        self._segment_bytes = segment_bytes
        folder.mkdir(parents=True, exist_ok=True)
        self._tips: dict[DeviceKind, tuple[str, int]] = {}
        self._newest_ms: dict[DeviceKind, int] = {}
        self.damage: list[Damage] = []
        """What the start found."""
        for kind in DeviceKind:
            if files := self.files(kind):
                self._recover(kind, files[-1])

    def files(self, kind: DeviceKind | None = None) -> list[Path]:
        """Files of one kind (or all), oldest first."""
        found = self._folder.glob(f"{kind or '*'}-*{SUFFIX}")
        return sorted(found, key=lambda path: (path.stem.rpartition("-")[2], path.name))

    def append(self, samples: Iterable[Sample]) -> None:
        """Add samples, leaving out those already on file; durable on return. Raises `StoreError`."""
        groups: dict[tuple[DeviceKind, str], list[Sample]] = {}
        for sample in samples:
            boot, seq = self._tips.get(sample.kind, ("", 0))
            if sample.boot != boot or sample.seq > seq:
                groups.setdefault((sample.kind, sample.boot), []).append(sample)
        try:
            for (kind, boot), group in groups.items():
                self._append(kind, pack(group))
                self._tips[kind] = (boot, max(sample.seq for sample in group))
                self._newest_ms[kind] = max(sample.at_ms for sample in group)
            self._forget_oldest()
        except OSError as error:
            raise StoreError(f"{self._folder}: raw samples cannot be written: {error}") from error

    def _append(self, kind: DeviceKind, frame: Frame) -> None:
        body = zlib.compress(msgspec.msgpack.encode(frame), 6)
        with self._segment(kind, frame.at_ms[0]).open("ab") as file:
            whole = file.tell()
            try:
                file.write(framed(body))
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                file.truncate(whole)  # half a frame would hide every frame after it
                raise

    def _segment(self, kind: DeviceKind, at_ms: int) -> Path:
        files = self.files(kind)
        # A wall clock that jumped back must not name a file before the present one.
        last = began_ms(files[-1]) if files else 0
        if files and files[-1].stat().st_size < self._segment_bytes and at_ms - last < SEGMENT_MS:
            return files[-1]
        return self._folder / f"{kind}-{max(at_ms, last + 1):015d}{SUFFIX}"

    def forget_older(self, now_ms: int) -> int:
        """Delete files whose newest frame is too old for its kind; returns how many. Raises `StoreError`."""
        gone = 0
        for kind, days in self.keep_days.items():
            files = self.files(kind)
            ends = [*(began_ms(path) for path in files[1:]), self._newest_ms.get(kind, now_ms)]
            old = [path for path, end in zip(files, ends, strict=False) if end < now_ms - days * _DAY_MS]
            gone += len(old)
            self._unlink(old)
        return gone

    def make_room(self, need: int) -> int:
        """Delete the oldest files until so many bytes are free again; returns the bytes. Raises `StoreError`.

        For a disk that somebody else filled: raw frames are what the site can do without first.
        """
        freed = 0
        for path in self.files():
            if freed >= need:
                break
            freed += path.stat().st_size
            self._unlink([path])
        return freed

    def _forget_oldest(self) -> None:
        files = self.files()
        total = sum(path.stat().st_size for path in files)
        for path in files:
            if total <= self._keep_bytes:
                return
            total -= path.stat().st_size
            path.unlink()

    def _unlink(self, paths: Iterable[Path]) -> None:
        try:
            for path in paths:
                path.unlink()
        except OSError as error:
            raise StoreError(f"{self._folder}: old raw samples cannot be deleted: {error}") from error

    def _recover(self, kind: DeviceKind, path: Path) -> None:
        """Cut a torn tail off, save what is sound of a damaged file, and remember the last sample on file."""
        data = path.read_bytes()
        found = scan(data)
        if found.damaged:
            self._salvage(path, found)
        elif found.torn:
            with path.open("r+b") as file:
                file.truncate(len(data) - found.torn)
                os.fsync(file.fileno())
        last = found.bodies[-1] if found.bodies else None
        if last is None:
            return
        try:
            frame = msgspec.msgpack.decode(zlib.decompress(last), type=Frame)
        except (zlib.error, msgspec.DecodeError, UnicodeDecodeError):
            return  # written by another version: at worst a few samples are on file twice
        self._tips[kind] = (frame.boot, max(frame.seq))
        self._newest_ms[kind] = max(frame.at_ms)

    def _salvage(self, path: Path, found: Scan) -> None:
        """The damaged file stays for people to look at, one per folder: the disk may be failing."""
        aside = path.with_name(path.name + ASIDE)
        for earlier in self._folder.glob(f"*{ASIDE}"):
            earlier.unlink()
        fresh = path.with_name(f"{path.name}.part")
        try:
            shutil.copyfile(path, aside)
            with fresh.open("wb") as file:
                file.writelines(map(framed, found.bodies))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        except OSError:
            # A disk without room: readers step over the damage in the file as it is.
            fresh.unlink(missing_ok=True)
            aside.unlink(missing_ok=True)
        kept = aside.name if aside.exists() else ""
        told = Damage(file=path.name, places=found.damaged, saved=len(found.bodies), aside=kept)
        self.damage.append(told)
