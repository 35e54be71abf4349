"""Voting (S05): median, the worse of two, one, none; and how the loss of probes is told."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.guardian.interlocks import voting
from edge_agent.guardian.interlocks.voting import WHOLE, Strength, Vote, vote

finite = st.floats(-1e6, 1e6)


@pytest.mark.parametrize(
    ("values", "high", "low"),
    [
        ([1, 2, 9], 2, 2),
        ([9, 1, 2], 2, 2),
        ([1, 9], 9, 1),
        ([7], 7, 7),
        ([1, 2, 3, 9], 3, 2),
        ([5, 1, 2, 3, 9], 3, 3),
        ([None, 2, 9], 9, 2),
        ([None, None, 9], 9, 9),
        ([math.nan, 2, math.inf, -math.inf, 3], 3, 2),
    ],
)
def test_the_value_that_counts(values: list[float | None], high: float, low: float) -> None:
    assert vote(values, high_is_worse=True).value == high
    assert vote(values, high_is_worse=False).value == low


@pytest.mark.parametrize("values", [[], [None], [None, math.nan, math.inf]])
def test_none_good_is_unknown(values: list[float | None]) -> None:
    assert vote(values, high_is_worse=True) == Vote(None, 0, len(values))


@pytest.mark.parametrize(
    ("values", "alone"), [([1.0], False), ([1.0, None], True), ([1.0, 2.0], False), ([None, None], False)]
)
def test_one_of_several_is_alone_and_one_of_one_is_not(values: list[float | None], alone: bool) -> None:
    counted = vote(values, high_is_worse=True)
    assert counted.alone is alone
    assert Strength(counted.good, counted.of).alone is alone


@given(st.lists(finite, min_size=3, max_size=9))
def test_one_liar_among_three_and_more_never_decides(values: list[float]) -> None:
    """Whatever one probe says, the vote stays between what the others say."""
    others = values[1:]
    for high_is_worse in (True, False):
        value = vote(values, high_is_worse=high_is_worse).value
        assert value is not None
        assert min(others) <= value <= max(others)


@given(st.lists(finite, min_size=1, max_size=9))
def test_the_median_and_on_an_even_count_the_worse_of_the_middle_two(values: list[float]) -> None:
    assert vote(values, high_is_worse=True).value == statistics.median_high(values)
    assert vote(values, high_is_worse=False).value == statistics.median_low(values)


def counted(*pieces: tuple[int, float], of: int = 3) -> Strength:
    strength = WHOLE
    for good, seconds in pieces:
        strength = voting.count(strength, Vote(1.0, good, of), seconds)
    return strength


class TestStrength:
    def test_a_loss_is_told_after_30_s(self) -> None:
        assert counted((2, 29.0)).told is None
        assert counted((2, 29.0), (2, 1.0)).told == 2

    def test_a_further_loss_is_told_at_once_and_a_partial_return_is_not(self) -> None:
        assert counted((2, 30.0), (1, 1.0)).told == 1
        assert counted((1, 30.0), (2, 1.0)).told == 1

    def test_all_back_clears_it(self) -> None:
        assert counted((1, 30.0), (3, 1.0)) == Strength(3, 3)

    def test_a_flicker_starts_anew(self) -> None:
        assert counted((2, 29.0), (3, 1.0), (2, 29.0)).told is None
