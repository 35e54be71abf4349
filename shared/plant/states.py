"""The mining state machine of a fleet, vectorised: which phase a machine is in and for how long still."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray


class MinerState(IntEnum):
    """Mining states of a VNish firmware (miners.md §1.5)."""

    MINING = 0
    INITIALIZING = 1
    STARTING = 2
    AUTO_TUNING = 3
    RESTARTING = 4
    SHUTTING_DOWN = 5
    STOPPED = 6
    FAILURE = 7

    @property
    def label(self) -> str:
        """The firmware's spelling, e.g. `"auto-tuning"`."""
        return self.name.lower().replace("_", "-")


class FailureReason(IntEnum):
    """Why a machine is in `FAILURE`."""

    NONE = 0
    OVERHEAT = 1
    FAN_LOST = 2
    NO_BOARDS = 3
    PSU = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class TimingParams:
    """Durations in seconds (plant.md §1.5; the splits are [default]).

    `retune_s` covers a change to an already tuned rung from restart to `mining`, `cold_start_s` a start from
    stop, `autotune_s` the tuning run of an untuned rung, `reboot_s` the time without an API, `throttle_s` a
    full sweep of the throttle from 100 % to 0 % (about 80 s seen in the field).
    """

    retune_s: float = 180.0
    cold_start_s: float = 180.0
    autotune_s: float = 3600.0
    reboot_s: float = 90.0
    shutdown_s: float = 4.0
    throttle_s: float = 80.0


_NEXT: Final = np.arange(8, dtype=np.int8)
_NEXT[MinerState.RESTARTING] = MinerState.INITIALIZING
_NEXT[MinerState.INITIALIZING] = MinerState.STARTING
_NEXT[MinerState.STARTING] = MinerState.AUTO_TUNING
_NEXT[MinerState.AUTO_TUNING] = MinerState.MINING
_NEXT[MinerState.SHUTTING_DOWN] = MinerState.STOPPED

_SHARE: Final = np.zeros(8)
"""Part of a retune spent in each phase [default]; a cold start skips `RESTARTING`."""
_SHARE[MinerState.RESTARTING] = 0.10
_SHARE[MinerState.INITIALIZING] = 0.35
_SHARE[MinerState.STARTING] = 0.25
_SHARE[MinerState.AUTO_TUNING] = 0.30

_FINAL: Final = np.zeros(8, dtype=np.bool_)
_FINAL[[MinerState.MINING, MinerState.STOPPED, MinerState.FAILURE]] = True

Index = NDArray[np.intp]


class Phases:
    """State, time in it and time left, each of shape (n,)."""

    def __init__(self, n: int, timing: TimingParams) -> None:
        self.timing = timing
        self.state = np.full(n, MinerState.MINING, dtype=np.int8)
        self.elapsed_s = np.zeros(n)
        self.total_s = np.full(n, np.inf)
        self.plan_s = np.full(n, timing.retune_s)
        self.untuned = np.zeros(n, dtype=np.bool_)
        self.rebooting = np.zeros(n, dtype=np.bool_)

    def enter(self, index: Index, state: MinerState, total_s: float = np.inf) -> None:
        """Put machines into a state that lasts `total_s` (final states last for ever)."""
        self.state[index] = state
        self.elapsed_s[index] = 0.0
        self.total_s[index] = total_s
        self.rebooting[index] = False

    def retune(self, index: Index) -> None:
        """The mining backend restarts: no hash, then initialising, ramp, tuning."""
        self.plan_s[index] = self.timing.retune_s
        self.enter(index, MinerState.RESTARTING, _SHARE[MinerState.RESTARTING] * self.timing.retune_s)

    def cold_start(self, index: Index) -> None:
        """Start from stop; `cold_start_s` in total."""
        plan_s = self.timing.cold_start_s / (1.0 - _SHARE[MinerState.RESTARTING])
        self.plan_s[index] = plan_s
        self.enter(index, MinerState.INITIALIZING, _SHARE[MinerState.INITIALIZING] * plan_s)

    def reboot(self, index: Index) -> None:
        """No API for `reboot_s`, then a cold start."""
        self.plan_s[index] = self.timing.cold_start_s / (1.0 - _SHARE[MinerState.RESTARTING])
        self.enter(index, MinerState.RESTARTING, self.timing.reboot_s)
        self.rebooting[index] = True

    def advance(self, dt_s: float) -> Index:
        """Let time pass; returns the machines that have just finished a tuning run."""
        self.elapsed_s += dt_s
        done = np.flatnonzero(self.elapsed_s >= self.total_s)
        if not done.size:
            return done
        old = self.state[done]
        new = _NEXT[old]
        spill = self.elapsed_s[done] - self.total_s[done]
        total = _SHARE[new] * self.plan_s[done]
        total = np.where((new == MinerState.AUTO_TUNING) & self.untuned[done], self.timing.autotune_s, total)
        self.state[done] = new
        self.elapsed_s[done] = spill
        self.total_s[done] = np.where(_FINAL[new], np.inf, total)
        self.rebooting[done] = False
        finished: Index = done[old == MinerState.AUTO_TUNING]
        return finished

    @property
    def progress(self) -> NDArray[np.float64]:
        """Part of the present phase done, 0..1; 0 in a final state."""
        part: NDArray[np.float64] = np.clip(self.elapsed_s / np.maximum(self.total_s, 1e-9), 0.0, 1.0)
        return part
