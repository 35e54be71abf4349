"""Injected faults: precursors come before limits, clearing restores; hazards draw what their numbers say."""

import numpy as np
import pytest

from shared.plant import FaultName, SitePlant, demo_site
from shared.plant.faults import HAZARDS, AgeingParts, acceleration


@pytest.fixture
def plant() -> SitePlant:
    made = SitePlant(demo_site(), seed=3)
    made.settle(400)
    return made


def test_fan_wear_shows_in_the_speed_long_before_the_chip_limit(plant: SitePlant) -> None:
    """A demo ramp: duty rises, speed falls behind it, the chip creeps up and only then meets the limit."""
    plant.inject("fan_wear", 5, 0.7, ramp_s=60.0)
    rpm_gap_at = shed_at = limit_at = None
    duty = highest = plant.fleet.duty[5]
    for second in range(1, 240):
        plant.step(1.0)
        fleet = plant.fleet
        gap = 1.0 - fleet.fan_rpm[5].mean() / (1010 + 5430 * fleet.duty[5])
        hot = fleet.firmware_chip_max_c[5]
        highest = max(highest, fleet.duty[5])
        if rpm_gap_at is None and gap > 0.10:
            rpm_gap_at = second
            assert hot < 76.0
        if shed_at is None and hot >= 83.0:
            shed_at = second
        if limit_at is None and fleet.protection_trips[5]:
            limit_at = second
    assert rpm_gap_at is not None
    assert shed_at is not None
    assert limit_at is not None
    assert rpm_gap_at + 20 < shed_at < limit_at
    assert 40 < limit_at < 200
    assert highest > duty + 0.1
    assert plant.fleet.protection_trips.sum() == 1


def test_one_worn_fan_only_costs_duty(plant: SitePlant) -> None:
    before = plant.fleet.duty[5]
    plant.inject("fan_wear", 5, 0.5, part=2)
    for _ in range(120):
        plant.step(1.0)
    assert plant.fleet.fan_rpm[5, 2] < 0.6 * plant.fleet.fan_rpm[5, 0]
    assert plant.fleet.duty[5] > before + 0.05
    assert not plant.fleet.protection_trips.any()


def test_a_dying_board_counts_errors_before_it_is_gone(plant: SitePlant) -> None:
    plant.inject("board_dying", 2, 1.0, ramp_s=100.0, part=1)
    for _ in range(95):
        plant.step(1.0)
    fleet = plant.fleet
    assert fleet.hw_errors[2, 1] > 20 * max(1, fleet.hw_errors[2, 0])
    assert fleet.board_hashrate_hs[2, 1] > 0.0
    for _ in range(10):
        plant.step(1.0)
    assert fleet.board_hashrate_hs[2, 1] == 0.0
    assert not fleet.observe().board_present[2, 1]
    assert fleet.observe().pcb_out_c[2, 1] == 0


def test_dust_psu_network_and_pads(plant: SitePlant) -> None:
    power = plant.fleet.power_w.copy()
    cold = plant.zones.truth(0).supply_c
    plant.inject("dust", 0, 0.5)
    plant.inject("psu", 1, 0.9)
    plant.inject("psu", 2, 1.0)
    plant.inject("network_drop", 3)
    plant.inject("pad_pump_stopped", 0)
    for _ in range(240):
        plant.step(1.0)
    fleet = plant.fleet
    assert fleet.duty[0] > fleet.duty[10] + 0.02
    assert fleet.power_w[1] > 1.03 * power[1]
    assert fleet.power_w[2] == 0.0
    assert not fleet.reachable[2]
    assert not fleet.reachable[3]
    assert fleet.hashrate_hs[3] > 0.0
    assert plant.zones.truth(0).supply_c > cold + 1.0
    assert plant.zones.truth(0).pump_actual_pct == 0.0


def test_a_stuck_sensor_stays_where_it_was(plant: SitePlant) -> None:
    plant.inject("sensor_stuck", 4, part=0)
    held = round(plant.fleet.pcb_out_c[4, 0])
    plant.zones.set_exhaust_pct(0, 40.0)
    for _ in range(120):
        plant.step(1.0)
    seen = plant.fleet.observe().pcb_out_c[4]
    assert seen[0] == held
    assert seen[1] > held + 1


def test_clear_restores_and_faults_are_listed(plant: SitePlant) -> None:
    plant.inject(FaultName.FAN_WEAR, 5, 0.3)
    plant.inject(FaultName.FAN_WEAR, 5, 0.6, part=1)
    plant.step(1.0)
    assert list(plant.fleet.condition.fan_wear[5]) == [0.3, 0.6, 0.3, 0.3]
    assert len(plant.faults) == 2
    plant.clear(FaultName.FAN_WEAR, 5, part=1)
    assert list(plant.fleet.condition.fan_wear[5]) == [0.3, 0.3, 0.3, 0.3]
    plant.clear(FaultName.FAN_WEAR, 5)
    assert not plant.fleet.condition.fan_wear.any()
    assert not plant.faults
    plant.clear(FaultName.FAN_WEAR, 5)


@pytest.mark.parametrize(
    ("name", "target", "severity", "part"),
    [
        ("meteor", 0, 1.0, None),
        ("fan_wear", 48, 1.0, None),
        ("fan_wear", 0, 1.0, 4),
        ("fan_wear", 0, 0.0, None),
        ("fan_wear", 0, 1.5, None),
        ("board_dying", 0, 1.0, 3),
        ("exhaust_fan_stopped", 1, 1.0, None),
        ("coolant_flow_lost", 0, 1.0, None),
    ],
)
def test_nonsense_is_refused(
    plant: SitePlant, name: str, target: int, severity: float, part: int | None
) -> None:
    with pytest.raises(ValueError, match=r"."):
        plant.inject(name, target, severity, part=part)
    assert not plant.faults


def test_hazards_match_their_weibull_numbers() -> None:
    """plant.md §1.7: a PSU at 40 deg C follows beta 1.3, eta 350 kh; fans age 1.5 times per 10 K."""
    parts = AgeingParts(20_000, rng=np.random.default_rng(1), max_age_h=1e-6)
    begun = [name for _ in range(10) for name, _, _ in parts.advance(8760 * 360.0, np.full(20_000, 40.0))]
    expected = 1.0 - np.exp(-((8760 / 350_000) ** 1.3))
    assert begun.count(FaultName.PSU) / 20_000 == pytest.approx(expected, rel=0.2)
    factor = acceleration(HAZARDS[FaultName.FAN_WEAR], np.array([40.0, 50.0]))
    assert list(factor) == pytest.approx([1.0, 1.5])


def test_drawn_faults_appear_on_a_fast_ageing_site() -> None:
    spec = demo_site()
    plant = SitePlant(
        type(spec)(zones=spec.zones, weather=spec.weather, fleet=spec.fleet, hazard_speed=2e5), seed=1
    )
    for _ in range(60):
        plant.step(5.0)
    assert plant.faults
    assert all(0.0 <= fault.level(plant.time_s) <= 1.0 for fault in plant.faults)
