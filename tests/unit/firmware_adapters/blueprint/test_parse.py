"""Copy me: what a parser's test shows at least."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_adapters.blueprint import parse
from firmware_adapters.blueprint.emulator import BlueprintEmulator
from firmware_adapters.miners.emulated import MinerView
from firmware_adapters.miners.fields import decode
from shared.clock import ManualClock
from shared.errors import MalformedReply
from shared.telemetry import METRICS, MISSING, MinerState, Quality, Reading, metric_of
from support.miners import Machine, board, s21_pro
from support.web_memory import ANYTHING, mutated


def page(view: MinerView | None = None) -> dict[str, Any]:
    """`/status` as it comes off the wire."""
    emulator = BlueprintEmulator(Machine(view or s21_pro()), clock=ManualClock())
    found: dict[str, Any] = msgspec.json.decode(emulator.answer("GET", "/status", {}, b"").body)
    return found


def test_a_healthy_machine_reads_in_our_units() -> None:
    found = parse.readings(parse.status(page()))
    assert {name: (reading.value, reading.quality) for name, reading in found.items()} == {
        "hashrate_ths": (186.0, Quality.GOOD),
        "power_w": (2790.0, Quality.ESTIMATED),
        "chip_temp_max_c": (65.0, Quality.GOOD),
        "board_temp_max_c": (50.0, Quality.GOOD),
        **{f"fan_rpm.{index}": (5880.0, Quality.GOOD) for index in range(4)},
        "uptime_s": (791_880.0, Quality.GOOD),
        "throttle_pct": (100.0, Quality.GOOD),
    }


def test_zero_degrees_is_no_sensor_and_the_others_count() -> None:
    hot_and_blind = s21_pro(boards=(board(chip_temp_max_c=71), board(chip_temp_max_c=None)))
    assert parse.readings(page(hot_and_blind))["chip_temp_max_c"] == Reading(71.0)
    blind = s21_pro(boards=(board(chip_temp_max_c=None),))
    assert parse.readings(page(blind))["chip_temp_max_c"] == MISSING


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("hashing", MinerState.MINING),
        ("booting", MinerState.STARTING),
        ("sleeping", MinerState.STOPPED),
        ("broken", MinerState.FAILURE),
        ("dreaming", MinerState.UNKNOWN),
        (None, MinerState.UNKNOWN),
        (7, MinerState.UNKNOWN),
    ],
)
def test_a_state_that_nobody_knows_counts_as_running(word: object, state: MinerState) -> None:
    assert parse.state({"state": word}) is state


def test_who_the_machine_is_and_that_it_may_not_say() -> None:
    told = parse.identity(page())
    assert (told.model, told.firmware, told.mac) == ("Antminer S21 Pro", "Blueprint 1.0", "aa:bb:cc:00:00:01")
    assert parse.identity({}) == parse.Identity(model="", firmware="", mac="")


def test_another_firmware_is_not_taken_for_this_one() -> None:
    for body in ({}, [], None, {"firmware": "Vnish 1.2.7"}):
        with pytest.raises(MalformedReply):
            parse.status(body)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_whatever_comes_there_are_readings_or_malformed(data: st.DataObject) -> None:
    try:
        found = parse.status(data.draw(st.one_of(mutated(page()), ANYTHING)))
    except MalformedReply:
        return
    parse.identity(found)
    parse.state(found)
    readings = parse.readings(found)
    assert set(parse.CORE_POINTS) <= set(readings)
    for name, reading in readings.items():
        assert metric_of(name) in METRICS.values()
        assert (reading.value is None) == (not reading.quality.usable)


@pytest.mark.parametrize("name", sorted(page()))
def test_a_missing_field_never_becomes_a_zero(name: str) -> None:
    """The healthy machine has no zero anywhere, so a zero could only be invented."""
    said = {key: value for key, value in page().items() if key != name}
    assert 0.0 not in [reading.value for reading in parse.readings(said).values()]


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_no_body_raises_anything_but_malformed(body: bytes) -> None:
    try:
        parse.status(decode(body, "/status"))
    except MalformedReply:
        return
