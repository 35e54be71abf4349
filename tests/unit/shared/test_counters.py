"""Counters of devices: what was added, and that a reset is never a negative number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.counters import Step, has_restarted, step

COUNTS = st.none() | st.floats(0, 1e12)


@pytest.mark.parametrize(
    ("before", "now", "restarted", "expected"),
    [
        (100.0, 130.0, False, Step(added=30.0, reset=False)),
        (100.0, 100.0, False, Step(added=0.0, reset=False)),
        (100.0, 4.0, False, Step(added=None, reset=True)),
        (100.0, 130.0, True, Step(added=None, reset=True)),
        (None, 130.0, False, Step(added=None, reset=False)),
        (100.0, None, False, Step(added=None, reset=False)),
        (None, None, True, Step(added=None, reset=True)),
    ],
)
def test_a_step(before: float | None, now: float | None, restarted: bool, expected: Step) -> None:
    assert step(before, now, restarted=restarted) == expected


@given(before=COUNTS, now=COUNTS, restarted=st.booleans())
def test_nothing_is_ever_taken_away(before: float | None, now: float | None, restarted: bool) -> None:
    found = step(before, now, restarted=restarted)
    assert found.added is None or found.added >= 0


@pytest.mark.parametrize(
    ("before_s", "now_s", "elapsed_s", "restarted"),
    [
        (1000.0, 1010.0, 10.0, False),
        (1000.0, 3.0, 10.0, True),
        (60.0, 60.0, 10.0, False),  # a firmware that tells whole minutes
        (10.0, 40.0, 3600.0, True),  # began anew, and runs longer than before by now
        (None, 5.0, 10.0, False),
        (5.0, None, 10.0, False),
    ],
)
def test_a_device_that_began_anew(
    before_s: float | None, now_s: float | None, elapsed_s: float, restarted: bool
) -> None:
    assert has_restarted(before_s, now_s, elapsed_s) is restarted
