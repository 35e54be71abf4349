"""Commands, their transition times, and the firmware's own protection."""

import numpy as np
import pytest

from shared.plant import FailureReason, FleetParams, MinerFleet, MinerState, TimingParams, open_air
from shared.plant.ladders import load_ladders

TIMING = TimingParams(retune_s=20.0, cold_start_s=30.0, autotune_s=100.0, reboot_s=10.0, shutdown_s=4.0)
PARAMS = FleetParams(timing=TIMING, target_c=70.0)


@pytest.fixture
def fleet() -> MinerFleet:
    model = load_ladders()["S19j Pro"]
    made = MinerFleet([model] * 4, presets=[7] * 4, params=PARAMS, seed=1)
    run(made, 300)
    return made


def run(fleet: MinerFleet, seconds: float, inlet_c: float = 22.0) -> list[int]:
    """Step by seconds; returns the states of machine 0 in order, without repeats."""
    seen: list[int] = []
    around = open_air(fleet.n, inlet_c)
    for _ in range(round(seconds)):
        fleet.step(1.0, around)
        state = int(fleet.phases.state[0])
        if not seen or seen[-1] != state:
            seen.append(state)
    return seen


def test_stop_reaches_standby_and_start_comes_back(fleet: MinerFleet) -> None:
    fleet.stop(0)
    assert run(fleet, 6) == [MinerState.SHUTTING_DOWN, MinerState.STOPPED]
    run(fleet, 300)
    assert fleet.power_w[0] < 40.0
    assert fleet.hashrate_hs[0] == 0.0
    assert fleet.hashrate_hs[1] > 0.0
    fleet.start(0)
    seen = run(fleet, 29)
    assert seen == [MinerState.INITIALIZING, MinerState.STARTING, MinerState.AUTO_TUNING]
    run(fleet, 3)
    assert fleet.phases.state[0] == MinerState.MINING


def test_a_preset_change_restarts_the_backend(fleet: MinerFleet) -> None:
    fleet.set_preset(0, 3)
    seen = run(fleet, 1)
    assert seen == [MinerState.RESTARTING]
    assert fleet.hashrate_hs[0] == 0.0
    assert fleet.power_w[0] < 150.0
    seen = run(fleet, 25)
    assert seen[-3:] == [MinerState.STARTING, MinerState.AUTO_TUNING, MinerState.MINING]
    assert fleet.hashrate_hs[0] == pytest.approx(80e12, rel=0.01)
    assert fleet.power_w[0] == pytest.approx(2000, rel=0.08)


def test_the_same_preset_changes_nothing(fleet: MinerFleet) -> None:
    fleet.set_preset(np.arange(4), 7)
    assert run(fleet, 5) == [MinerState.MINING]


def test_an_untuned_preset_tunes_for_long_at_full_power_and_less_hash(fleet: MinerFleet) -> None:
    fleet.tuned[0, 3] = False
    fleet.set_preset(0, 3)
    run(fleet, 60)
    assert fleet.phases.state[0] == MinerState.AUTO_TUNING
    assert fleet.power_w[0] > 1700.0
    assert fleet.hashrate_hs[0] == pytest.approx(0.92 * 80e12, rel=0.01)
    run(fleet, 80)
    assert fleet.phases.state[0] == MinerState.MINING
    assert fleet.tuned[0, 3]


def test_a_stopped_machine_keeps_the_new_preset_for_later(fleet: MinerFleet) -> None:
    fleet.stop(0)
    run(fleet, 6)
    fleet.set_preset(0, 2)
    assert run(fleet, 20) == [MinerState.STOPPED]
    fleet.start(0)
    run(fleet, 40)
    assert fleet.hashrate_hs[0] == pytest.approx(76e12, rel=0.01)


def test_throttle_bites_slowly_and_without_a_restart(fleet: MinerFleet) -> None:
    before = fleet.power_w[0]
    fleet.throttle(0, 50)
    assert run(fleet, 10) == [MinerState.MINING]
    assert fleet.hashrate_hs[0] > 0.8 * 96e12
    run(fleet, 60)
    assert fleet.hashrate_hs[0] == pytest.approx(48e12, rel=0.01)
    assert 0.5 * before < fleet.power_w[0] < 0.7 * before


