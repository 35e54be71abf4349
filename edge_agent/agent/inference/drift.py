"""Has the data moved away from what the model was watched on? Population stability per feature.

A plain PSI of 0.2 alarms all the time (models.md §9: its mean is above 1 on autocorrelated data that does
not drift at all). So three things are different here: the site's median of each cycle is taken off first,
because weather moves all miners together and says nothing; the histogram is over many miners and many cycles;
and the threshold of each feature is calibrated by a block bootstrap on the reference itself. The reference
are the first `CYCLES` cycles of this model, its shadow first.
"""

from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge_agent.agent.events import Evidence

CYCLES: Final = 120
"""Cycles of the reference, and of the window that is held against it."""
LEAST_MINERS: Final = 8
"""Fewer say nothing about a distribution."""
_MOST_MINERS: Final = 64
_BINS: Final = 10
_BLOCK: Final = 10
_REPEATS: Final = 400
_FLOOR: Final = 0.5
_MARGIN: Final = 2.0
_STANDS: Final = CYCLES // 4
"""The threshold must be passed for so many cycles in a row."""

Floats = NDArray[np.float64]


class Drift:
    """Fed with the newest features of each cycle; used on the inference thread only."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._reference: list[Floats] = []
        self._edges: Floats | None = None
        self._expected: Floats | None = None
        self._limits: Floats | None = None
        self._recent: deque[Floats] = deque(maxlen=CYCLES)
        self._sum: Floats | None = None
        self._standing = 0
        self.worst: tuple[str, float] | None = None
        """Feature furthest over (or nearest below) its limit, and its PSI; None while nothing is known."""

    def add(self, newest: NDArray[np.float32], groups: NDArray[np.int64]) -> None:
        """One cycle: features [N, F] of the miners scored, and which algorithm each runs [N]."""
        if len(newest) < LEAST_MINERS:
            return
        centred = _centred(newest.astype(np.float64), groups)
        rows = centred[np.linspace(0, len(centred) - 1, min(len(centred), _MOST_MINERS)).astype(int)]
        if self._edges is None:
            self._reference.append(rows)
            if len(self._reference) == CYCLES:
                self._calibrate()
            return
        self._judge(_histogram(rows, self._edges))

    @property
    def alarm(self) -> str:
        """What drifted, in words, or nothing."""
        if self._standing < _STANDS or self.worst is None:
            return ""
        name, psi = self.worst
        return f"{name} is distributed unlike in the model's first {CYCLES} cycles (PSI {psi:.2f})"

    def figures(self) -> Evidence:
        """The worst feature's PSI, and nothing while none is known."""
        if self.worst is None:
            return {}
        return {"drift_feature": self.worst[0], "drift_psi": round(self.worst[1], 4)}

    def _calibrate(self) -> None:
        pooled = np.concatenate(self._reference)
        self._edges = np.quantile(pooled, np.arange(1, _BINS) / _BINS, axis=0)
        counts = np.stack([_histogram(rows, self._edges) for rows in self._reference])
        self._reference = []
        self._expected = counts.sum(axis=0)
        blocks = counts.reshape(CYCLES // _BLOCK, _BLOCK, *counts.shape[1:]).sum(axis=1)
        chance = np.random.default_rng(7)  # the same data give the same limits
        found = np.empty((_REPEATS, blocks.shape[1]))
        for i in range(_REPEATS):
            one, other = (blocks[chance.integers(0, len(blocks), len(blocks))].sum(axis=0) for _ in range(2))
            found[i] = _psi(one, other)
        self._limits = np.maximum(_MARGIN * np.quantile(found, 0.995, axis=0), _FLOOR)
        # A feature that stood still (no rejected share at all) would alarm at its first move.
        steps = np.array([len(np.unique(column)) for column in self._edges.T])
        self._limits[steps < _BINS // 2] = np.inf

    def _judge(self, counts: Floats) -> None:
        if self._sum is None:
            self._sum = np.zeros_like(counts)
        if len(self._recent) == CYCLES:
            self._sum -= self._recent[0]
        self._recent.append(counts)
        self._sum += counts
        if len(self._recent) < CYCLES or self._expected is None or self._limits is None:
            return
        psi = _psi(self._expected, self._sum)
        index = int(np.argmax(psi / self._limits))
        self.worst = (self._names[index], float(psi[index]))
        self._standing = self._standing + 1 if psi[index] > self._limits[index] else 0


def _centred(values: Floats, groups: NDArray[np.int64]) -> Floats:
    for group in np.unique(groups):
        here = groups == group
        values[here] -= np.median(values[here], axis=0)
    return values


def _histogram(rows: Floats, edges: Floats) -> Floats:
    """[F, bins] counts; a feature that hardly moves has equal edges, and all falls on one side."""
    which = (rows[:, None, :] > edges[None, :, :]).sum(axis=1)
    return np.stack([np.bincount(which[:, f], minlength=_BINS) for f in range(rows.shape[1])]).astype(float)


def _psi(expected: Floats, actual: Floats) -> Floats:
    """[F]; half a count is added to each bin, so that an empty one is not infinite evidence."""
    p, q = expected + 0.5, actual + 0.5
    p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
    return np.asarray(((p - q) * np.log(p / q)).sum(axis=1))
