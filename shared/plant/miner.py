"""`MinerFleet`: many miners as a struct of arrays, with the commands and the reports of their firmware."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shared.plant.fleet_params import FleetParams, Surroundings
from shared.plant.fleet_physics import FleetPhysics
from shared.plant.ladders import MinerModel
from shared.plant.observe import FleetObservation, FleetTruth, read_firmware, read_truth
from shared.plant.states import FailureReason, MinerState

Index = NDArray[np.intp]


class MinerFleet(FleetPhysics):
    """`n` miners of mixed models. Arrays are (n,), (n, boards) or (n, 4 fans); hashrates are in H/s.

    The fleet never sums hashrates: group by `algorithm` first. Machines begin warm and `mining` on `presets`.
    Commands take one index or an array of them. Machines without power or in the middle of a reboot do not
    hear commands (`listening`); whether the network reaches them (`reachable`) is the caller's business.
    """

    def __init__(
        self,
        models: Sequence[MinerModel],
        *,
        presets: Sequence[int] | None = None,
        params: FleetParams | None = None,
        seed: int = 0,
    ) -> None:
        """Build a fleet with one entry of `models` per machine, each on `presets` (default: its stock rung).

        Raises:
            ValueError: no machines, or a rung that its ladder does not have.
        """
        wanted = [model.stock_preset for model in models] if presets is None else presets
        super().__init__(models, wanted, params or FleetParams(), seed)
        self._seed = seed

    def _indices(self, miners: ArrayLike) -> Index:
        index = np.atleast_1d(np.asarray(miners, dtype=np.intp))
        if index.size and (index.min() < 0 or index.max() >= self.n):
            raise IndexError(f"miner index outside 0..{self.n - 1}")
        return index

    def _listeners(self, miners: ArrayLike) -> Index:
        index = self._indices(miners)
        return index[self.listening[index]]

    def set_preset(self, miners: ArrayLike, preset_index: ArrayLike) -> None:
        """Choose a rung: a running machine restarts its mining backend for `retune_s`; the same rung changes
        nothing.

        Raises:
            IndexError: no such miner. ValueError: no such rung.
        """
        index = self._indices(miners)
        rung = self._checked_rung(index, np.asarray(preset_index, dtype=np.intp))
        hears = self.listening[index]
        index, rung = index[hears], rung[hears]
        changed = index[rung != self.preset[index]]
        self.preset[index] = rung
        self._load_rungs()
        self.phases.untuned[index] = ~self.tuned[index, rung]
        self.phases.retune(changed[self.phases.state[changed] < MinerState.SHUTTING_DOWN])

    def stop(self, miners: ArrayLike) -> None:
        """Stop hashing; standby power within `shutdown_s`. Also clears a failure. Raises IndexError."""
        index = self._listeners(miners)
        state = self.phases.state[index]
        self.phases.enter(index[state == MinerState.FAILURE], MinerState.STOPPED)
        running = index[state < MinerState.SHUTTING_DOWN]
        self.phases.enter(running, MinerState.SHUTTING_DOWN, self.params.timing.shutdown_s)
        self.failure[index] = FailureReason.NONE

    def start(self, miners: ArrayLike) -> None:
        """Start machines that are stopped, stopping or failed; others stay as they are. Raises IndexError."""
        index = self._listeners(miners)
        idle = index[self.phases.state[index] >= MinerState.SHUTTING_DOWN]
        self.failure[idle] = FailureReason.NONE
        self._lost_s[idle] = 0.0
        self.phases.cold_start(idle)

    def throttle(self, miners: ArrayLike, pct: ArrayLike) -> None:
        """Ask for 20..100 % of the rung's clock; takes effect at the sweep of `throttle_s`, without a
        restart.

        Raises:
            IndexError: no such miner. ValueError: outside 20..100.
        """
        index = self._indices(miners)
        goal = np.broadcast_to(np.asarray(pct, dtype=np.float64), index.shape)
        if np.any(~((goal >= 20.0) & (goal <= 100.0))):
            raise ValueError("throttle is 20..100 %")
        hears = self.listening[index]
        self.clock_goal[index[hears]] = goal[hears] / 100.0

    def reboot(self, miners: ArrayLike) -> None:
        """Restart the control board: unreachable for `reboot_s`, then mining again by itself.

        Raises:
            IndexError: no such zone.
        """
        index = self._listeners(miners)
        self.failure[index] = FailureReason.NONE
        self._lost_s[index] = 0.0
        self.phases.reboot(index)

    def set_supply(self, miners: ArrayLike, *, on: bool) -> None:
        """Switch the feed of machines; they boot and mine again when it returns (miners.md §1.6).

        Raises:
            IndexError: no such zone.
        """
        index = self._indices(miners)
        changed = index[self.has_power[index] != on]
        self.has_power[changed] = on
        self.failure[changed] = FailureReason.NONE
        self.phases.reboot(changed)
        if not on:
            self.phases.total_s[changed] = np.inf

    def step(self, dt_s: float, around: Surroundings) -> None:
        """Advance by `dt_s` (0.1..5 s, sub-stepped) in constant surroundings and settle the counters."""
        parts = max(1, int(np.ceil(dt_s / self.params.max_substep_s - 1e-9)))
        for _ in range(parts):
            self.advance(dt_s / parts, around)
        self.settle_counts()

    @property
    def truth(self) -> FleetTruth:
        """The real state, copied; no noise, no rounding."""
        return read_truth(self)

    def observe(self) -> FleetObservation:
        """What the firmwares would report now: estimated, noisy, rounded. Repeated calls within a step
        agree."""
        return read_firmware(self, np.random.default_rng([self._seed, 2, self._steps]))
