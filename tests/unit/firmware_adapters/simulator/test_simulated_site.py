"""The simulated site without sockets: devices show the plant, and what is written to them moves it."""

from typing import Any

import pytest

from firmware_adapters.simulator import plant_build
from firmware_adapters.simulator.app import Simulator, allow_files
from firmware_adapters.simulator.faults import FaultRequest
from firmware_adapters.simulator.plant_build import build_plant, model_named
from firmware_adapters.simulator.site_file import parse_site
from shared.clock import ManualClock
from shared.errors import ConfigError
from shared.telemetry import MinerState
from shared.units import Algorithm
from support.site_devices import site_tables


@pytest.fixture(autouse=True)
def _short_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the way to the steady state is enough here, and saves most of the time."""
    monkeypatch.setattr(plant_build, "SETTLE_S", 200.0)


def simulator(**changes: Any) -> Simulator:
    raw = site_tables(miners=6)
    raw["simulator"] |= changes
    return Simulator(parse_site(raw, "site.toml"), clock=ManualClock())


def run(site: Simulator, seconds: float) -> None:
    for _ in range(round(seconds / 0.5)):
        site.step(0.5)


def view(site: Simulator, name: str) -> Any:
    return site.miners[name].machine.view()


# ---------------------------------------------------------------- building


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("s19jpro", "S19j Pro"),
        ("s21pro", "S21 Pro"),
        ("s19", "S19"),
        ("s19xp", "S19 XP"),
        ("l9", "L9"),
        ("S19j-Pro", "S19j Pro"),
    ],
)
def test_model_words_of_a_site_file(text: str, name: str) -> None:
    model = model_named(text)
    assert model is not None
    assert model.name == name


def test_a_machine_starts_on_the_rung_nearest_its_rating_and_warm() -> None:
    site = simulator()
    machine = view(site, "m-01")
    assert machine.preset == "2700"
    assert machine.state is MinerState.MINING
    assert 60 <= max(board.chip_temp_max_c for board in machine.boards) <= 75


def test_an_l9_counts_scrypt_and_is_tiny_in_terahashes() -> None:
    raw = site_tables(miners=2)
    raw["devices"][1] |= {"model": "l9", "algorithm": "scrypt", "nominal_w": 3360}
    site = Simulator(parse_site(raw, "x"), clock=ManualClock())
    machine = view(site, "m-02")
    assert machine.algorithm is Algorithm.SCRYPT
    assert machine.hashrate_nominal_ths == pytest.approx(0.0162)
    assert view(site, "m-01").hashrate_ths > 50


@pytest.mark.parametrize(
    ("changes", "text"), [({"model": "s99"}, "no plant model"), ({"algorithm": "scrypt"}, "runs sha256d")]
)
def test_an_impossible_machine_is_refused(changes: dict[str, str], text: str) -> None:
    raw = site_tables(miners=2)
    raw["devices"][0] |= changes
    with pytest.raises(ConfigError, match=text):
        build_plant(parse_site(raw, "x"))


def test_a_hydro_zone_gets_a_loop() -> None:
    raw = site_tables(miners=2)
    raw["zones"][0]["cooling"] = "hydro"
    for entry in raw["devices"][:2]:
        entry.update(model="s19prohyd", nominal_w=4855)
    site = Simulator(parse_site(raw, "x"), clock=ManualClock())
    run(site, 5)
    assert site.gear["hvac-1"].points()["water_temp_c.1"] > 10
    assert view(site, "m-01").cooling == "immersion"


# ---------------------------------------------------------------- miners


def test_a_view_is_made_once_per_step() -> None:
    site = simulator()
    first = view(site, "m-01")
    assert view(site, "m-01") is first
    site.step(0.5)
    assert view(site, "m-01") is not first


def test_a_preset_change_restarts_and_then_runs_on_less_power() -> None:
    site = simulator()
    before_w = view(site, "m-01").power_w
    site.miners["m-01"].machine.set_preset("1850")
    site.step(0.5)
    assert view(site, "m-01").state is MinerState.RESTARTING
    run(site, 30)
    machine = view(site, "m-01")
    assert (machine.state, machine.preset) == (MinerState.MINING, "1850")
    assert machine.power_w < before_w - 500


def test_stop_and_start() -> None:
    site = simulator()
    machine = site.miners["m-02"].machine
    machine.stop()
    run(site, 6)
    assert view(site, "m-02").state is MinerState.STOPPED
    assert view(site, "m-02").power_w < 60
    machine.start()
    run(site, 20)
    assert view(site, "m-02").state is MinerState.MINING


def test_a_reboot_comes_late_and_takes_the_machine_off_the_network() -> None:
    site = simulator()
    site.miners["m-03"].machine.reboot(3.0)
    site.step(0.5)
    assert view(site, "m-03").reachable
    run(site, 4)
    assert not view(site, "m-03").reachable
    run(site, 110)
    assert view(site, "m-03").reachable
    assert view(site, "m-03").uptime_s < 40


# ---------------------------------------------------------------- equipment


def test_the_drive_moves_the_wall_and_the_air() -> None:
    site = simulator()
    wall = site.gear["wall-1"]
    warm = site.truth().zones["hall"].return_c
    wall.write_point("speed_setpoint_pct", 40.0)
    wall.write_register(49999, 0x047C)
    run(site, 40)
    assert wall.points()["speed_pct"] == pytest.approx(40.0, abs=0.5)
    assert site.truth().zones["hall"].return_c > warm + 1


def test_a_stop_word_stops_the_wall_and_a_word_without_data_valid_does_nothing() -> None:
    site = simulator()
    wall = site.gear["wall-1"]
    wall.write_register(49999, 0x003C)
    run(site, 5)
    assert wall.points()["running"] == 1.0
    wall.write_register(49999, 0x043C)
    run(site, 40)
    assert (wall.points()["speed_pct"], wall.points()["running"]) == (0.0, 0.0)
    assert wall.points()["fault"] == 0.0


def test_a_stopped_exhaust_fan_shows_as_a_fault_at_an_unchanged_setpoint() -> None:
    site = simulator()
    site.desk.inject(FaultRequest(name="exhaust_fan_stopped", target="wall-1"))
    run(site, 15)
    seen = site.gear["wall-1"].points()
    assert (seen["speed_setpoint_pct"], seen["speed_pct"], seen["fault"]) == (85.0, 0.0, 1.0)


def test_the_controller_wets_the_pads_above_its_setpoint_only() -> None:
    site = simulator(outdoor_temp_c=35.0)
    hvac = site.gear["hvac-1"]
    hvac.write_point("setpoint_c", 35.0)
    run(site, 5)
    assert site.truth().zones["hall"].pump_actual_pct == 0.0
    hvac.write_point("setpoint_c", 18.0)
    run(site, 5)
    assert site.truth().zones["hall"].pump_actual_pct == 100.0
    hvac.write_point("running", 0.0)
    run(site, 5)
    assert site.truth().zones["hall"].pump_actual_pct == 0.0


def test_a_dead_pad_pump_is_a_fault_of_the_controller() -> None:
    site = simulator(outdoor_temp_c=35.0)
    run(site, 2)
    assert site.gear["hvac-1"].points()["fault"] == 0.0
    site.desk.inject(FaultRequest(name="pad_pump_stopped", target="hall"))
    run(site, 5)
    assert site.gear["hvac-1"].points()["fault"] == 1.0


def test_the_meter_sees_the_sum_of_miners_and_cooling() -> None:
    site = simulator()
    run(site, 5)
    meter = site.gear["meter-1"].points()
    assert meter["power_w"] == pytest.approx(site.truth().power_w, rel=0.02)
    assert meter["voltage_v.1"] == pytest.approx(230, abs=6)
    phases_w = sum(meter[f"voltage_v.{n}"] * meter[f"current_a.{n}"] for n in (1, 2, 3))
    assert phases_w == pytest.approx(meter["power_w"], rel=0.05)


def test_an_outlet_cuts_its_miner_and_gives_it_back() -> None:
    site = simulator()
    pdu = site.gear["pdu-1"]
    fed_w = pdu.points()["power_w"]
    pdu.write_point("outlet_on.2", 0.0)
    run(site, 2)
    assert not view(site, "m-02").reachable
    assert view(site, "m-01").reachable
    assert pdu.points()["outlet_on.2"] == 0.0
    assert pdu.points()["power_w"] < fed_w - 2000
    pdu.write_point("outlet_on.2", 1.0)
    run(site, 130)
    assert view(site, "m-02").state is MinerState.MINING


def test_contacts_and_stuck_probes() -> None:
    site = simulator()
    site.desk.inject(FaultRequest(name="estop_pressed", target="contacts-1"))
    seen = site.gear["contacts-1"].points()
    assert {name for name, value in seen.items() if value} == {"estop_pressed"}
    site.desk.inject(FaultRequest(name="sensor_stuck", target="inlet-1"))
    before = dict(site.gear["inlet-1"].points())
    site.desk.inject(FaultRequest(name="exhaust_fan_stopped", target="hall"))
    run(site, 30)
    assert site.gear["inlet-1"].points() == before
    site.desk.clear("sensor_stuck", "inlet-1")
    assert site.gear["inlet-1"].points()["air_temp_c"] > before["air_temp_c"] + 5
    site.desk.clear_all()
    assert site.gear["contacts-1"].points()["estop_pressed"] == 0.0
    assert site.desk.active == ()


# ---------------------------------------------------------------- faults and truth


@pytest.mark.parametrize("name", ["fan_wear", "board_dying", "dust", "psu", "sensor_stuck", "network_drop"])
def test_every_miner_fault_of_the_issue_can_be_injected_and_cleared(name: str) -> None:
    site = simulator()
    site.desk.inject(FaultRequest(name=name, target="m-04", severity=0.8))
    run(site, 3)
    assert [fault.name for fault in site.truth().faults] == [name]
    site.desk.clear(name, "m-04")
    assert site.truth().faults == ()


@pytest.mark.parametrize(
    ("name", "target", "text"),
    [
        ("gremlins", "m-01", "known are"),
        ("fan_wear", "m-99", "needs a miner"),
        ("fan_wear", "hall", "needs a miner"),
        ("exhaust_fan_stopped", "m-01", "needs a zone"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(name: str, target: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        simulator().desk.inject(FaultRequest(name=name, target=target))


def test_a_worn_fan_turns_slower_and_its_machine_runs_hotter() -> None:
    site = simulator()
    site.desk.inject(FaultRequest(name="fan_wear", target="m-02", severity=0.6, ramp_s=10))
    run(site, 90)
    truth = site.truth()
    assert truth.miners["m-02"].reported_chip_c > truth.miners["m-01"].reported_chip_c + 4
    assert min(fan.rpm for fan in view(site, "m-02").fans) < 3500


def test_the_truth_remembers_the_hottest_report_and_whether_the_firmware_had_to_act() -> None:
    site = simulator()
    assert site.truth().protection_fired == 0
    site.desk.inject(FaultRequest(name="fan_wear", target="m-02", severity=0.85))
    run(site, 240)
    after = site.truth()
    assert after.miners["m-02"].protection_fired == 1
    assert after.miners["m-02"].state == "failure"
    assert after.miners["m-02"].reported_chip_c == 0.0  # a failed machine shows 0/0
    assert after.miners["m-02"].reported_chip_max_ever_c >= 88
    assert after.miners["m-01"].protection_fired == 0
    assert after.protection_fired == 1


def test_a_held_up_process_falls_behind_instead_of_leaping() -> None:
    site = simulator()
    before_s = site.built.plant.time_s
    site.step(60.0)
    assert site.built.plant.time_s - before_s == pytest.approx(5.0)
    assert site.health()["lag_s"] == pytest.approx(55.0)


def test_two_runs_of_one_seed_are_alike() -> None:
    one, two = simulator(), simulator()
    run(one, 10)
    run(two, 10)
    assert one.truth() == two.truth()


def test_a_site_that_needs_more_files_than_allowed_says_so() -> None:
    with pytest.raises(ConfigError, match="hard limit"):
        allow_files(2**40)
