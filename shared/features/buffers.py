"""The newest steps of every miner, ready to become one model input for the whole site.

Both sides fill these buffers: the edge from its own roll-ups, training by replaying stored rows. What a
window may contain is therefore decided in one place.
"""

from collections.abc import Iterable, Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from shared.features.rollup import CLOCK_STEP_MS
from shared.features.spec import FeatureSpec
from shared.ids import DeviceId
from shared.telemetry import COLUMN_INDEX, DeviceKind, MinerState, RollupRow

_GROW = 64
_OFF = (MinerState.STOPPED, MinerState.FAILURE, MinerState.SHUTTING_DOWN)


class StepKind(IntEnum):
    """What one step of a miner is good for."""

    GAP = 0
    """Nothing usable was read: no row, all polls failed, or the state is not known."""
    SETTLING = 1
    """Not hashing, or on the way there: its numbers say nothing about health. Auto-tuning counts, because
    clocks are swept and hashrate against nominal means nothing."""
    USABLE = 2


def step_kind(row: RollupRow) -> StepKind:
    """What a row is good for by itself; settling after a restart is the buffers' business."""
    if row.kind is not DeviceKind.MINER or row.samples == 0 or row.state in (None, MinerState.UNKNOWN):
        return StepKind.GAP
    return StepKind.USABLE if row.state is MinerState.MINING else StepKind.SETTLING


def usable(rows: Sequence[RollupRow]) -> NDArray[np.bool_]:
    """Mask [len(rows)] of the rows that features may be made of."""
    return np.fromiter((step_kind(row) is StepKind.USABLE for row in rows), dtype=np.bool_, count=len(rows))


class _Track:
    """Where one device's window stands, and what its last rows were."""

    __slots__ = ("at_ms", "index", "kinds", "preset", "settle")

    def __init__(self, index: int, window: int) -> None:
        self.index = index
        self.at_ms = -1
        self.kinds = [StepKind.GAP] * window
        self.preset: str | None = None
        self.settle = 0


class WindowBuffers:
    """Ring buffers [devices, window, columns] in float64; gaps are NaN steps. Not thread-safe.

    After a restart push the stored rows of the last `window + warm_steps` steps; the state is a function
    of the rows alone.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec
        self.ignored = 0
        """Rows that were not newer than what their device already had, or of another step."""
        self._columns = spec.indexes()
        self._required = tuple(COLUMN_INDEX[column] for column in spec.required)
        self._step_ms = spec.step_s * 1000
        self._tracks: dict[DeviceId, _Track] = {}
        self._data: NDArray[np.float64] = np.empty((0, spec.window, len(spec.columns)))
        self._newest_ms = -1

    @property
    def newest_ms(self) -> int:
        """Start of the newest step pushed, -1 before the first."""
        return self._newest_ms

    def push(self, rows: Iterable[RollupRow]) -> None:
        """Append rows (of one or many steps, in any device order); only miners' rows count.

        A row far older than the newest means that the wall clock was set back: then all windows start anew,
        because times ahead of the present would hold every row back until they are reached.
        """
        for row in sorted(rows, key=lambda row: row.at_ms):
            if row.kind is not DeviceKind.MINER:
                continue
            if row.step_s == self.spec.step_s and self._newest_ms - row.at_ms > CLOCK_STEP_MS:
                self._start_anew()
            track = self._track(row.device)
            if row.step_s != self.spec.step_s or row.at_ms <= track.at_ms:
                self.ignored += 1
                continue
            self._append(track, row)
            self._newest_ms = max(self._newest_ms, row.at_ms)

    def ready(self) -> list[DeviceId]:
        """Miners, by id, whose window reaches the newest step, usable there, nothing settling, few gaps."""
        return sorted(device for device, track in self._tracks.items() if self._is_ready(track))

    def matrix(self, devices: Sequence[DeviceId]) -> NDArray[np.float64]:
        """Windows [len(devices), window, columns], oldest step first; KeyError for a device never pushed."""
        index = np.fromiter((self._tracks[d].index for d in devices), dtype=np.intp, count=len(devices))
        return self._data[index]

    def _start_anew(self) -> None:
        self._tracks.clear()
        self._data = np.full_like(self._data, np.nan)
        self._newest_ms = -1

    def _is_ready(self, track: _Track) -> bool:
        return (
            track.at_ms == self._newest_ms
            and track.kinds[-1] is StepKind.USABLE
            and StepKind.SETTLING not in track.kinds
            and track.kinds.count(StepKind.GAP) <= self.spec.max_gaps
        )

    def _track(self, device: DeviceId) -> _Track:
        track = self._tracks.get(device)
        if track is None:
            track = self._tracks[device] = _Track(len(self._tracks), self.spec.window)
            if track.index >= len(self._data):
                more = np.full((max(_GROW, len(self._data)), *self._data.shape[1:]), np.nan)
                self._data = np.concatenate([self._data, more])
        return track

    def _append(self, track: _Track, row: RollupRow) -> None:
        missed = 0 if track.at_ms < 0 else (row.at_ms - track.at_ms) // self._step_ms - 1
        shift = min(missed + 1, self.spec.window)
        steps = self._data[track.index]
        steps[:-shift] = steps[shift:].copy()
        steps[-shift:] = np.nan
        track.kinds = (track.kinds + [StepKind.GAP] * shift)[-self.spec.window :]
        kind = self._kind(track, row)
        track.kinds[-1] = kind
        track.at_ms = row.at_ms
        if kind is StepKind.USABLE:
            steps[-1] = [np.nan if row.values[c] is None else row.values[c] for c in self._columns]

    def _kind(self, track: _Track, row: RollupRow) -> StepKind:
        """A restart or another preset opens a settling time that usable and missing steps run down.

        The time after a stop is longer, and a start's own states do not shorten it.
        """
        kind = step_kind(row)
        if kind is StepKind.USABLE and any(row.values[c] is None for c in self._required):
            kind = StepKind.GAP
        if kind is StepKind.GAP:
            track.settle = max(track.settle - 1, 0)
            return kind
        changed = track.preset is not None and row.preset is not None and row.preset != track.preset
        track.preset = row.preset if row.preset is not None else track.preset
        if kind is StepKind.SETTLING or changed:
            wait = self.spec.warm_steps if row.state in _OFF else self.spec.settle_steps
            track.settle = max(track.settle, wait)
            return StepKind.SETTLING
        if track.settle > 0:
            track.settle -= 1
            return StepKind.SETTLING
        return kind
