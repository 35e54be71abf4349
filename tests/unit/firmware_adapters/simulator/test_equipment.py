"""Equipment that interlocks live on: UPS and grid, contacts, water loop, lying probes, links, time-outs."""

from typing import Any

import pytest

from firmware_adapters.simulator import plant_build
from firmware_adapters.simulator.app import Simulator
from firmware_adapters.simulator.faults import FaultRequest
from firmware_adapters.simulator.link_faults import LinkFault
from firmware_adapters.simulator.site_file import parse_site
from firmware_adapters.site.modbus_emulator import Misbehaviour
from shared.clock import ManualClock
from shared.errors import ConfigError
from support.site_devices import site_tables

CONTACTS = ("estop_pressed", "door_open", "smoke", "water_leak", "bypass_key")


@pytest.fixture(autouse=True)
def _short_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plant_build, "SETTLE_S", 100.0)


def entry(name: str, kind: str, adapter: str, profile: str, host: int, **more: Any) -> dict[str, Any]:
    """One more device of `site_tables`' hall."""
    port = 16161 if adapter == "snmp" else 15502
    where = {"host": f"127.80.202.{host}", "port": port, "zone": "hall"}
    return {"id": name, "kind": kind, "adapter": adapter, "profile": profile} | where | more


class Site:
    """A simulated site with a clock of its own; every step is half a second on both."""

    def __init__(
        self, *, hydro: bool = False, extra: tuple[dict[str, Any], ...] = (), **settings: Any
    ) -> None:
        raw = site_tables(miners=4)
        raw["simulator"] |= settings
        raw["devices"] += [
            entry("ups-1", "ups", "snmp", "ups-mib", 1),
            entry("inlet-2", "probe", "modbus", "xy-md02", 2),
            entry("inlet-3", "probe", "modbus", "xy-md02", 3),
            *extra,
        ]
        if hydro:
            raw["zones"][0]["cooling"] = "hydro"
            for device in raw["devices"][:4]:
                device.update(model="s19prohyd", nominal_w=4855)
        self.clock = ManualClock()
        self.sim = Simulator(parse_site(raw, "site.toml"), clock=self.clock)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.5)):
            self.clock.advance(0.5)
            self.sim.step(0.5)

    def see(self, name: str) -> dict[str, float]:
        return dict(self.sim.gear[name].points())

    def break_(self, name: str, target: str, **more: Any) -> None:
        self.sim.desk.inject(FaultRequest(name=name, target=target, **more))


# ---------------------------------------------------------------- supply


def test_a_ups_on_mains_is_full_and_says_so() -> None:
    site = Site(ups_runtime_s=900.0)
    site.run(5)
    seen = site.see("ups-1")
    assert (seen["on_battery"], seen["battery_low"], seen["battery_charge_pct"]) == (0.0, 0.0, 100.0)
    assert seen["runtime_s"] == 900.0
    assert seen["on_battery_s"] == 0.0


def test_without_a_grid_runtime_falls_in_minutes_and_the_site_goes_dark() -> None:
    site = Site(ups_runtime_s=600.0)
    site.break_("grid_lost", "site")
    site.run(130)
    seen = site.see("ups-1")
    assert seen["on_battery"] == 1.0
    assert seen["runtime_s"] == 7 * 60.0
    assert seen["on_battery_s"] == pytest.approx(130.0)
    assert seen["input_voltage_v.1"] == 0.0
    truth = site.sim.truth()
    assert not truth.grid_on
    assert truth.ups is not None
    assert truth.ups.runtime_s == pytest.approx(470.0, abs=1.0)
    assert not any(miner.powered for miner in truth.miners.values())
    assert site.see("meter-1")["voltage_v.1"] == 0.0
    dark = {name for name, gear in site.sim.gear.items() if gear.dark}
    assert dark == {"wall-1", "hvac-1", "pdu-1"}


