"""Calibration anchors, energy balance and time constants of one machine and of mixed fleets."""

from dataclasses import replace

import numpy as np
import pytest

from shared.plant import FleetParams, MinerFleet, open_air
from shared.plant.cooling import CoolingParams
from shared.plant.ladders import load_ladders
from shared.plant.silicon import LotteryParams

LADDERS = load_ladders()
AVERAGE = LotteryParams(
    machine_margin_sd_mv=0.0, board_margin_sd_mv=0.0, capacitance_sd=0.0, leakage_log_sd=1e-9
)
CFM = 0.000471947


def average_machine(name: str, **params: object) -> MinerFleet:
    return MinerFleet([LADDERS[name]], params=replace(FleetParams(lottery=AVERAGE), **params))


def run(fleet: MinerFleet, seconds: float, inlet_c: float, dt_s: float = 1.0) -> None:
    around = open_air(fleet.n, inlet_c)
    for _ in range(round(seconds / dt_s)):
        fleet.step(dt_s, around)


def test_s19_pro_in_a_real_farm() -> None:
    """S17: 23.1 deg C in, 38.8 deg C out at 370 cfm and 3320 W; the source itself closes to 4 %."""
    fans = CoolingParams(fan_rpm_at_zero_duty=370 * CFM / 0.180 * 6000.0, fan_rpm_per_duty=0.0)
    fleet = average_machine("S19 Pro", cooling=fans)
    run(fleet, 600, 23.1)
    assert fleet.flow_m3s[0] == pytest.approx(370 * CFM, rel=0.005)
    assert fleet.power_w[0] == pytest.approx(3320, rel=0.04)
    assert fleet.air_out_c[0] - 23.1 == pytest.approx(15.7, rel=0.06)
    assert 40.0 < fleet.pcb_c.mean() < 47.0
    assert 56.0 < fleet.pcb_out_c.mean() < 66.0


def test_s21_pro_as_recorded() -> None:
    """S6: about 2580 W, boards 39-50 deg C, chip field up to 65 deg C, fans at 90 % near 5900 rpm."""
    fleet = MinerFleet([LADDERS["S21 Pro"]], presets=[0], params=FleetParams(lottery=AVERAGE))
    run(fleet, 1500, 24.5)
    assert fleet.firmware_chip_max_c[0] == pytest.approx(65.0, abs=0.3)
    assert 36.0 < fleet.pcb_c.mean() < 42.0
    assert 0.75 < fleet.duty[0] < 1.0
    assert fleet.fan_rpm[0, 0] == pytest.approx(1010 + 5430 * fleet.duty[0], rel=0.01)


@pytest.mark.parametrize("name", ["S19", "S19j Pro", "S19 Pro", "S19 XP", "S21 Pro", "L9"])
def test_nameplate_efficiency(name: str) -> None:
    model = LADDERS[name]
    fleet = average_machine(name)
    run(fleet, 600, 25.0)
    stock = model.presets[model.stock_preset]
    per_unit = fleet.power_w[0] / (fleet.hashrate_hs[0] / model.hashes_per_unit)
    assert per_unit == pytest.approx(stock.power_w / stock.hashrate, rel=0.05)


def test_a_whole_fleet_stays_on_its_labels() -> None:
    fleet = MinerFleet([LADDERS["S19j Pro"]] * 400, seed=5)
    run(fleet, 300, 22.0)
    ratio = fleet.power_w / fleet.label_w
    assert ratio.mean() == pytest.approx(1.0, abs=0.04)
    assert 0.01 < ratio.std() < 0.06


def test_hot_chips_draw_more_power_at_the_same_clock() -> None:
    """miners.md §5.6: about 0.2-0.3 %/K is consistent with the T21's daily swing."""
    cool, warm = average_machine("S19j Pro", target_c=50.0), average_machine("S19j Pro", target_c=75.0)
    run(cool, 900, 15.0)
    run(warm, 900, 15.0)
    fans = [19.8 * ((fleet.fan_rpm[0] / 6150) ** 3).sum() / 0.93 for fleet in (cool, warm)]
    kelvin = warm.chip_c.mean() - cool.chip_c.mean()
    slope = ((warm.power_w[0] - fans[1]) / (cool.power_w[0] - fans[0]) - 1.0) / kelvin
    assert 0.0015 < slope < 0.008
    assert warm.hashrate_hs[0] == pytest.approx(cool.hashrate_hs[0], rel=1e-3)


