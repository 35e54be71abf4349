"""The window of the past: wide before a quick cloud, one batch before a slow one."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.agent.uplink.pace import FIRST, MOST, QUICK_S, SLOW_S, Pace


def test_it_doubles_per_round_until_it_was_too_wide_once() -> None:
    pace = Pace()
    for round_ in range(1, 4):
        for _ in range(pace.window):
            pace.acked(QUICK_S / 2, round_ * 1.0)
        assert pace.window == FIRST * 2**round_
    pace.acked(SLOW_S * 1.1, 10.0)
    assert pace.window == 8
    for _ in range(8):
        pace.acked(QUICK_S / 2, 11.0)
    assert pace.window == 8, "one more per round from now on, and this round is not quite over"
    for _ in range(2):
        pace.acked(QUICK_S / 2, 12.0)
    assert pace.window == 9


def test_one_late_round_halves_it_once() -> None:
    pace = Pace()
    for _ in range(30):
        pace.acked(0.1, 1.0)
    before = pace.window
    for _ in range(30):
        pace.acked(5.0, 6.0)
    assert pace.window == before // 2
    pace.acked(5.0, 6.0 + 1.1 * SLOW_S)
    assert pace.window == before // 4


def test_an_ack_in_between_changes_nothing() -> None:
    pace = Pace()
    pace.acked((QUICK_S + SLOW_S) / 2, 1.0)
    assert pace.window == FIRST


@given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 100)), max_size=80))
def test_it_is_never_shut_and_never_wider_than_allowed(acks: list[tuple[float, float]]) -> None:
    pace, now_s = Pace(), 0.0
    for after_s, later_s in acks:
        now_s += later_s
        pace.acked(after_s, now_s)
        assert 1 <= pace.window <= MOST
