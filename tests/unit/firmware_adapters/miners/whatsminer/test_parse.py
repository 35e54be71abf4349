"""Whatsminer pages: units, shapes of other versions, what is unknown, and whatever else may come."""

import contextlib
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_adapters.miners.whatsminer import parse, parts
from firmware_adapters.miners.whatsminer.faults import faults_in
from firmware_adapters.transport.line_json import decode
from shared.details import Fault, PoolState
from shared.errors import MalformedReply
from shared.telemetry import MinerState, Quality, metric_of

# Shapes, not copies: what other versions are known to print.
EARLY = {
    "SUMMARY": [
        {
            "Elapsed": 900,
            "MHS 5s": 84_796_459.02,
            "HS RT": 84_941_366.02,
            "Accepted": 50,
            "Rejected": 2,
            "Stale": 1,
            "Hardware Errors": 7,
            "Temperature": 75.5,
            "Fan Speed In": 4500,
            "Fan Speed Out": 4530,
            "Power": 3336,
            "Power Limit": 3600,
            "Target MHS": 86_000_000,
            "Factory GHS": 87_000,
            "Env Temp": 32.0,
            "Chip Temp Min": 70.1,
            "Chip Temp Max": 96.7,
            "Hash Stable": False,
            "Error Code Count": 2,
            "Error Code 0": 206,
            "Error Code 1": 110,
            "Uptime": 1000,
            "MAC": "C6:07:20:00:1E:C2",
        }
    ]
}
V3 = {
    "code": 0,
    "when": 1_684_744_970,
    "msg": {
        "summary": {
            "elapsed": 1200,
            "bootup-time": 1300,
            "hash-realtime": 166.2,
            "hash-average": 160.0,
            "factory-hash": 168.0,
            "power-realtime": 3510,
            "power-limit": 3600,
            "board-temperature": [64.5, 65.0, 0.0],
            "chip-temp-min": 60.0,
            "chip-temp-max": 88.5,
            "environment-temperature": 24.0,
            "fan-speed-in": 5000,
            "fan-speed-out": 5100,
            "up-freq-finish": 1,
        }
    },
}


def values(seen: parse.Summary) -> dict[str, float | None]:
    return {point: found.value for point, found in seen.readings.items()}


def test_v2_counts_megahash_and_gigahash() -> None:
    seen = parse.summary(EARLY)
    assert values(seen) == pytest.approx(
        {
            "hashrate_ths": 84.94136602,
            "hashrate_nominal_ths": 86.0,
            "power_w": 3336.0,
            "chip_temp_max_c": 96.7,
            "chip_temp_min_c": 70.1,
            "board_temp_max_c": 75.5,
            "board_temp_min_c": 75.5,
            "fan_rpm.0": 4500.0,
            "fan_rpm.1": 4530.0,
            "air_temp_c": 32.0,
            "power_limit_w": 3600.0,
            "uptime_s": 1000.0,
            "shares_accepted": 50.0,
            "shares_rejected": 2.0,
            "shares_stale": 1.0,
            "hw_errors": 7.0,
        }
    )
    assert seen.readings["power_w"].quality is Quality.ESTIMATED
    assert seen.readings["hashrate_nominal_ths"].quality is Quality.GOOD
    assert seen.faults == (Fault(code="206", words="power supply"), Fault(code="110", words="fans"))
    assert seen.stable is False


def test_v3_counts_terahash() -> None:
    seen = parse.summary(V3)
    assert values(seen) == pytest.approx(
        {
            "hashrate_ths": 166.2,
            "hashrate_nominal_ths": 168.0,
            "power_w": 3510.0,
            "chip_temp_max_c": 88.5,
            "chip_temp_min_c": 60.0,
            "board_temp_max_c": 65.0,
            "board_temp_min_c": 64.5,
            "fan_rpm.0": 5000.0,
            "fan_rpm.1": 5100.0,
            "air_temp_c": 24.0,
            "power_limit_w": 3600.0,
            "uptime_s": 1300.0,
        }
    )
    assert seen.readings["hashrate_nominal_ths"].quality is Quality.ESTIMATED
    assert seen.stable is True
    assert seen.boards_c == (64.5, 65.0, 0.0)


