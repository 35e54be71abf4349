"""CGI pages → readings: units, halves, hydro, boards that fail, modes, and what any page may do to us."""

import contextlib

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firmware_adapters.miners import cgminer
from firmware_adapters.miners.antminer import emulator_pages as pages
from firmware_adapters.miners.antminer import modes, parse
from firmware_adapters.miners.antminer.modes import Mode
from firmware_adapters.miners.emulated import MinerView
from firmware_adapters.miners.fields import decode
from shared.errors import Busy, MalformedReply
from shared.telemetry import MISSING, MinerState, Quality, Reading, metric_of
from shared.units import Algorithm
from support.miners import board, s21_pro
from support.web_memory import ANYTHING, mutated

SLOW_IS_FINE = [HealthCheck.too_slow]
"""A shared machine that is busy draws slowly; that says nothing of what is tested."""

NOW_S = 1_780_000_000


def page(view: MinerView | None = None, mode: int = 0) -> dict[str, object]:
    """A `stats.cgi` as it comes off the wire."""
    shown = view or s21_pro()
    made = msgspec.json.encode(pages.stats(shown, mode, shown.uptime_s, NOW_S))
    return msgspec.json.decode(made, type=dict[str, object])


def machine(body: dict[str, object]) -> dict[str, object]:
    listed = body["STATS"]
    assert isinstance(listed, list)
    found = listed[0]
    assert isinstance(found, dict)
    return found


def read(body: object) -> dict[str, Reading]:
    return parse.readings(parse.running(body).stats)


# ---------------------------------------------------------------- stats


def test_a_healthy_machine_reads_in_our_units() -> None:
    assert {name: (found.value, found.quality) for name, found in read(page()).items()} == {
        "hashrate_ths": (186.0, Quality.GOOD),
        "hashrate_nominal_ths": (187.5, Quality.GOOD),
        "power_w": (None, Quality.MISSING),
        "chip_temp_min_c": (54.0, Quality.ESTIMATED),
        "chip_temp_max_c": (65.0, Quality.ESTIMATED),
        "board_temp_min_c": (39.0, Quality.GOOD),
        "board_temp_max_c": (50.0, Quality.GOOD),
        "fan_rpm.0": (5880.0, Quality.GOOD),
        "fan_rpm.1": (5880.0, Quality.GOOD),
        "fan_rpm.2": (5880.0, Quality.GOOD),
        "fan_rpm.3": (5880.0, Quality.GOOD),
        "hw_errors": (57.0, Quality.GOOD),
        "uptime_s": (791880.0, Quality.GOOD),
        "boards_working": (3.0, Quality.GOOD),
    }


@pytest.mark.parametrize(
    ("unit", "ths"),
    [("GH/s", 186.0), ("GH", 186.0), ("MH/s", 0.186), ("TH/s", 186e3), ("gh/s", 186.0)],
)
def test_the_unit_of_the_page_decides(unit: str, ths: float) -> None:
    body = page()
    machine(body)["rate_unit"] = unit
    assert read(body)["hashrate_ths"].value == (pytest.approx(ths) if ths <= 5000 else None)
    assert (read(body)["hashrate_ths"].quality is Quality.OUT_OF_RANGE) == (ths > 5000)


@pytest.mark.parametrize("unit", ["KSol/s", "", None, 7])
def test_without_a_unit_of_hashes_the_rate_is_unknown_and_the_rest_stays(unit: object) -> None:
    body = page()
    machine(body)["rate_unit"] = unit
    assert read(body)["hashrate_ths"] == MISSING
    assert read(body)["board_temp_max_c"].value == 50


def test_scrypt_machines_count_in_megahash() -> None:
    l7 = s21_pro(
        model="Antminer L7",
        algorithm=Algorithm.SCRYPT,
        hashrate_ths=0.0095,
        boards=(board(hashrate_ths=0.0095),),
    )
    assert read(page(l7))["hashrate_ths"].value == pytest.approx(0.0095)
    assert parse.algorithm("Antminer L7", None) is Algorithm.SCRYPT


