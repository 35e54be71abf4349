"""Two views of a fleet: what the firmware reports and what is true. They are separate types on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shared.plant.cooling import CHIP_ESTIMATE_K
from shared.plant.states import MinerState

if TYPE_CHECKING:
    from shared.plant.miner import MinerFleet

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetObservation:
    """What each firmware would say. Shapes: (n,), (n, boards) or (n, 4 fans).

    Temperatures are whole deg C and 0 where the firmware has no data (failure; boards that do not exist or
    are dead), as in miners.md §1.5; chip temperatures are board + 15 K, an estimate. Hashrates are H/s, power
    is whole W, an estimate unless `power_metered`. `reachable` false means that no reply would come at all:
    ignore the other fields.
    """

    reachable: Bools
    state: NDArray[np.int8]
    state_time_s: Floats
    failure: NDArray[np.int8]
    preset: NDArray[np.intp]
    throttle_pct: Ints
    hashrate_hs: Floats
    average_hs: Floats
    nominal_hs: Floats
    board_hashrate_hs: Floats
    power_w: Ints
    power_metered: Bools
    pcb_in_c: Ints
    pcb_out_c: Ints
    chip_in_c: Ints
    chip_out_c: Ints
    fan_rpm: Ints
    fan_ok: Bools
    fan_duty_pct: Ints
    board_present: Bools
    freq_mhz: Floats
    volt_v: Floats
    hw_errors: Ints
    accepted: Ints
    rejected: Ints


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetTruth:
    """The real state: (n,), (n, boards) or (n, 4 fans); W, deg C, H/s, m3/s, rpm. `failure` is a
    `FailureReason`."""

    state: NDArray[np.int8]
    failure: NDArray[np.int8]
    power_w: Floats
    heat_w: Floats
    hashrate_hs: Floats
    pcb_in_c: Floats
    pcb_out_c: Floats
    chip_c: Floats
    exhaust_c: Floats
    fan_rpm: Floats
    fan_duty: Floats
    flow_m3s: Floats
    fan_wear: Floats
    board_decay: Floats
    dust: Floats
    protection_trips: Ints
    last_trip_s: Floats


def read_truth(fleet: MinerFleet) -> FleetTruth:
    """Copy the real state of `fleet`."""
    return FleetTruth(
        state=fleet.phases.state.copy(),
        failure=fleet.failure.copy(),
        power_w=fleet.power_w.copy(),
        heat_w=fleet.heat_w.copy(),
        hashrate_hs=fleet.hashrate_hs.copy(),
        pcb_in_c=fleet.pcb_c.copy(),
        pcb_out_c=fleet.pcb_out_c.copy(),
        chip_c=fleet.chip_c.copy(),
        exhaust_c=fleet.air_out_c.copy(),
        fan_rpm=fleet.fan_rpm.copy(),
        fan_duty=fleet.duty.copy(),
        flow_m3s=fleet.flow_m3s.copy(),
        fan_wear=fleet.condition.fan_wear.copy(),
        board_decay=fleet.condition.board_decay.copy(),
        dust=fleet.condition.dust.copy(),
        protection_trips=fleet.protection_trips.copy(),
        last_trip_s=fleet.last_trip_s.copy(),
    )


def _whole(values: Floats, valid: Bools) -> Ints:
    return np.where(valid, np.rint(values), 0.0).astype(np.int64)


def read_firmware(fleet: MinerFleet, rng: np.random.Generator) -> FleetObservation:
    """What the firmwares report. Noise [default]: 0.3 K per board sensor, 2.5 % on an instant board hashrate
    (short Poisson window, plant.md §1.6), 30 rpm per fan, and each machine's own power bias."""
    n, width = fleet.pcb_c.shape
    has_data = (
        (fleet.phases.state != MinerState.FAILURE)[:, None] & fleet.boards_exist & ~fleet.condition.board_dead
    )
    stuck, frozen = fleet.condition.stuck, fleet.condition.stuck_c
    sensor_noise = rng.normal(0.0, 0.3, (2, n, width))
    pcb_in = _whole(np.where(stuck, frozen, fleet.pcb_c + sensor_noise[0]), has_data)
    pcb_out = _whole(np.where(stuck, frozen, fleet.pcb_out_c + sensor_noise[1]), has_data)
    estimate = (CHIP_ESTIMATE_K * has_data).astype(np.int64)
    boards_hs = np.rint(fleet.board_hashrate_hs * (1.0 + rng.normal(0.0, 0.025, (n, width))) / 1e7) * 1e7
    rpm = np.rint((fleet.fan_rpm + rng.normal(0.0, 30.0, fleet.fan_rpm.shape)) / 30.0) * 30.0
    turning = fleet.fans_exist & (fleet.fan_rpm > fleet.params.lost_rpm)
    power = fleet.power_w * (1.0 + fleet.lottery.power_bias + rng.normal(0.0, 0.003, n))
    return FleetObservation(
        reachable=fleet.reachable,
        state=fleet.phases.state.copy(),
        state_time_s=np.floor(fleet.phases.elapsed_s),
        failure=fleet.failure.copy(),
        preset=fleet.preset.copy(),
        throttle_pct=np.rint(fleet.clock_factor * 100.0).astype(np.int64),
        hashrate_hs=boards_hs.sum(axis=1),
        average_hs=fleet.average_hs.copy(),
        nominal_hs=fleet.nominal_hs.copy(),
        board_hashrate_hs=boards_hs,
        power_w=np.rint(power).astype(np.int64),
        power_metered=fleet.metered.copy(),
        pcb_in_c=pcb_in,
        pcb_out_c=pcb_out,
        chip_in_c=pcb_in + estimate,
        chip_out_c=pcb_out + estimate,
        fan_rpm=np.where(turning, rpm, 0.0).astype(np.int64),
        fan_ok=turning,
        fan_duty_pct=np.rint(fleet.duty * 100.0).astype(np.int64),
        board_present=fleet.boards_exist & ~fleet.condition.board_dead,
        freq_mhz=fleet.freq_mhz.copy(),
        volt_v=fleet.volt_v.copy(),
        hw_errors=fleet.hw_errors.copy(),
        accepted=fleet.accepted.copy(),
        rejected=fleet.rejected.copy(),
    )