def test_the_grid_comes_back_but_not_behind_an_open_outlet() -> None:
    site = Site(ups_runtime_s=600.0)
    site.sim.gear["pdu-1"].write_point("outlet_on.2", 0.0)
    site.break_("grid_lost", "ups-1")
    site.run(30)
    site.sim.desk.clear("grid_lost", "ups-1")
    site.run(5)
    powered = {name: miner.powered for name, miner in site.sim.truth().miners.items()}
    assert powered == {"m-01": True, "m-02": False, "m-03": True, "m-04": True}
    assert site.see("ups-1")["on_battery"] == 0.0
    assert not site.sim.gear["wall-1"].dark


def test_a_low_battery_says_so_and_an_empty_one_falls_silent() -> None:
    site = Site(ups_runtime_s=600.0)
    site.break_("battery_drained", "ups-1", severity=0.85)
    site.run(1)
    assert site.see("ups-1")["battery_low"] == 1.0
    assert site.see("ups-1")["on_battery"] == 0.0
    site.break_("grid_lost", "site")
    site.run(80)
    assert not site.sim.gear["ups-1"].dark
    site.run(20)
    assert site.sim.gear["ups-1"].dark
    assert site.sim.snmp["ups-1"].dark


def test_outlets_alternate_phases() -> None:
    site = Site()
    site.run(2)
    seen = site.see("pdu-1")
    amps = [seen[f"current_a.{phase}"] for phase in (1, 2, 3)]
    assert sum(amps) * 230.0 == pytest.approx(seen["power_w"])
    assert amps[0] == pytest.approx(2 * amps[1], rel=0.1)  # outlets 1 and 4 against 2


def test_a_site_meter_beside_zone_meters_measures_everything() -> None:
    extra = entry("meter-2", "meter", "modbus", "eastron-sdm630", 5, model="site")
    site = Site(extra=(extra,))
    site.run(2)
    hall, whole = site.see("meter-1")["power_w"], site.see("meter-2")["power_w"]
    assert whole == pytest.approx(site.sim.truth().power_w, rel=0.02)
    assert whole > hall + 200.0  # the UPS hangs on the site's feeder only


# ---------------------------------------------------------------- contacts and probes


@pytest.mark.parametrize("name", CONTACTS)
def test_every_contact_can_be_worked(name: str) -> None:
    site = Site()
    assert set(site.see("contacts-1").values()) == {0.0}
    site.break_(name, "contacts-1")
    assert {point for point, value in site.see("contacts-1").items() if value} == {name}
    assert site.sim.truth().contacts["contacts-1"][name] == 1.0
    site.sim.desk.clear(name, "contacts-1")
    assert set(site.see("contacts-1").values()) == {0.0}


def test_a_cut_wire_is_danger_but_never_a_bypass() -> None:
    site = Site()
    site.break_("wire_cut", "contacts-1")
    assert {name for name, value in site.see("contacts-1").items() if value} == set(CONTACTS) - {"bypass_key"}
    emulator, unit = site.sim.modbus["contacts-1"]
    assert emulator.units[unit].answer(bytes.fromhex("0200000005")).hex() == "020100"


def test_three_probes_of_one_aisle_agree_until_one_lies() -> None:
    site = Site()
    site.run(5)
    names = ("inlet-1", "inlet-2", "inlet-3")
    honest = [site.see(name)["air_temp_c"] for name in names]
    assert max(honest) - min(honest) <= 0.6
    site.break_("sensor_fahrenheit", "inlet-2")
    assert site.see("inlet-2")["air_temp_c"] == pytest.approx(honest[1] * 1.8 + 32.0)
    site.break_("sensor_drift", "inlet-3", value=8.0, ramp_s=20.0)
    site.run(40)
    assert site.see("inlet-3")["air_temp_c"] == pytest.approx(
        site.see("inlet-1")["air_temp_c"] + 8.0, abs=0.7
    )
    site.sim.desk.clear_all()
    assert site.see("inlet-2")["air_temp_c"] < 40.0