def test_steady_heat_equals_power() -> None:
    fleet = MinerFleet([LADDERS["S19j Pro"], LADDERS["S21 Pro"], LADDERS["L9"]], seed=2)
    run(fleet, 1500, 22.0)
    assert fleet.heat_w == pytest.approx(fleet.power_w, rel=1e-3)


@pytest.mark.parametrize("dt_s", [0.1, 1.0, 5.0])
def test_energy_is_conserved_on_the_way(dt_s: float) -> None:
    """Power in = heat to the air + what the boards store, at any step."""
    fleet = average_machine("S19j Pro")
    params = fleet.params.cooling
    around = open_air(1, 25.0)
    for _ in range(20):
        before = fleet.pcb_c.copy()
        fleet.advance(dt_s, around)
        stored = params.board_j_per_k * (fleet.pcb_c - before).sum() / dt_s
        assert fleet.power_w[0] == pytest.approx(fleet.heat_w[0] + stored, abs=1e-6)


def cooling_time(duty: float) -> float:
    fleet = average_machine("S19j Pro", min_duty=duty, target_c=500.0)
    run(fleet, 900, 20.0)
    fleet.stop(0)
    run(fleet, 5, 20.0)
    begin = fleet.pcb_c[0, 0] - 20.0
    seconds = 0.0
    while fleet.pcb_c[0, 0] - 20.0 > begin / np.e:
        run(fleet, 0.5, 20.0, dt_s=0.5)
        seconds += 0.5
    return seconds


def test_thermal_time_constants() -> None:
    """plant.md §1.4: about 40 s at full flow, 60-90 s at 30 % of it."""
    assert cooling_time(0.92) == pytest.approx(38.0, abs=6.0)
    third = (0.3 * 6000 - 1010) / 5430
    assert 60.0 < cooling_time(third) < 95.0


def test_without_fans_a_machine_heats_by_about_half_a_kelvin_per_second() -> None:
    """plant.md §1.4: 0.5 K/s, 65 to 95 deg C in about a minute."""
    fleet = average_machine("S19 Pro", fan_min_count=0, protect_c=200.0)
    run(fleet, 600, 22.0)
    fleet.condition.fan_wear[:] = 1.0
    run(fleet, 15, 22.0)
    begin = fleet.pcb_c.mean()
    run(fleet, 20, 22.0)
    assert (fleet.pcb_c.mean() - begin) / 20.0 == pytest.approx(0.45, abs=0.2)


def test_the_fan_loop_holds_its_target_without_ringing() -> None:
    fleet = average_machine("S19j Pro", target_c=70.0)
    run(fleet, 1200, 18.0)
    run(fleet, 600, 21.0)
    trace = []
    for _ in range(300):
        run(fleet, 1, 21.0)
        trace.append(fleet.firmware_chip_max_c[0])
    assert np.ptp(trace) < 0.3
    assert trace[-1] == pytest.approx(70.0, abs=0.3)


def test_healthy_machines_count_almost_no_errors() -> None:
    """S4: 562 errors in 50474 s over three boards, about 0.01 per second."""
    fleet = average_machine("S19 Pro")
    run(fleet, 600, 22.0, dt_s=5.0)
    assert fleet.hw_errors.sum() / 600.0 < 0.05


def test_shares_follow_the_hashrate() -> None:
    fleet = MinerFleet([LADDERS["S19j Pro"]] * 300)
    run(fleet, 300, 22.0, dt_s=5.0)
    expected = 104e12 / (262_144 * 2.0**32) * 300
    assert fleet.accepted.mean() == pytest.approx(expected, rel=0.03)
    assert 0 < fleet.rejected.sum() < 0.01 * fleet.accepted.sum()
