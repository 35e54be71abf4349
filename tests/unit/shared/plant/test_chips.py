"""Electrical laws: bounds, reference points and the way back from a label to its parts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.plant import load_ladders
from shared.plant.chips import (
    BOARD_OVERHEAD_W,
    CONTROL_BOARD_W,
    LADDER_FAN_W,
    VRM_EFFICIENCY,
    ErrorParams,
    error_ratio,
    leakage_factor,
    psu_efficiency,
    split_ladder,
)
from shared.plant.psychrometrics import humidity_ratio, relative_humidity, wet_bulb_c


@given(st.floats(0.0, 2.0))
def test_psu_efficiency_stays_a_fraction(load: float) -> None:
    assert 0.5 <= psu_efficiency(np.array([load]))[0] < 0.95


def test_psu_efficiency_at_working_load_is_the_quoted_class() -> None:
    assert np.all(np.abs(psu_efficiency(np.array([0.4, 0.6, 0.9])) - 0.94) < 0.01)


def test_leakage_doubles_in_24_kelvin_and_stays_finite() -> None:
    low, high, absurd = leakage_factor(np.array([65.0, 65.0 + 35.0 * np.log(2.0), 1e6]))
    assert low == 1.0
    assert high == pytest.approx(2.0)
    assert absurd < 10.0


@given(st.floats(-1e4, 1e4))
def test_error_ratio_is_a_ratio(margin: float) -> None:
    assert 0.0 <= error_ratio(np.array([margin]), ErrorParams())[0] <= 1.0


@pytest.mark.parametrize("name", list(load_ladders()))
def test_the_parts_of_a_rung_add_up_to_its_label(name: str) -> None:
    model = load_ladders()[name]
    dynamic, leak = split_ladder(model)
    assert np.all(dynamic > 0.0)
    assert np.all(leak > 0.0)
    label = np.array([preset.power_w for preset in model.presets])
    fans = LADDER_FAN_W if model.fans else 0.0
    dc = (dynamic + leak) / VRM_EFFICIENCY + model.boards * BOARD_OVERHEAD_W + CONTROL_BOARD_W + fans
    assert dc / psu_efficiency(label / model.psu_rated_w) == pytest.approx(label)


def test_wet_bulb_anchor_and_limits() -> None:
    """Stull's own example: 20 deg C at 50 % gives 13.7 deg C."""
    assert wet_bulb_c(20.0, 50.0) == pytest.approx(13.7, abs=0.05)
    assert wet_bulb_c(15.0, 99.0) <= 15.0


@given(st.floats(-15.0, 48.0), st.floats(2.0, 100.0))
def test_humidity_goes_there_and_back(temp_c: float, rh_pct: float) -> None:
    assert relative_humidity(temp_c, humidity_ratio(temp_c, rh_pct)) == pytest.approx(rh_pct, rel=1e-6)
