"""Pages → readings: units, and every trap in which a firmware's reply means something else than it says."""

import copy
import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_adapters.miners.declared import CORE_POINTS
from firmware_adapters.miners.emulated import FanView, MinerView, PoolView, PresetView
from firmware_adapters.miners.vnish import emulator_ladder as ladders
from firmware_adapters.miners.vnish import emulator_pages as pages
from firmware_adapters.miners.vnish import fields, ladder, parse
from firmware_adapters.miners.vnish.emulator_traps import Traps
from firmware_adapters.miners.vnish.versions import Firmware, firmware
from shared.details import Fault
from shared.errors import MalformedReply
from shared.telemetry import METRICS, MISSING, MinerState, Quality, Reading, metric_of
from shared.units import Algorithm
from support.miners import board, s21_pro


def page(
    view: MinerView | None = None, *, traps: Traps | None = None, v13: bool = False
) -> dict[str, object]:
    """A `/summary` as it comes off the wire."""
    made = pages.summary(view or s21_pro(), "1.2.7", traps or Traps(), v13=v13)
    return msgspec.json.decode(msgspec.json.encode(made), type=dict[str, object])


def miner(summary: dict[str, object]) -> dict[str, object]:
    found = summary["miner"]
    assert isinstance(found, dict)
    return found


def read(summary: object, unit: str | None = "GH/s") -> dict[str, Reading]:
    return parse.summary(summary, unit)


# ---------------------------------------------------------------- summary


@pytest.mark.parametrize("v13", [False, True])
def test_a_healthy_machine_reads_in_our_units(v13: bool) -> None:
    readings = read(page(v13=v13))
    assert {name: (found.value, found.quality) for name, found in readings.items()} == {
        "hashrate_ths": (186.0, Quality.GOOD),
        "hashrate_nominal_ths": (187.5, Quality.GOOD),
        "power_w": (2790.0, Quality.ESTIMATED),
        "chip_temp_min_c": (54.0, Quality.ESTIMATED),
        "chip_temp_max_c": (65.0, Quality.ESTIMATED),
        "board_temp_min_c": (39.0, Quality.GOOD),
        "board_temp_max_c": (50.0, Quality.GOOD),
        "fan_rpm.0": (5880.0, Quality.GOOD),
        "fan_rpm.1": (5880.0, Quality.GOOD),
        "fan_rpm.2": (5880.0, Quality.GOOD),
        "fan_rpm.3": (5880.0, Quality.GOOD),
        "fan_duty_pct": (90.0, Quality.GOOD),
        "hw_errors": (57.0, Quality.GOOD),
        "shares_accepted": (4057.0, Quality.GOOD),
        "shares_rejected": (8.0, Quality.GOOD),
        "shares_stale": (0.0, Quality.GOOD),
        "setpoint_c": (65.0, Quality.GOOD),
        "boards_working": (3.0, Quality.GOOD),
        "psu_temp_c": (47.0, Quality.GOOD),
    }


def test_scrypt_machines_count_in_megahash() -> None:
    l9 = s21_pro(algorithm=Algorithm.SCRYPT, hashrate_ths=0.0165, boards=(board(hashrate_ths=0.0165),))
    readings = read(page(l9), "MH/s")
    assert readings["hashrate_ths"] == Reading(0.0165)


def test_without_a_unit_a_hashrate_is_missing_and_the_rest_stays() -> None:
    readings = read(page(), None)
    assert readings["hashrate_ths"] == MISSING
    assert readings["power_w"].value == 2790


def test_watts_are_good_only_where_the_supply_measures_them() -> None:
    assert read(page(s21_pro(power_metered=True)))["power_w"] == Reading(2790.0, Quality.GOOD)
    assert read(page(s21_pro(power_metered=True, psu=None)))["power_w"].quality is Quality.GOOD
    assert read(page(s21_pro(psu=None)))["power_w"].quality is Quality.ESTIMATED
    assert "psu_temp_c" not in read(page(s21_pro(psu=None)))


def test_old_firmware_without_power_consumption_is_read_from_power_usage() -> None:
    assert read(page(traps=Traps(power_usage_only=True)))["power_w"] == Reading(2790.4, Quality.ESTIMATED)


def test_power_usage_that_is_really_the_efficiency_is_not_watts() -> None:
    summary = page(traps=Traps(power_usage_only=True))
    miner(summary)["power_usage"] = miner(summary)["power_efficiency"] = 14.81
    assert read(summary)["power_w"] == MISSING