def test_a_swapped_probe_hangs_in_the_hot_aisle() -> None:
    site = Site()
    site.run(5)
    before = site.see("inlet-1")["air_temp_c"]
    site.break_("sensor_swapped", "inlet-1")
    assert site.see("inlet-1")["air_temp_c"] > before + 5.0
    site.sim.desk.clear("sensor_swapped", "inlet-1")
    assert site.see("inlet-1")["air_temp_c"] == before


def test_a_machine_can_be_made_to_report_any_chip_temperature() -> None:
    site = Site()
    site.break_("sensor_value", "m-02", value=93.0)
    shown = site.sim.machines["m-02"].view()
    assert {board.chip_temp_max_c for board in shown.boards} == {93.0}
    assert site.sim.truth().miners["m-02"].true_chip_max_c < 85.0
    site.sim.desk.clear("sensor_value", "m-02")
    assert max(board.chip_temp_max_c or 0 for board in site.sim.machines["m-02"].view().boards) < 85.0


# ---------------------------------------------------------------- water


def hydro() -> Site:
    loop = entry("loop-1", "probe", "modbus", "water-loop", 6)
    pump = entry("pump-1", "drive", "modbus", "danfoss-fc102", 7, model="pump")
    return Site(hydro=True, extra=(loop, pump))


def test_a_loop_shows_flow_pressures_and_both_temperatures() -> None:
    site = hydro()
    site.run(60)
    seen = site.see("loop-1")
    kgs = site.sim.built.plant.zones.truth(0).flow
    assert seen["flow_m3h"] == pytest.approx(kgs / 1040.0 * 3600.0, rel=0.03)
    assert seen["pressure_pa.1"] == pytest.approx(400_000.0, rel=0.02)
    assert seen["pressure_pa.2"] == pytest.approx(150_000.0)
    assert seen["water_temp_c.2"] > seen["water_temp_c.1"] + 1.0


def test_a_lost_flow_shows_at_loop_and_pump_drive() -> None:
    site = hydro()
    site.break_("coolant_flow_lost", "loop-1")
    site.run(30)
    assert site.see("loop-1")["flow_m3h"] == pytest.approx(0.0, abs=0.01)
    assert site.see("loop-1")["pressure_pa.1"] == pytest.approx(150_000.0)
    assert (site.see("pump-1")["speed_pct"], site.see("pump-1")["fault"]) == (0.0, 1.0)


def test_the_pump_drive_turns_the_pump_and_a_leak_takes_pressure() -> None:
    site = hydro()
    site.sim.gear["pump-1"].write_point("speed_setpoint_pct", 60.0)
    site.break_("water_leak", "loop-1", severity=0.8)
    site.run(30)
    assert site.see("pump-1")["speed_pct"] == pytest.approx(60.0, abs=0.5)
    assert site.see("loop-1")["pressure_pa.2"] == pytest.approx(30_000.0)


def test_an_air_zone_has_no_loop_to_measure() -> None:
    site = Site(extra=(entry("loop-1", "probe", "modbus", "water-loop", 6),))
    assert site.see("loop-1") == {}


# ---------------------------------------------------------------- links, time-outs, the log


@pytest.mark.parametrize("name", [fault for fault in LinkFault if fault is not LinkFault.BYTE_ORDER])
def test_a_bad_link_begins_and_ends(name: str) -> None:
    site = Site()
    emulator, unit = site.sim.modbus["inlet-1"]
    site.break_(name, "inlet-1")
    assert emulator.faults[unit].kind in tuple(Misbehaviour)
    site.sim.desk.clear(name, "inlet-1")
    assert emulator.faults == {}


