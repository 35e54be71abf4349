"""Windows of raw samples out of the frame files, cut to what was asked and to what fits into a message.

Only reads, so it needs no turn on the writer thread: files are appended to, and a frame that is being written
is not among those read. Damage is stepped over, and logged.
"""

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from edge_agent.agent.store.frames import began_ms, read_frames
from shared.frames import Frame
from shared.ids import DeviceId

BATCH_BYTES: Final = 1024 * 1024
"""Plain bytes of one batch of frames, far below the 4 MiB body limit."""
_SLACK_MS: Final = 10 * 60 * 1000
"""Names and times of files follow the wall clock, which is set now and then."""
_log = logging.getLogger(__name__)
_encoder = msgspec.msgpack.Encoder()


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Raw samples of `[from_ms, to_ms)` (UTC ms), of these devices; empty: of all."""

    from_ms: int
    to_ms: int
    devices: frozenset[DeviceId] = frozenset()


def files_of(files: Sequence[Path], window: Window) -> list[Path]:
    """Those files that may hold frames of the window, oldest first."""
    return [
        path
        for path in files
        if began_ms(path) <= window.to_ms + _SLACK_MS and _ended_ms(path) >= window.from_ms - _SLACK_MS
    ]


def cut(path: Path, window: Window) -> Iterator[Frame]:
    """The window's samples in one file, each frame at most `BATCH_BYTES` plain.

    A file that went meanwhile has none.
    """
    try:
        for frame in read_frames(path, partial(_lacks, path)):
            chosen = [
                i
                for i, (at_ms, device) in enumerate(zip(frame.at_ms, frame.device, strict=True))
                if window.from_ms <= at_ms < window.to_ms and (not window.devices or device in window.devices)
            ]
            if chosen:
                yield from _parts(frame, chosen)
    except FileNotFoundError:
        return


def _lacks(path: Path, places: int) -> None:
    _log.warning("%s is damaged in %d places: a window of it lacks what was there", path, places)


def plain_bytes(frame: Frame) -> int:
    """What a frame costs in the plain body of a batch."""
    return len(_encoder.encode(frame))


def _parts(frame: Frame, chosen: Sequence[int]) -> Iterator[Frame]:
    part = _select(frame, chosen)
    if len(chosen) == 1 or plain_bytes(part) <= BATCH_BYTES:
        yield part
        return
    middle = len(chosen) // 2
    yield from _parts(frame, chosen[:middle])
    yield from _parts(frame, chosen[middle:])


def _select(frame: Frame, chosen: Sequence[int]) -> Frame:
    """The same columns with these samples only; points that none of them has are left out."""
    points = [point for point, column in frame.quality.items() if any(column[i] is not None for i in chosen)]
    return Frame(
        boot=frame.boot,
        kind=frame.kind,
        device=tuple(frame.device[i] for i in chosen),
        seq=tuple(frame.seq[i] for i in chosen),
        at_s=tuple(frame.at_s[i] for i in chosen),
        at_ms=tuple(frame.at_ms[i] for i in chosen),
        state=tuple(frame.state[i] for i in chosen),
        preset=tuple(frame.preset[i] for i in chosen),
        failure=tuple(frame.failure[i] for i in chosen),
        algorithm=tuple(frame.algorithm[i] for i in chosen),
        values={point: tuple(frame.values[point][i] for i in chosen) for point in points},
        quality={point: tuple(frame.quality[point][i] for i in chosen) for point in points},
    )


def _ended_ms(path: Path) -> int:
    """When the file was last appended to (UTC ms); for ever ago where it is gone."""
    try:
        return int(path.stat().st_mtime * 1000)
    except FileNotFoundError:
        return -1