def test_an_average_never_stands_for_the_hashrate_of_now() -> None:
    seen = parse.summary({"SUMMARY": [{"MHS av": 125e6, "hash-average": 125.0, "Power": 12}]})
    assert seen.readings["hashrate_ths"].value is None
    assert seen.readings["hashrate_ths"].quality is Quality.MISSING


def test_zero_temperatures_are_no_data_and_impossible_ones_no_reading() -> None:
    seen = parse.summary({"SUMMARY": [{"Chip Temp Min": 0, "Chip Temp Max": 0, "Env Temp": 0}]})
    assert seen.readings["chip_temp_max_c"].quality is Quality.MISSING
    assert "air_temp_c" not in seen.readings
    seen = parse.summary({"SUMMARY": [{"Chip Temp Min": 10, "Chip Temp Max": 255, "Power": 9e9}]})
    assert seen.readings["chip_temp_max_c"].quality is Quality.OUT_OF_RANGE
    assert seen.readings["chip_temp_max_c"].value is None
    assert seen.readings["power_w"].quality is Quality.OUT_OF_RANGE


def test_a_negative_number_does_not_hide_the_one_that_says_the_same() -> None:
    said = {"HS RT": -1, "MHS 5s": 100e6, "Power_RT": -1, "Power": 3410}
    readings = parse.summary({"SUMMARY": [said]}).readings
    assert (readings["hashrate_ths"].value, readings["power_w"].value) == (100.0, 3410.0)
    said = {"HS RT": -1, "Power": -1}
    readings = parse.summary({"SUMMARY": [said]}).readings
    assert (readings["hashrate_ths"].value, readings["power_w"].value) == (None, None)


def test_a_limit_of_no_watts_is_none_that_it_holds() -> None:
    assert "power_limit_w" not in parse.summary({"SUMMARY": [{"Power Limit": 0, "Uptime": 0}]}).readings
    assert parse.summary({"SUMMARY": [{"Uptime": 0}]}).readings["uptime_s"].value == 0


@pytest.mark.parametrize(("mhs", "watts"), [(125e6, None), (0.0, 0.0), (None, 0.0)])
def test_no_watts_of_a_machine_that_hashes_are_unknown(mhs: float | None, watts: float | None) -> None:
    said = {"Power": 0} if mhs is None else {"Power": 0, "HS RT": mhs}
    assert parse.summary({"SUMMARY": [said]}).readings["power_w"].value == watts


@pytest.mark.parametrize(
    ("model", "liquid"),
    [
        ("M30S+_VE40", False),
        ("M50S_VJ30", False),
        ("M33S++_VG40", True),
        ("M53_VH30", True),
        ("Whatsminer M56S", True),
        ("M66S_VK30", True),
        ("M60_VK6A", False),
        ("", False),
        ("Avalon", False),
    ],
)
def test_models_that_stand_in_liquid_have_no_fans(model: str, liquid: bool) -> None:
    assert parse.stands_in_liquid(model) is liquid
    seen = parse.summary(EARLY, liquid=liquid)
    assert ("fan_rpm.0" in seen.readings) is not liquid
    assert ("air_temp_c" in seen.readings) is not liquid


# ---------------------------------------------------------------- state


def summary(mhs: float | None, elapsed: float = 100, **more: object) -> parse.Summary:
    said: dict[str, object] = {"Elapsed": elapsed, **more}
    return parse.summary({"SUMMARY": [said if mhs is None else {**said, "HS RT": mhs}]})


