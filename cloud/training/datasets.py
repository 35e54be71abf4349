"""Data sets: a file of roll-up rows with a hash, and its windows split by time.

Time is never shuffled across: everything in `train` is earlier than everything held out. Windows are made by
the same buffers as on the edge, and those that reach across a border belong to no part.
"""

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.errors import ArtifactError
from shared.features.buffers import WindowBuffers, usable
from shared.features.compute import features
from shared.features.spec import FeatureSpec
from shared.ids import DeviceId
from shared.telemetry import COLUMN_NAMES, RollupRow
from shared.units import Algorithm

FORMAT = 1
MAX_BYTES = 1 << 30
"""Unpacked; a day of 1,000 miners at 60 s steps is about a quarter of it."""
MIN_DEVICES = 8
"""An algorithm with fewer machines is left out: its normal cannot be told from one machine's habits."""
TRAIN_SHARE = 0.5
VALIDATE_SHARE = 0.25
INCIDENT_AROUND_S = 1_800
"""Half of the running median's span: weather moves a site by less than a tolerance in it."""


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """Rows by time and device, the miner model per device where known, and the hash of both."""

    rows: list[RollupRow]
    models: dict[DeviceId, str]
    sha256: str

    @property
    def step_s(self) -> int:
        """Step of the roll-ups."""
        return self.rows[0].step_s

    @property
    def devices(self) -> list[DeviceId]:
        """Devices in the rows, by id."""
        return sorted({row.device for row in self.rows})


