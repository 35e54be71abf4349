"""The 4028 fallback: what `stats` still tells while the web server hangs."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_adapters.miners.emulated import FanView, MinerView
from firmware_adapters.miners.vnish.emulator_socket import reply
from firmware_adapters.miners.vnish.stats import stats, stats_faults
from firmware_adapters.transport.line_json import decode, raise_refusal
from shared.details import Fault
from shared.errors import MalformedReply, Unsupported
from shared.telemetry import MISSING, MinerState, Quality, Reading
from support.miners import board, s21_pro


def body(view: MinerView, command: str = "stats") -> dict[str, object]:
    raw = msgspec.json.encode({"command": command})
    return decode(msgspec.json.encode(reply(view, "1.2.7", raw, 0)) + b"\x00")


def test_state_hashrate_temperatures_fans_and_boards_come_through() -> None:
    state, readings = stats(body(s21_pro(boards=(board(), board(working=False), board(chip_temp_max_c=70)))))
    assert state is MinerState.MINING
    assert readings["hashrate_ths"] == Reading(186.0)
    assert readings["chip_temp_max_c"] == Reading(70.0, Quality.ESTIMATED)
    assert readings["board_temp_min_c"] == Reading(39.0)
    assert readings["fan_rpm.3"] == Reading(5880.0)
    assert readings["fan_duty_pct"] == Reading(90.0)
    assert readings["boards_working"] == Reading(2.0)


def test_watts_of_the_boards_alone_are_not_reported_as_the_machines() -> None:
    assert stats(body(s21_pro()))[1]["power_w"] == MISSING


def test_failure_is_no_cold_machine() -> None:
    state, readings = stats(body(s21_pro(state=MinerState.FAILURE)))
    assert state is MinerState.FAILURE
    assert readings["chip_temp_max_c"] == MISSING


@pytest.mark.parametrize("view", [s21_pro(cooling="immersion"), s21_pro(fans=(FanView(rpm=0),))])
def test_fans_that_all_stand_still_are_not_reported(view: MinerView) -> None:
    assert not [name for name in stats(body(view))[1] if name.startswith("fan_")]


def test_what_cannot_be_true_is_no_number_and_hides_no_other_board() -> None:
    page = body(s21_pro(boards=(board(), board(chip_temp_max_c=70))))
    machine = next(part for part in page["STATS"] if "GHS 5s" in part)  # type: ignore[attr-defined]  # JSON
    machine |= {"temp_chip1": "255-255-255-255", "fan1": 65535, "fan_pwm": 255, "GHS 5s": "9e9"}
    _, readings = stats(page)
    assert readings["chip_temp_max_c"] == Reading(70.0, Quality.ESTIMATED)
    for name in ("fan_rpm.0", "fan_duty_pct", "hashrate_ths"):
        assert readings[name] == Reading(None, Quality.OUT_OF_RANGE), name


def test_boards_that_failed_are_faults() -> None:
    page = body(s21_pro(boards=(board(), board(working=False))))
    assert stats_faults(page) == (Fault(code="", words="board 2: board failed"),)
    assert stats_faults(body(s21_pro())) == ()


def test_version_is_refused_as_on_the_recorded_machine() -> None:
    with pytest.raises(Unsupported, match="Invalid command"):
        raise_refusal(body(s21_pro(), "version"))


@pytest.mark.parametrize("command", ["summary", "pools"])
def test_the_other_commands_are_served(command: str) -> None:
    raise_refusal(body(s21_pro(), command))
    assert command.upper() in body(s21_pro(), command)


def test_a_request_that_is_no_json_is_refused() -> None:
    assert "E" in str(reply(s21_pro(), "1.2.7", b"stats", 0)["STATUS"])


@pytest.mark.parametrize("odd", [{}, {"STATS": 3}, {"STATS": [3, {}]}, {"STATS": [{"Type": "x"}]}])
def test_a_reply_without_a_machine_is_malformed(odd: dict[str, object]) -> None:
    with pytest.raises(MalformedReply):
        stats(odd)


_words = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(alphabet="0123456789-. mab", max_size=12)
)
_names = st.sampled_from(
    ["GHS 5s", "temp_chip1", "temp_pcb2", "fan1", "fan2", "fan_pwm", "state", "chain_state1", "chain_fault1"]
)


@given(st.dictionaries(_names, _words))
@settings(max_examples=300, deadline=None)
def test_any_machine_gives_readings_or_malformed(machine: dict[str, object]) -> None:
    try:
        _, readings = stats({"STATS": [machine]})
        assert all(fault.words for fault in stats_faults({"STATS": [machine]}))
    except MalformedReply:
        assert "GHS 5s" not in machine
        return
    for found in readings.values():
        assert (found.value is None) == (not found.quality.usable)
    if "temp_chip1" not in machine:
        assert readings["chip_temp_max_c"] == MISSING