def test_no_watts_beside_a_hashrate_are_unknown_watts() -> None:
    assert read(page(s21_pro(power_w=0.0)))["power_w"] == MISSING
    assert read(page(s21_pro(hashrate_ths=0.0, power_w=0.0)))["power_w"].value == 0.0


def test_failure_shows_no_cold_machine() -> None:
    failed = s21_pro(state=MinerState.FAILURE, hashrate_ths=0.0, power_w=0.0, failure_code=1002)
    summary = page(failed)
    assert miner(summary)["pcb_temp"] == {"min": 0, "max": 0}
    readings = read(summary)
    assert readings["hashrate_ths"] == Reading(0.0)
    for name in (
        "chip_temp_max_c",
        "chip_temp_min_c",
        "board_temp_max_c",
        "board_temp_min_c",
        "boards_working",
    ):
        assert readings[name] == MISSING
    assert not [name for name in readings if name.startswith("fan_rpm")]


def test_a_dead_board_neither_cools_the_machine_nor_counts() -> None:
    readings = read(page(s21_pro(boards=(board(working=False), board(), board(chip_temp_max_c=71)))))
    assert readings["boards_working"] == Reading(2.0)
    assert readings["board_temp_min_c"].value == 39
    assert readings["chip_temp_max_c"].value == 71


def test_the_machines_own_maximum_counts_where_it_is_hotter_than_its_boards() -> None:
    summary = page()
    miner(summary)["chip_temp"] = {"min": 0, "max": 88}
    readings = read(summary)
    assert readings["chip_temp_max_c"].value == 88
    assert readings["chip_temp_min_c"].value == 54


def test_without_boards_the_machines_own_range_is_read() -> None:
    summary = page()
    miner(summary)["chains"] = []
    assert read(summary)["board_temp_max_c"] == Reading(50.0)


def test_a_sensor_in_error_is_left_out_among_good_ones() -> None:
    readings = read(page(traps=Traps(sensor_error=True)))
    assert readings["board_temp_min_c"] == Reading(39.0)
    assert readings["board_temp_max_c"] == Reading(50.0)
    assert readings["chip_temp_max_c"].value == 65


def test_no_working_sensor_is_a_sensor_error_and_not_a_temperature() -> None:
    readings = read(page(traps=Traps(all_sensors_error=True)))
    for name in ("chip_temp_max_c", "board_temp_max_c", "board_temp_min_c"):
        assert readings[name] == Reading(None, Quality.SENSOR_ERROR)


def test_miner_null_is_legal_and_everything_is_missing() -> None:
    readings = read(page(traps=Traps(miner_null=True)))
    assert set(readings) == set(CORE_POINTS)
    assert all(found == MISSING for found in readings.values())


def test_immersed_machines_report_no_fans_at_all() -> None:
    summary = page(s21_pro(cooling="immersion"))
    fans = fields.children(fields.child(miner(summary), "cooling"), "fans")
    assert {(fan["rpm"], fan["status"]) for fan in fans} == {(0, "lost")}
    assert not [name for name in read(summary) if name.startswith("fan_")]


def test_a_lost_fan_of_an_air_machine_reads_zero() -> None:
    view = s21_pro()
    stopped = msgspec.structs.replace(view.fans[0], rpm=0, ok=False)
    readings = read(page(s21_pro(fans=(stopped, *view.fans[1:]))))
    assert readings["fan_rpm.0"] == Reading(0.0)


def test_fans_without_ids_are_counted_by_place() -> None:
    summary = page()
    cooling = miner(summary)["cooling"]
    assert isinstance(cooling, dict)
    cooling["fans"] = [{"rpm": 1}, {"rpm": None}, {"id": -4, "rpm": 3}]
    readings = read(summary)
    assert readings["fan_rpm.0"] == Reading(1.0)
    assert readings["fan_rpm.1"] == MISSING
    assert readings["fan_rpm.2"] == Reading(3.0)


def test_a_total_that_contradicts_its_boards_is_an_estimate() -> None:
    readings = read(page(traps=Traps(hash_split=0.7)))
    assert readings["hashrate_ths"].quality is Quality.ESTIMATED
    assert readings["hashrate_ths"].value == pytest.approx(186 * 0.7)


