"""The 4028 fallback: what `stats` still tells while the web server hangs."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_adapters.miners.emulated import FanView, MinerView
from firmware_adapters.miners.vnish.emulator_socket import reply
from firmware_adapters.miners.vnish.stats import stats, stats_boards, stats_faults
from firmware_adapters.transport.line_json import decode, raise_refusal
from shared.details import Fault
from shared.errors import MalformedReply, Unsupported
from shared.telemetry import MISSING, MinerState, Quality, Reading
from shared.units import Algorithm
from support.miners import board, s21_pro


def body(view: MinerView, command: str = "stats") -> dict[str, object]:
    raw = msgspec.json.encode({"command": command})
    return decode(msgspec.json.encode(reply(view, "1.2.7", raw, 0)) + b"\x00")


def test_state_hashrate_temperatures_fans_and_boards_come_through() -> None:
    state, _, readings = stats(
        body(s21_pro(boards=(board(), board(working=False), board(chip_temp_max_c=70))))
    )
    assert state is MinerState.MINING
    assert readings["hashrate_ths"] == Reading(186.0)
    assert readings["hashrate_nominal_ths"].value == pytest.approx(3 * board().hashrate_nominal_ths, rel=1e-4)
    assert readings["chip_temp_max_c"] == Reading(70.0, Quality.ESTIMATED)
    assert readings["board_temp_min_c"] == Reading(39.0)
    assert readings["fan_rpm.3"] == Reading(5880.0)
    assert readings["fan_duty_pct"] == Reading(90.0)
    assert readings["boards_working"] == Reading(2.0)


def a_reply(kind: str = "Antminer L7 (Vnish 1.2.6)", **told: object) -> dict[str, object]:
    machine = {
        "GHS 5s": "9511.74",
        "chain_rate1": "4755.8",
        "chain_rate2": "4755.9",
        "state": "mining",
        **told,
    }
    return {"STATS": [{"Miner": "1.2.6", "Type": kind}, machine]}


@pytest.mark.parametrize(
    ("kind", "unit", "algorithm", "ths"),
    [
        ("Antminer L7 (Vnish 1.2.6)", {"rate_unit": "MH"}, Algorithm.SCRYPT, 0.00951174),
        ("Antminer L7 (Vnish 1.2.6)", {"rate_unit": "GH"}, Algorithm.SCRYPT, 9.51174),
        ("Antminer L7 (Vnish 1.2.6)", {}, Algorithm.SCRYPT, None),
        ("Antminer S21 Pro (Vnish 1.2.7)", {}, Algorithm.SHA256D, 9.51174),
        ("Antminer S21 Pro (Vnish 1.2.7)", {"rate_unit": "TH", "GHS 5s": "234.5"}, Algorithm.SHA256D, 234.5),
        ("Antminer S21 Pro (Vnish 1.2.7)", {"rate_unit": "KSol/s"}, Algorithm.SHA256D, None),
        ("", {}, Algorithm.UNKNOWN, None),
    ],
)
def test_the_rate_is_in_the_unit_that_the_reply_names(
    kind: str, unit: dict[str, str], algorithm: Algorithm, ths: float | None
) -> None:
    """A machine whose web server hangs from the first contact on is known by this reply alone."""
    _, told, readings = stats(a_reply(kind, **unit))
    assert told is algorithm
    assert readings["hashrate_ths"].value == (None if ths is None else pytest.approx(ths))


@pytest.mark.parametrize(
    ("told", "ths"),
    [
        ({"total_rateideal": 9500.0}, 0.0095),
        ({"chain_rateideal1": 4750.0, "chain_rateideal2": "4750.0"}, 0.0095),
        ({"chain_rateideal1": 4750.0}, None),
        ({}, None),
    ],
)
def test_what_it_should_hash_is_told_whole_or_not_at_all(told: dict[str, object], ths: float | None) -> None:
    found = stats(a_reply(rate_unit="MH", **told))[2].get("hashrate_nominal_ths")
    assert (None if found is None else found.value) == (None if ths is None else pytest.approx(ths))


def test_what_is_known_of_the_machine_counts_before_its_type() -> None:
    _, algorithm, readings = stats(a_reply("Antminer S21 Pro (Vnish 1.2.7)"), Algorithm.SCRYPT)
    assert algorithm is Algorithm.SCRYPT
    assert readings["hashrate_ths"].value is None


def test_the_boards_are_told_too() -> None:
    view = s21_pro(boards=(board(), board(working=False)))
    first, second = stats_boards(body(view), Algorithm.UNKNOWN)
    one = view.boards[0]
    assert (first.index, first.working, second.working) == (1, True, False)
    assert first.hashrate_ths == pytest.approx(one.hashrate_ths, abs=0.01)
    assert first.hashrate_nominal_ths == pytest.approx(one.hashrate_nominal_ths, abs=0.01)
    assert first.power_w == round(one.power_w)
    assert (first.chip_temp_max_c, first.board_temp_min_c) == (one.chip_temp_max_c, one.board_temp_min_c)
    assert first.voltage_v == pytest.approx(one.volt_v, abs=0.001)
    assert second.fault == "board failed"
    assert second.chip_temp_max_c is None


def test_watts_of_the_boards_alone_are_not_reported_as_the_machines() -> None:
    assert stats(body(s21_pro()))[2]["power_w"] == MISSING


def test_failure_is_no_cold_machine() -> None:
    state, _, readings = stats(body(s21_pro(state=MinerState.FAILURE)))
    assert state is MinerState.FAILURE
    assert readings["chip_temp_max_c"] == MISSING


@pytest.mark.parametrize("view", [s21_pro(cooling="immersion"), s21_pro(fans=(FanView(rpm=0),))])
def test_fans_that_all_stand_still_are_not_reported(view: MinerView) -> None:
    assert not [name for name in stats(body(view))[2] if name.startswith("fan_")]


def test_what_cannot_be_true_is_no_number_and_hides_no_other_board() -> None:
    page = body(s21_pro(boards=(board(), board(chip_temp_max_c=70))))
    machine = next(part for part in page["STATS"] if "GHS 5s" in part)  # type: ignore[attr-defined]  # JSON
    machine |= {"temp_chip1": "255-255-255-255", "fan1": 65535, "fan_pwm": 255, "GHS 5s": "9e9"}
    _, _, readings = stats(page)
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
        _, _, readings = stats({"STATS": [machine]})
        assert all(fault.words for fault in stats_faults({"STATS": [machine]}))
    except MalformedReply:
        assert "GHS 5s" not in machine
        return
    for found in readings.values():
        assert (found.value is None) == (not found.quality.usable)
    if "temp_chip1" not in machine:
        assert readings["chip_temp_max_c"] == MISSING
