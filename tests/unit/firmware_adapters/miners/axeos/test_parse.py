"""The page → readings: absent sensors, later field names, and that no reply at all does harm."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_adapters.miners.axeos import identify, parse
from firmware_adapters.miners.axeos.emulator import AxeosEmulator
from firmware_adapters.miners.emulated import PoolView
from firmware_adapters.miners.fields import decode
from shared.clock import ManualClock
from shared.details import Fault, PoolState
from shared.errors import MalformedReply
from shared.telemetry import METRICS, MISSING, MinerState, Quality, Reading, metric_of
from support.subjects.axeos import bitaxe
from support.web_memory import ANYTHING, mutated


def page(**changes: object) -> dict[str, Any]:
    """`/api/system/info` of an emulated Gamma, with `changes`."""
    machine = bitaxe()
    machine.set(other_pools=(PoolView(url="stratum+tcp://spare.invalid:4444"),))
    said = AxeosEmulator(machine, clock=ManualClock()).answer("GET", "/api/system/info", {}, b"")
    return {**msgspec.json.decode(said.body), **changes}


def test_another_firmware_is_not_taken_for_axeos() -> None:
    for body in ({}, {"hashrate": 5}, [], None, "AxeOS"):
        with pytest.raises(MalformedReply):
            parse.info(body)
    assert parse.info({"ASICModel": None}) == {"ASICModel": None}


@pytest.mark.parametrize(
    ("said", "model"),
    [
        ({"ASICModel": "BM1370", "deviceModel": "Gamma", "boardVersion": "601"}, "Bitaxe Gamma (601)"),
        ({"ASICModel": "BM1368", "boardVersion": "401"}, "Bitaxe Supra (401)"),
        ({"ASICModel": "BM1366"}, "Bitaxe Ultra"),
        ({"ASICModel": "BM9999"}, "Bitaxe BM9999"),
        ({"hashRate": 1}, "Bitaxe"),
        ({"ASICModel": "BM1370", "deviceModel": "NerdQAxe++"}, "NerdQAxe++"),
    ],
)
def test_what_it_is_sold_as(said: dict[str, object], model: str) -> None:
    assert parse.identity(said).model == model


def test_an_absent_sensor_is_no_temperature() -> None:
    found = parse.readings(page(temp=-1, vrTemp=0))
    assert found["chip_temp_max_c"] == found["board_temp_max_c"] == MISSING
    assert parse.readings(page(temp=-1, temp2=61.5))["chip_temp_max_c"] == Reading(61.5)
    assert parse.readings(page(temp=255))["chip_temp_max_c"] == Reading(None, Quality.OUT_OF_RANGE)


def test_the_hotter_of_two_chips_counts() -> None:
    assert parse.readings(page(temp=59, temp2=64))["chip_temp_max_c"] == Reading(64.0)


def test_a_second_fan_where_there_is_one() -> None:
    assert parse.readings(page(fan2rpm=3000))["fan_rpm.1"] == Reading(3000.0)
    assert "fan_rpm.1" not in parse.readings(page())
    assert parse.readings(page(fanrpm=0))["fan_rpm.0"] == Reading(0.0)


def test_the_temperature_that_the_fan_holds_where_it_holds_one() -> None:
    assert parse.readings(page(temptarget=61, autofanspeed=1))["setpoint_c"] == Reading(61.0)
    assert parse.readings(page(temptarget="?", autofanspeed=True))["setpoint_c"] == MISSING
    assert "setpoint_c" not in parse.readings(page(temptarget=61, autofanspeed=0))


def test_the_nominal_hashrate_is_told_or_counted_or_unknown() -> None:
    assert parse.nominal_ths(page(expectedHashrate=1071)) == pytest.approx(1.071)
    counted = page(asicCount=4, smallCoreCount=2040, frequency=525)
    del counted["expectedHashrate"], counted["hashrateMonitor"]
    assert parse.nominal_ths(counted) == pytest.approx(4 * 2040 * 525 / 1e6)
    for key in ("asicCount", "smallCoreCount", "frequency"):
        assert parse.nominal_ths({name: v for name, v in counted.items() if name != key}) is None
    assert parse.nominal_ths({**counted, "asicCount": 1.5}) is None


def test_errors_are_added_up_over_the_chips() -> None:
    chips = [{"errorCount": 3}, {"errorCount": 4}, {"total": 1}]
    assert parse.hw_errors({"hashrateMonitor": {"asics": chips}}) == 7
    assert parse.hw_errors({"hashrateMonitor": {"asics": []}}) is parse.hw_errors({}) is None


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ({"hashRate": 1000, "overheat_mode": 0}, MinerState.MINING),
        ({"hashRate": 300, "overheat_mode": 1}, MinerState.MINING),
        ({"hashRate": 0, "overheat_mode": 1}, MinerState.FAILURE),
        ({"hashRate": 0, "overheat_mode": True}, MinerState.FAILURE),
        ({"hashRate": 0, "overheat_mode": 0}, MinerState.UNKNOWN),
        ({"overheat_mode": 1}, MinerState.UNKNOWN),
        ({"hashRate": None}, MinerState.UNKNOWN),
        ({}, MinerState.UNKNOWN),
    ],
)
def test_the_state_as_far_as_it_can_be_told(said: dict[str, object], state: MinerState) -> None:
    assert parse.state(said) is state


def test_no_watts_of_a_machine_that_hashes_are_unknown() -> None:
    seen = page(power=0, hashRate=1000.0)
    assert parse.readings(seen)["power_w"] == MISSING
    assert parse.board(seen).power_w is None
    assert parse.readings(page(power=0, hashRate=0.0))["power_w"] == Reading(0.0)


def test_overheat_mode_and_a_failing_power_stage_are_faults() -> None:
    assert parse.faults(page()) == ()
    assert [fault.code for fault in parse.faults(page(overheat_mode=1))] == ["overheat_mode"]
    told = parse.faults(page(power_fault="input voltage low"))
    assert told == (Fault(code="power_fault", words="input voltage low"),)


def test_the_pool_in_use() -> None:
    def states(**changes: object) -> list[PoolState]:
        return [pool.state for pool in parse.pools(page(**changes))]

    assert states() == [PoolState.ACTIVE, PoolState.UNKNOWN]
    assert states(isUsingFallbackStratum=True) == states(isUsingFallbackStratum=1)
    assert states(isUsingFallbackStratum=1) == [PoolState.UNKNOWN, PoolState.ACTIVE]
    assert states(isUsingFallbackStratum=None) == [PoolState.UNKNOWN, PoolState.UNKNOWN]
    assert [pool.url for pool in parse.pools(page(stratumURL=""))] == ["stratum+tcp://spare.invalid:4444"]
    assert parse.pools(page(stratumURL="stratum+ssl://a", stratumPort=None))[0].url == "stratum+ssl://a"


def test_shares_are_a_pools_own_only_where_there_is_one_pool() -> None:
    alone = parse.pools(page(fallbackStratumURL=""))[0]
    assert (alone.accepted, alone.rejected) == (4057, 8)
    assert parse.pools(page())[0].accepted is None


def test_a_board_that_does_not_hash_does_not_work_and_one_that_does_not_say_is_unknown() -> None:
    assert parse.board(page(hashRate=0)).working is False
    assert parse.board(page(hashRate=None)).working is None
    assert parse.readings(page(hashRate=0))["boards_working"] == Reading(0.0)
    assert parse.readings(page(hashRate=None))["boards_working"] == MISSING


def test_the_steps_of_the_clock() -> None:
    listed = [525, 400, 400, "x", True, -5, 0, 1e9, None]
    found = parse.steps({"defaultFrequency": 525, "frequencyOptions": listed})
    assert found == parse.Steps(default_mhz=525.0, options_mhz=(400.0, 525.0))
    assert parse.steps({"frequencyOptions": "many", "defaultFrequency": 0}) == parse.Steps()


def test_known_releases() -> None:
    for version in ("v2.4.5-3-gb5d1e36-dirty", "2.9.0", "AxeOS v2.1.8"):
        assert identify.seen_before(version)
    for version in ("v2.10.1", "v3.0.0", "", "?", "AxeOS ?"):
        assert not identify.seen_before(version)


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_whatever_comes_there_are_readings_or_malformed(data: st.DataObject) -> None:
    body = data.draw(st.one_of(mutated(page()), ANYTHING))
    try:
        found = parse.info(body)
    except MalformedReply:
        return
    readings = parse.readings(found)
    assert set(parse.CORE_POINTS) <= set(readings)
    for point, reading in readings.items():
        assert metric_of(point) in METRICS.values()
        assert (reading.value is None) == (not reading.quality.usable)
    for read in (parse.identity, parse.state, parse.faults, parse.board, parse.pools):
        read(found)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_no_list_of_steps_raises_anything_but_malformed(data: st.DataObject) -> None:
    asic = {"defaultFrequency": 525, "frequencyOptions": [400, 425, 525], "voltageOptions": [1000]}
    try:
        found = parse.steps(data.draw(st.one_of(mutated(asic), ANYTHING)))
    except MalformedReply:
        return
    assert list(found.options_mhz) == sorted(found.options_mhz)


@pytest.mark.parametrize("name", sorted(page()))
def test_a_missing_field_never_becomes_a_zero(name: str) -> None:
    said = {key: value for key, value in page().items() if key != name}
    assert 0.0 not in [reading.value for reading in parse.readings(said).values()]


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_no_body_raises_anything_but_malformed(body: bytes) -> None:
    for read in (parse.info, parse.steps):
        try:
            read(decode(body, "page"))
        except MalformedReply:
            continue