def test_the_dev_fees_shares_are_not_the_owners() -> None:
    summary = page()
    pools = miner(summary)["pools"]
    assert isinstance(pools, list)
    pools.append({"pool_type": "UserPool", "accepted": 10, "rejected": 1})
    readings = read(summary)
    assert readings["shares_accepted"].value == 4067
    assert readings["shares_rejected"].value == 9
    miner(summary)["pools"] = []
    assert read(summary)["shares_accepted"] == MISSING


@pytest.mark.parametrize("lie", [-1, "fast", None, True, float("1e309"), [], {}])
def test_a_number_that_cannot_be_is_missing_and_never_zero(lie: object) -> None:
    summary = page()
    for name in ("hr_realtime", "hr_nominal", "power_consumption", "power_usage", "hw_errors"):
        miner(summary)[name] = lie
    readings = read(summary)
    for name in ("hashrate_ths", "hashrate_nominal_ths", "power_w", "hw_errors"):
        assert readings[name].value is None


def test_what_cannot_be_true_is_out_of_range_and_carries_no_number() -> None:
    summary = page()
    miner(summary)["hr_realtime"] = 6e6
    miner(summary)["hr_nominal"] = 6e6
    miner(summary)["power_consumption"] = 6e6
    miner(summary)["psu"] = {"temps": {"pfc_temp": 255}}
    cooling = miner(summary)["cooling"]
    assert isinstance(cooling, dict)
    cooling["fan_duty"] = 255
    cooling["fans"][0]["rpm"] = 65535
    cooling["settings"]["mode"]["param"] = 255
    readings = read(summary)
    for name in (
        "hashrate_ths",
        "hashrate_nominal_ths",
        "power_w",
        "psu_temp_c",
        "fan_duty_pct",
        "fan_rpm.0",
        "setpoint_c",
    ):
        assert readings[name] == Reading(None, Quality.OUT_OF_RANGE), name


def test_a_broken_board_sensor_neither_shows_nor_hides_the_hottest_board() -> None:
    summary = page()
    boards = miner(summary)["chains"]
    assert isinstance(boards, list)
    boards[0]["chip_temp"] = {"min": 255, "max": 255}
    boards[1]["pcb_temp"] = {"min": -64, "max": -64}
    miner(summary)["chip_temp"] = {"min": 54, "max": 255}
    readings = read(summary)
    assert readings["chip_temp_max_c"] == Reading(65.0, Quality.ESTIMATED)
    assert readings["board_temp_min_c"] == Reading(39.0)


@pytest.mark.parametrize("body", [None, [], "x", 3, True])
def test_a_page_that_is_no_object_is_malformed(body: object) -> None:
    for parser in (read, parse.status, parse.identity, ladder.running):
        with pytest.raises(MalformedReply):
            parser(body)


def test_stale_shares_count_and_the_newest_share_tells_the_age() -> None:
    other = PoolView(url="x", shares_accepted=3, shares_stale=2)
    readings = read(page(s21_pro(shares_stale=4, last_share_age_s=3723.0, other_pools=(other,))))
    assert readings["shares_accepted"].value == 4060
    assert readings["shares_stale"].value == 6
    assert readings["last_share_age_s"].value == 3723
    assert "last_share_age_s" not in read(page(s21_pro(last_share_age_s=None)))


def test_the_target_of_automatic_fans_is_read_back_and_a_duty_is_none() -> None:
    assert read(page(s21_pro(target_temp_c=58)))["setpoint_c"].value == 58
    manual = read(page(s21_pro(cooling="manual", fan_duty_pct=80)))
    assert "setpoint_c" not in manual
    assert manual["fan_duty_pct"].value == 80
    assert "setpoint_c" not in read(page(s21_pro(cooling="immersion")))


def test_a_first_firmware_without_a_total_is_read_from_its_boards() -> None:
    summary = page()
    for name in ("hr_realtime", "hr_nominal"):
        del miner(summary)[name]
    readings = read(summary)
    assert readings["hashrate_ths"] == Reading(186.0, Quality.ESTIMATED)
    assert readings["hashrate_nominal_ths"] == Reading(187.5, Quality.ESTIMATED)
    boards = miner(summary)["chains"]
    assert isinstance(boards, list)
    del boards[1]["hashrate_rt"]
    assert read(summary)["hashrate_ths"] == MISSING, "two boards of three are no total"