@pytest.mark.parametrize(
    ("off", "seen", "state"),
    [
        (True, summary(0), MinerState.STOPPED),
        (True, None, MinerState.STOPPED),
        (True, summary(None), MinerState.STOPPED),
        (True, summary(1.2e8), MinerState.SHUTTING_DOWN),
        (True, summary(1.2e8, **{"Factory GHS": 126_000}), MinerState.SHUTTING_DOWN),
        (True, summary(1e6, **{"Factory GHS": 126_000}), MinerState.STOPPED),  # what is left of an average
        (False, summary(1e8), MinerState.MINING),
        (False, summary(1e8, **{"Hash Stable": False}), MinerState.AUTO_TUNING),
        (False, summary(0), MinerState.INITIALIZING),
        (False, summary(0, elapsed=90_000), MinerState.UNKNOWN),
        (False, summary(None), MinerState.UNKNOWN),
        (False, None, MinerState.UNKNOWN),
        (None, summary(1e8), MinerState.MINING),
        (None, summary(0), MinerState.UNKNOWN),
        (None, None, MinerState.UNKNOWN),
    ],
)
def test_the_state_comes_from_the_switch_and_the_hashrate(
    off: bool | None, seen: parse.Summary | None, state: MinerState
) -> None:
    assert parse.miner_state(parse.Switch(off=off), seen) is state


@pytest.mark.parametrize(
    ("said", "off"),
    [
        ({"mineroff": "true"}, True),
        ({"mineroff": "false"}, False),
        ({"btmineroff": "true"}, True),
        ({"mineroff": False}, False),
        ({"mineroff": "perhaps"}, None),
        ({}, None),
    ],
)
def test_the_switch_is_a_word_under_two_names(said: dict[str, object], off: bool | None) -> None:
    assert parse.status({"STATUS": "S", "Msg": said}).off is off


def test_a_status_without_a_message_is_malformed() -> None:
    with pytest.raises(MalformedReply):
        parse.status({"STATUS": "S", "Msg": "hello"})


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize(
    "raw",
    [
        b'{"Msg":{"error_code":["329":"2024-01-01 10:00:00","110":"2024-01-02"]}}',
        b'{"Msg":{"error_code":[{"329":"2024-01-01 10:00:00"},{"110":"2024-01-02"}]}}',
        b'{"Msg":{"error_code":{"329":"2024-01-01 10:00:00","110":"2024-01-02"}}}',
    ],
)
def test_codes_come_in_three_shapes_one_of_which_is_no_json(raw: bytes) -> None:
    assert parse.faults(decode(raw)) == (
        Fault(code="329", words="temperature sensors: 2024-01-01 10:00:00"),
        Fault(code="110", words="fans: 2024-01-02"),
    )


@pytest.mark.parametrize(
    ("listed", "codes"),
    [
        ([], []),
        ({}, []),
        (None, []),
        ("", []),
        (["329", 110, 0, -1, True, 2.5, "x", None], ["329", "110"]),
        ([{"code": 2010, "reason": "pools"}, {"error_code": "540"}], ["2010", "540"]),
        ([{"2310": "2024", "reason": "hash too low"}], ["2310"]),
        ([{"218": "a"}, {"218": "b"}], ["218"]),
        ([10**40, "9" * 400], []),
    ],
)
def test_codes_are_digits_and_nothing_else(listed: object, codes: list[str]) -> None:
    assert [fault.code for fault in faults_in(listed)] == codes


def test_a_reason_is_told() -> None:
    assert faults_in([{"2010": "2024", "reason": "all pools are dead"}]) == (
        Fault(code="2010", words="pools: all pools are dead"),
    )


def test_a_flood_of_codes_is_bounded() -> None:
    assert len(faults_in([{str(code): ""} for code in range(1, 5000)])) == 64
    huge = {"SUMMARY": [{"Error Code Count": 1e15, "Error Code 0": 1e300}]}
    assert parse.summary(huge).faults == ()


# ---------------------------------------------------------------- boards and pools


