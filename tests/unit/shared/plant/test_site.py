"""The whole site: scenarios that the safety case leans on, determinism, totals, meters."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.plant import (
    HydroParams,
    MinerGroup,
    MinerState,
    SitePlant,
    SiteSpec,
    ZoneSpec,
    constant_weather,
    demo_site,
    mixed_container,
)
from shared.plant.ups import UpsParams


@pytest.fixture
def plant() -> SitePlant:
    made = SitePlant(demo_site(), seed=3)
    made.settle(400)
    return made


def hydro_spec() -> SiteSpec:
    zone = ZoneSpec(
        name="h1",
        cooling=HydroParams(design_w=60e3),
        miners=[MinerGroup(model="S19 Pro Hyd", count=12)],
    )
    return SiteSpec(zones=[mixed_container(), zone], weather=constant_weather(25.0, 50.0))


def test_a_mild_day_is_uneventful(plant: SitePlant) -> None:
    assert 125e3 < plant.power_w < 160e3
    assert 22.0 < plant.zones.inlet_c.min() < plant.zones.inlet_c.max() < 28.0
    chips = plant.fleet.chip_c[plant.fleet.boards_exist]
    assert 50.0 < chips.min() < chips.max() < 72.0
    assert 55.0 < chips.mean() < 70.0
    assert plant.hottest_chip_c == pytest.approx(70.0, abs=1.0)
    assert 0.6 < plant.fleet.duty.mean() < 0.95
    assert 1.01 < plant.pue < 1.05
    assert plant.mining == 48


def test_without_anybody_an_exhaust_stop_ends_at_the_firmware_limit(plant: SitePlant) -> None:
    plant.inject("exhaust_fan_stopped", 0)
    while not plant.fleet.protection_trips.any():
        plant.step(1.0)
        assert plant.time_s < 121.0
    assert plant.time_s > 30.0


def test_stopping_on_the_way_prevents_the_limit_and_the_site_recovers(plant: SitePlant) -> None:
    """The ladder of a guardian: at 78 deg C lower the clock, from 83 deg C stop; then the wall returns."""
    plant.inject("exhaust_fan_stopped", 0)
    for _ in range(300):
        plant.step(1.0)
        hot = plant.fleet.firmware_chip_max_c
        plant.fleet.throttle(np.flatnonzero(hot >= 78.0), 50)
        plant.fleet.stop(np.flatnonzero(hot >= 83.0))
    fleet = plant.fleet
    assert not fleet.protection_trips.any()
    assert fleet.truth.failure.max() == 0
    assert plant.hottest_chip_c < 88.0
    plant.clear("exhaust_fan_stopped", 0)
    for _ in range(120):
        plant.step(1.0)
    assert plant.zones.truth(0).supply_c < 25.0
    fleet.throttle(np.arange(fleet.n), 100)
    for first in range(0, 48, 3):
        fleet.start(np.arange(first, first + 3))
        for _ in range(5):
            plant.step(1.0)
    for _ in range(300):
        plant.step(1.0)
    assert plant.mining == 48
    assert not fleet.protection_trips.any()


def test_algorithms_are_never_added_up(plant: SitePlant) -> None:
    totals = plant.totals()
    assert set(totals) == {"sha256d", "scrypt"}
    assert (totals["sha256d"].unit, totals["scrypt"].unit) == ("TH/s", "GH/s")
    assert totals["sha256d"].hashrate == pytest.approx(24 * 96 + 23 * 200, rel=0.01)
    assert totals["scrypt"].hashrate == pytest.approx(14.7, rel=0.01)
    assert (totals["sha256d"].miners, totals["scrypt"].miners) == (47, 1)
    assert not hasattr(plant, "hashrate")
    l9 = int(np.flatnonzero(plant.fleet.algorithm == "scrypt")[0])
    plant.fleet.stop(l9)
    for _ in range(6):
        plant.step(1.0)
    assert plant.totals()["scrypt"].hashrate == 0.0
    assert plant.totals()["sha256d"].hashrate == pytest.approx(totals["sha256d"].hashrate, rel=1e-3)


def trace(seed: int) -> list[np.ndarray]:
    plant = SitePlant(demo_site(), seed=seed)
    plant.inject("fan_wear", 3, 0.5, ramp_s=20.0)
    plant.fleet.set_preset(7, 3)
    for _ in range(40):
        plant.step(1.0)
    seen = plant.fleet.observe()
    reading = plant.meter()
    return [plant.fleet.pcb_c, seen.power_w, seen.fan_rpm, seen.accepted, np.array([reading.power_w])]


def test_equal_seeds_give_equal_sites_and_others_do_not() -> None:
    one, same, other = trace(1), trace(1), trace(2)
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0], other[0])


def test_looking_does_not_change_the_future() -> None:
    watched, alone = SitePlant(demo_site(), seed=9), SitePlant(demo_site(), seed=9)
    for _ in range(20):
        watched.step(1.0)
        watched.fleet.observe()
        watched.meter()
        watched.observe_zone(0)
        alone.step(1.0)
    assert np.array_equal(watched.fleet.pcb_c, alone.fleet.pcb_c)
    assert np.array_equal(watched.fleet.accepted, alone.fleet.accepted)
    assert watched.meter() == alone.meter()


def test_the_step_size_hardly_matters() -> None:
    ends = []
    for dt_s in (0.1, 1.0, 5.0):
        plant = SitePlant(demo_site(), seed=4)
        plant.inject("exhaust_fan_stopped", 0)
        for _ in range(round(40 / dt_s)):
            plant.step(dt_s)
        ends.append((plant.zones.truth(0).supply_c, plant.hottest_chip_c))
    assert ends[0] == pytest.approx(ends[1], abs=1.0)
    assert ends[1] == pytest.approx(ends[2], abs=1.0)


def test_meters_are_class_1_and_count_energy(plant: SitePlant) -> None:
    for _ in range(60):
        plant.step(1.0)
        assert plant.meter().power_w == pytest.approx(plant.power_w, rel=0.015)
    reading, zone = plant.meter(), plant.meter(0)
    assert reading == plant.meter()
    assert sum(reading.phase_w) == pytest.approx(reading.power_w)
    assert reading.energy_kwh == pytest.approx(plant.power_w * 60 / 3.6e6, rel=0.03)
    assert zone.power_w < reading.power_w * 1.02
    amps = reading.phase_w[0] / (reading.phase_v[0] * reading.power_factor)
    assert reading.phase_a[0] == pytest.approx(amps)
    with pytest.raises(IndexError):
        plant.meter(1)


def test_zone_probes_are_near_the_truth_and_rounded(plant: SitePlant) -> None:
    plant.step(1.0)
    seen, truth = plant.observe_zone(0), plant.zones.truth(0)
    assert seen.supply_c == pytest.approx(truth.supply_c, abs=1.8)
    assert round(seen.supply_c * 10) == pytest.approx(seen.supply_c * 10)
    assert seen.coolant_kgs is None
    assert seen.supply_rh_pct is not None


def test_hydro_flow_loss_heats_its_zone_only_and_leaves_time_to_act() -> None:
    plant = SitePlant(hydro_spec(), seed=2)
    plant.settle(600)
    water = plant.zone_of == 1
    assert plant.zones.truth(1).supply_c == pytest.approx(35.0, abs=1.0)
    assert plant.fleet.firmware_chip_max_c[water].max() < 75.0
    plant.inject("coolant_flow_lost", 1)
    for _ in range(15):
        plant.step(1.0)
    assert plant.observe_zone(1).coolant_kgs == pytest.approx(0.0, abs=0.5)
    assert not plant.fleet.protection_trips.any()
    for _ in range(120):
        plant.step(1.0)
    assert plant.fleet.protection_trips[water].all()
    assert not plant.fleet.protection_trips[~water].any()


def test_hydro_survives_a_flow_loss_if_the_miners_stop() -> None:
    plant = SitePlant(hydro_spec(), seed=2)
    plant.settle(600)
    plant.inject("coolant_flow_lost", 1)
    for second in range(300):
        plant.step(1.0)
        if second == 5:
            plant.fleet.stop(np.flatnonzero(plant.zone_of == 1))
    assert not plant.fleet.protection_trips.any()


def test_commands_to_the_wrong_kind_of_zone_are_refused() -> None:
    plant = SitePlant(hydro_spec(), seed=2)
    for command in (
        lambda: plant.zones.set_exhaust_pct(1, 50.0),
        lambda: plant.zones.set_pad_pump(1, on=True),
        lambda: plant.zones.set_dry_cooler_pct(0, 50.0),
        lambda: plant.zones.set_loop_pump_pct(0, 50.0),
        lambda: plant.zones.set_spray(7, on=True),
        lambda: plant.zones.truth(9),
        lambda: plant.step(0.0),
    ):
        with pytest.raises(ValueError, match=r"zone|forward"):
            command()


def test_a_hydro_machine_does_not_fit_an_air_container() -> None:
    zone = replace(mixed_container(), miners=[MinerGroup(model="S19 Pro Hyd", count=1)])
    with pytest.raises(ValueError, match="hydro"):
        SitePlant(SiteSpec(zones=[zone], weather=constant_weather(20.0, 50.0)))


def test_a_grid_cut_leaves_only_the_ups_and_everything_returns() -> None:
    spec = replace(demo_site(), ups=UpsParams(capacity_wh=10.0))
    plant = SitePlant(spec, seed=1)
    plant.settle(300)
    plant.set_grid(on=False)
    for _ in range(60):
        plant.step(1.0)
    assert plant.ups is not None
    assert plant.ups.on_battery
    assert plant.ups.alive
    assert plant.power_w == 0.0
    assert plant.meter().phase_v == (0.0, 0.0, 0.0)
    assert not plant.fleet.reachable.any()
    for _ in range(120):
        plant.step(1.0)
    assert not plant.ups.alive
    plant.set_grid(on=True)
    for _ in range(400):
        plant.step(1.0)
    assert plant.mining == 48
    assert plant.ups.charge_pct > 0.0


def test_price_is_unknown_without_a_tariff(plant: SitePlant) -> None:
    assert plant.price_per_mwh is None


COMMANDS = st.lists(
    st.tuples(
        st.sampled_from(
            ["stop", "start", "preset", "throttle", "reboot", "wall", "fan", "exhaust", "grid", "clear"]
        ),
        st.integers(0, 11),
        st.floats(0.0, 1.0),
        st.floats(0.1, 5.0),
    ),
    min_size=1,
    max_size=25,
)


def play(plant: SitePlant, verb: str, miner: int, x: float) -> None:
    match verb:
        case "stop" | "start" | "reboot":
            getattr(plant.fleet, verb)(miner)
        case "preset":
            plant.fleet.set_preset(miner, round(x * 5))
        case "throttle":
            plant.fleet.throttle(miner, 20 + 80 * x)
        case "wall":
            plant.zones.set_exhaust_pct(0, 100 * x)
        case "fan":
            plant.inject("fan_wear", miner, max(x, 0.01), ramp_s=10.0)
        case "exhaust":
            plant.inject("exhaust_fan_stopped", 0, max(x, 0.01))
        case "grid":
            plant.set_grid(on=x > 0.3)
        case _:
            plant.clear("fan_wear", miner)
            plant.clear("exhaust_fan_stopped", 0)


@settings(max_examples=40, deadline=None)
@given(commands=COMMANDS, outside_c=st.floats(-25.0, 45.0), rh=st.floats(5.0, 95.0))
def test_whatever_happens_the_plant_stays_physical(
    commands: list[tuple[str, int, float, float]], outside_c: float, rh: float
) -> None:
    zone = mixed_container(s19j_pro=6, s21_pro=5, l9=1)
    plant = SitePlant(SiteSpec(zones=[zone], weather=constant_weather(outside_c, rh)), seed=1)
    counts = np.zeros(3)
    for verb, miner, x, dt_s in commands:
        play(plant, verb, miner, x)
        for _ in range(4):
            plant.step(dt_s)
            fleet = plant.fleet
            for temps in (fleet.pcb_c, fleet.pcb_out_c, fleet.chip_c, plant.zones.inlet_c):
                assert np.all(np.isfinite(temps))
                assert temps.min() > -60.0
                assert temps.max() < 250.0
            assert fleet.power_w.min() >= 0.0
            assert fleet.hashrate_hs.min() >= 0.0
            assert np.all((fleet.duty >= 0.0) & (fleet.duty <= 1.0))
            assert np.all((fleet.phases.state >= 0) & (fleet.phases.state <= MinerState.FAILURE))
            now = np.array([fleet.accepted.sum(), fleet.rejected.sum(), fleet.hw_errors.sum()])
            assert np.all(now >= counts)
            counts = now