def test_the_machines_failure_is_a_fault_with_its_code() -> None:
    broken = s21_pro(state=MinerState.FAILURE, failure_code=1002, description="Failed to parse")
    told = parse.status(pages.status(broken, v13=True, restart_required=False, unlocked=False))
    assert told.faults == (Fault(code="1002", words="Failed to parse"),)
    assert parse.status({"miner_state": "failure"}).faults == (Fault(code="", words=""),)
    tuning = {"miner_state": "auto-tuning", "description": "step 3 of 9", "failure_code": 0}
    assert parse.status(tuning).faults == ()


def test_boards_and_fans_that_failed_are_faults_and_an_immersed_machines_fans_are_not() -> None:
    view = s21_pro(boards=(board(), board(working=False)), fans=(FanView(rpm=5800), FanView(rpm=0, ok=False)))
    summary = page(view)
    boards = miner(summary)["chains"]
    assert isinstance(boards, list)
    boards[1]["status"]["description"] = "chain break"
    assert parse.summary_faults(summary) == (
        Fault(code="", words="board 2: chain break"),
        Fault(code="", words="fan 1 is lost"),
    )
    assert parse.summary_faults(page(s21_pro(cooling="immersion"))) == ()
    assert parse.summary_faults({"miner": None}) == ()


# ---------------------------------------------------------------- any reply


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


def _paths(value: object, at: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, item in inner for path in _paths(item, (*at, key)))]


_SUMMARY = page(s21_pro(shares_stale=4, last_share_age_s=12.0))
_SENSORS = page(traps=Traps(sensor_error=True))


@st.composite
def _mutated(draw: st.DrawFn) -> object:
    """A real summary with up to four of its values replaced or removed."""
    made: object = copy.deepcopy(draw(st.sampled_from([_SUMMARY, _SENSORS])))
    for _ in range(draw(st.integers(0, 4))):
        path = draw(st.sampled_from(_paths(made)))
        if not path:
            return draw(_anything)
        parent = made
        for key in path[:-1]:
            parent = parent[key]  # type: ignore[index] # the path was taken from this value
        if draw(st.booleans()):
            del parent[path[-1]]  # type: ignore[attr-defined] # as above
        else:
            parent[path[-1]] = draw(_anything)  # type: ignore[index] # as above
    return made


@given(_mutated(), st.sampled_from(["GH/s", "MH/s", None]))
@settings(max_examples=250, deadline=None)
def test_whatever_comes_there_are_readings_or_malformed(body: object, unit: str | None) -> None:
    try:
        readings = parse.summary(body, unit)
    except MalformedReply:
        return
    assert set(CORE_POINTS) <= set(readings)
    assert all(isinstance(fault.words, str) for fault in parse.summary_faults(body))
    for name, found in readings.items():
        assert metric_of(name) in METRICS.values()
        assert (found.value is None) == (not found.quality.usable)
        assert found.value is None or math.isfinite(found.value)


@given(st.sampled_from(sorted(miner(_SUMMARY))))
def test_a_missing_field_never_becomes_a_zero(name: str) -> None:
    """The healthy machine has no zero anywhere, so a zero could only be invented."""
    summary = copy.deepcopy(_SUMMARY)
    del miner(summary)[name]
    assert 0.0 not in [found.value for found in read(summary).values()]


@given(_anything)
@settings(max_examples=300, deadline=None)
def test_no_page_raises_anything_but_malformed(body: object) -> None:
    assert isinstance(parse.summary_faults(body), tuple)
    assert len(parse.cooling_mode(body)) == 2
    for parser in (parse.status, parse.identity, ladder.running, ladder.presets):
        try:
            parser(body)
        except MalformedReply:
            continue


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_no_body_raises_anything_but_malformed(body: bytes) -> None:
    assert isinstance(parse.error_text(body), str)
    try:
        fields.decode(body, "/x")
    except MalformedReply:
        return


def test_deep_nesting_and_bad_text_are_malformed() -> None:
    for body in (b"[" * 200_000, b'{"a":"\xff"}', b"{"):
        with pytest.raises(MalformedReply):
            fields.decode(body, "/x")
    assert fields.decode(b" \n", "/x") is None


# ---------------------------------------------------------------- identity, state, presets