def test_a_zero_among_temperatures_is_no_sensor_and_nonsense_is_a_broken_one() -> None:
    body = page()
    for chain in machine(body)["chain"]:  # type: ignore[attr-defined] # a list, as made above
        chain["temp_pcb"], chain["temp_chip"] = [0, 41, 255, 52], [-64, 255, 255, 255]
    found = read(body)
    assert (found["board_temp_min_c"].value, found["board_temp_max_c"].value) == (41, 52)
    assert found["chip_temp_max_c"] == Reading(None, Quality.SENSOR_ERROR)


def test_a_dead_board_is_counted_and_told() -> None:
    view = s21_pro(boards=(board(), board(working=False), board()))
    stats = parse.running(page(view)).stats
    assert parse.readings(stats)["boards_working"].value == 2
    second = parse.boards(stats)[1]
    assert (second.index, second.working, second.chips) == (1, False, 0)
    assert second.fault == "its EEPROM was not read"
    assert second.board_temp_max_c is None, "zeros are no data"


def test_chips_that_do_not_answer_are_counted() -> None:
    body = page()
    first = machine(body)["chain"][0]  # type: ignore[index] # a list, as made above
    first["asic"] = " ooo oxo oo-"
    found = parse.boards(parse.running(body).stats)[0]
    assert (found.chips, found.fault) == (7, "2 chips do not answer")


def test_a_board_that_does_not_hash_while_the_others_do_does_not_work() -> None:
    view = s21_pro(boards=(board(), board(hashrate_ths=0.0)))
    assert [one.working for one in parse.boards(parse.running(page(view)).stats)] == [True, False]


def test_boards_are_numbered_as_they_say_or_as_they_stand() -> None:
    body = page()
    chains = machine(body)["chain"]
    assert isinstance(chains, list)
    for chain, own in zip(chains, (7, None, 1), strict=True):
        chain["index"] = own
    assert [(one.index, one.serial) for one in parse.boards(parse.running(body).stats)] == [
        (1, "SN0001-2"),
        (7, "SN0001-0"),
    ], "two that claim one place are one, the last to say so"
    for chain in chains:
        del chain["index"]
    assert [one.index for one in parse.boards(parse.running(body).stats)] == [0, 1, 2]


def test_a_fan_that_tells_no_speed_is_left_out_and_one_that_stands_is_not() -> None:
    body = page()
    machine(body)["fan"] = [5880, None, -5, "5000", 0]
    machine(body)["fan_num"] = 3
    fans = {name: one.value for name, one in read(body).items() if name.startswith("fan_rpm")}
    assert fans == {"fan_rpm.0": 5880, "fan_rpm.3": 5000, "fan_rpm.4": 0}


def test_hydro_machines_have_water_where_others_have_chips() -> None:
    wet = board(water_in_c=33.0, water_out_c=41.0)
    view = s21_pro(model="Antminer S19 Pro Hyd.", boards=(wet, wet), cooling="immersion", fans=())
    stats = parse.running(page(view)).stats
    assert [(one.water_in_c, one.water_out_c) for one in parse.boards(stats)] == [(33.0, 41.0)] * 2
    assert parse.boards(stats)[0].chip_temp_max_c is None
    assert parse.readings(stats)["chip_temp_max_c"] == MISSING
    assert parse.readings(stats)["board_temp_max_c"].value == 50
    other = parse.running(page(s21_pro(model="Antminer S21+ Hyd.", boards=(wet,)))).stats
    assert parse.boards(other)[0].water_in_c is None, "it has them elsewhere, and where is not certain"


def test_a_page_of_a_dead_mining_process_is_busy_and_anything_else_is_malformed() -> None:
    with pytest.raises(Busy, match="socket connect failed"):
        parse.running(pages.silent(NOW_S))
    for body in ({}, [], None, "x", 7, {"STATS": "x", "stat": 1}.copy() | {"STATUS2": 1}):
        with pytest.raises((MalformedReply, Busy)):
            parse.running(body)


