"""The window of the past: one batch on a thin link, the most on a fast one."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.agent.uplink.pace import MOST, QUICK_S, SLOW_S, Pace


def test_it_opens_with_quick_answers_and_halves_with_slow_ones() -> None:
    pace = Pace()
    seen = []
    for after_s in (0.1, 0.1, QUICK_S, 0.7, SLOW_S, 1.1, 5.0, 5.0, 5.0):
        pace.confirmed(after_s)
        seen.append(pace.window)
    assert seen == [2, 3, 4, 4, 4, 2, 1, 1, 1]


@given(st.lists(st.floats(0, 1e4), max_size=60))
def test_it_is_never_shut_and_never_wider_than_allowed(answers: list[float]) -> None:
    pace = Pace()
    for after_s in answers:
        pace.confirmed(after_s)
        assert 1 <= pace.window <= MOST