def test_identity_of_a_real_looking_machine() -> None:
    found = parse.identity(pages.info(s21_pro(), "1.2.7", "127.0.0.2", logged_in=True))
    assert found == parse.Identity(
        model="Antminer S21 Pro",
        firmware=Firmware(name="Vnish", version="1.2.7", number=(1, 2, 7)),
        mac="aa:bb:cc:00:00:01",
        serial="SN0001",
        algorithm=Algorithm.SHA256D,
        hash_unit="GH/s",
        uptime_s=9 * 86400 + 3 * 3600 + 58 * 60,
    )


def test_a_unit_that_is_not_said_follows_from_the_algorithm_or_stays_unknown() -> None:
    info = {"fw_name": "Vnish", "hr_measure": "N/A", "algorithm": "scrypt", "serial": "N/A"}
    assert parse.identity(info).hash_unit == "MH/s"
    assert parse.identity(info).serial == ""
    odd = parse.identity({"fw_name": "vnish", "algorithm": "kheavyhash"})
    assert (odd.hash_unit, odd.algorithm) == (None, Algorithm.UNKNOWN)


@pytest.mark.parametrize("unit", ["kSol/s", "H", "GHz", "gh/s", "Gsol/s"])
def test_a_unit_that_is_told_and_not_known_is_never_guessed(unit: str) -> None:
    info = {"fw_name": "Vnish", "miner": "Antminer S21", "hr_measure": unit, "algorithm": "sha256d"}
    found = parse.identity(info)
    assert (found.hash_unit, found.algorithm) == (None, Algorithm.SHA256D)
    assert read(page(), found.hash_unit)["hashrate_ths"] == MISSING


@pytest.mark.parametrize(
    ("unit", "told", "ths"),
    [
        ("kH/s", 2e11, 200.0),
        ("MH/s", 2e8, 200.0),
        ("GH/s", 2e5, 200.0),
        ("TH/s", 200.0, 200.0),
        ("PH/s", 0.2, 200.0),
        ("EH/s", 2e-4, 200.0),
    ],
)
def test_the_multiples_of_a_hash_are_read_as_they_are_told(unit: str, told: float, ths: float) -> None:
    info = {"fw_name": "Vnish", "hr_measure": unit, "algorithm": "sha256d"}
    summary = page()
    miner(summary)["hr_realtime"] = told
    found = read(summary, parse.identity(info).hash_unit)
    assert found["hashrate_ths"].value == pytest.approx(ths)


def test_another_firmware_is_an_identity_that_may_not_be_commanded() -> None:
    other = parse.identity({"fw_name": "LuxOS", "fw_version": "1.2.7"})
    assert (other.firmware.words, other.firmware.known) == ("LuxOS 1.2.7", False)
    for nothing in ({}, {"fw_version": "1.2.7"}, {"fw_name": "N/A"}):
        with pytest.raises(MalformedReply):
            parse.identity(nothing)


@pytest.mark.parametrize(
    ("version", "number", "known"),
    [
        ("1.2.0-beta10", (1, 2, 0), True),
        ("1.2.0-rc5", (1, 2, 0), True),
        ("1.2.7", (1, 2, 7), True),
        ("v1.3.5", (1, 3, 5), True),
        ("1.3", (1, 3, 0), True),
        ("1.1.9", (1, 1, 9), False),
        ("1.4.0", (1, 4, 0), False),
        ("3.9.0", (3, 9, 0), False),
        ("2026-05", (), False),
        ("", (), False),
        (None, (), False),
    ],
)
def test_only_1_2_and_1_3_are_known(version: str | None, number: tuple[int, ...], known: bool) -> None:
    found = firmware("Vnish", version)
    assert (found.number, found.known) == (number, known)
    assert not firmware("AnthillOS", version).known
    assert found.since(1, 3) == (number >= (1, 3))
    assert found.first == (number == (1, 2, 0))


