"""Dew point: against tabulated values, and what is not known."""

import pytest

from edge_agent.guardian.interlocks.dew_point import dew_point_c, margin_k


@pytest.mark.parametrize(
    ("air_c", "humidity_pct", "dew_c"),
    [(20.0, 50.0, 9.3), (25.0, 60.0, 16.7), (30.0, 70.0, 23.9), (35.0, 30.0, 14.8), (10.0, 90.0, 8.4)],
)
def test_against_the_tables(air_c: float, humidity_pct: float, dew_c: float) -> None:
    """ISO 13788 tables and every psychrometric chart."""
    assert dew_point_c(air_c, humidity_pct) == pytest.approx(dew_c, abs=0.1)


def test_saturated_air_is_at_its_dew_point() -> None:
    assert dew_point_c(18.5, 100.0) == pytest.approx(18.5)


@pytest.mark.parametrize(("air_c", "humidity_pct"), [(None, 50.0), (20.0, None), (20.0, 0.0), (20.0, -1.0)])
def test_unknown_stays_unknown(air_c: float | None, humidity_pct: float | None) -> None:
    assert dew_point_c(air_c, humidity_pct) is None
    assert margin_k(30.0, air_c, humidity_pct) is None


def test_the_margin_is_from_the_water_down_to_the_dew_point() -> None:
    assert margin_k(20.0, 25.0, 60.0) == pytest.approx(3.3, abs=0.1)
    assert margin_k(12.0, 25.0, 60.0) == pytest.approx(-4.7, abs=0.1)
    assert margin_k(None, 25.0, 60.0) is None