def test_boards_are_counted_by_slot_or_else_by_asc_or_else_in_order() -> None:
    slots = parts.boards({"DEVS": [{"Slot": 2, "ASC": 0}, {"Slot": 0, "ASC": 1}]})
    assert [board.index for board in slots] == [0, 2]
    asc = parts.boards({"DEVS": [{"Slot": 0, "ASC": 4}, {"Slot": 0, "ASC": 3}]})
    assert [board.index for board in asc] == [3, 4]
    order = parts.boards({"DEVS": [{"Slot": 0, "ASC": 1}, {"Slot": 0, "ASC": 1}]})
    assert [board.index for board in order] == [0, 1]


def test_a_flood_of_boards_is_bounded() -> None:
    assert [board.index for board in parts.boards({"DEVS": [{"Slot": 99}] * 5000})] == list(range(16))


def test_a_board_works_when_it_is_alive_enabled_and_its_chips_answer() -> None:
    said = [
        {"Slot": 0, "Status": "Alive", "Enabled": "Y", "Effective Chips": 105},
        {"Slot": 1, "Status": "Alive", "Enabled": "N", "Effective Chips": 105},
        {"Slot": 2, "Status": "Alive", "Enabled": "Y", "Effective Chips": 0},
        {"Slot": 3, "Status": "Dead"},
        {"Slot": 4, "Effective Chips": 105},
        {"Slot": 5, "Effective Chips": 0},
        {"Slot": 6},
    ]
    found = parts.boards({"DEVS": said})
    assert [board.working for board in found] == [True, False, False, False, True, False, None]
    assert "boards_working" not in parts.readings_of_boards(found)
    assert parts.readings_of_boards(found[:6])["boards_working"].value == 2


@pytest.mark.parametrize("name", ["Chip Frequency", "Frequency", "freq"])
def test_the_frequency_goes_by_three_names(name: str) -> None:
    assert parts.boards({"DEVS": [{name: 600.5}]})[0].frequency_mhz == 600.5


def test_v3_boards_take_their_temperature_from_the_summary() -> None:
    body = {"msg": {"edevs": [{"slot": 0, "hash-average": 55.0, "freq": 700}, {"slot": 1}, {"slot": 2}]}}
    found = parts.boards(body, (64.5, 0.0, -273.0))
    assert [board.board_temp_max_c for board in found] == [64.5, None, None]
    assert found[0].frequency_mhz == 700


@pytest.mark.parametrize(
    ("said", "ths"),
    [
        ({"HS RT": 33.2e6, "MHS 5s": 33.5e6, "MHS av": 30e6}, 33.2),
        ({"MHS 5s": 33.5e6, "MHS av": 30e6}, 33.5),
        ({"MHS 1m": 33.4e6, "MHS av": 30e6}, 33.4),
        ({"HS RT": 0, "MHS av": 30e6}, 0.0),
        ({"HS RT": "33200000.0"}, 33.2),
        ({"hash-realtime": 33.1, "hash-average": 30.0}, 33.1),
        ({"MHS av": 30e6}, None),
        ({"hash-average": 30.0}, None),
        ({}, None),
    ],
)
def test_a_board_hashes_what_it_says_of_now_in_megahash_or_in_v3_in_terahash(
    said: dict[str, object], ths: float | None
) -> None:
    assert parts.boards({"DEVS": [said]})[0].hashrate_ths == (None if ths is None else pytest.approx(ths))


@pytest.mark.parametrize(
    ("now_ths", "rates"),
    [
        (124.5, [41.5, 41.8, 41.7]),
        (113.0, [None] * 3),
        (83.0, [None] * 3),
        (0.0, [None] * 3),
        (None, [None] * 3),
    ],
)
def test_averages_stand_for_boards_only_while_they_make_what_the_whole_hashes_now(
    now_ths: float | None, rates: list[float | None]
) -> None:
    v2 = {"DEVS": [{"MHS av": mhs} for mhs in (41.5e6, 41.8e6, 41.7e6)]}
    v3 = {"msg": {"edevs": [{"hash-average": ths} for ths in (41.5, 41.8, 41.7)]}}
    for body in (v2, v3):
        found = [board.hashrate_ths for board in parts.boards(body, now_ths=now_ths)]
        assert found == [None if rate is None else pytest.approx(rate) for rate in rates]


