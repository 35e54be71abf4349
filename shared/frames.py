"""Samples as columns: how raw samples are kept on site, and how windows of them travel to the cloud.

One frame holds samples of one device kind and one boot, column by column, which deflates to about 0.4 bytes
per byte of reading (contracts, Telemetry rows).
"""

from collections.abc import Iterator, Sequence

import msgspec

from shared.ids import DeviceId
from shared.telemetry import DeviceKind, MinerState, Quality, Reading, Sample
from shared.units import Algorithm


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """Samples of one kind as columns; `values[point][i]` and `quality[point][i]` belong to sample `i`.

    A quality of None means that the sample has no such point at all.
    """

    boot: str
    kind: DeviceKind
    device: tuple[DeviceId, ...]
    seq: tuple[int, ...]
    at_s: tuple[float, ...]
    at_ms: tuple[int, ...]
    state: tuple[MinerState | None, ...]
    preset: tuple[str | None, ...]
    failure: tuple[str | None, ...]
    algorithm: tuple[Algorithm | None, ...]
    values: dict[str, tuple[float | None, ...]]
    quality: dict[str, tuple[Quality | None, ...]]


def pack(samples: Sequence[Sample]) -> Frame:
    """Samples of one boot and one kind as a frame."""
    points = sorted({point for sample in samples for point in sample.readings})
    rows = [sample.readings for sample in samples]
    return Frame(
        boot=samples[0].boot,
        kind=samples[0].kind,
        device=tuple(sample.device for sample in samples),
        seq=tuple(sample.seq for sample in samples),
        at_s=tuple(sample.at_s for sample in samples),
        at_ms=tuple(sample.at_ms for sample in samples),
        state=tuple(sample.state for sample in samples),
        preset=tuple(sample.preset for sample in samples),
        failure=tuple(sample.failure for sample in samples),
        algorithm=tuple(sample.algorithm for sample in samples),
        values={p: tuple(row[p].value if p in row else None for row in rows) for p in points},
        quality={p: tuple(row[p].quality if p in row else None for row in rows) for p in points},
    )


def unpack(frame: Frame) -> Iterator[Sample]:
    """The samples of a frame, in the order in which they were added."""
    for i, device in enumerate(frame.device):
        readings = {
            point: Reading(frame.values[point][i], quality)
            for point, column in frame.quality.items()
            if (quality := column[i]) is not None
        }
        yield Sample(
            device=device,
            kind=frame.kind,
            at_s=frame.at_s[i],
            at_ms=frame.at_ms[i],
            boot=frame.boot,
            seq=frame.seq[i],
            state=frame.state[i],
            preset=frame.preset[i],
            failure=frame.failure[i],
            algorithm=frame.algorithm[i],
            readings=readings,
        )
