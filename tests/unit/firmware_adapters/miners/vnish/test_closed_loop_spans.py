"""The closed loop reads healthy machines by arrays instead of pages; both must say the same temperatures."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.miners.vnish.temperatures import temperature_range
from support.closed_loop_miners import spans

_BOARD = st.tuples(st.integers(-2, 2), st.integers(-2, 2), st.booleans())
"""Coolest and hottest of a board, and whether it works."""


def page(low: int, high: int) -> dict[str, object]:
    return {"chip_temp": {"min": low, "max": high}}


@given(st.lists(_BOARD, min_size=1, max_size=4))
def test_around_frost_arrays_and_pages_agree(boards: list[tuple[int, int, bool]]) -> None:
    low, high, known = (np.array([column]) for column in zip(*boards, strict=True))
    ((fast_low,), (fast_high,)) = spans(low, high, known)
    works = [(cold, hot) for cold, hot, told in boards if told]
    whole = page(min((c for c, _ in works), default=0), max((h for _, h in works), default=0))
    chains = [page(cold, hot) if told else page(0, 0) for cold, hot, told in boards]
    real = temperature_range(whole, [dict(chain) for chain in chains], "chip")
    assert (fast_low, fast_high) == (real.low, real.high)
