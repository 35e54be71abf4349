"""Avalon pages: the A series beside the Q, what is unknown, states, faults, and whatever else may come."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_adapters.miners.avalon import parse, parts
from firmware_adapters.transport.line_json import decode
from shared.details import Fault, PoolState
from shared.errors import MalformedReply
from shared.telemetry import MinerState, Quality, metric_of

# A shape, not a copy: how an air-cooled machine of the A series with three boards prints itself.
A_SERIES = (
    "Ver[1366-25-23] DNA[02] Elapsed[7200] LW[5] MH[0 0 0] HW[3] DH[0.5%] Temp[31] TMax[84] TAvg[74] "
    "Fan1[4100] Fan2[4200] Fan3[4300] Fan4[4400] FanR[68%] Vi[1215 1215 1215] Vo[1390 1391 1392] "
    "PS[0 1215 1390 242 3361 1391] GHSspd[130012.5] GHSmm[131000.0] WU[1] Freq[580.1] "
    "MGHS[43001.1 43002.2 43003.3] MTmax[84 83 82] MTavg[74 73 72] CRC[0 0 0] "
    "PVT_T0[70 84] PVT_T1[71 83] PVT_T2[0 82] PVT_V0[310 311] PVT_V1[0 309] PVT_V2[308 308] "
    "ECHU[0 16 0] ECMM[0] SoftOFF[0] WORKMODE[1] FanErr[0]"
)


def stats(text: str, **more: str) -> parse.Stats:
    return parse.stats({"STATS": [{"STATS": 0, "MM ID0": text, "MM Count": 1, **more}]})


def test_the_a_series_prints_all_in_one_text() -> None:
    seen = stats(A_SERIES)
    readings = parse.module_readings(seen)
    assert {point: found.value for point, found in readings.items()} == pytest.approx(
        {
            "hashrate_ths": 130.0125,
            "hashrate_nominal_ths": 131.0,
            "power_w": 3361.0,
            "chip_temp_max_c": 84.0,
            "chip_temp_min_c": 70.0,
            "board_temp_max_c": None,
            "board_temp_min_c": None,
            "air_temp_c": 31.0,
            "uptime_s": 7200.0,
            "fan_rpm.0": 4100.0,
            "fan_rpm.1": 4200.0,
            "fan_rpm.2": 4300.0,
            "fan_rpm.3": 4400.0,
            "fan_duty_pct": 68.0,
        }
    )
    assert readings["power_w"].quality is Quality.ESTIMATED
    assert readings["board_temp_max_c"].quality is Quality.MISSING
    assert parse.faults(seen) == (Fault(code="ECHU1:16", words="hash unit"),)
    assert parse.work_mode(seen) == 1


def test_its_boards_and_chips() -> None:
    seen = stats(A_SERIES)
    found = parts.boards(seen)
    assert [board.hashrate_ths for board in found] == pytest.approx([43.0011, 43.0022, 43.0033])
    assert [board.chip_temp_max_c for board in found] == [84, 83, 82]
    assert [board.chip_temp_min_c for board in found] == [70, 71, 82], "a zero is no data"
    assert {board.voltage_v for board in found} == {13.9}
    assert {board.frequency_mhz for board in found} == {580.1}
    assert {board.hashrate_nominal_ths for board in found} == {None}, "told for the whole only"
    chips = parts.chips(seen)
    assert [(chip.board, chip.index, chip.temp_c, chip.voltage_v) for chip in chips] == [
        (0, 0, 70, 0.310),
        (0, 1, 84, 0.311),
        (1, 0, 71, None),
        (1, 1, 83, 0.309),
        (2, 0, None, 0.308),
        (2, 1, 82, 0.308),
    ]


def test_a_board_that_answers_is_told_to_work_and_by_what_it_lists() -> None:
    seen = stats(f"{A_SERIES} SYSTEMSTATU[Work: In Work, Hash Board: 3 ]")
    found = parts.boards(seen)
    assert [board.working for board in found] == [True, True, True]
    assert [board.chips for board in found] == [2, 2, 1], "a chip that prints 0 does not answer"
    assert [board.fault for board in found] == ["", "hash unit: code 16", ""]


@pytest.mark.parametrize("silent", ["-273 -273", "0 0"])
@pytest.mark.parametrize("top", ["-273", "0"])
def test_a_board_that_died_costs_only_itself(silent: str, top: str) -> None:
    text = A_SERIES.replace("PVT_T1[71 83]", f"PVT_T1[{silent}]").replace("84 83 82]", f"84 {top} 82]")
    seen = stats(f"{text} SYSTEMSTATU[Work: In Work, Hash Board: 2 ]")
    readings = parse.module_readings(seen)
    assert (readings["chip_temp_min_c"].value, readings["chip_temp_max_c"].value) == (70, 84)
    assert readings["boards_working"].value == 2
    first, dead, last = parts.boards(seen)
    assert [board.working for board in (first, dead, last)] == [True, False, True]
    assert (first.chip_temp_min_c, last.chip_temp_min_c) == (70, 82)
    assert (dead.chip_temp_max_c, dead.chip_temp_min_c, dead.chips) == (None, None, None)
    assert (dead.frequency_mhz, dead.voltage_v) == (None, None), "told for all boards, and it has none"
    assert [chip.temp_c for chip in parts.chips(seen) if chip.board == 1] == [None, None]


def test_a_board_that_fell_silent_since_it_was_counted_is_unknown() -> None:
    text = A_SERIES.replace("PVT_T1[71 83]", "PVT_T1[0 0]").replace("84 83 82]", "84 0 82]")
    seen = stats(f"{text} SYSTEMSTATU[Work: In Work, Hash Board: 3 ]")
    assert [board.working for board in parts.boards(seen)] == [True, None, True]
    assert "boards_working" not in parse.module_readings(seen)


@pytest.mark.parametrize(
    ("said", "works"),
    [
        ("", [None, None]),
        ("SYSTEMSTATU[Work: In Work, Hash Board: 2]", [True, True]),
        ("SYSTEMSTATU[Work: In Work, Hash Board: 1]", [None, None]),
        ("SYSTEMSTATU[Work: In Idle, Hash Board: 2] TMax[0]", [True, True]),
        ("SYSTEMSTATU[Work: In Idle, Hash Board: 1] TMax[0]", [None, None]),
    ],
)
def test_which_of_the_boards_work_is_told_by_their_count_where_all_of_them_answer(
    said: str, works: list[bool | None]
) -> None:
    seen = stats(f"{said} PVT_T0[60 61] PVT_T1[62 63] GHSspd[{0 if 'Idle' in said else 90}]")
    assert [board.working for board in parts.boards(seen)] == works


def test_boards_of_which_only_the_rate_is_told_work_where_all_were_found() -> None:
    found = parts.boards(stats("MGHS[1 2] GHSspd[3] SYSTEMSTATU[Work: In Work, Hash Board: 2]"))
    assert [board.working for board in found] == [True, True]


def test_boards_of_which_none_was_found_do_not_work() -> None:
    (board,) = parts.boards(stats("MGHS[0.00] SYSTEMSTATU[Work: In Work, Hash Board: 0]"))
    assert board.working is False


def test_boards_of_one_that_is_up_and_hashes_nothing_are_unknown() -> None:
    seen = stats("TMax[-273] PVT_T0[-273 -273] GHSspd[0.00] SYSTEMSTATU[Work: In Work, Hash Board: 1]")
    assert [board.working for board in parts.boards(seen)] == [None]


def test_where_no_board_has_a_temperature_none_is_dead_by_that() -> None:
    """A version that measures no chips, or whose sensors are gone, beside a hashrate."""
    said = "GHSspd[89500] MGHS[44700 44800] Freq[600] PS[0 1214 1288 260 3348 1289]"
    seen = stats(f"{said} SYSTEMSTATU[Work: In Work, Hash Board: 2] PVT_T0[0 0] PVT_T1[-273 -273]")
    told = [
        (board.working, board.frequency_mhz, board.voltage_v, board.chips) for board in parts.boards(seen)
    ]
    assert told == [(True, 600.0, 12.88, None)] * 2
    assert parse.module_readings(seen)["boards_working"].value == 2


def test_the_averages_of_boards_are_their_hashrates_only_while_they_add_up_to_the_one_of_now() -> None:
    def rates(now: str) -> list[float | None]:
        seen = stats(f"MGHS[29800 29900 29800] GHSavg[89500] {now}")
        return [board.hashrate_ths for board in parts.boards(seen)]

    assert rates("GHSspd[89000]") == pytest.approx([29.8, 29.9, 29.8])
    assert rates("GHSspd[59000]") == [None] * 3, "one of them does not hash any more, and nobody says which"
    assert rates("GHSspd[0.00]") == [None] * 3
    assert rates("") == [None] * 3


def test_an_average_is_no_hashrate_of_a_single_board_at_rest() -> None:
    (board,) = parts.boards(stats("MGHS[44499.41] GHSavg[44499.41] GHSspd[0.00]"))
    assert board.hashrate_ths == 0.0
    (board,) = parts.boards(stats("MGHS[44499.41] GHSavg[44499.41]"))
    assert board.hashrate_ths is None


@pytest.mark.parametrize(
    ("text", "rests"),
    [
        ("TMax[0]", True),
        ("TMax[-273]", True),
        ("TMax[-273] SYSTEMSTATU[Work: In Idle] GHSspd[400]", True),
        ("SYSTEMSTATU[Work: In Idle]", True),
        ("TMax[-273] GHSspd[90000]", False),
        ("TMax[60] SYSTEMSTATU[Work: In Idle]", False),
        ("TMax[-5]", False),
        ("SYSTEMSTATU[Work: In Work]", False),
        ("", False),
    ],
)
def test_a_machine_rests_that_has_no_hottest_chip_and_hashes_nothing(text: str, rests: bool) -> None:
    seen = stats(f"Ver[1] {text} PVT_T0[58 71]")
    assert seen.modules[0].rests is rests
    assert (parse.module_readings(seen)["chip_temp_min_c"].value is None) is rests
    assert (parts.boards(seen)[0].chips is None) is rests


def test_without_a_hottest_chip_of_the_whole_the_boards_and_chips_of_one_that_hashes_tell() -> None:
    """A broken `TMax` must not hide a hot machine."""
    hot = stats("TMax[-273] GHSspd[90000] MTmax[81 -273 80] PVT_T0[70 81]")
    assert parse.module_readings(hot)["chip_temp_max_c"].value == 81
    chips = stats("TMax[-273] GHSspd[90000] PVT_T0[70 83]")
    assert parse.module_readings(chips)["chip_temp_max_c"].value == 83


def test_one_broken_sensor_does_not_hide_the_others_and_alone_is_told_as_broken() -> None:
    readings = parse.module_readings(stats("TMax[81] MTmax[81 255 80] PVT_T0[70 81] PVT_T1[255 255]"))
    assert (readings["chip_temp_min_c"].value, readings["chip_temp_max_c"].value) == (70, 81)
    alone = parse.module_readings(stats("TMax[255]"))
    assert alone["chip_temp_max_c"].quality is Quality.OUT_OF_RANGE


def test_hottest_chips_that_a_resting_machine_lists_are_of_an_earlier_time() -> None:
    seen = stats("TMax[-273] SYSTEMSTATU[Work: In Idle, Hash Board: 3 ] MTmax[81 79 80] Freq[603.2]")
    assert parse.module_readings(seen)["chip_temp_max_c"].quality is Quality.MISSING
    assert {(board.chip_temp_max_c, board.frequency_mhz) for board in parts.boards(seen)} == {(None, None)}


@pytest.mark.parametrize(
    ("version", "liquid"),
    [
        ({"PROD": "AvalonMiner 1366I", "MODEL": "1366I"}, True),
        ({"PROD": "AvalonMiner 1366", "MODEL": "1366I"}, True),
        ({"PROD": "Avalon A1566HA", "MODEL": ""}, True),
        ({"PROD": "AvalonMiner 15-194", "MODEL": "15-194"}, False),
        ({"PROD": "Avalon Q", "MODEL": "Q"}, False),
        ({"PROD": "Avalon Nano3s", "MODEL": "Nano3s"}, False),
    ],
)
def test_models_that_stand_in_liquid_have_no_fans_and_no_air(version: dict[str, str], liquid: bool) -> None:
    assert parse.identity({"VERSION": [version]}).liquid is liquid
    readings = parse.module_readings(stats(A_SERIES), liquid=liquid)
    assert {"fan_rpm.0", "fan_duty_pct", "air_temp_c"} - set(readings) == (
        {"fan_rpm.0", "fan_duty_pct", "air_temp_c"} if liquid else set()
    )


def test_a_machine_of_the_a9_age_has_one_fan_without_a_number() -> None:
    readings = parse.module_readings(stats("Fan[4000] FanR[60%]"))
    assert (readings["fan_rpm.0"].value, readings["fan_duty_pct"].value) == (4000, 60)


def test_what_a_resting_machine_lists_per_chip_is_of_an_earlier_time() -> None:
    seen = stats("TMax[0] PVT_T0[58 71] PVT_V0[280 281] PS[0 1222 4 0 0 2245 146]")
    readings = parse.module_readings(seen)
    assert readings["chip_temp_max_c"].quality is Quality.MISSING
    assert readings["chip_temp_min_c"].quality is Quality.MISSING
    assert [(chip.temp_c, chip.voltage_v) for chip in parts.chips(seen)] == [(None, None)] * 2
    assert parts.boards(seen)[0].chip_temp_max_c is None
    assert readings["power_w"].value == 146


@pytest.mark.parametrize(
    ("text", "watts"),
    [
        ("PS[0 1214 1299 78 1014 1300]", 1014),
        ("PS[0 1214 1299 78 1014 1300 1090]", 1090),
        ("PS[0 1214 1299 78 1014 1300 1090] WALLPOWER[1100]", 1100),
        ("WALLPOWER[1100]", 1100),
        ("PS[0 1214]", None),
        ("PS[0 1214 x 78 1014 1300]", None),
        ("PS[0 0 0 0 -5 0]", None),
        ("PS[0 1214 1299 78 1014 1300] WALLPOWER[0]", 1014),
        ("PS[0 1214 1299 0 0 1300 0]", 0),
        ("PS[0 1214 1299 0 0 1300 0] GHSspd[0.00]", 0),
        ("PS[0 1214 1299 0 0 1300 0] GHSspd[88712.17]", None),
        ("WALLPOWER[0] GHSspd[88712.17]", None),
        ("PS[-1 0 0 0 0 0 0]", None),
        ("PS[-1 0 0 0 0 0 0] GHSspd[88712.17]", None),
        ("", None),
    ],
)
def test_watts_are_the_walls_or_else_the_supplys_output(text: str, watts: float | None) -> None:
    assert parse.module_readings(stats(f"Ver[1] {text}"))["power_w"].value == watts


def test_several_modules_are_added_up_and_the_hottest_counts() -> None:
    body = {"STATS": [{"MM ID0": "TMax[60] GHSmm[1000] PS[0 0 0 0 500 0]", "MM ID1": "TMax[90] GHSmm[2000]"}]}
    readings = parse.module_readings(parse.stats(body))
    assert readings["chip_temp_max_c"].value == 90
    assert readings["hashrate_nominal_ths"].value == 3.0
    assert readings["power_w"].value is None, "half of it is not the whole"


def modules(*texts: str) -> parse.Stats:
    return parse.stats({"STATS": [{f"MM ID{number}": text} for number, text in enumerate(texts)]})


def test_no_module_of_several_is_left_out() -> None:
    hot = (
        A_SERIES.replace("Temp[31]", "Temp[55]")
        .replace("Fan1[4100] Fan2[4200]", "Fan1[0] Fan2[NA]")
        .replace("FanR[68%]", "FanR[100%]")
        .replace("Elapsed[7200]", "Elapsed[60]")
    )
    more = "SYSTEMSTATU[Work: In Work, Hash Board: 3 ] MPO[3400] HBITemp[40] HBOTemp[60]"
    readings = parse.module_readings(modules(f"{A_SERIES} {more}", f"{hot} {more}"))
    told = {point: found.value for point, found in readings.items()}
    assert told == pytest.approx(
        {
            "hashrate_ths": 260.025,
            "hashrate_nominal_ths": 262.0,
            "power_w": 6722.0,
            "power_limit_w": 6800.0,
            "chip_temp_max_c": 84.0,
            "chip_temp_min_c": 70.0,
            "board_temp_max_c": 60.0,
            "board_temp_min_c": 40.0,
            "air_temp_c": 55.0,
            "uptime_s": 60.0,
            "boards_working": 6.0,
            "fan_rpm.0": 4100.0,
            "fan_rpm.1": 4200.0,
            "fan_rpm.2": 4300.0,
            "fan_rpm.3": 4400.0,
            "fan_rpm.4": 0.0,
            "fan_rpm.6": 4300.0,
            "fan_rpm.7": 4400.0,
            "fan_duty_pct": 100.0,
        }
    ), "a fan of the second that tells no speed keeps its number"


def test_boards_and_chips_are_numbered_through_the_modules() -> None:
    small = "PVT_T0[50 51] PVT_V0[300 301] MTmax[51] PS[0 1215 1350 242 3000 1391] GHSspd[40000]"
    seen = modules(A_SERIES, small)
    found = parts.boards(seen)
    assert [board.index for board in found] == [0, 1, 2, 3]
    assert [board.chip_temp_max_c for board in found] == [84, 83, 82, 51]
    assert [board.voltage_v for board in found] == [13.9, 13.9, 13.9, 13.5]
    assert found[3].hashrate_ths == 40.0, "the rate of a module with one board is its board's"
    chips = parts.chips(seen)
    assert [(chip.board, chip.index) for chip in chips][-3:] == [(2, 1), (3, 0), (3, 1)]
    assert (chips[-1].temp_c, chips[-1].voltage_v) == (51, 0.301)


def test_boards_that_stand_apart_belong_to_the_module_beside_them() -> None:
    body = {
        "STATS": [
            {"HBinfo": "'HB0':{PVT_T0[60]} 'HB1':{PVT_T0[61]}", "MM ID0:Summary": "TMax[61]"},
            {"MM ID1:Summary": "TMax[71]", "HBinfo": "'HB0':{PVT_T0[71]}"},
        ]
    }
    seen = parse.stats(body)
    assert [len(module.boards) for module in seen.modules] == [2, 1]
    assert [board.chip_temp_max_c for board in parts.boards(seen)] == [60, 61, 71]


def test_of_several_modules_each_names_its_faults() -> None:
    seen = modules("ECHU[0 16 0] ECMM[0]", "ECHU[0 0 0] ECMM[9] PS[8 1222 0 0 0 0]")
    assert [fault.code for fault in parse.faults(seen)] == ["MM0 ECHU1:16", "MM1 ECMM:9", "MM1 PS:8"]


def test_what_one_module_lists_at_rest_does_not_cool_the_other() -> None:
    readings = parse.module_readings(modules("TMax[0] PVT_T0[20]", "TMax[80] PVT_T0[70 80]"))
    assert (readings["chip_temp_min_c"].value, readings["chip_temp_max_c"].value) == (70, 80)


def test_the_watts_of_a_module_that_hashes_for_nothing_make_all_of_them_unknown() -> None:
    seen = modules("WALLPOWER[3300] GHSspd[90000]", "WALLPOWER[0] GHSspd[90000]")
    assert parse.module_readings(seen)["power_w"].quality is Quality.MISSING


WORKS, RESTS, STARTS = (f"SYSTEMSTATU[Work: In {word}]" for word in ("Work", "Idle", "Init"))


@pytest.mark.parametrize(
    ("first", "second", "hashrate", "state"),
    [
        (RESTS, RESTS, 0.0, MinerState.STOPPED),
        (RESTS, RESTS, 90.0, MinerState.SHUTTING_DOWN),
        (RESTS, WORKS, 90.0, MinerState.MINING),
        (WORKS, RESTS, 90.0, MinerState.MINING),
        (RESTS, WORKS, 0.0, MinerState.UNKNOWN),
        (RESTS, STARTS, 0.0, MinerState.INITIALIZING),
        (STARTS, STARTS, 90.0, MinerState.INITIALIZING),
        (STARTS, WORKS, 90.0, MinerState.MINING),
        (STARTS, WORKS, 0.0, MinerState.INITIALIZING),
        (RESTS, "Ver[1]", 0.0, MinerState.UNKNOWN),
        ("SoftOFF[4]", "SoftOFF[4]", 0.0, MinerState.STOPPED),
        ("SoftOFF[4]", "SoftOFF[0]", 0.0, MinerState.UNKNOWN),
    ],
)
def test_a_machine_rests_only_where_all_its_modules_do(
    first: str, second: str, hashrate: float, state: MinerState
) -> None:
    assert parse.miner_state(modules(first, second), hashrate) is state


def test_modules_in_different_modes_are_in_none() -> None:
    assert parse.work_mode(modules("WORKMODE[1]", "WORKMODE[1]")) == 1
    assert parse.work_mode(modules("WORKMODE[1]", "WORKMODE[2]")) is None


@pytest.mark.parametrize(
    ("text", "hashrate", "state"),
    [
        ("SYSTEMSTATU[Work: In Idle, Hash Board: 1]", 0.0, MinerState.STOPPED),
        ("SYSTEMSTATU[Work: In Idle, Hash Board: 1]", None, MinerState.STOPPED),
        ("SYSTEMSTATU[Work: In Idle, Hash Board: 1]", 50.0, MinerState.SHUTTING_DOWN),
        ("SYSTEMSTATU[Work: In Idle, Hash Board: 1] GHSmm[80000]", 50.0, MinerState.SHUTTING_DOWN),
        ("SYSTEMSTATU[Work: In Idle, Hash Board: 1] GHSmm[80000]", 0.7, MinerState.STOPPED),
        ("SYSTEMSTATU[Work: In Init, Hash Board: 1]", 0.0, MinerState.INITIALIZING),
        ("SYSTEMSTATU[Work: In Work, Hash Board: 3 ]", 50.0, MinerState.MINING),
        ("SYSTEMSTATU[Work: In Work, Hash Board: 3 ] Elapsed[60]", 0.0, MinerState.INITIALIZING),
        ("SYSTEMSTATU[Work: In Work, Hash Board: 3 ] Elapsed[9000]", 0.0, MinerState.UNKNOWN),
        ("SYSTEMSTATU[Work: In Work, Hash Board: 3 ] SoftOFF[4]", 0.0, MinerState.UNKNOWN),
        ("SYSTEMSTATU[Work: Something new]", 0.0, MinerState.UNKNOWN),
        ("Ver[1]", 50.0, MinerState.MINING),
        ("Ver[1]", 0.0, MinerState.UNKNOWN),
        ("Ver[1]", None, MinerState.UNKNOWN),
        ("SoftOFF[4] Elapsed[60]", 0.0, MinerState.STOPPED),
        ("SoftOFF[4] Elapsed[60]", 50.0, MinerState.SHUTTING_DOWN),
        ("SoftOFF[4] Elapsed[60]", None, MinerState.UNKNOWN),
        ("SoftOFF[0] Elapsed[60]", 0.0, MinerState.INITIALIZING),
    ],
)
def test_states(text: str, hashrate: float | None, state: MinerState) -> None:
    assert parse.miner_state(stats(text), hashrate) is state


def test_a_sensor_that_is_not_there_prints_what_cannot_be() -> None:
    readings = parse.module_readings(stats("ITemp[-273] HBITemp[0] HBOTemp[44] TMax[-273]"))
    assert "air_temp_c" not in readings
    assert (readings["board_temp_min_c"].value, readings["board_temp_max_c"].value) == (44, 44)
    assert readings["chip_temp_max_c"].quality is Quality.MISSING


@pytest.mark.parametrize(("told", "volts"), [("1390", 13.9), ("2245", 22.45), ("27500", 27.5), ("-1", None)])
def test_voltages_of_small_machines_are_in_millivolts(told: str, volts: float | None) -> None:
    (module,) = stats(f"PS[0 1215 {told} 4 0 3630 133]").modules
    assert parse.supply_voltage_v(module) == volts


def test_a_supply_that_does_not_answer_has_no_voltage() -> None:
    (module,) = stats("PS[-1 0 0 0 0 0 0]").modules
    assert parse.supply_voltage_v(module) is None
    assert {fault.code for fault in parse.faults(stats("PS[-1 0 0 0 0 0 0]"))} == {"PS:-1"}


@pytest.mark.parametrize(("told", "mode"), [("0", 0), ("2", 2), ("1.5", None), ("-1", None), ("100", None)])
def test_a_work_mode_is_a_small_number(told: str, mode: int | None) -> None:
    assert parse.work_mode(stats(f"WORKMODE[{told}]")) == mode


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("MGHS[43001.1]", 1),
        ("MGHS[1 2 3]", 3),
        ("MTmax[80 81]", 2),
        ("PVT_T0[70] PVT_T1[71]", 2),
        ("Ver[1]", 0),
    ],
)
def test_boards_are_as_many_as_anything_tells(text: str, count: int) -> None:
    assert len(parts.boards(stats(text))) == count


@pytest.mark.parametrize(("told", "count"), [("3 ", 3), ("1", 1), ("x", None), ("", None), ("99", None)])
def test_boards_that_it_found(told: str, count: float | None) -> None:
    readings = parse.module_readings(stats(f"SYSTEMSTATU[Work: In Work, Hash Board: {told}]"))
    assert (readings["boards_working"].value if "boards_working" in readings else None) == count


def test_faults_of_each_part() -> None:
    seen = stats("ECHU[5] ECMM[2] FanErr[1] PS[8 1222 0 0 0 0]")
    assert {fault.code for fault in parse.faults(seen)} == {"ECHU:5", "ECMM:2", "FanErr:1", "PS:8"}
    assert parse.faults(stats("ECHU[0] ECMM[0] FanErr[0] PS[0 1 2]")) == ()


def test_summary_counts_megahash() -> None:
    told = parse.summary(
        {"SUMMARY": [{"MHS 5s": 90e6, "MHS av": 1.0, "Accepted": 5, "Rejected": 1, "Hardware Errors": 2}]}
    )
    assert {point: found.value for point, found in told.items()} == {
        "hashrate_ths": 90.0,
        "shares_accepted": 5,
        "shares_rejected": 1,
        "hw_errors": 2,
    }
    assert parse.summary({"SUMMARY": [{"MHS av": 90e6}]})["hashrate_ths"].value is None


@pytest.mark.parametrize(
    ("version", "model"),
    [
        ({"PROD": "Avalon Q", "MODEL": "Q"}, "Avalon Q"),
        ({"PROD": "AvalonMiner 1366", "MODEL": "1366"}, "Avalon 1366"),
        ({"MODEL": "1246", "LVERSION": "21", "DNA": "1"}, "Avalon 1246"),
    ],
)
def test_names_of_models(version: dict[str, str], model: str) -> None:
    assert parse.identity({"VERSION": [version]}).model == model


def test_older_releases_tell_their_build_as_version() -> None:
    told = {"PROD": "AvalonMiner 1246", "VERSION": "21042001_4ec6bb0_211fa83"}
    assert parse.identity({"VERSION": [told]}).firmware == "21042001_4ec6bb0_211fa83"


def test_a_mac_without_colons_gets_them() -> None:
    told = {"PROD": "Avalon", "MAC": "B4A2EB1234FF"}
    assert parse.identity({"VERSION": [told]}).mac == "b4:a2:eb:12:34:ff"


@pytest.mark.parametrize(
    "body",
    [{}, {"VERSION": []}, {"VERSION": [{"PROD": "Antminer"}]}, {"VERSION": [{"CGMiner": "4.11.1"}]}, None],
)
def test_another_machine_is_malformed(body: object) -> None:
    with pytest.raises(MalformedReply):
        parse.identity(body)


def test_pools_and_the_age_of_a_share() -> None:
    body = {
        "STATUS": [{"When": 1_700_000_100}],
        "POOLS": [
            {
                "POOL": 0,
                "URL": "a",
                "Status": "Alive",
                "Stratum Active": True,
                "Last Share Time": 1_700_000_000,
            },
            {"POOL": 1, "URL": "b", "Status": "Alive", "Stratum Active": False, "Last Share Time": 31_279},
            {"POOL": 2, "URL": "c", "Status": "Dead"},
            {"POOL": 3, "URL": "d", "Status": "Alive"},
            {"POOL": 4, "URL": "e", "Status": "Rejecting"},
            {"POOL": 5, "URL": "f", "Status": "Disabled"},
        ],
    }
    found = parts.pools(body)
    assert [pool.state for pool in found] == [
        PoolState.ACTIVE,
        PoolState.STANDBY,
        PoolState.DEAD,
        PoolState.UNKNOWN,
        PoolState.REJECTING,
        PoolState.DISABLED,
    ]
    assert [pool.last_share_age_s for pool in found] == [100.0, None, None, None, None, None]


KEYS = st.sampled_from(
    [
        "STATS",
        "SUMMARY",
        "POOLS",
        "VERSION",
        "MM ID0",
        "HBinfo",
        "MHS 5s",
        "Accepted",
        "PROD",
        "POOL",
        "STATUS",
        "When",
    ]
)
TEXTS = st.text(alphabet="[]{}': 01-%", max_size=12) | st.builds(
    "{}[{}]".format,
    st.sampled_from(["TMax", "PS", "Fan1", "GHSspd", "GHSmm", "MGHS", "MTmax", "PVT_T0", "WORKMODE", "ECHU"]),
    st.lists(st.integers(-5, 10**7), max_size=8).map(lambda told: " ".join(map(str, told))),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=20,
)


def try_all(body: object) -> None:
    """Every reader: readings within their metric, or `MalformedReply`, and no third way."""
    readers: list[Any] = [parse.summary, parts.pools, parse.identity, parse.stats]
    for reader in readers:
        try:
            found = reader(body)
        except MalformedReply:
            continue
        readings = found if reader is parse.summary else {}
        if isinstance(found, parse.Stats):
            readings = parse.module_readings(found)
            parts.boards(found)
            parts.chips(found)
            parse.faults(found)
            parse.work_mode(found)
            assert parse.miner_state(found, 0.0) in MinerState
        for point, reading in readings.items():
            metric = metric_of(point)
            if reading.value is not None:
                assert metric.low <= reading.value <= metric.high
            assert (reading.value is not None) == reading.quality.usable


@settings(max_examples=150, deadline=None)
@given(
    JSON | st.fixed_dictionaries({"STATS": st.lists(st.dictionaries(KEYS, TEXTS, max_size=3), max_size=3)})
)
def test_any_json_is_readings_or_malformed(body: object) -> None:
    try_all(body)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_readings_or_malformed(raw: bytes) -> None:
    try:
        body = decode(raw)
    except MalformedReply:
        return
    try_all(body)


def test_a_supply_that_was_not_read_gives_no_voltage_of_zero() -> None:
    unread = A_SERIES.replace("PS[0 1215 1390 242 3361 1391]", "PS[0 0 0 0 0 0]")
    assert unread != A_SERIES
    assert {board.voltage_v for board in parts.boards(stats(unread))} == {None}
    resting = unread.replace("GHSspd[130012.5]", "GHSspd[0.0]")
    assert {board.voltage_v for board in parts.boards(stats(resting))} <= {None, 0.0}
