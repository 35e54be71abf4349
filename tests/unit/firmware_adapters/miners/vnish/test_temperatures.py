"""How hot a machine is by its boards, their single sensors and its own pair: no usable claim is ever lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.miners.vnish.temperatures import WIDEST_C, Range, hottest_psu, temperature_range

Page = dict[str, object]
GOOD: Page = {"chip_temp": {"min": 55, "max": 70}}


def pair(low: object = None, high: object = None) -> Page:
    return {"chip_temp": {"min": low, "max": high}}


def sensors(*temps: float, status: str = "measure") -> Page:
    return {"chip_temp_sens": [{"status": status, "temp": temp} for temp in temps]}


def read(*boards: Page, whole: Page | None = None) -> Range:
    return temperature_range(whole or {}, list(boards), "chip")


def test_a_board_with_a_list_of_sensors_does_not_hide_the_pair_of_another() -> None:
    assert read(sensors(54, 60), pair(55, 93)) == Range(low=54, high=93)


def test_the_machines_own_pair_counts_beside_sensors_too() -> None:
    assert read(sensors(54, 60), whole=pair(50, 93)) == Range(low=54, high=93)


def test_a_boards_own_pair_counts_where_it_is_hotter_than_its_sensors() -> None:
    assert read(pair(13, 88) | sensors(54, 60)) == Range(low=54, high=88)


def test_a_pair_without_its_coolest_keeps_its_hottest() -> None:
    only_hot: Page = {"chip_temp": {"max": 95}}
    assert read(only_hot, GOOD) == Range(low=55, high=95)
    assert read(only_hot) == Range(high=95)


def test_a_pair_without_its_hottest_is_not_cooler_than_its_coolest() -> None:
    assert read(pair(75), GOOD) == Range(low=55, high=75)
    assert read(pair(75)) == Range(low=75), "its hottest is not known"


def test_a_zero_far_from_the_other_end_is_no_data_and_one_beside_it_is_frost() -> None:
    assert read(pair(0, 70), GOOD) == Range(low=55, high=70)
    assert read(pair(0, 70)) == Range(high=70)
    assert read(pair(40, 0)) == Range(low=40)
    assert read(pair(0, 3)) == Range(low=0, high=3)
    assert read(pair(-2, 0)) == Range(low=-2, high=0)
    assert read(pair(0, WIDEST_C)).low == 0
    for nothing in (pair(0, 0), pair(0), pair(None, 0), pair(), {}):
        assert read(nothing) == Range()


@pytest.mark.parametrize("status", ["init", "unknown", "x"])
def test_sensors_that_do_not_measure_yet_leave_the_word_to_the_boards_pair(status: str) -> None:
    assert read(GOOD | sensors(0, 0, status=status)) == Range(low=55, high=70)
    assert read(pair(0, 0) | sensors(0, 0, status=status)) == Range()
    assert read(GOOD | sensors(0, 0, status=status), sensors(60, 80)) == Range(low=55, high=80)


def test_a_board_whose_sensors_are_broken_is_not_believed_by_its_pair() -> None:
    broken = GOOD | sensors(13, 13, status="error")
    assert read(broken, whole=pair(13, 70)) == Range(sensors_failed=True)
    assert read(broken, pair(40, 60)) == Range(low=40, high=60)


@pytest.mark.parametrize("lie", [255, -64, 150, -40])
def test_what_no_sensor_can_mean_counts_nowhere(lie: float) -> None:
    assert read(pair(lie, lie), pair(50, 95), whole=pair(lie, lie)) == Range(low=50, high=95)
    assert read(pair(lie, lie)) == Range(sensors_failed=True)
    assert read(sensors(lie, 60)) == Range(low=60, high=60)


def test_a_pair_whose_ends_contradict_each_other_is_no_data() -> None:
    assert read(pair(66, 65), GOOD) == Range(low=55, high=70)


_END = st.none() | st.integers(1, 149)


@given(st.lists(st.tuples(_END, _END), max_size=4), st.lists(st.integers(1, 149), max_size=3), _END)
def test_the_hottest_is_never_below_any_claim(
    pairs: list[tuple[int | None, int | None]], measured: list[int], whole: int | None
) -> None:
    boards = [pair(low, high) for low, high in pairs if low is None or high is None or low <= high]
    found = read(*boards, sensors(*measured), whole=pair(None, whole))
    claims = [*measured, *(high for low, high in pairs if high is not None and (low or 0) <= high)]
    if whole is not None:
        claims.append(whole)
    assert found.high is None if not claims else found.high is not None and found.high >= max(claims)


def test_the_hottest_part_of_a_supply_counts_and_zero_is_none() -> None:
    assert hottest_psu({"pfc_temp": 0, "llc1_temp": 41, "llc2_temp": 47}) == 47
    assert hottest_psu({"pfc_temp": 0}) is None
