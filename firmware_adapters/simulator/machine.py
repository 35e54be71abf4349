"""One miner of the plant behind the face that the VNish emulator asks for."""

import math
import zlib
from collections import deque
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from firmware_adapters.miners.emulated import (
    BoardView,
    FanView,
    MinerView,
    PastView,
    PoolView,
    PresetView,
)
from firmware_adapters.simulator.writes import WriteLog
from shared.inventory import DeviceEntry
from shared.plant import FailureReason, FleetObservation, MinerModel, SitePlant
from shared.plant import MinerState as PlantState
from shared.telemetry import MinerState
from shared.units import Algorithm

_THS = 1e12
_SPARE_POOL = "stratum+tcp://spare.pool.invalid:3333"
_SHARE_EVERY_S = 5.0
"""Pools hand out work so that a share comes every few seconds."""
REMEMBERED_S = 259_200.0
"""How far back firmwares with a history go (72 h)."""
_REMEMBERED_BY_THE_MINUTE = 200
"""So many machines are remembered by the minute; twice as many every other minute, which bounds memory."""
Past = NDArray[np.float32]
_STATES = {int(state): MinerState(state.label) for state in PlantState}
_WHY = {
    FailureReason.OVERHEAT: "overheat protection: chip temperature too high",
    FailureReason.FAN_LOST: "fan lost",
    FailureReason.NO_BOARDS: "no chain found",
    FailureReason.PSU: "power supply failed",
}


class PlantFeed:
    """The plant's last observation, taken once per step and shared by all machines.

    `version` grows with each step, so that a machine's view is made at most once per step and only when
    somebody asks. `reported_max_c` is the highest chip temperature that each firmware has ever reported.
    """

    def __init__(self, plant: SitePlant) -> None:
        self.plant = plant
        self.version = 0
        self.seen: FleetObservation = plant.fleet.observe()
        self.reported_max_c = np.zeros(plant.fleet.n)
        self._reboots: list[tuple[float, int]] = []
        self._keep_every_s = 60.0 * math.ceil(plant.fleet.n / _REMEMBERED_BY_THE_MINUTE)
        self._past: deque[tuple[float, Past]] = deque(maxlen=math.ceil(REMEMBERED_S / self._keep_every_s))
        self.booted_s = np.zeros(plant.fleet.n)
        self.refresh()

    def refresh(self) -> None:
        """Take a new observation, after the plant has stepped."""
        due = [index for at_s, index in self._reboots if at_s <= self.plant.time_s]
        if due:
            self._reboots = [(at_s, index) for at_s, index in self._reboots if at_s > self.plant.time_s]
            self.plant.fleet.reboot(due)
        self.booted_s[self.plant.fleet.phases.rebooting] = self.plant.time_s
        self.version += 1
        self.seen = self.plant.fleet.observe()
        shown = self.seen.chip_out_c.max(axis=1) * self.seen.reachable
        self.reported_max_c = np.maximum(self.reported_max_c, shown)
        if not self._past or self.plant.time_s - self._past[-1][0] >= self._keep_every_s:
            self._past.append((self.plant.time_s, self._columns()))

    def _columns(self) -> Past:
        seen = self.seen
        columns = (
            seen.hashrate_hs / _THS,
            seen.power_w,
            seen.fan_duty_pct,
            np.max(seen.chip_out_c, axis=1),
            np.max(seen.pcb_out_c, axis=1),
        )
        return np.stack(columns, axis=1).astype(np.float32)

    def past(self, index: int) -> tuple[PastView, ...]:
        """The last 72 h of one machine, oldest first; the more machines there are, the further apart."""
        found = []
        for at_s, columns in self._past:
            hashrate, power, duty, chip_c, board_c = columns[index].tolist()
            running = hashrate > 0
            found.append(
                PastView(
                    age_s=self.plant.time_s - at_s,
                    hashrate_ths=hashrate,
                    power_w=power,
                    fan_duty_pct=duty,
                    chip_temp_max_c=chip_c if running else None,
                    board_temp_max_c=board_c if running else None,
                )
            )
        return tuple(found)

    def reboot_after(self, index: int, after_s: float) -> None:
        """Restart a control board at the first step after `after_s`."""
        self._reboots.append((self.plant.time_s + after_s, index))


