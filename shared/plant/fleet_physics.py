"""State and physics of a fleet: electricity, heat, fans, hashes and the firmware's own protection.

Electrical and thermal laws are plant.md §1.3-1.4, transition times §1.5; constants live beside their laws in
`chips`, `cooling`, `states` and `silicon`. Counters are Poisson draws (plant.md §1.6).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.plant import chips, cooling
from shared.plant.fleet_params import HASHES_PER_NONCE, HASHES_PER_SHARE, FleetParams, Surroundings
from shared.plant.ladders import MinerModel
from shared.plant.silicon import draw_lottery, rung_tables
from shared.plant.states import FailureReason, MinerState, Phases
from shared.plant.wear import FANS, Condition

Floats = NDArray[np.float64]
Index = NDArray[np.intp]
Bools = NDArray[np.bool_]


class FleetPhysics:
    """Everything of a fleet that happens by itself; `MinerFleet` adds the commands and the two views.

    Public arrays are (n,), (n, boards) or (n, 4 fans), with the unit in the name; read them, do not write
    them.
    """

    def __init__(
        self, models: Sequence[MinerModel], presets: Sequence[int], params: FleetParams, seed: int
    ) -> None:
        """Begin warm and mining. Raises ValueError: no machines, or a rung that its ladder does not have."""
        if not models:
            raise ValueError("a fleet needs at least one miner")
        self.models = tuple(models)
        self.params = params
        self.n = len(self.models)
        kinds = list(dict.fromkeys(model.name for model in models))
        by_name = {model.name: model for model in models}
        self._tables = rung_tables([by_name[name] for name in kinds])
        self._kind = np.array([kinds.index(model.name) for model in models], dtype=np.intp)
        self._rng = np.random.default_rng([seed, 1])
        self._steps = 0
        self._set_constants()
        width = self.boards_exist.shape[1]
        self.lottery = draw_lottery(self._rng, width, self.metered, params.lottery)
        self.condition = Condition(self.n, width)
        self.phases = Phases(self.n, params.timing)
        self._set_state(width)
        self.preset = self._checked_rung(np.arange(self.n), np.asarray(presets, dtype=np.intp))
        self._load_rungs()

    def _set_constants(self) -> None:
        boards = np.array([model.boards for model in self.models])
        self.algorithm = np.array([model.algorithm for model in self.models])
        self.metered = np.array([model.psu_metering for model in self.models])
        self.hydro = np.array([model.cooling == "hydro" for model in self.models])
        self.boards = boards.astype(np.float64)
        self.boards_exist: Bools = np.arange(int(boards.max()))[None, :] < boards[:, None]
        self.fans_exist: Bools = (
            np.arange(FANS)[None, :] < np.array([model.fans for model in self.models])[:, None]
        )
        self.has_fans = np.array([model.fans > 0 for model in self.models])
        self._flow_max = np.array([max(model.flow_max_m3s, 1e-3) for model in self.models])
        self._rated_w = np.array([model.psu_rated_w for model in self.models])
        self._share_hashes = np.array([HASHES_PER_SHARE[model.algorithm] for model in self.models])
        self._nonce_hashes = np.array([HASHES_PER_NONCE[model.algorithm] for model in self.models])

    def _set_state(self, width: int) -> None:
        n = self.n
        self.time_s = 0.0
        self.pcb_c = np.full((n, width), 42.0)
        self.pcb_out_c = np.full((n, width), 54.0)
        self.chip_c = np.full((n, width), 62.0)
        self.air_out_c = np.full(n, 38.0)
        self.duty = np.where(self.has_fans, 0.8, 0.0)
        self._integral = self.duty.copy()
        self.target_c = np.full(n, self.params.target_c)
        self.manual_duty = np.full(n, np.nan)
        """Fixed fan duty, 0..1; NaN: the firmware regulates to `target_c`."""
        self.fan_rpm = cooling.fan_rpm(self.duty, self.params.cooling)[:, None] * self.fans_exist
        self.power_w = np.zeros(n)
        self.board_power_w = np.zeros((n, width))
        self.heat_w = np.zeros(n)
        self.flow_m3s = np.zeros(n)
        self.coolant_w_per_k = np.zeros(n)
        self.hashrate_hs = np.zeros(n)
        self.board_hashrate_hs = np.zeros((n, width))
        self.average_hs = np.zeros(n)
        self.clock_factor = np.ones(n)
        self.clock_goal = np.ones(n)
        self.tuned = np.ones((n, self._tables.label_w.shape[1]), dtype=np.bool_)
        self.has_power = np.ones(n, dtype=np.bool_)
        self.hw_errors = np.zeros((n, width), dtype=np.int64)
        self.accepted = np.zeros(n, dtype=np.int64)
        self.rejected = np.zeros(n, dtype=np.int64)
        self._hashes_due = np.zeros(n)
        self._errors_due = np.zeros((n, width))
        self._lost_s = np.zeros(n)
        self.failure = np.zeros(n, dtype=np.int8)
        self.protection_trips = np.zeros(n, dtype=np.int64)
        self.last_trip_s = np.full(n, np.nan)
        self.energy_j = np.zeros(n)

    def _checked_rung(self, index: Index, preset: Index) -> Index:
        rung = np.broadcast_to(preset, index.shape)
        if np.any(rung < 0) or np.any(rung >= self._tables.rungs[self._kind[index]]):
            raise ValueError("no such rung on the ladder of this miner")
        return rung.copy()

    def _load_rungs(self) -> None:
        at = (self._kind, self.preset)
        self.label_w = self._tables.label_w[at]
        self.nominal_hs = self._tables.hashrate_hs[at]
        self.freq_mhz = self._tables.freq_mhz[at]
        self.volt_v = self._tables.volt_v[at]
        self._dynamic_w = (self._tables.dynamic_w[at] / self.boards)[:, None] * self.lottery.capacitance
        self._leak_w = (self._tables.leak_w[at] / self.boards)[:, None] * self.lottery.leakage

    def advance(self, dt_s: float, around: Surroundings) -> None:
        """One sub-step of the physics; counters wait for `settle_counts`."""
        self.time_s += dt_s
        tuned = self.phases.advance(dt_s)
        if tuned.size:
            self.tuned[tuned, self.preset[tuned]] = True
            self.phases.untuned[tuned] = False
        sweep = dt_s / self.params.timing.throttle_s
        self.clock_factor += np.clip(self.clock_goal - self.clock_factor, -sweep, sweep)
        self._turn_fans(dt_s)
        load, hashing = self._phase_loads()
        self._draw_power(load)
        self._move_heat(dt_s, around)
        self._hash(dt_s, hashing)
        self._protect(dt_s)

    def _turn_fans(self, dt_s: float) -> None:
        p = self.params
        hottest = self.firmware_chip_max_c
        error = hottest - self.target_c
        self._integral = np.clip(self._integral + p.fan_ki * dt_s * error, p.min_duty, 1.0)
        duty = np.clip(self._integral + p.fan_kp * error, p.min_duty, 1.0)
        duty = np.where(np.isnan(self.manual_duty), duty, self.manual_duty)
        self.duty = np.where(self.has_fans & self.energised, duty, 0.0)
        goal = (
            cooling.fan_rpm(self.duty, p.cooling)[:, None] * (1.0 - self.condition.fan_wear) * self.fans_exist
        )
        self.fan_rpm += (goal - self.fan_rpm) * (1.0 - np.exp(-dt_s / p.cooling.fan_lag_s))

    def _phase_loads(self) -> tuple[Floats, Floats]:
        state, progress = self.phases.state, self.phases.progress
        full = (state == MinerState.MINING) | (state == MinerState.AUTO_TUNING)
        load = np.where(full, 1.0, 0.0)
        load[state == MinerState.STARTING] = progress[state == MinerState.STARTING]
        ending = state == MinerState.SHUTTING_DOWN
        load[ending] = 1.0 - progress[ending]
        hashing = np.where(full, 1.0, 0.0)
        hashing[state == MinerState.AUTO_TUNING] = 1.0 - self.params.tuning_loss
        return load, hashing

    def _draw_power(self, load: Floats) -> None:
        alive = self.boards_exist & ~self.condition.board_dead
        leak = self._leak_w * chips.leakage_factor(self.chip_c)
        chip_w = (self._dynamic_w * self.clock_factor[:, None] + leak) * (load[:, None] * alive)
        self._chip_w = chip_w
        overhead = chips.BOARD_OVERHEAD_W * ((load > 0.0)[:, None] & alive)
        self.board_power_w = chip_w / chips.VRM_EFFICIENCY + overhead
        fans = cooling.fan_power_w(self.fan_rpm).sum(axis=1)
        dc_w = self.board_power_w.sum(axis=1) + chips.CONTROL_BOARD_W + fans
        eta = chips.psu_efficiency(dc_w / 0.93 / self._rated_w) - 0.06 * self.condition.psu_decay
        idle = np.where(self.phases.state == MinerState.INITIALIZING, chips.INITIALIZING_W, chips.STANDBY_W)
        wall = np.where(load > 0.0, dc_w / eta, idle + fans / 0.9)
        self.power_w = np.where(self.energised, wall, 0.0)
        self.board_power_w *= self.energised[:, None]

    def _move_heat(self, dt_s: float, around: Surroundings) -> None:
        p = self.params.cooling
        speed = self.fan_rpm.sum(axis=1) / FANS
        dust = self.condition.dust
        derate = around.draught * (1.0 - 0.5 * dust)
        air_m3s = cooling.air_flow_m3s(speed, self._flow_max, derate, p)
        # Resistance is calibrated per 0.18 m3/s machine, so it follows the flow relative to the machine's own
        # maximum.
        air_r = cooling.air_resistance(air_m3s / self._flow_max, p) * (1.0 + 0.6 * dust)
        water_r = cooling.water_resistance(around.coolant_fraction, p)
        water_cap = np.maximum(around.coolant_kgs, 0.003) * cooling.WATER_J_PER_KGK
        self.flow_m3s = np.where(self.hydro, 0.0, air_m3s)
        capacity = np.where(self.hydro, water_cap, cooling.AIR_J_PER_M3K * air_m3s)
        # Air cannot leave much hotter than the boards it passed: at low flow the stream itself is the
        # resistance.
        resistance = np.maximum(np.where(self.hydro, water_r, air_r), 0.8 * self.boards / capacity)
        steady = around.inlet_c[:, None] + self.board_power_w * resistance[:, None]
        decay = np.exp(-dt_s / (p.board_j_per_k * resistance))[:, None]
        new = steady + (self.pcb_c - steady) * decay
        new = np.where(self.boards_exist, new, around.inlet_c[:, None])
        stored_w = (p.board_j_per_k / dt_s) * ((new - self.pcb_c) * self.boards_exist).sum(axis=1)
        self.heat_w = self.power_w - stored_w
        rise = np.maximum(self.heat_w / capacity, 0.0)
        self.coolant_w_per_k = capacity
        self.air_out_c = around.inlet_c + rise
        # The exhaust side of a board has the board's inertia: it follows the air, it does not jump with it.
        gap = self.pcb_out_c - self.pcb_c
        gap = (p.air_path_gain * rise)[:, None] * (1.0 - decay) + gap * decay
        self.pcb_c = new
        self.pcb_out_c = np.where(self.boards_exist, new + gap, new)
        junction = p.junction_k_per_w * self._chip_w / cooling.REFERENCE_CHIPS
        self.chip_c = 0.5 * (new + self.pcb_out_c) + junction
        self.energy_j += self.power_w * dt_s

    def _hash(self, dt_s: float, hashing: Floats) -> None:
        p = self.params.errors
        decay = self.condition.board_decay
        margin = (
            p.nominal_margin_mv
            + self.lottery.margin_mv
            + p.thermal_mv_per_k * (self.chip_c - 65.0)
            - 45.0 * decay
        )
        wrong = chips.error_ratio(margin, p)
        alive = self.boards_exist & ~self.condition.board_dead
        tried = (self.nominal_hs * hashing * self.clock_factor * self.energised / self.boards)[
            :, None
        ] * alive
        self.board_hashrate_hs = tried * (1.0 - wrong)
        self.hashrate_hs = self.board_hashrate_hs.sum(axis=1)
        self.average_hs += (self.hashrate_hs - self.average_hs) * (
            1.0 - np.exp(-dt_s / self.params.average_s)
        )
        self._errors_due += tried * wrong * (dt_s / self._nonce_hashes)[:, None]
        self._hashes_due += self.hashrate_hs * dt_s

    def _protect(self, dt_s: float) -> None:
        p = self.params
        state = self.phases.state
        running = (state < MinerState.SHUTTING_DOWN) & self.energised
        hot = running & (state != MinerState.RESTARTING) & (self.firmware_chip_max_c >= p.protect_c)
        spinning = ((self.fan_rpm > p.lost_rpm) & self.fans_exist).sum(axis=1)
        lost = self.has_fans & running & (spinning < p.fan_min_count)
        self._lost_s = np.where(lost, self._lost_s + dt_s, 0.0)
        self.condition.cooked |= (self.chip_c >= p.cook_c) & self.boards_exist
        dead = running & ~(self.boards_exist & ~self.condition.board_dead).any(axis=1)
        for mask, reason in (
            (dead, FailureReason.NO_BOARDS),
            (self._lost_s > p.lost_after_s, FailureReason.FAN_LOST),
            (hot, FailureReason.OVERHEAT),
            (running & self.condition.psu_dead, FailureReason.PSU),
        ):
            index = np.flatnonzero(mask)
            if index.size:
                self.phases.enter(index, MinerState.FAILURE)
                self.failure[index] = reason
        self.protection_trips += hot
        self.last_trip_s[hot] = self.time_s

    def settle_counts(self) -> None:
        """Draw shares and hardware errors for the hashes done since the last call."""
        shares = self._hashes_due / self._share_hashes
        self.accepted += self._rng.poisson(shares * (1.0 - self.params.reject_ratio))
        self.rejected += self._rng.poisson(shares * self.params.reject_ratio)
        self.hw_errors += self._rng.poisson(self._errors_due)
        self._hashes_due[:] = 0.0
        self._errors_due[:] = 0.0
        self._steps += 1

    def forget_counters(self) -> None:
        """Zero counters, energy, clock and trip records, as after a fresh boot; the average takes the present
        value."""
        for counter in (self.hw_errors, self.accepted, self.rejected, self.protection_trips):
            counter[:] = 0
        for due in (self._hashes_due, self._errors_due, self.energy_j, self.phases.elapsed_s):
            due[:] = 0.0
        self.average_hs = self.hashrate_hs.copy()
        self.last_trip_s[:] = np.nan
        self.time_s = 0.0

    @property
    def energised(self) -> NDArray[np.bool_]:
        """(n,): fed by the site and by a living PSU."""
        return self.has_power & ~self.condition.psu_dead

    @property
    def listening(self) -> NDArray[np.bool_]:
        """(n,): the control board runs, so a command that gets there is heard."""
        return self.energised & ~self.phases.rebooting

    @property
    def reachable(self) -> NDArray[np.bool_]:
        """(n,): whether the machine would answer on the network."""
        return self.listening & (self.condition.net_drop <= 0.0)

    @property
    def firmware_pcb_out_c(self) -> Floats:
        """(n, boards) exhaust-side board temperature as the firmware's sensors give it; a stuck sensor
        misleads it."""
        return np.where(self.condition.stuck, self.condition.stuck_c, self.pcb_out_c)

    @property
    def firmware_chip_max_c(self) -> Floats:
        """(n,) the chip temperature that the firmware acts on: hottest living board sensor + 15 K."""
        seen = np.where(self.boards_exist & ~self.condition.board_dead, self.firmware_pcb_out_c, -np.inf)
        hottest = seen.max(axis=1)
        fallback = np.where(self.boards_exist, self.pcb_out_c, -np.inf).max(axis=1)
        chip: Floats = np.where(np.isfinite(hottest), hottest, fallback) + cooling.CHIP_ESTIMATE_K
        return chip