@pytest.mark.parametrize(
    ("info", "algorithm", "unit"),
    [
        ({"hr_measure": "GH/s"}, Algorithm.SHA256D, "GH/s"),
        ({"hr_measure": "MH/s"}, Algorithm.SCRYPT, "MH/s"),
        ({"model": "s19jpro"}, Algorithm.SHA256D, "GH/s"),
        ({"miner": "Antminer T21"}, Algorithm.SHA256D, "GH/s"),
        ({"miner": "Antminer L9"}, Algorithm.SCRYPT, "MH/s"),
        ({"model": "z15"}, Algorithm.UNKNOWN, None),
    ],
)
def test_the_first_firmwares_do_not_name_their_algorithm(
    info: dict[str, str], algorithm: Algorithm, unit: str | None
) -> None:
    found = parse.identity({"fw_name": "Vnish", **info})
    assert (found.algorithm, found.hash_unit) == (algorithm, unit)


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("0:06", 360.0),
        ("1:55", 6900.0),
        ("1 day,  0:00", 86400.0),
        ("9 days,  3:58", 791_880.0),
        ("12:00:30", 43_230.0),
        ("23 min", 1380.0),
        ("9 days, 23 min", 778_980.0),
        ("min", None),
        ("", None),
        (None, None),
        ("²:55", None),
    ],
)
def test_text_uptime(words: str | None, seconds: float | None) -> None:
    assert parse.uptime_s(words) == seconds


@given(st.integers(0, 10**9))
def test_uptime_comes_back_to_the_minute(seconds: int) -> None:
    assert parse.uptime_s(pages.uptime_text(seconds)) == seconds // 60 * 60


def test_status_with_and_without_throttle() -> None:
    old = parse.status(pages.status(s21_pro(), v13=False, restart_required=True, unlocked=False))
    assert old == parse.Status(
        state=MinerState.MINING,
        state_time_s=s21_pro().state_time_s,
        throttle_pct=None,
        restart_required=True,
        reboot_required=False,
        locating=False,
        locked_s=None,
        faults=(),
    )
    new = parse.status(
        pages.status(s21_pro(throttle_pct=60), v13=True, restart_required=False, unlocked=False)
    )
    assert new.throttle_pct == 60


def test_a_state_that_no_document_knows_is_unknown_and_one_that_is_missing_is_malformed() -> None:
    assert parse.status({"miner_state": "paused"}).state is MinerState.UNKNOWN
    with pytest.raises(MalformedReply):
        parse.status({"miner_state_time": 4})


def test_the_running_preset_and_its_watts() -> None:
    shown = ladder.running(ladders.perf_summary(s21_pro(), {"enabled": True}))
    assert (shown.preset, shown.preset_w, shown.switcher) == ("2800", 2800.0, {"enabled": True})
    free = ladder.running({"current_preset": None})
    assert (free.preset, free.preset_w, free.switcher) == (None, None, None)
    named = ladder.running({"current_preset": {"name": "eco", "pretty": "2100 watt ~ 78 TH"}})
    assert named.preset_w == 2100
    assert ladder.running({"current_preset": {"name": "disabled", "pretty": "Disabled"}}).preset_w is None


def test_the_ladder_has_rungs_only_and_rises() -> None:
    view = s21_pro(presets=tuple(reversed(s21_pro().presets)))
    rungs = ladder.presets(ladders.presets(view))
    assert [(rung.name, rung.tuned) for rung in rungs] == [
        ("2550", True),
        ("2800", True),
        ("3160", True),
        ("4690", False),
    ]
    assert rungs[-1].needs_liquid
    assert rungs[-1].needs_modded_psu
    assert rungs[1].hashrate_ths == 188


def test_a_scrypt_ladder_is_in_gigahash() -> None:
    rung = PresetView(name="3260", power_w=3260, hashrate_ths=0.0162, tuned=True)
    rungs = ladder.presets(ladders.presets(s21_pro(algorithm=Algorithm.SCRYPT, presets=(rung,))))
    assert rungs[0].hashrate_ths == pytest.approx(0.0162)


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "disabled", "pretty": "Disabled"},
        {"name": "turbo", "pretty": "as fast as it goes"},
        {"name": "2800", "pretty": "no rate"},
        {"pretty": "2800 watt ~ 188 TH"},
        {"name": 2800},
        "2800",
    ],
)
def test_what_is_no_rung_is_left_out(entry: object) -> None:
    good = {"name": "2600", "pretty": "2600 watt ~ 173 Th", "status": "tuned", "modded_psu_required": False}
    assert [rung.name for rung in ladder.presets([entry, good])] == ["2600"]


def test_a_rung_that_does_not_say_what_it_needs_counts_as_untuned_and_needing_a_psu() -> None:
    rung = ladder.presets([{"name": "2600", "pretty": "2600 watt ~ 173 TH"}])[0]
    assert (rung.tuned, rung.needs_modded_psu) == (False, True)
