"""Pages → readings: the traps of this API, and that no reply at all does harm."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_adapters.miners.braiins import emulator_pages as pages
from firmware_adapters.miners.braiins import limits, parse, parts
from firmware_adapters.miners.fields import decode
from shared.details import Fault, PoolState
from shared.errors import MalformedReply
from shared.telemetry import METRICS, MISSING, MinerState, Quality, Reading, metric_of
from shared.units import Algorithm
from support.miners import board, s21_pro
from support.web_memory import ANYTHING, mutated

NOW_MS = 1_780_000_000_000
SHARE_MS = NOW_MS - 4_000


def as_sent(page: object) -> Any:
    """A page as it comes off the wire."""
    return msgspec.json.decode(msgspec.json.encode(page))


def boards_page(*boards: Any) -> Any:
    return as_sent(pages.hashboards(s21_pro(boards=boards or (board(), board())), quiet=False))


@pytest.mark.parametrize(
    ("status", "uptime_s", "state"),
    [
        (2, 4000.0, MinerState.MINING),
        ("MINER_STATUS_NORMAL", 4000.0, MinerState.MINING),
        (5, 4000.0, MinerState.MINING),
        (3, 4000.0, MinerState.STOPPED),
        ("paused", None, MinerState.STOPPED),
        (1, 0.0, MinerState.STOPPED),
        (1, None, MinerState.STOPPED),
        (1, 20.0, MinerState.INITIALIZING),
        (1, 70_000.0, MinerState.STOPPED),
        (4, 4000.0, MinerState.UNKNOWN),
        (0, 4000.0, MinerState.UNKNOWN),
        (6, None, MinerState.UNKNOWN),
        (2.5, None, MinerState.UNKNOWN),
        (True, None, MinerState.UNKNOWN),
        (None, None, MinerState.UNKNOWN),
        ({}, None, MinerState.UNKNOWN),
        ("", None, MinerState.UNKNOWN),
    ],
)
def test_the_state_by_number_or_name(status: object, uptime_s: float | None, state: MinerState) -> None:
    assert parse.miner_state(status, uptime_s) is state


def test_another_firmware_is_not_taken_for_braiins() -> None:
    for page in ({}, {"fw_name": "Vnish"}, {"bos_version": "25.11"}):
        with pytest.raises(MalformedReply, match="neither"):
            parse.details(page)
    assert parse.details({"bos_version": {}}).firmware == "Braiins OS ?"
    assert parse.details({"miner_identity": {"name": "Antminer S9"}}).model == "Antminer S9"


def test_the_older_name_of_the_uptime_serves_where_the_newer_is_missing() -> None:
    page = {"bos_version": {"current": "x"}, "system_uptime": 12}
    assert parse.details(page).uptime_s == 12.0
    assert parse.details({**page, "system_uptime_s": 13}).uptime_s == 13.0
    assert parse.details({**page, "system_uptime": -1}).uptime_s is None


@pytest.mark.parametrize(
    ("rate", "ths"),
    [
        ({"gigahash_per_second": 121_015.4}, 121.0154),
        ({"megahash_per_second": 121_015_400}, 121.0154),
        ({"terahash_per_second": 121.0154}, 121.0154),
        ({"gigahash_per_second": -1}, None),
        ({"gigahash_per_second": None}, None),
        ({}, None),
        (None, None),
    ],
)
def test_a_hashrate_in_whichever_unit_it_names(rate: Any, ths: float | None) -> None:
    assert parse.rate_ths(rate) == (None if ths is None else pytest.approx(ths))


def test_the_average_nearest_to_now_and_never_the_day() -> None:
    rates = {f"last_{window}": {"gigahash_per_second": 1000.0 * i} for i, window in enumerate(pages.WINDOWS)}
    assert parse.hashrate_now({"real_hashrate": rates}) == 0.0
    del rates["last_5s"], rates["last_15s"]
    assert parse.hashrate_now({"real_hashrate": rates}) == 2.0
    old = {"real_hashrate": {"last_5m": {"gigahash_per_second": 142_400.0}}}
    assert (parse.hashrate_now(old), parse.hashrate_now(old, hashing=False)) == (142.4, None)
    assert parse.hashrate_now({"real_hashrate": {"last_24h": {"gigahash_per_second": 9.0}}}) is None


def test_the_age_of_a_share_only_where_both_clocks_can_be_right() -> None:
    def age(seconds_ago: float) -> float | None:
        ms = NOW_MS - round(seconds_ago * 1000)
        stamp = {"seconds": ms // 1000, "nanos": ms % 1000 * 1_000_000}
        return parse.share_age_s({"last_share_time": stamp}, NOW_MS)

    assert age(12.25) == pytest.approx(12.25)
    assert age(-30) == 0.0, "clocks that differ by less than a minute agree"
    assert age(-3600) is None
    assert age(200 * 86_400) == 200 * 86_400, "a machine may have had no pool for long"
    assert age(11 * 365 * 86_400) is None, "a machine that believes it is 2015"
    assert parse.share_age_s({"last_share_time": None}, NOW_MS) is None
    assert parse.share_age_s({"last_share_time": {"seconds": NOW_MS / 1000 - 5}}, NOW_MS) == 5.0


def test_a_dead_board_does_not_count_and_cools_nothing() -> None:
    page = boards_page(board(), board(working=False), board(chip_temp_max_c=71, board_temp_max_c=56))
    found = parse.hashboards(page, hashing=True)
    assert found["boards_working"] == Reading(2.0)
    assert found["chip_temp_max_c"] == Reading(71.0, Quality.ESTIMATED)
    assert found["board_temp_max_c"] == Reading(56.0)
    assert found["board_temp_min_c"] == Reading(39.0)


def test_a_board_works_as_long_as_it_hashes_at_all() -> None:
    found = parse.hashboards(boards_page(board(hashrate_ths=0.4), board(hashrate_ths=0.0)), hashing=True)
    assert found["boards_working"] == Reading(1.0)


def test_whether_a_board_works_is_unknown_while_nothing_hashes() -> None:
    quiet = as_sent(pages.hashboards(s21_pro(state=MinerState.STOPPED), quiet=False))
    assert parse.hashboards(quiet, hashing=False)["boards_working"] == MISSING
    assert [found.working for found in parts.boards(quiet, hashing=False)] == [None, None, None]
    disabled = as_sent(pages.hashboards(s21_pro(), quiet=False))
    disabled["hashboards"][0]["enabled"] = False
    assert parse.hashboards(disabled, hashing=True)["boards_working"] == Reading(2.0)
    del disabled["hashboards"][1]["enabled"]
    assert parse.hashboards(disabled, hashing=True)["boards_working"] == MISSING


def test_boards_by_their_own_number_or_by_place_and_each_once() -> None:
    page = {"hashboards": [{"id": "3"}, {"id": "0"}, {"id": "first"}, {"id": -1}, {"id": 3}, "board"]}
    assert [found.index for found in parts.boards(page, hashing=True)] == [0, 2, 3]
    assert parts.boards({}, hashing=True) == ()


def test_no_boards_at_all_is_not_a_machine_without_working_boards() -> None:
    found = parse.hashboards({"hashboards": []}, hashing=True)
    assert set(found.values()) == {MISSING}


def test_the_hottest_sensor_belongs_where_it_sits() -> None:
    def hottest(location: object) -> dict[str, Reading]:
        sensor = {"location": location, "temperature": {"degree_c": 66.5}}
        return parse.cooling({"fans": [], "highest_temperature": sensor})

    chip = {"chip_temp_max_c": Reading(66.5, Quality.ESTIMATED)}
    assert hottest(1) == hottest("SENSOR_LOCATION_CHIP") == chip
    assert hottest(2) == hottest("SENSOR_LOCATION_PCB") == {"board_temp_max_c": Reading(66.5)}
    assert hottest(0) == hottest(None) == hottest([1]) == {}


def test_of_two_pages_the_hotter_claim_wins_and_a_missing_one_never() -> None:
    hot, cool = Reading(80.0, Quality.ESTIMATED), Reading(70.0, Quality.ESTIMATED)
    for order in ((hot, cool), (cool, hot)):
        assert parse.merge({"chip_temp_max_c": found} for found in order)["chip_temp_max_c"] is hot
    merged = parse.merge([{"chip_temp_max_c": cool}, {"chip_temp_max_c": MISSING}])
    assert merged["chip_temp_max_c"] is cool
    assert merged["power_w"] == MISSING


def test_fans_by_their_own_number_and_the_duty_that_is_asked_of_them() -> None:
    found = parse.cooling(
        {
            "fans": [
                {"position": 2, "rpm": 5000, "target_speed_ratio": 0.5},
                {"position": None, "rpm": 0, "target_speed_ratio": 0.75},
                {"position": 3, "rpm": -5},
            ]
        }
    )
    assert found == {
        "fan_rpm.2": Reading(5000.0),
        "fan_rpm.1": Reading(0.0),
        "fan_rpm.3": MISSING,
        "fan_duty_pct": Reading(75.0),
    }


@pytest.mark.parametrize(
    ("duty", "rpm", "hashing", "fans"),
    [
        (0.0, 0, True, []),
        (None, 0, True, []),
        (0.6, 0, True, [0.0]),
        (0.0, 900, True, [900.0]),
        (0.0, 0, False, [0.0]),
        (0.0, None, True, [None]),
    ],
    ids=["immersed", "immersed, no duty", "it stands though asked", "it turns", "at rest", "unknown"],
)
def test_fans_that_nobody_asks_to_turn_while_it_hashes_are_not_there(
    duty: float | None, rpm: int | None, hashing: bool, fans: list[float | None]
) -> None:
    page = {"fans": [{"position": 0, "rpm": rpm, "target_speed_ratio": duty}]}
    found = parse.cooling(page, hashing=hashing)
    assert [value.value for point, value in found.items() if point.startswith("fan_rpm")] == fans


def test_a_sensor_at_zero_has_no_data() -> None:
    """Boards without power print 0 for everything; a page of the hottest sensor does the same."""
    zeros = boards_page(board(chip_temp_max_c=0.0, board_temp_max_c=0.0, board_temp_min_c=0.0))
    found = parse.hashboards(zeros, hashing=False)
    assert {found[point] for point in found if "temp" in point} == {MISSING}
    (told,) = parts.boards(zeros, hashing=False)
    assert (told.chip_temp_max_c, told.board_temp_max_c, told.board_temp_min_c) == (None, None, None)
    half = boards_page(board(chip_temp_max_c=71.0, board_temp_max_c=56.0, board_temp_min_c=0.0))
    assert parse.hashboards(half, hashing=True)["board_temp_min_c"].value != 0.0
    for location in (1, 2):
        sensor = {"location": location, "temperature": {"degree_c": 0.0}}
        assert parse.cooling({"fans": [], "highest_temperature": sensor}) == {}


@pytest.mark.parametrize(("ths", "power"), [(120.0, MISSING), (0.0, Reading(0.0, Quality.ESTIMATED))])
def test_no_watts_of_a_machine_that_hashes_are_unknown(ths: float, power: Reading) -> None:
    page = {
        "miner_stats": {"real_hashrate": {"last_5s": {"terahash_per_second": ths}}},
        "power_stats": {"approximated_consumption": {"watt": 0}},
    }
    assert parse.stats(page, NOW_MS)["power_w"] == power


def test_what_cannot_be_is_out_of_range_and_has_no_value() -> None:
    page = boards_page(board(chip_temp_max_c=255.0, board_temp_max_c=900.0))
    found = parse.hashboards(page, hashing=True)
    assert found["chip_temp_max_c"] == Reading(None, Quality.OUT_OF_RANGE)
    assert found["board_temp_max_c"] == Reading(None, Quality.OUT_OF_RANGE)


def test_the_power_target_in_force_whatever_the_mode_is_called() -> None:
    assert limits.power_target_w(as_sent(pages.tuner_state(s21_pro(), 2431))) == 2431.0
    by_hashrate = {"mode_state": {"hashratetargetmodestate": {"current_target": {"terahash_per_second": 90}}}}
    assert limits.power_target_w(by_hashrate) is None
    assert limits.power_target_w({"mode_state": None}) is None


def test_ranges_that_make_no_sense_are_none() -> None:
    def power(low: object, high: object) -> tuple[float, float] | None:
        target = {"min": {"watt": low}, "max": {"watt": high}}
        return limits.limits({"tuner_constraints": {"power_target": target}}).power_w

    assert power(900, 3600) == (900.0, 3600.0)
    assert power(3600, 900) is power(None, 900) is power(-5, 900) is power("?", 900) is None
    cool = {"cooling_constraints": {"fan_speed_ratio": {"min": 0.1, "max": 5.0}}}
    assert limits.limits(cool).fan_pct is None
    assert limits.limits({}) == limits.Limits()


def test_the_ranges_of_a_machine_in_our_units() -> None:
    page = as_sent(pages.constraints((900, 3600), 3000))
    assert limits.limits(page) == limits.Limits(
        power_w=(900.0, 3600.0), target_c=(40.0, 80.0), default_target_c=60.0, fan_pct=(10.0, 100.0)
    )


def test_pools_say_what_they_say_and_no_more() -> None:
    def state(**said: object) -> PoolState:
        return parts.pools([{"pools": [said]}], NOW_MS)[0].state

    assert state(enabled=True, alive=True, active=True) is PoolState.ACTIVE
    assert state(enabled=True, alive=True, active=False) is PoolState.STANDBY
    assert state(enabled=True, alive=False, active=True) is PoolState.DEAD
    assert state(enabled=False, alive=True, active=True) is PoolState.DISABLED
    assert state(enabled=True, alive=True) is PoolState.UNKNOWN
    assert state(active=False) is PoolState.UNKNOWN
    with pytest.raises(MalformedReply):
        parts.pools({"message": "no"}, NOW_MS)
    two = [{"pools": [{"url": "a"}]}, {"pools": [{"url": "b"}, 7]}]
    assert [(pool.index, pool.url) for pool in parts.pools(two, NOW_MS)] == [(0, "a"), (1, "b")]


def details(state: MinerState = MinerState.MINING, uptime_s: float | None = 7200.0) -> parse.Details:
    return parse.Details(model="", firmware="", mac="", serial="", state=state, uptime_s=uptime_s)


def _faults(body: object) -> tuple[Fault, ...]:
    return parts.faults(body, details(), NOW_MS)


@pytest.mark.parametrize(
    ("when", "of", "told"),
    [
        ("2026-05-28T20:20:00.268950Z", details(), True),
        ("2026-05-28T19:20:00Z", details(), False),
        ("2026-05-28T19:20:00Z", details(MinerState.STOPPED), False),
        ("2026-05-28T19:20:00Z", details(MinerState.UNKNOWN), True),
        ("2026-05-27T19:20:00Z", details(MinerState.UNKNOWN), False),
        ("2026-05-27T19:20:00Z", details(MinerState.UNKNOWN, None), True),
        ("2015-01-01T00:00:37Z", details(), False),
        ("2015-01-01T00:00:37Z", details(uptime_s=60.0), True),
        ("", details(), True),
        ("long ago", details(), True),
    ],
)
def test_an_error_is_told_while_it_may_stand(when: str, of: parse.Details, told: bool) -> None:
    """Now is 20:26:40 of 28 May."""
    errors = {"errors": [{"timestamp": when, "message": "no"}]}
    assert bool(parts.faults(errors, of, NOW_MS)) is told


@pytest.mark.parametrize(
    ("model", "algorithm"),
    [
        ("Antminer S21", Algorithm.SHA256D),
        ("Braiins Mini Miner BMM 101", Algorithm.SHA256D),
        ("Antminer L9", Algorithm.SCRYPT),
        ("", Algorithm.UNKNOWN),
    ],
)
def test_what_it_mines_follows_from_its_model(model: str, algorithm: Algorithm) -> None:
    assert parse.algorithm(model) is algorithm


def test_an_error_that_repeats_is_one_and_the_newest_stay() -> None:
    errors = [{"message": f"no {i % 40}", "timestamp": f"t{i}"} for i in range(80)]
    found = parts.faults({"errors": errors}, details(), NOW_MS)
    assert len(found) == parts.MAX_FAULTS
    assert found[-1].words == "no 39 (last t79)"
    assert _faults({"errors": [{"timestamp": "t"}, {"error_codes": [{"code": ""}], "message": ""}]}) == ()


def test_what_a_refusal_says_for_people() -> None:
    assert parse.message(b'{"message":"no"}') == "no"
    assert parse.message(b'{"error":"not so"}') == "not so"
    assert parse.message(b"<html>\xff") == "<html>\ufffd"
    assert parse.message(b"[" * 100_000) == "[" * 200


# ---------------------------------------------------------------- whatever comes

_VIEW = s21_pro(shares_stale=3)
_PAGES: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "details": (pages.details(_VIEW, "25.11", paused=False), parse.details),
    "stats": (pages.stats(_VIEW, SHARE_MS, quiet=False), lambda page: parse.stats(page, NOW_MS)),
    "cooling": (pages.cooling_state(_VIEW, quiet=False), parse.cooling),
    "boards": (
        pages.hashboards(_VIEW, quiet=False),
        lambda page: parse.hashboards(page, hashing=True),
    ),
}
_OTHERS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "board details": (pages.hashboards(_VIEW, quiet=False), lambda p: parts.boards(p, hashing=True)),
    "pools": (pages.pools(_VIEW, SHARE_MS), lambda page: parts.pools(page, NOW_MS)),
    "errors": (pages.errors(s21_pro(state=MinerState.FAILURE), "now"), _faults),
    "tuner": (pages.tuner_state(_VIEW, 2500), limits.power_target_w),
    "configuration": (pages.configuration(2500, {"auto": {}}), limits.target_c),
    "constraints": (pages.constraints((900, 3600), 3000), limits.limits),
    "version": ({"major": 1, "minor": 1, "patch": 0}, limits.api_major),
}


@given(st.data(), st.sampled_from(sorted(_PAGES)))
@settings(max_examples=400, deadline=None)
def test_whatever_comes_there_are_readings_or_malformed(data: st.DataObject, name: str) -> None:
    page, read = _PAGES[name]
    try:
        found = read(data.draw(mutated(as_sent(page))))
    except MalformedReply:
        return
    if isinstance(found, parse.Details):
        return
    for point, reading in found.items():
        assert metric_of(point) in METRICS.values()
        assert (reading.value is None) == (not reading.quality.usable)


@given(st.data(), st.sampled_from(sorted(_OTHERS)))
@settings(max_examples=300, deadline=None)
def test_no_other_page_raises_anything_but_malformed(data: st.DataObject, name: str) -> None:
    page, read = _OTHERS[name]
    changed = data.draw(st.one_of(mutated(as_sent(page)), ANYTHING))
    try:
        read(changed)
    except MalformedReply:
        return


@pytest.mark.parametrize("name", ["stats", "cooling", "boards"])
def test_a_missing_field_never_becomes_a_zero(name: str) -> None:
    """The healthy machine has no zero anywhere, so a zero could only be invented."""
    page, read = _PAGES[name]

    def without(value: Any) -> list[Any]:
        """The page, each time with one of its fields removed."""
        made: list[Any] = []
        if isinstance(value, dict):
            for key, inner in value.items():
                made.append({k: v for k, v in value.items() if k != key})
                made += [{**value, key: changed} for changed in without(inner)]
        elif isinstance(value, list):
            for i, inner in enumerate(value):
                made += [[*value[:i], changed, *value[i + 1 :]] for changed in without(inner)]
        return made

    variants = without(as_sent(page))
    assert len(variants) > 10
    for variant in variants:
        found = read(variant)
        values = [reading.value for point, reading in found.items() if point != "boards_working"]
        assert 0.0 not in values


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_no_body_raises_anything_but_malformed(body: bytes) -> None:
    for _, read in (*_PAGES.values(), *_OTHERS.values()):
        try:
            read(decode(body, "page"))
        except MalformedReply:
            continue


@pytest.mark.parametrize("body", [b"[" * 10_000_000, b'{"errors":' * 1_000_000, b'{"status":' + b"9" * 10**6])
def test_ten_megabytes_of_nesting_are_malformed(body: bytes) -> None:
    with pytest.raises(MalformedReply):
        decode(body, "page")