def test_reboot_is_silence_and_then_a_cold_start(fleet: MinerFleet) -> None:
    fleet.reboot(0)
    run(fleet, 5)
    assert not fleet.reachable[0]
    assert fleet.reachable[1]
    fleet.stop(0)  # nobody is there to hear it
    run(fleet, 50)
    assert fleet.reachable[0]
    assert fleet.phases.state[0] == MinerState.MINING


def test_supply_cut_and_return(fleet: MinerFleet) -> None:
    fleet.set_supply(0, on=False)
    run(fleet, 100)
    assert fleet.power_w[0] == 0.0
    assert not fleet.reachable[0]
    assert fleet.fan_rpm[0].max() < 1.0
    fleet.set_supply(0, on=True)
    run(fleet, 60)
    assert fleet.phases.state[0] == MinerState.MINING


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (lambda f: f.set_preset(0, 99), ValueError),
        (lambda f: f.set_preset(0, -1), ValueError),
        (lambda f: f.stop(4), IndexError),
        (lambda f: f.start(-1), IndexError),
        (lambda f: f.throttle(0, 10), ValueError),
        (lambda f: f.throttle(0, float("nan")), ValueError),
    ],
)
def test_nonsense_is_refused(fleet: MinerFleet, command, error: type[Exception]) -> None:
    with pytest.raises(error):
        command(fleet)


def test_an_empty_fleet_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        MinerFleet([])


def test_the_firmware_stops_itself_at_its_limit_and_the_trip_is_on_record(fleet: MinerFleet) -> None:
    run(fleet, 200, inlet_c=55.0)
    assert set(fleet.phases.state) == {MinerState.FAILURE}
    assert set(fleet.failure) == {FailureReason.OVERHEAT}
    assert list(fleet.protection_trips) == [1, 1, 1, 1]
    assert np.all(np.isfinite(fleet.truth.last_trip_s))
    run(fleet, 300)
    fleet.start(np.arange(4))
    run(fleet, 40)
    assert set(fleet.phases.state) == {MinerState.MINING}


def test_a_lost_fan_is_a_failure_after_a_while(fleet: MinerFleet) -> None:
    fleet.condition.fan_wear[0, 1] = 1.0
    run(fleet, 40)
    assert fleet.failure[0] == FailureReason.FAN_LOST
    assert fleet.protection_trips[0] == 0


def test_a_stuck_sensor_blinds_the_protection_but_not_physics(fleet: MinerFleet) -> None:
    fleet.condition.stuck[0] = True
    fleet.condition.stuck_c[0] = 50.0
    run(fleet, 900, inlet_c=60.0)
    assert fleet.protection_trips[0] == 0
    assert fleet.condition.cooked[0].any()
    assert fleet.chip_c.max() < 200.0


def test_observation_is_rounded_and_repeatable_and_truth_is_a_copy(fleet: MinerFleet) -> None:
    first, second = fleet.observe(), fleet.observe()
    assert np.array_equal(first.pcb_out_c, second.pcb_out_c)
    assert first.pcb_out_c.dtype == np.int64
    assert np.all(first.chip_out_c[:, :3] == first.pcb_out_c[:, :3] + 15)
    assert np.all(np.abs(first.power_w / fleet.power_w - 1.0) < 0.12)
    truth = fleet.truth
    truth.power_w[:] = -1.0
    assert np.all(fleet.power_w > 0.0)


def test_a_failed_machine_reports_zero_temperatures(fleet: MinerFleet) -> None:
    """miners.md §1.5: 0/0 means no data, not cold."""
    run(fleet, 200, inlet_c=55.0)
    seen = fleet.observe()
    assert not seen.pcb_out_c.any()
    assert not seen.chip_out_c.any()
    assert fleet.truth.pcb_out_c.min() > 40.0
