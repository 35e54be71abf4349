"""Words and numbers: golden vectors, round trips, and no number from what cannot be read."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.site.codec import (
    NOT_IMPLEMENTED,
    RANGE,
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
        ((0, 0, 0x0001, 0x0002), DataType.INT64, HIGH, 65538),
        ((0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF), DataType.INT64, HIGH, -1),
        ((0x0002, 0x0001, 0, 0), DataType.UINT64, LOW, 65538),
        ((0x0001, 0x0000), DataType.ACC32, HIGH, 65536),
    ],
)
def test_golden_words(words: tuple[int, ...], kind: DataType, order: WordOrder, number: float) -> None:
    assert words_to_number(words, kind, order) == pytest.approx(number, rel=1e-6)
    assert number_to_words(number, kind, order) == words


INTEGERS = [kind for kind in DataType if kind in RANGE]
EXACT = [kind for kind in INTEGERS if kind.words <= 2]


@given(
    st.sampled_from(EXACT),
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


@given(st.sampled_from([DataType.INT64, DataType.UINT64]), st.integers(0, 2**53))
def test_a_counter_of_64_bits_is_exact_as_far_as_a_float_goes(kind: DataType, number: int) -> None:
    assert words_to_number(number_to_words(number, kind, HIGH), kind, HIGH) == number


@given(st.sampled_from(list(DataType)), st.sampled_from(list(WordOrder)), st.floats())
def test_any_number_gives_words_or_is_refused(kind: DataType, order: WordOrder, number: float) -> None:
    try:
        words = number_to_words(number, kind, order)
    except ValueError:
        return
    assert len(words) == kind.words
    assert all(0 <= word <= 0xFFFF for word in words)


@given(
    st.sampled_from(list(DataType)),
    st.sampled_from(list(WordOrder)),
    st.lists(st.integers(0, 0xFFFF), min_size=4, max_size=4),
)
def test_any_words_give_a_number_and_only_a_plausible_one_is_read(
    kind: DataType, order: WordOrder, words: list[int]
) -> None:
    raw = words_to_number(words[: kind.words], kind, order)
    reading = to_reading(raw, scale=0.1, offset=0, low=-10, high=10)
    assert reading.value is None or -10 <= reading.value <= 10


@pytest.mark.parametrize("kind", NOT_IMPLEMENTED)
def test_what_a_sunspec_device_does_not_have_is_missing(kind: DataType) -> None:
    """0x8000, 0xFFFF, ..., NaN: each type's own word for nothing, as it comes out of the registers."""
    words = number_to_words(NOT_IMPLEMENTED[kind], kind, HIGH)
    raw = words_to_number(words, kind, HIGH)
    reading = to_reading(raw, scale=1, offset=0, low=-1e30, high=1e30, not_available=[NOT_IMPLEMENTED[kind]])
    assert (reading.value, reading.quality) == (None, Quality.MISSING)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (DataType.INT16, (0x8000,)),
        (DataType.UINT16, (0xFFFF,)),
        (DataType.INT32, (0x8000, 0)),
        (DataType.UINT32, (0xFFFF, 0xFFFF)),
        (DataType.ACC32, (0, 0)),
    ],
)
def test_the_words_for_nothing_are_those_of_the_specification(kind: DataType, words: tuple[int, ...]) -> None:
    assert number_to_words(NOT_IMPLEMENTED[kind], kind, HIGH) == words


@pytest.mark.parametrize(
    ("kind", "number"),
    [(DataType.INT16, 40000), (DataType.UINT16, -1), (DataType.UINT32, 2**32), (DataType.FLOAT32, 1e39)],
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