def test_a_board_that_tells_nothing_makes_the_averages_of_the_others_unknown() -> None:
    body = {"DEVS": [{"MHS av": 41.5e6}, {"MHS av": 41.5e6}, {}]}
    assert [board.hashrate_ths for board in parts.boards(body, now_ths=83.0)] == [None] * 3


def test_a_board_whose_sensor_is_broken_does_not_hide_the_heat_of_the_others() -> None:
    found = parts.boards({"DEVS": [{"Temperature": 65.0}, {"Temperature": 255.0}, {"Temperature": 67.0}]})
    readings = parts.readings_of_boards(found)
    assert (readings["board_temp_min_c"].value, readings["board_temp_max_c"].value) == (65, 67)
    alone = parts.readings_of_boards(found[1:2])
    assert alone["board_temp_max_c"].quality is Quality.OUT_OF_RANGE
    third = parse.summary({"msg": {"summary": {"board-temperature": [64.5, -64.0, 65.0]}}}).readings
    assert (third["board_temp_min_c"].value, third["board_temp_max_c"].value) == (64.5, 65)


def test_pools_of_v3_and_the_age_of_a_share() -> None:
    body = {
        "code": 0,
        "when": 1_700_000_100,
        "msg": {
            "pools": [
                {"id": 1, "url": "a", "account": "w", "status": "alive", "stratum-active": True},
                {"id": 2, "url": "b", "status": "alive", "stratum-active": False},
                {"id": 3, "url": "c", "status": "dead", "last-share-time": 1_700_000_000},
                {"id": 4, "url": "d", "status": "alive", "last-share-time": 31_279},
            ]
        },
    }
    found = parts.pools(body)
    assert [pool.state for pool in found] == [
        PoolState.ACTIVE,
        PoolState.STANDBY,
        PoolState.DEAD,
        PoolState.UNKNOWN,
    ]
    assert [pool.last_share_age_s for pool in found] == [None, None, 100.0, None]
    assert [pool.index for pool in found] == [1, 2, 3, 4]
    assert parts.readings_of_pools(found)["last_share_age_s"].value == 100
    assert "shares_rejected" not in parts.readings_of_pools(found)


@pytest.mark.parametrize(
    ("word", "state"), [("Rejecting", "rejecting"), ("Disabled", "disabled"), ("?", "unknown")]
)
def test_pool_words(word: str, state: str) -> None:
    assert parts.pools({"POOLS": [{"Status": word}]})[0].state.value == state


def test_identity_is_put_together_from_what_answers() -> None:
    version = {"Msg": {"api_ver": "2.0.5", "fw_ver": "20230803.11.REL"}}
    alone = parse.identity(version)
    assert (alone.model, alone.firmware, alone.mac, alone.serial) == ("", "20230803.11.REL", "", "")
    whole = parse.identity(
        version,
        {"Msg": {"mac": "AA:BB", "minersn": "SN1"}},
        {"DEVDETAILS": [{"Model": "M30S+_VE40"}]},
    )
    assert (whole.model, whole.mac, whole.serial) == ("M30S+_VE40", "aa:bb", "SN1")
    assert parse.identity(version, None, None, EARLY).mac == "c6:07:20:00:1e:c2"
    with pytest.raises(MalformedReply):
        parse.identity({"Msg": {"hello": 1}})


def test_the_supply_may_tell_its_temperature() -> None:
    assert parse.psu_temp_c({"Msg": {"temp0": "33.5"}}) == 33.5
    assert parse.psu_temp_c({"Msg": {"model": "P222B"}}) is None


# ---------------------------------------------------------------- whatever comes

