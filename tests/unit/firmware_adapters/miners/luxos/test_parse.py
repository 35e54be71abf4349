"""Replies → readings: state, fans, sensors by their labels, the ladder, and what any reply may do to us."""

import json
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firmware_adapters.miners import cgminer
from firmware_adapters.miners.luxos import boards as parts
from firmware_adapters.miners.luxos import emulator_pages as pages
from firmware_adapters.miners.luxos import parse
from firmware_adapters.transport.line_json import decode
from shared.errors import MalformedReply
from shared.telemetry import MISSING, MinerState, Quality, Reading, metric_of
from support.miners import s21_pro
from support.web_memory import ANYTHING, mutated, recorded

SLOW_IS_FINE = [HealthCheck.too_slow]
"""A shared machine that is busy draws slowly; that says nothing of what is tested."""

OLD, YOUNG = 9e5, 30.0


def config(**changes: object) -> parse.Config:
    told: dict[str, object] = {"CurtailMode": "None", "IsPowerSupplyOn": True, "IsTuning": False}
    return parse.config({"CONFIG": [{**told, **changes}]})


ASLEEP = config(CurtailMode="Sleep")
OFF = config(CurtailMode="Sleep", IsPowerSupplyOn=False)


@pytest.mark.parametrize(
    ("rate", "told", "elapsed_s", "ramps", "means"),
    [
        (60.0, config(), OLD, False, MinerState.MINING),
        (60.0, config(IsTuning=True), OLD, False, MinerState.AUTO_TUNING),
        (60.0, config(CurtailMode=None), OLD, False, MinerState.MINING),
        (60.0, ASLEEP, OLD, False, MinerState.SHUTTING_DOWN),
        (60.0, OFF, OLD, False, MinerState.SHUTTING_DOWN),
        (0.0, ASLEEP, OLD, False, MinerState.STOPPED),
        (0.0, OFF, YOUNG, False, MinerState.STOPPED),
        (None, OFF, OLD, False, MinerState.STOPPED),
        (None, ASLEEP, OLD, False, MinerState.UNKNOWN),
        (0.0, config(), YOUNG, False, MinerState.STARTING),
        (0.0, config(), OLD, True, MinerState.STARTING),
        (0.0, config(), OLD, False, MinerState.UNKNOWN),
        (0.0, config(IsPowerSupplyOn=False), OLD, False, MinerState.FAILURE),
        (0.0, config(IsPowerSupplyOn=None), OLD, False, MinerState.UNKNOWN),
        (0.0, config(CurtailMode=None, IsPowerSupplyOn=False), OLD, False, MinerState.STOPPED),
        (0.0, config(CurtailMode=None), OLD, False, MinerState.UNKNOWN),
        (None, config(), None, False, MinerState.UNKNOWN),
    ],
)
def test_the_state(
    rate: float | None, told: parse.Config, elapsed_s: float | None, ramps: bool, means: MinerState
) -> None:
    stats = cgminer.Stats(rate_ths=rate, elapsed_s=elapsed_s)
    assert parse.state(stats, told, ramping=ramps) is means


@pytest.mark.parametrize("word", ["None", "none", "WakeUp", "wakeup"])
def test_words_for_being_awake(word: str) -> None:
    assert config(CurtailMode=word).asleep is False


def test_an_immersed_machine_reports_no_fans() -> None:
    stats = cgminer.stats({"STATS": pages.stats(s21_pro(cooling="immersion"))})
    assert not [name for name in parse.readings(stats, air=False) if name.startswith("fan")]
    assert config(Cooling="Immersion").air is False
    assert config(ImmersionMode=True).air is False
    assert config(Cooling="Air", ImmersionMode=False).air is True


def test_watts_are_good_only_where_the_supply_measures_them() -> None:
    assert parse.power({"POWER": [{"PSU": True, "Watts": 3000}]}) == Reading(3000.0, Quality.GOOD)
    assert parse.power({"POWER": [{"PSU": False, "Watts": 3000}]}) == Reading(3000.0, Quality.ESTIMATED)
    assert parse.power({"POWER": [{"Watts": "3000"}]}) == Reading(3000.0, Quality.ESTIMATED)
    for body in (None, {}, {"POWER": []}, {"POWER": [{"PSU": True}]}, {"POWER": [{"Watts": -1}]}):
        assert parse.power(body) == MISSING


def test_a_chip_sensor_of_its_own_is_an_estimate_and_a_copy_is_none() -> None:
    both = {"GHS 5s": 1, "miner_count": 1, "temp_pcb1": "50-51-52-53", "temp_chip1": "65-66-67-68"}
    found = parse.readings(cgminer.stats({"STATS": [both]}), air=True)
    assert found["chip_temp_max_c"] == Reading(68.0, Quality.ESTIMATED)
    copied = parse.readings(cgminer.stats({"STATS": [{**both, "temp_chip1": "50-51-52-53"}]}), air=True)
    assert copied["chip_temp_max_c"] == MISSING
    assert copied["board_temp_max_c"].value == 53


