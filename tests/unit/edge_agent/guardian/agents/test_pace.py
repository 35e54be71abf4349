"""Messages of agents are paced: a burst is free, a flood is not, and a calm neighbour never waits first."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.guardian.agents.pace import LEAST_DEBT, Pace
from shared.clock import ManualClock


def test_a_burst_is_free_and_comes_back_with_time() -> None:
    clock = ManualClock()
    pace = Pace(clock, per_s=100.0, burst=200)
    assert [pace.taken() for _ in range(200 + LEAST_DEBT - 1)] == [0.0] * (200 + LEAST_DEBT - 1)
    assert pace.taken() == LEAST_DEBT / 100.0
    clock.advance(1_000.0)
    assert pace.taken() == 0.0
    assert [pace.taken() for _ in range(199)] == [0.0] * 199, "and no more than the burst"
    assert any(pace.taken() > 0 for _ in range(LEAST_DEBT))


@given(gaps=st.lists(st.floats(0.0, 0.01), min_size=50, max_size=400))
def test_who_waits_as_told_never_passes_the_rate(gaps: list[float]) -> None:
    clock = ManualClock()
    pace = Pace(clock, per_s=100.0, burst=20)
    began_s = clock.monotonic()
    for gap_s in gaps:
        clock.advance(gap_s)
        clock.advance(pace.taken())
    allowed = 20 + LEAST_DEBT + 100.0 * (clock.monotonic() - began_s)
    assert len(gaps) <= allowed + 1e-6