WORDS = """
SUMMARY DEVS POOLS Msg msg summary edevs pools STATUS When Power error_code Slot ASC POOL Elapsed mineroff
board-temperature chip-temp-min Status fw_ver up-freq-finish Temperature temp0 api_ver
"""
KEYS = st.text(max_size=6) | st.sampled_from(
    [
        *WORDS.split(),
        "HS RT",
        "Chip Temp Max",
        "Error Code Count",
        "Error Code 0",
        "Effective Chips",
        "Last Share Time",
        "Power Mode",
        "Stratum Active",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=25,
)


def try_all(body: object) -> None:
    """Every reader: readings within their metric, or `MalformedReply`, and no third way."""
    readers: list[Any] = [parse.summary, parse.status, parts.boards, parts.pools, parse.faults]
    for reader in [*readers, parse.psu_temp_c, parse.identity]:
        try:
            found = reader(body)
        except MalformedReply:
            continue
        readings = {}
        if isinstance(found, parse.Summary):
            readings = found.readings
            assert parse.miner_state(parse.Switch(off=False), found) in MinerState
        elif reader is parts.boards:
            readings = parts.readings_of_boards(found)
            assert len({board.index for board in found}) == len(found)
        elif reader is parts.pools:
            readings = parts.readings_of_pools(found)
        for point, reading in readings.items():
            metric = metric_of(point)
            if reading.value is not None:
                assert metric.low <= reading.value <= metric.high
            assert (reading.value is not None) == reading.quality.usable


@settings(max_examples=150, deadline=None)
@given(JSON)
def test_any_json_is_readings_or_malformed(body: object) -> None:
    try_all(body)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300) | st.text(alphabet='{}[]:,"\\n 0123Msg', max_size=200).map(str.encode))
def test_any_bytes_are_readings_or_malformed(raw: bytes) -> None:
    for accept in (False, True):
        try:
            body = decode(raw, accept_cut=accept)
        except MalformedReply:
            continue
        try_all(body)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"SUMMARY":' + b"[" * 5_000_000,
        b'{"Msg":{"error_code":' + b'{"1":' * 2_000_000,
        b'{"SUMMARY":[{"HS RT":' + b"9" * 10_000_000 + b"}]}",
    ],
)
def test_ten_megabytes_are_refused_in_time(raw: bytes) -> None:
    began = time.process_time()
    with contextlib.suppress(MalformedReply):
        try_all(decode(raw))
    assert time.process_time() - began < 5


@pytest.mark.parametrize("low", [{}, {"Chip Temp Min": -40.0}, {"Chip Temp Min": 0}])
def test_the_hottest_chip_is_not_the_coolest_where_only_it_is_told(low: dict[str, float]) -> None:
    found = parse.summary({"SUMMARY": [{"MHS 1m": 125e6, "Chip Temp Max": 81.0, **low}]}).readings
    assert found["chip_temp_max_c"].value == 81.0
    assert found["chip_temp_min_c"].value is None


@pytest.mark.parametrize(
    "model", ["M31H_V40", "M34S+_VE10", "M39_V10", "M54S++_VK30", "M59_VH30", "M64_VL30"]
)
def test_models_that_come_with_and_without_fans_are_told_by_what_turns(model: str) -> None:
    def page(mhs: float, rpm: int) -> dict[str, object]:
        fans = {"Fan Speed In": rpm, "Fan Speed Out": rpm}
        return {"SUMMARY": [{"MHS 1m": mhs, "Env Temp": 31.0, **fans}]}

    def shown(mhs: float, rpm: int) -> bool:
        return "fan_rpm.0" in parse.summary_of(page(mhs, rpm), model).readings

    assert not shown(125e6, 0), "it hashes, and nothing turns"
    assert shown(125e6, 4000)
    assert shown(0, 0), "at rest nothing is known"
    assert "air_temp_c" not in parse.summary_of(page(125e6, 0), model).readings


def test_an_air_cooled_model_whose_fans_stand_still_shows_it() -> None:
    page = {"SUMMARY": [{"MHS 1m": 125e6, "Fan Speed In": 0, "Fan Speed Out": 0}]}
    for model in ("M30S++_VH40", "M50S_VJ20", "M60S_VK10", ""):
        assert parse.summary_of(page, model).readings["fan_rpm.0"].value == 0
