"""Words and numbers: golden vectors, round trips, and no number from what cannot be read."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.site.codec import (
    DataType,
    WordOrder,
    number_to_words,
    to_raw,
    to_reading,
    words_to_number,
)
from shared.telemetry import Quality

HIGH, LOW = WordOrder.HIGH_FIRST, WordOrder.LOW_FIRST


@pytest.mark.parametrize(
    ("words", "kind", "order", "number"),
    [
        ((0x4366, 0x3333), DataType.FLOAT32, HIGH, 230.2),
        ((0x3333, 0x4366), DataType.FLOAT32, LOW, 230.2),
        ((0x00DC,), DataType.INT16, HIGH, 220),
        ((0xFF9C,), DataType.INT16, HIGH, -100),
        ((0xFF9C,), DataType.UINT16, HIGH, 65436),
        ((0x0001, 0x0000), DataType.UINT32, HIGH, 65536),
        ((0xFFFF, 0xFFFE), DataType.INT32, HIGH, -2),
        ((1,), DataType.BOOL, HIGH, 1),
    ],
)
def test_golden_words(words: tuple[int, ...], kind: DataType, order: WordOrder, number: float) -> None:
    assert words_to_number(words, kind, order) == pytest.approx(number, rel=1e-6)
    assert number_to_words(number, kind, order) == words


integers = [kind for kind in DataType if kind not in (DataType.FLOAT32, DataType.BOOL)]


@given(
    st.sampled_from(integers),
    st.sampled_from(list(WordOrder)),
    st.lists(st.integers(0, 0xFFFF), min_size=2, max_size=2),
)
def test_integers_round_trip(kind: DataType, order: WordOrder, words: list[int]) -> None:
    some = tuple(words[: kind.words])
    assert number_to_words(words_to_number(some, kind, order), kind, order) == some


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.sampled_from(list(WordOrder)))
def test_floats_round_trip(number: float, order: WordOrder) -> None:
    assert (
        words_to_number(number_to_words(number, DataType.FLOAT32, order), DataType.FLOAT32, order) == number
    )


@pytest.mark.parametrize(
    ("kind", "number"), [(DataType.INT16, 40000), (DataType.UINT16, -1), (DataType.UINT32, 2**32)]
)
def test_what_does_not_fit_is_refused(kind: DataType, number: float) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        number_to_words(number, kind, HIGH)


@pytest.mark.parametrize("raw", [math.nan, math.inf, -math.inf])
def test_not_a_number_is_a_sensor_error(raw: float) -> None:
    reading = to_reading(raw, scale=1, offset=0, low=-1e9, high=1e9)
    assert (reading.value, reading.quality) == (None, Quality.SENSOR_ERROR)


def test_the_devices_own_word_for_nothing_is_missing() -> None:
    reading = to_reading(32767, scale=0.1, offset=0, low=-40, high=5000, not_available=[32767])
    assert (reading.value, reading.quality) == (None, Quality.MISSING)


@pytest.mark.parametrize("raw", [0, 3, 1.5])
def test_a_code_that_the_enumeration_lacks_is_a_sensor_error(raw: float) -> None:
    reading = to_reading(raw, scale=1, offset=0, low=0, high=1, values={"1": 0.0, "2": 1.0})
    assert (reading.value, reading.quality) == (None, Quality.SENSOR_ERROR)


def test_scaling_leaves_no_float_dust() -> None:
    assert to_reading(499, scale=0.1, offset=0, low=0, high=100).value == 49.9


@given(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.1, 1.0, -0.5, 100 / 0x4000]),
    st.floats(-50, 50),
)
def test_only_a_value_inside_the_limits_is_ever_a_number(raw: float, scale: float, offset: float) -> None:
    reading = to_reading(raw, scale=scale, offset=offset, low=-40, high=120)
    if reading.value is None:
        assert not reading.quality.usable
    else:
        assert -40 <= reading.value <= 120
        assert reading.quality is Quality.GOOD


@given(st.integers(-32768, 32767), st.sampled_from([0.1, 0.01, 100 / 0x4000]))
def test_scaling_back_gives_the_same_register(raw: int, scale: float) -> None:
    value = to_reading(raw, scale=scale, offset=0, low=-1e6, high=1e6).value
    assert value is not None
    assert round(to_raw(value, scale=scale, offset=0)) == raw