class _File(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    columns: tuple[str, ...]
    models: dict[DeviceId, str]
    rows: list[RollupRow]


def write(rows: Iterable[RollupRow], path: Path, *, models: Mapping[DeviceId, str] | None = None) -> str:
    """Write rows, ordered by time and device, to one file; returns its hash (as in `Dataset.sha256`).

    `models` names the miner model per device, for thresholds and scope. Equal rows give equal hashes in any
    order of arrival.
    """
    ordered = sorted(rows, key=lambda row: (row.at_ms, row.device))
    known = dict(sorted((models or {}).items()))
    body = msgspec.msgpack.encode(_File(format=FORMAT, columns=COLUMN_NAMES, models=known, rows=ordered))
    path.write_bytes(zlib.compress(body, 6))
    return hashlib.sha256(body).hexdigest()


def read(path: Path) -> Dataset:
    """Read a file of `write`; `ArtifactError` if damaged, empty, of other columns or of mixed steps."""
    try:
        unpack = zlib.decompressobj()
        body = unpack.decompress(path.read_bytes(), MAX_BYTES)
        file = msgspec.msgpack.decode(body, type=_File)
    except (OSError, zlib.error, msgspec.DecodeError) as error:
        raise ArtifactError(f"{path}: not a data set ({error})") from error
    if unpack.unconsumed_tail or not unpack.eof:
        raise ArtifactError(f"{path}: cut off, or larger than {MAX_BYTES} bytes")
    if file.format != FORMAT or file.columns != COLUMN_NAMES:
        raise ArtifactError(f"{path}: written by a version with other roll-up columns")
    steps = {row.step_s for row in file.rows}
    if len(steps) != 1:
        raise ArtifactError(f"{path}: needs rows of one step, has steps {sorted(steps)}")
    return Dataset(rows=file.rows, models=file.models, sha256=hashlib.sha256(body).hexdigest())


class Windows:
    """`m` windows: raw columns [m, window, C], their features [m, window * F], device and end per window."""

    def __init__(
        self, spec: FeatureSpec, matrix: NDArray[np.float64], devices: list[DeviceId], end_ms: list[int]
    ) -> None:
        self.spec = spec
        self.matrix = matrix
        self.devices = devices
        self.end_ms = np.array(end_ms, dtype=np.int64)
        self.x = features(spec, matrix)

    def __len__(self) -> int:
        return len(self.devices)

    def take(self, mask: NDArray[np.bool_]) -> "Windows":
        """The windows where `mask` [m] is true."""
        index = np.flatnonzero(mask)
        return Windows(
            self.spec, self.matrix[index], [self.devices[i] for i in index], self.end_ms[index].tolist()
        )

    def thinned(self, limit: int) -> "Windows":
        """At most `limit` windows, evenly spaced; the same ones every time."""
        if len(self) <= limit:
            return self
        keep = np.zeros(len(self), dtype=np.bool_)
        keep[np.linspace(0, len(self) - 1, limit).astype(np.intp)] = True
        return self.take(keep)


def windows(spec: FeatureSpec, rows: Iterable[RollupRow]) -> Windows:
    """Every window that the edge would have scored on these rows, by time and device."""
    buffers = WindowBuffers(spec)
    by_step: dict[int, list[RollupRow]] = {}
    for row in rows:
        by_step.setdefault(row.at_ms, []).append(row)
    parts: list[NDArray[np.float64]] = []
    devices: list[DeviceId] = []
    ends: list[int] = []
    for at_ms in sorted(by_step):
        buffers.push(by_step[at_ms])
        ready = buffers.ready() if buffers.newest_ms == at_ms else []
        if ready:
            parts.append(buffers.matrix(ready))
            devices += ready
            ends += [at_ms] * len(ready)
    empty = np.empty((0, spec.window, len(spec.columns)))
    return Windows(spec, np.concatenate(parts) if parts else empty, devices, ends)


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """Windows to fit on, to set thresholds on, and to judge on; `how` says how they were divided.

    `incidents` counts the windows that were left out because the whole site was in trouble.
    """

    train: Windows
    validate: Windows
    test: Windows
    how: str
    incidents: int


def trainable(dataset: Dataset) -> tuple[list[RollupRow], tuple[Algorithm, ...]]:
    """Rows of the algorithms with enough machines, and those algorithms; `ArtifactError` if none has."""
    found: dict[Algorithm, set[DeviceId]] = {}
    for row, good in zip(dataset.rows, usable(dataset.rows), strict=True):
        if good and row.algorithm is not None and row.algorithm is not Algorithm.UNKNOWN:
            found.setdefault(row.algorithm, set()).add(row.device)
    enough = tuple(sorted(algorithm for algorithm, devices in found.items() if len(devices) >= MIN_DEVICES))
    if not enough:
        counts = ", ".join(f"{algorithm} {len(devices)}" for algorithm, devices in found.items()) or "none"
        raise ArtifactError(f"no algorithm has {MIN_DEVICES} running miners in the data set ({counts})")
    return [row for row in dataset.rows if row.algorithm in enough], enough


def incidents(found: Windows) -> NDArray[np.bool_]:
    """Mask [m] of windows at times when the whole site moved within minutes: not normal, not to learn from.

    A lost exhaust wall, a trip and the restart after it move all machines at once; weather does it slowly and
    is kept. What moves is the median over machines of their deviation from their own usual; a step is marked
    where that leaves its running median (one hour) by more than one tolerance of any feature, and `window`
    steps on both sides go with it. If that were over half of the time it would be the site's way of running,
    and nothing is left out. Single ill machines are the models' own business: they trim.
    """
    spec = found.spec
    if not len(found):
        return np.zeros(0, dtype=np.bool_)
    ends, place = np.unique(found.end_ms, return_inverse=True)
    site = _site_motion(found, place, len(ends)) / np.array([feature.tolerance for feature in spec.features])
    half = min(INCIDENT_AROUND_S // spec.step_s, len(ends) - 1)
    padded = np.pad(site, ((half, half), (0, 0)), constant_values=np.nan)
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1, axis=0)
    marked = ends[(np.abs(site - np.nanmedian(around, axis=2)) > 1.0).any(axis=1)]
    reach_ms = spec.window * spec.step_s * 1000
    near = (np.abs(ends[:, None] - marked[None, :]) <= reach_ms).any(axis=1)
    if near.mean() > 0.5:
        return np.zeros(len(found), dtype=np.bool_)
    mask: NDArray[np.bool_] = near[place]
    return mask


def _site_motion(found: Windows, place: NDArray[np.intp], ends: int) -> NDArray[np.float64]:
    """Median over machines, per window end [ends, F], of the newest step minus the machine's own median."""
    count = len(found.spec.features)
    newest = found.x[:, -count:].astype(np.float64)
    _, machine = np.unique(found.devices, return_inverse=True)
    for index in range(int(machine.max()) + 1):
        mine = machine == index
        newest[mine] -= np.median(newest[mine], axis=0)
    order = np.argsort(place, kind="stable")
    groups = np.split(newest[order], np.cumsum(np.bincount(place, minlength=ends))[:-1])
    return np.stack([np.median(group, axis=0) for group in groups])


def split(spec: FeatureSpec, rows: list[RollupRow]) -> Split:
    """Divide by time into train, validate and test: 50, 25 and 25 % of the steps that have windows.

    Times of site-wide incidents are left out first. With too few steps for three parts the held-out time is
    one part, and its devices (every other one by id) take turns: thresholds are set on one half, judged on
    the other. Raises `ArtifactError` with less than two windows' length.
    """
    everything = windows(spec, rows)
    strange = incidents(everything)
    found = everything.take(~strange)
    step_ms = spec.step_s * 1000
    reach_ms = (spec.window - 1) * step_ms
    steps = sorted(
        {int(end) - back * step_ms for end in set(found.end_ms.tolist()) for back in range(spec.window)}
    )
    if len(steps) < 2 * spec.window:
        raise ArtifactError(
            f"windows cover {len(steps)} steps, at least {2 * spec.window} are needed; wait for more data"
        )

    def part(start_ms: int, end_ms: int) -> Windows:
        return found.take((found.end_ms - reach_ms >= start_ms) & (found.end_ms < end_ms))

    over = steps[-1] + 1
    quarter = int(len(steps) * VALIDATE_SHARE)
    if quarter >= spec.window:
        first, second = steps[int(len(steps) * TRAIN_SHARE)], steps[len(steps) - quarter]
        train, validate, test = part(0, first), part(first, second), part(second, over)
        how = "three parts by time"
    else:
        first = steps[max(spec.window, len(steps) // 2)]
        train, held = part(0, first), part(first, over)
        order = {device: i for i, device in enumerate(sorted(set(held.devices)))}
        odd = np.array([order[device] % 2 == 1 for device in held.devices], dtype=np.bool_)
        validate, test = held.take(odd), held.take(~odd)
        how = "two parts by time, held-out devices halved"
    return _checked(Split(train=train, validate=validate, test=test, how=how, incidents=int(strange.sum())))


def _checked(parts: Split) -> Split:
    sizes = {"train": parts.train, "validate": parts.validate, "test": parts.test}
    for name, part in sizes.items():
        if len(set(part.devices)) < MIN_DEVICES // 2:
            count = len(set(part.devices))
            raise ArtifactError(
                f"the {name} part has whole windows of only {count} miners; wait for more data"
            )
    return parts
