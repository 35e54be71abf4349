"""What a machine of the plant does when an emulator passes a command on, and what it remembers."""

from typing import Any

import pytest

from firmware_adapters.miners.emulated import Remembers
from firmware_adapters.simulator import plant_build
from firmware_adapters.simulator.app import Simulator
from firmware_adapters.simulator.machine import REMEMBERED_S
from firmware_adapters.simulator.site_file import parse_site
from shared.clock import ManualClock
from shared.telemetry import MinerState
from support.site_devices import site_tables


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """Two warm machines."""
    monkeypatch.setattr(plant_build, "SETTLE_S", 200.0)
    return Simulator(parse_site(site_tables(miners=2), "site.toml"), clock=ManualClock())


def run(site: Simulator, seconds: float, step_s: float = 0.5) -> None:
    for _ in range(round(seconds / step_s)):
        site.step(step_s)


def view(site: Simulator, name: str = "m-01") -> Any:
    return site.machines[name].view()


def test_a_power_limit_runs_the_highest_tuned_rung_below_it(site: Simulator) -> None:
    before = view(site)
    below = max((rung for rung in before.presets if rung.power_w <= 2400), key=lambda rung: rung.power_w)
    site.machines["m-01"].set_power_limit(2400.0)
    assert view(site).power_limit_w == 2400
    run(site, 1)
    assert view(site).preset == below.name
    assert view(site, "m-02").preset == before.preset
    site.machines["m-01"].set_preset(before.preset)
    run(site, 1)
    assert view(site).preset == below.name, "the limit goes on holding"
    site.machines["m-01"].set_power_limit(None)
    run(site, 1)
    assert view(site).power_limit_w is None
    assert view(site).preset == below.name, "taking a limit back starts nothing"


def test_a_higher_limit_lets_it_run_again_what_was_asked_for_and_no_more(site: Simulator) -> None:
    before = view(site)
    machine = site.machines["m-01"]
    watts = {rung.name: rung.power_w for rung in before.presets}
    for limit_w in (2400.0, 2000.0, 9000.0):
        machine.set_power_limit(limit_w)
        run(site, 1)
        assert watts[view(site).preset] <= max(limit_w, min(watts.values()))
    assert view(site).preset == before.preset


def test_a_limit_above_what_runs_or_below_every_rung_changes_no_rung(site: Simulator) -> None:
    before = view(site).preset
    for watts in (9000.0, 100.0):
        site.machines["m-01"].set_power_limit(watts)
        run(site, 1)
        assert view(site).preset == before


def test_fans_held_by_hand_stay_and_cool_and_automatic_ones_find_their_target_again(site: Simulator) -> None:
    run(site, 60)
    warm = view(site)
    site.machines["m-01"].set_cooling("manual", 100.0)
    run(site, 120)
    cold = view(site)
    assert (cold.cooling, cold.fan_duty_pct) == ("manual", 100)
    assert _hottest(cold) < _hottest(warm) - 1
    assert min(fan.rpm for fan in cold.fans) > max(fan.rpm for fan in warm.fans)
    site.machines["m-01"].set_cooling("auto", 72.0)
    run(site, 120)
    target = view(site)
    assert (target.cooling, target.target_temp_c) == ("auto", 72)
    assert target.fan_duty_pct < 100
    assert view(site, "m-02").target_temp_c == warm.target_temp_c, "each machine has its own"


def _hottest(seen: Any) -> float:
    return max(board.chip_temp_max_c for board in seen.boards)


def test_immersion_stands_the_fans_still(site: Simulator) -> None:
    site.machines["m-01"].set_cooling("immersion", 0.0)
    run(site, 60)
    assert view(site).fan_duty_pct == 0
    assert max(fan.rpm for fan in view(site).fans) < 100


def test_another_pool_is_worked_for_and_written_down(site: Simulator) -> None:
    assert len(view(site).other_pools) == 1
    site.machines["m-01"].switch_pool(1)
    assert view(site).pool == 1
    assert [(write.device, write.point, write.value) for write in site.writes.since(0)] == [
        ("m-01", "pool", 1)
    ]


def test_a_machine_keeps_its_own_past_whoever_asks(site: Simulator) -> None:
    machine = site.machines["m-01"]
    assert isinstance(machine, Remembers)
    run(site, 300, step_s=2.0)
    machine.stop()
    run(site, 120, step_s=2.0)
    past = machine.past()
    ages = [record.age_s for record in past]
    assert ages == sorted(ages, reverse=True)
    assert len(past) >= 6
    assert all(age <= REMEMBERED_S for age in ages)
    assert past[0].hashrate_ths > 50
    assert past[0].chip_temp_max_c is not None
    assert past[-1].hashrate_ths == 0
    assert past[-1].chip_temp_max_c is None, "a machine that stands tells no chips"
    assert view(site).state is MinerState.STOPPED