def test_sensors_are_told_apart_by_name_or_label() -> None:
    told = {
        "METADATA": [{"TopLeft": {"Label": "Chip Intake"}, "TopRight": {"Label": "Board Exhaust"}}],
        "TEMPS": [
            {"ID": 2, "TEMP": 0, "TopLeft": 71.0, "TopRight": 50.0},
            {"ID": 0, "TEMP": 1, "Board": 48.5, "Chip": 63.5, "Dead": 0.0},
        ],
    }
    found = parts.spans(told)
    assert found[2] == parts.Span(
        board=cgminer.Temperatures(50.0, 50.0), chip=cgminer.Temperatures(71.0, 71.0)
    )
    assert found[0] == parts.Span(
        board=cgminer.Temperatures(48.5, 48.5), chip=cgminer.Temperatures(63.5, 63.5)
    )


def test_boards_that_were_switched_off_say_why() -> None:
    devs = {
        "DEVS": [
            {"ID": 1, "Status": "Alive", "Enabled": "Y", "IsUserShutdown": True, "MHS 5s": 0},
            {"ID": 0, "Status": "Dead", "Enabled": "Y", "MHS 5s": 0},
            {"ID": 2},
        ]
    }
    found = parts.boards(devs, cgminer.Stats(), {}, {})
    assert [(one.index, one.working, one.fault) for one in found] == [
        (0, False, "status Dead"),
        (1, False, "shut down by a user"),
        (2, None, ""),
    ]


def test_chips_say_how_well_they_are_in_their_own_words() -> None:
    told = [
        {"Chip": 3, "Healthy": "N", "Score": 12.5, "GHS 15m": 30.0},
        {"Chip": 0, "Healthy": "Y", "GHS 15m": -1, "Frequency": 300},
        {"Healthy": "Maybe", "Score": 1},
    ]
    found = parts.chips({"CHIPS": told}, 2)
    assert [(one.board, one.index, one.grade) for one in found] == [
        (2, 0, "healthy"),
        (2, 2, "Maybe 1"),
        (2, 3, "unhealthy 12.5"),
    ]
    assert [one.hashrate_ths for one in found] == [None, None, pytest.approx(0.03)]
    assert [one.frequency_mhz for one in found] == [300, None, None]
    with pytest.raises(MalformedReply):
        parts.chips({"CHIPS": {}}, 0)


def test_boards_without_a_number_are_counted() -> None:
    assert parts.numbers({"DEVS": [{"ASC": 2}, {}, {"ID": 0, "ASC": 5}]}) == (0, 1, 2)
    with pytest.raises(MalformedReply):
        parts.numbers({"DEVS": []})


def test_the_ladder_is_by_power_and_overclocking_needs_tuning() -> None:
    rung = {"Watts": 3000, "Hashrate": 100.0, "IsTuned": False}
    listed = [
        {**rung, "Profile Name": "up", "Step": "1", "Watts": 3200},
        {**rung, "Profile Name": "up tuned", "Step": "2", "Watts": 3400, "IsTuned": True},
        {**rung, "Profile Name": "default", "Step": "0"},
        {**rung, "Profile Name": "down", "Step": "-3", "Watts": 2000},
        {**rung, "Profile Name": "older", "Watts": 2500},
        {**rung, "Profile Name": "a,b", "Step": "0"},
        {"Profile Name": "no watts", "Hashrate": 1.0},
        {"Watts": 5},
        "x",
    ]
    assert [(one.name, one.tuned) for one in parse.presets({"PROFILES": listed})] == [
        ("down", True),
        ("older", False),
        ("default", True),
        ("up", False),
        ("up tuned", True),
    ]
    assert parse.rated({"PROFILES": listed}, "down") == {"preset_w": Reading(2000.0)}
    assert parse.rated({"PROFILES": listed}, "gone") == {}
    assert parse.rated(None, "down") == {}


@pytest.mark.parametrize(
    "body",
    [None, {}, {"TEMPCTRL": []}, {"TEMPCTRL": [{"Hot": 65}]}, {"TEMPCTRL": [{"Hot": 70, "Dangerous": 65}]}],
)
def test_limits_that_make_no_sense_are_malformed(body: object) -> None:
    with pytest.raises(MalformedReply):
        parse.control(body)
    assert parse.target(body) == {}


def test_a_session_that_cannot_be_sent_back_is_malformed() -> None:
    assert parse.session_id({"SESSION": [{"SessionID": "abc"}]}) == "abc"
    for told in ("", "a,b", "a\nb", "ü", 7, None):
        with pytest.raises(MalformedReply):
            parse.session_id({"SESSION": [{"SessionID": told}]})