class PlantMiner:
    """`EmulatedMiner` number `index` of a plant."""

    def __init__(self, feed: PlantFeed, index: int, entry: DeviceEntry, log: WriteLog) -> None:
        self._feed = feed
        self._log = log
        self._shown_c: float | None = None
        self._fleet = feed.plant.fleet
        self._index = index
        self._model: MinerModel = self._fleet.models[index]
        self._entry = entry
        self._locating = False
        self._limit_w: float | None = None
        self._asked: str | None = None
        """The preset that would run without the limit."""
        self._cooling: Literal["auto", "manual", "immersion"] = (
            "immersion" if self._model.cooling == "hydro" else "auto"
        )
        self._pool = 0
        self._cached: tuple[int, MinerView] | None = None
        self._ladder: tuple[tuple[bool, ...], tuple[PresetView, ...]] | None = None
        self._mac = _mac(entry.id)

    def view(self) -> MinerView:
        """See `EmulatedMiner`."""
        if self._cached is None or self._cached[0] != self._feed.version:
            self._cached = (self._feed.version, self._make())
        return self._cached[1]

    def past(self) -> tuple[PastView, ...]:
        """See `Remembers`."""
        return self._feed.past(self._index)

    def show_chip_temp(self, celsius: float | None) -> None:
        """Report this as the hottest chip, whatever is so; None ends it. The firmware keeps the truth."""
        self._shown_c = celsius
        self._cached = None

    def _make(self) -> MinerView:
        seen, i, model = self._feed.seen, self._index, self._model
        state = _STATES[int(seen.state[i])]
        failure = FailureReason(int(seen.failure[i]))
        return MinerView(
            state=state,
            state_time_s=float(seen.state_time_s[i]),
            hashrate_ths=float(seen.hashrate_hs[i]) / _THS,
            hashrate_average_ths=float(seen.average_hs[i]) / _THS,
            hashrate_nominal_ths=float(seen.nominal_hs[i]) / _THS,
            hashrate_stock_ths=_ths(model, model.presets[model.stock_preset].hashrate),
            power_w=float(seen.power_w[i]),
            power_metered=bool(seen.power_metered[i]),
            boards=tuple(self._board(b, state) for b in range(model.boards)),
            fans=tuple(
                FanView(rpm=float(seen.fan_rpm[i, f]), ok=bool(seen.fan_ok[i, f])) for f in range(model.fans)
            ),
            fan_duty_pct=float(seen.fan_duty_pct[i]),
            hw_errors=int(seen.hw_errors[i].sum()),
            shares_accepted=int(seen.accepted[i]),
            shares_rejected=int(seen.rejected[i]),
            uptime_s=self._feed.plant.time_s - float(self._feed.booted_s[i]),
            preset=model.presets[int(seen.preset[i])].name,
            presets=self._presets(),
            model=f"Antminer {model.name}",
            algorithm=Algorithm(model.algorithm),
            mac=self._mac,
            serial=f"SIM{zlib.crc32(self._entry.id.encode()):010d}",
            reachable=bool(seen.reachable[i]),
            description=_WHY.get(failure),
            cooling=self._cooling,
            target_temp_c=float(self._fleet.target_c[i]),
            throttle_pct=float(seen.throttle_pct[i]),
            locating=self._locating,
            hostname=self._entry.id,
            chips_per_board=model.chips_per_board,
            pool_user=f"minewarden.{self._entry.id}",
            other_pools=(PoolView(url=_SPARE_POOL, user=f"minewarden.{self._entry.id}"),),
            pool=self._pool,
            last_share_age_s=_SHARE_EVERY_S if seen.hashrate_hs[i] > 0 else None,
            power_limit_w=self._limit_w,
        )

    def _board(self, board: int, state: MinerState) -> BoardView:
        seen, i = self._feed.seen, self._index
        present = bool(seen.board_present[i, board])
        known = present and state is not MinerState.FAILURE
        share = 1.0 / self._model.boards
        return BoardView(
            working=present,
            hashrate_ths=float(seen.board_hashrate_hs[i, board]) / _THS,
            hashrate_nominal_ths=float(seen.nominal_hs[i]) * share / _THS,
            power_w=float(self._fleet.board_power_w[i, board]),
            freq_mhz=float(seen.freq_mhz[i]),
            volt_v=float(seen.volt_v[i]),
            hw_errors=int(seen.hw_errors[i, board]),
            chip_temp_min_c=float(seen.chip_in_c[i, board]) if known else None,
            chip_temp_max_c=self._hottest_c(board) if known else None,
            board_temp_min_c=float(seen.pcb_in_c[i, board]) if known else None,
            board_temp_max_c=float(seen.pcb_out_c[i, board]) if known else None,
        )

    def _hottest_c(self, board: int) -> float:
        if self._shown_c is not None:
            return self._shown_c
        return float(self._feed.seen.chip_out_c[self._index, board])

    def _presets(self) -> tuple[PresetView, ...]:
        tuned = tuple(bool(flag) for flag in self._fleet.tuned[self._index, : len(self._model.presets)])
        if self._ladder is None or self._ladder[0] != tuned:
            views = tuple(
                PresetView(
                    name=rung.name,
                    power_w=rung.power_w,
                    hashrate_ths=_ths(self._model, rung.hashrate),
                    tuned=done,
                    freq_mhz=rung.freq_mhz,
                    volt_v=rung.volt_v,
                    needs_modded_psu=rung.modded_psu,
                    needs_liquid=self._model.cooling == "hydro",
                )
                for rung, done in zip(self._model.presets, tuned, strict=True)
            )
            self._ladder = (tuned, views)
        return self._ladder[1]

    # ---------------------------------------------------------------- commands

    def set_preset(self, name: str) -> None:
        """See `EmulatedMiner`."""
        self._note("preset", name)
        self._asked = None if self._limit_w is None else name
        self._fleet.set_preset(self._index, self._model.preset_index(self._held(name)))

    def stop(self) -> None:
        """See `EmulatedMiner`."""
        self._note("mining", "stop")
        self._fleet.stop(self._index)

    def start(self) -> None:
        """See `EmulatedMiner`."""
        self._note("mining", "start")
        self._fleet.start(self._index)

    def pause(self) -> None:
        """See `EmulatedMiner`."""
        self._note("mining", "stop")
        self._fleet.stop(self._index)

    def resume(self) -> None:
        """See `EmulatedMiner`."""
        self._note("mining", "start")
        self._fleet.start(self._index)

    def restart(self) -> None:
        """See `EmulatedMiner`."""
        self._note("mining", "restart")
        if self._fleet.listening[self._index]:
            self._fleet.phases.retune(np.array([self._index]))

    def reboot(self, after_s: float) -> None:
        """See `EmulatedMiner`."""
        self._note("mining", "reboot")
        self._feed.reboot_after(self._index, after_s)

    def throttle(self, percent: float) -> None:
        """See `EmulatedMiner`."""
        self._note("throttle_pct", percent)
        self._fleet.throttle(self._index, percent)

    def _note(self, point: str, value: float | str) -> None:
        self._log.note(self._entry.id, point, value)

    def locate(self, *, on: bool) -> None:
        """See `EmulatedMiner`."""
        self._locating = on
        self._cached = None

    def set_power_limit(self, watts: float | None) -> None:
        """See `EmulatedMiner`: the highest tuned rung at or below the limit runs, as far as there is one.

        Never one above what was asked for; that runs again when a higher limit allows it. Taking the limit
        away changes nothing by itself.
        """
        self._note("power_limit_w", "off" if watts is None else watts)
        here = self.view().preset
        asked = here if self._asked is None else self._asked
        self._limit_w, self._asked = watts, None if watts is None else asked
        self._cached = None
        held = None if asked is None or watts is None else self._held(asked)
        if held is not None and held != here:
            self._fleet.set_preset(self._index, self._model.preset_index(held))

    def _held(self, name: str) -> str:
        """The rung that runs where `name` is wanted."""
        rungs = {rung.name: rung for rung in self._presets()}
        if self._limit_w is None or rungs[name].power_w <= self._limit_w:
            return name
        below = [rung for rung in rungs.values() if rung.tuned and rung.power_w <= self._limit_w]
        return max(below, key=lambda rung: rung.power_w).name if below else name

    def set_cooling(self, mode: Literal["auto", "manual", "immersion"], value: float) -> None:
        """See `EmulatedMiner`. A fan that immersion turns off is a duty of nothing here."""
        self._note("cooling", f"{mode} {value:g}")
        self._cooling = mode
        self._fleet.manual_duty[self._index] = {"auto": np.nan, "manual": value / 100.0}.get(mode, 0.0)
        if mode == "auto":
            self._fleet.target_c[self._index] = value
        self._cached = None

    def switch_pool(self, number: int) -> None:
        """See `EmulatedMiner`."""
        self._note("pool", number)
        self._pool = number
        self._cached = None


def _ths(model: MinerModel, hashrate: float) -> float:
    return hashrate * model.hashes_per_unit / _THS


def _mac(name: str) -> str:
    tail = zlib.crc32(name.encode()).to_bytes(4, "big")
    return ":".join(f"{byte:02x}" for byte in (0x02, 0x4D, *tail))
