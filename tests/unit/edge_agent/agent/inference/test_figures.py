"""Statistics in bounded memory, held against numpy and against what they are for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.agent.inference.figures import Correlation, Decimated, Latencies, binomial_tail, quantile


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), st.floats(0.01, 1.0))
def test_quantiles_are_values_of_the_list(values: list[float], q: float) -> None:
    found = quantile(values, q)
    assert found in values
    assert sum(value <= found for value in values) >= q * len(values) - 1e-9


def test_no_values_have_no_quantile() -> None:
    assert quantile([], 0.5) is None


def test_a_long_stream_keeps_its_shape_in_bounded_memory() -> None:
    kept = Decimated(keep=100)
    for value in range(100_000):
        kept.add(float(value))
    assert len(kept.values) < 100
    assert quantile(kept.values, 0.5) == pytest.approx(50_000, rel=0.05)


def test_correlation_is_numpys() -> None:
    chance = np.random.default_rng(3)
    x = chance.normal(size=500) + 1e6
    y = 2 * x + chance.normal(size=500)
    found = Correlation()
    for a, b in zip(x, y, strict=True):
        found.add(float(a), float(b))
    assert found.value == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-9)


def test_what_does_not_move_has_no_correlation() -> None:
    still = Correlation()
    for n in range(5):
        still.add(1.0, float(n))
    assert still.value is None


@pytest.mark.parametrize(
    ("n", "k", "p", "tail"),
    [(10, 0, 0.3, 1.0), (1, 1, 0.05, 0.05), (3, 2, 0.05, 0.00725), (10, 10, 0.5, 0.5**10), (5, 3, 0, 0)],
)
def test_tails_of_the_binomial(n: int, k: int, p: float, tail: float) -> None:
    assert binomial_tail(n, k, p) == pytest.approx(tail)


class TestLatencies:
    def over(self, *took_ms: float) -> str:
        latencies = Latencies()
        for value in took_ms:
            latencies.add(value)
        return latencies.over(100.0)

    def test_one_slow_cycle_is_a_busy_gateway(self) -> None:
        assert self.over(*[5.0] * 50, 900.0, *[5.0] * 49) == ""
        assert self.over(900.0) == ""

    def test_a_model_that_is_too_slow_shows_after_ten_cycles(self) -> None:
        assert "half of the last 10" in self.over(*[150.0] * 10)

    def test_a_model_that_is_too_slow_now_and_then_shows_in_the_p99(self) -> None:
        assert "p99" in self.over(*[*[5.0] * 49, 900.0] * 2)

    def test_old_cycles_are_forgotten(self) -> None:
        assert self.over(*[900.0] * 9, *[5.0] * 100) == ""