def test_bytes_the_other_way_round() -> None:
    site = Site()
    site.break_("sensor_value", "inlet-1", point="air_temp_c", value=25.6)
    emulator, unit = site.sim.modbus["inlet-1"]
    ask = bytes.fromhex("0400010001")
    assert emulator.units[unit].answer(ask).hex() == "04020100"
    site.break_("byte_order", "inlet-1")
    assert emulator.units[unit].answer(ask).hex() == "04020001"


def test_a_starved_drive_runs_its_wall_at_full_speed_until_it_is_fed() -> None:
    site = Site()
    emulator, unit = site.sim.modbus["wall-1"]
    drive = emulator.units[unit]
    drive.answer(bytes.fromhex("10c3590001021a00"))  # reference 0x1A00: 40.6 %
    drive.answer(bytes.fromhex("101f5d00020400000064"))  # 8-03: 100 x 0.1 s
    drive.answer(bytes.fromhex("061f670004"))  # 8-04: maximum speed
    drive.answer(bytes.fromhex("06c34f047c"))  # control word: the count begins
    site.run(9)
    assert site.sim.truth().zones["hall"].drive_command_pct == pytest.approx(40.6, abs=0.1)
    site.run(30)
    assert site.sim.truth().zones["hall"].drive_actual_pct == pytest.approx(100.0)
    assert site.see("wall-1")["speed_setpoint_pct"] == pytest.approx(40.6, abs=0.1)
    drive.answer(bytes.fromhex("06c34f047c"))
    site.run(9)
    assert site.sim.truth().zones["hall"].drive_command_pct == pytest.approx(40.6, abs=0.1)
    points = [(write.point, write.value) for write in site.sim.writes.since(0)]
    assert points == [
        ("speed_setpoint_pct", pytest.approx(40.6, abs=0.1)),
        ("speed_setpoint_pct (own time-out)", 100.0),
        ("speed_setpoint_pct (own time-out)", "over"),
    ]


def test_what_was_commanded_is_noted_with_its_time() -> None:
    site = Site()
    site.run(3)
    site.sim.machines["m-01"].set_preset("1850")
    site.run(2)
    site.sim.machines["m-01"].stop()
    first, second = site.sim.writes.since(0)
    assert (first.device, first.point, first.value) == ("m-01", "preset", "1850")
    assert (second.point, second.value) == ("mining", "stop")
    assert second.at_s - first.at_s == pytest.approx(2.0)
    assert site.sim.writes.since(first.seq) == (second,)
    assert site.sim.writes.since(second.seq) == ()


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("name", "target", "more", "text"),
    [
        ("smoke", "inlet-1", {}, "does not apply to inlet-1, which is a probe"),
        ("wire_cut", "ups-1", {}, "does not apply to ups-1"),
        ("battery_drained", "contacts-1", {}, "does not apply to contacts-1"),
        ("water_leak", "meter-1", {}, "does not apply to meter-1"),
        ("sensor_value", "inlet-1", {"value": 3.0}, "needs a point"),
        ("sensor_value", "inlet-1", {"point": "air_temp_c"}, "needs a value"),
        ("sensor_value", "m-01", {}, "needs a value"),
        ("sensor_lost", "inlet-1", {}, "needs a point"),
        ("reply_late", "ups-1", {}, "speaks SNMP"),
        ("grid_lost", "nobody", {}, "does not apply to 'nobody'"),
        ("gremlins", "inlet-1", {}, "known are"),
    ],
)
def test_a_fault_that_makes_no_sense_says_why(
    name: str, target: str, more: dict[str, Any], text: str
) -> None:
    site = Site()
    with pytest.raises(ValueError, match=text):
        site.break_(name, target, **more)
    assert site.sim.desk.active == ()


def test_a_kind_without_gear_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site()
    (ups,) = [device for device in site.sim.gear.values() if device.entry.id == "ups-1"]
    monkeypatch.setattr(ups.plant, "ups", None)
    with pytest.raises(ConfigError, match="no UPS"):
        type(ups)(ups.entry, ups.plant, ups.zone)