def test_another_firmware_is_malformed() -> None:
    with pytest.raises(MalformedReply, match="not LuxOS"):
        parse.version({"VERSION": [{"BMMiner": "1.0.0"}]})


def test_water_is_neither_board_nor_chip() -> None:
    labels = {"TopLeft": {"Label": "Water Outlet"}, "TopRight": {"Label": "Board"}}
    spans = parts.spans({"METADATA": [labels], "TEMPS": [{"ID": 0, "TopLeft": 44.0, "TopRight": 61.0}]})
    assert (spans[0].board.low, spans[0].board.high) == (61, 61)
    assert parts.tell_more(spans, cgminer.Stats(chains=(cgminer.Chain(index=0, pcb_c=(44.0, 61.0)),)))


@pytest.mark.parametrize(
    ("when", "broken", "told"),
    [
        ("2026-05-28T20:20:00+00:00", False, True),
        ("2026-05-28T19:20:00+00:00", False, False),
        ("2026-05-28T19:20:00+00:00", True, True),
        ("yesterday", False, True),
        (None, False, True),
    ],
)
def test_an_event_of_long_ago_is_over_once_the_machine_works(
    when: str | None, broken: bool, told: bool
) -> None:
    now_ms = 1_780_000_000_000  # 20:26:40 of that day
    listed = {"EVENTS": [{"Code": "X", "CreatedAt": when}]}
    assert bool(parse.faults(listed, now_ms, broken=broken)) is told
    own_clock = {**listed, "STATUS": [{"When": now_ms / 1000}]}
    assert bool(parse.faults(own_clock, now_ms * 2, broken=broken)) is told, "by the machine's own clock"


# ---------------------------------------------------------------- whatever comes

_READERS: dict[str, Any] = {
    "version": parse.version,
    "config": parse.config,
    "power": parse.power,
    "fans": parse.fans,
    "profiles": lambda body: (parse.presets(body), parse.rated(body, "default")),
    "events": lambda body: parse.faults(body, 1_780_000_000_000, broken=False),
    "temps": parts.spans,
    "voltageget_0": parts.volts,
    "healthchipget_0": lambda body: parts.chips(body, 0),
    "devs": lambda body: (
        parse.ramping(body),
        parts.boards(body, cgminer.Stats(), {}, {}),
        parts.numbers(body),
    ),
    "stats": lambda body: parse.readings(cgminer.stats(body), air=True),
}


@lru_cache(maxsize=1)
def _pages() -> dict[str, Any]:
    """The recorded replies, the long ones shortened, because hypothesis draws from their every value."""
    found = recorded("luxos/v1")
    return {name: _short(found[name]) for name in _READERS}


def _short(page: dict[str, Any]) -> dict[str, Any]:
    return {name: value[:2] if name in ("CHIPS", "PROFILES") else value for name, value in page.items()}


def _in_range(told: object) -> None:
    readings = told if isinstance(told, dict) else {"power_w": told}
    for name, found in readings.items():
        if isinstance(found, Reading) and found.value is not None:
            metric = metric_of(str(name))
            assert metric.low <= found.value <= metric.high, name


@settings(max_examples=200, deadline=None, suppress_health_check=SLOW_IS_FINE)
@given(st.data())
def test_whatever_comes_there_are_readings_or_malformed(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(_READERS)))
    page = _pages()[name]
    body = data.draw(mutated(page) | ANYTHING)
    for reader in (_READERS[name], parse.atm_on, parse.control, parse.session_id, parse.target):
        try:
            told = reader(body)
        except MalformedReply:
            continue
        _in_range(told)


@settings(max_examples=150, deadline=None, suppress_health_check=SLOW_IS_FINE)
@given(
    st.sampled_from(sorted(_READERS)),
    st.floats(0, 1),
    st.sampled_from([b"", b"\x00", b"\x00\x00", b",}", b"{}", b'{"STATUS":[]}', b"\xff"]),
    st.booleans(),
)
def test_cut_glued_and_nul_framing_are_read_or_malformed(
    name: str, share: float, tail: bytes, twice: bool
) -> None:
    whole = json.dumps(_pages()[name]).encode()
    raw = whole[: round(len(whole) * share)] + tail
    try:
        told = _READERS[name](decode(raw + whole if twice else raw))
    except MalformedReply:
        assert share < 1 or tail == b"\xff", "a whole reply with a bad end is repaired"
        return
    _in_range(told)


def test_ten_megabytes_of_nesting_end_as_malformed() -> None:
    for raw in (b"[" * 10_000_000, b'{"STATS":' * 1_000_000):
        with pytest.raises(MalformedReply):
            cgminer.stats(decode(raw))
