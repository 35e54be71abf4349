"""The ledger of batch numbers: a set, whatever the order of arrival."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import WireError
from shared.wire.intervals import IntervalSet

NUMBERS = st.lists(st.integers(1, 60), max_size=80)


@given(NUMBERS)
def test_holds_exactly_what_was_added(numbers: list[int]) -> None:
    ledger = IntervalSet()
    for number in numbers:
        ledger = ledger.add(number)
    assert {n for n in range(1, 62) if n in ledger} == set(numbers)
    assert len(ledger) == len(set(numbers))


@given(NUMBERS, st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_matter(numbers: list[int], random: object) -> None:
    shuffled = [*numbers, *numbers]
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis hands in a random.Random
    assert IntervalSet((n, n) for n in numbers) == IntervalSet((n, n) for n in shuffled)


@given(NUMBERS)
def test_ranges_are_sorted_and_do_not_touch(numbers: list[int]) -> None:
    ranges = IntervalSet((n, n) for n in numbers).ranges
    assert all(a[1] + 1 < b[0] for a, b in itertools.pairwise(ranges))


@pytest.mark.parametrize(
    ("ranges", "upto"), [([], 0), ([(2, 9)], 0), ([(1, 4), (6, 7)], 4), ([(1, 4), (5, 7)], 7)]
)
def test_upto_is_the_unbroken_beginning(ranges: list[tuple[int, int]], upto: int) -> None:
    assert IntervalSet(ranges).upto == upto


@pytest.mark.parametrize("bad", [(0, 3), (5, 4), (-1, 1)])
def test_nonsense_is_refused(bad: tuple[int, int]) -> None:
    with pytest.raises(WireError):
        IntervalSet([bad])