# ---------------------------------------------------------------- modes and state


@pytest.mark.parametrize(
    ("told", "mode"),
    [("0", Mode.NORMAL), (0, Mode.NORMAL), ("1", Mode.SLEEP), (2, Mode.LOW_POWER), ("3", Mode.LOW_POWER)],
)
def test_the_mode_is_a_number_or_digits(told: object, mode: Mode) -> None:
    assert modes.config({"bitmain-work-mode": told}).mode is mode
    assert modes.config({"miner-mode": told}).mode is mode


@pytest.mark.parametrize("told", ["9", 1.5, True, None, [], "sleep", "1e400"])
def test_a_mode_that_no_source_names_is_unknown(told: object) -> None:
    found = modes.config({"bitmain-work-mode": told})
    assert (found.mode, found.has_mode) == (None, True)


def test_a_build_without_modes_says_none() -> None:
    assert modes.config({"pools": []}) == modes.Config(page={"pools": []})
    assert modes.config({"bitmain-work-mode": ""}).mode is Mode.NORMAL


@pytest.mark.parametrize("sent", ["0", 0])
def test_the_whole_configuration_goes_back_in_the_machines_own_words(sent: object) -> None:
    before = modes.config(
        {"pools": [{"url": "a", "pass": "b"}], "bitmain-work-mode": sent, "bitmain-freq-level": "100", "x": 1}
    )
    code = "1" if sent == "0" else 1
    assert modes.changed(before, Mode.SLEEP) == {
        "pools": [{"url": "a", "pass": "b"}],
        "bitmain-work-mode": code,
        "miner-mode": code,
        "bitmain-freq-level": "100",
        "freq-level": "100",
        "x": 1,
    }


@pytest.mark.parametrize(
    ("rate", "runs", "asked", "elapsed_s", "means"),
    [
        (186.0, Mode.NORMAL, None, 9e5, MinerState.MINING),
        (186.0, Mode.LOW_POWER, Mode.LOW_POWER, 9e5, MinerState.MINING),
        (186.0, Mode.NORMAL, Mode.SLEEP, 9e5, MinerState.SHUTTING_DOWN),
        (0.0, Mode.SLEEP, Mode.SLEEP, 9e5, MinerState.STOPPED),
        (0.0, Mode.NORMAL, Mode.SLEEP, 10.0, MinerState.STOPPED),
        (None, Mode.SLEEP, Mode.SLEEP, None, MinerState.STOPPED),
        (None, None, Mode.SLEEP, None, MinerState.UNKNOWN),
        (0.0, Mode.SLEEP, Mode.NORMAL, 10.0, MinerState.STARTING),
        (0.0, Mode.SLEEP, Mode.NORMAL, 9e5, MinerState.UNKNOWN),
        (0.0, Mode.SLEEP, Mode.NORMAL, modes.START_S, MinerState.UNKNOWN),
        (0.0, Mode.SLEEP, Mode.NORMAL, None, MinerState.UNKNOWN),
        (0.0, None, None, 9e5, MinerState.UNKNOWN),
        (None, None, None, 10.0, MinerState.UNKNOWN),
    ],
)
def test_the_state_comes_from_hashrate_and_both_modes(
    rate: float | None, runs: Mode | None, asked: Mode | None, elapsed_s: float | None, means: MinerState
) -> None:
    assert modes.state(cgminer.Stats(rate=rate, elapsed_s=elapsed_s), runs, asked) is means


# ---------------------------------------------------------------- identity, faults


@pytest.mark.parametrize(
    ("model", "means"),
    [
        ("Antminer S21", Algorithm.SHA256D),
        ("antminer t21", Algorithm.SHA256D),
        ("Antminer L9", Algorithm.SCRYPT),
        ("Antminer Z15", Algorithm.UNKNOWN),
        ("", Algorithm.UNKNOWN),
        ("S", Algorithm.UNKNOWN),
    ],
)
def test_the_family_tells_the_algorithm(model: str, means: Algorithm) -> None:
    assert parse.algorithm(model, None) is means
    assert parse.algorithm(model, "sha256d") is Algorithm.SHA256D
    assert parse.algorithm(model, "kheavyhash") is Algorithm.UNKNOWN


def test_what_the_machine_complains_of() -> None:
    view = s21_pro(
        state=MinerState.FAILURE, failure_code=7, description="too hot", fans=(*s21_pro().fans[:3],)
    )
    found = parse.faults(pages.summary(view, 10.0, NOW_S))
    assert found is not None
    assert [(one.code, one.words) for one in found] == [
        ("rate-1", "hashrate is too low"),
        ("temp-7", "too hot"),
    ]
    assert parse.faults(pages.summary(s21_pro(), 10.0, NOW_S)) == ()
    assert parse.faults({"SUMMARY": [{}]}) is None, "it does not judge itself"
    (nameless,) = parse.faults({"SUMMARY": [{"status": [{"status": "e"}, {"code": 4}, "x"]}]}) or ()
    assert (nameless.code, nameless.words) == ("machine", "machine is not well")


def test_identity_under_the_names_that_builds_use() -> None:
    found = parse.identity({"minertype": "Antminer T21", "serial_no": "S1", "file_system_version": "V1"})
    assert (found.serial, found.firmware, found.mac) == ("S1", "V1", "")
    with pytest.raises(MalformedReply, match="minertype"):
        parse.identity({"serinum": "S1"})
    assert parse.network_mac({"macaddr": "AA:BB:CC:00:00:09"}) == "aa:bb:cc:00:00:09"
    assert parse.socket_identity({}, cgminer.Stats(model="Antminer S19")).model == "Antminer S19"


# ---------------------------------------------------------------- whatever comes


def _check(readings: dict[str, Reading]) -> None:
    for name, found in readings.items():
        metric = metric_of(name)
        if found.value is not None:
            assert metric.low <= found.value <= metric.high, name


@settings(max_examples=150, deadline=None, suppress_health_check=SLOW_IS_FINE)
@given(mutated(page(s21_pro(), 0)) | ANYTHING)
def test_whatever_comes_there_are_readings_or_malformed(body: object) -> None:
    try:
        running = parse.running(body)
    except (MalformedReply, Busy):
        return
    _check(parse.readings(running.stats))
    indexes = [one.index for one in parse.boards(running.stats)]
    assert indexes == sorted(set(indexes))
    assert modes.state(running.stats, running.mode, None) in MinerState


@settings(max_examples=100, deadline=None, suppress_health_check=SLOW_IS_FINE)
@given(mutated(pages.configuration(s21_pro()) | {"bitmain-work-mode": "0"}) | ANYTHING, ANYTHING)
def test_whatever_configuration_comes_it_can_be_sent_back_or_is_malformed(
    body: object, other: object
) -> None:
    try:
        before = modes.config(body)
    except MalformedReply:
        return
    after = modes.changed(before, Mode.SLEEP)
    assert set(before.page) <= set(after)
    assert modes.config(after).mode is Mode.SLEEP
    parse.faults(other)
    parse.network_mac(other)
    for page_of in (parse.identity, lambda one: parse.socket_identity(one, cgminer.Stats())):
        try:
            page_of(other)
        except MalformedReply:
            continue


@settings(max_examples=100, deadline=None, suppress_health_check=SLOW_IS_FINE)
@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: b'{"STATS":[{"chain":' + tail))
def test_bytes_are_a_page_or_malformed(raw: bytes) -> None:
    with contextlib.suppress(MalformedReply, Busy):
        read(decode(raw, "stats.cgi"))


def test_ten_megabytes_of_nesting_end_as_malformed() -> None:
    for raw in (b"[" * 10_000_000, b'{"STATS":' * 1_000_000, b'{"STATS":[{"chain":[' + b"{}," * 100_000):
        with pytest.raises(MalformedReply):
            parse.running(decode(raw, "stats.cgi"))
