"""Sensors that lie: only measured values bend, and each lie is the one that its name says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.simulator.distortion import Distortion, SensorFault, distorted, exchanged

TRUE = {
    "air_temp_c": 24.0,
    "humidity_pct": 50.0,
    "setpoint_c": 18.0,
    "running": 1.0,
    "energy_kwh": 7.0,
    "flow_m3h": 12.0,
}


def shown(kind: SensorFault, *, age_s: float = 0.0, **rest: object) -> dict[str, float]:
    fault = Distortion(kind=kind, began_s=100.0, **rest)
    return dict(distorted(TRUE, fault, 100.0 + age_s))


def test_a_drift_grows_over_its_ramp_and_stays() -> None:
    at = [
        shown(SensorFault.DRIFT, value=10.0, ramp_s=60.0, age_s=age)["air_temp_c"]
        for age in (0.0, 30.0, 60.0, 600.0)
    ]
    assert at == [24.0, 29.0, 34.0, 34.0]
    assert shown(SensorFault.DRIFT, value=-3.0)["air_temp_c"] == 21.0


def test_a_spike_lasts_one_second_in_ten() -> None:
    at = [shown(SensorFault.SPIKE, value=40.0, age_s=age)["air_temp_c"] for age in (0.0, 0.9, 1.0, 9.9, 10.0)]
    assert at == [64.0, 64.0, 24.0, 24.0, 64.0]


def test_fahrenheit_bends_temperatures_that_are_measured_and_nothing_else() -> None:
    assert shown(SensorFault.FAHRENHEIT) == TRUE | {"air_temp_c": pytest.approx(75.2)}


def test_a_named_point_is_bent_alone() -> None:
    assert shown(SensorFault.DRIFT, value=5.0, point="flow_m3h") == TRUE | {"flow_m3h": 17.0}
    assert shown(SensorFault.DRIFT, value=5.0, point="setpoint_c") == TRUE
    assert shown(SensorFault.DRIFT, value=5.0, point="running") == TRUE


def test_a_bench_sets_any_point_by_its_full_name() -> None:
    assert shown(SensorFault.VALUE, value=0.0, point="running") == TRUE | {"running": 0.0}
    assert shown(SensorFault.VALUE, value=47.0, point="air_temp_c")["air_temp_c"] == 47.0


def test_a_lost_point_is_gone_and_not_zero() -> None:
    assert "humidity_pct" not in shown(SensorFault.LOST, point="humidity_pct")


def test_a_metric_means_each_of_its_points() -> None:
    values = {"water_temp_c.1": 30.0, "water_temp_c.2": 40.0}
    fault = Distortion(kind=SensorFault.DRIFT, value=1.0, began_s=0.0, point="water_temp_c")
    assert distorted(values, fault, 9.0) == {"water_temp_c.1": 31.0, "water_temp_c.2": 41.0}


def test_swapped_sensors_exchange_and_twice_is_nothing() -> None:
    values = {"water_temp_c.1": 30.0, "water_temp_c.2": 40.0, "setpoint_c": 20.0, "outlet_on.1": 1.0}
    once = exchanged(values)
    assert once == values | {"water_temp_c.1": 40.0, "water_temp_c.2": 30.0}
    assert exchanged(once) == values


@given(kind=st.sampled_from(SensorFault), age_s=st.floats(0, 1e6), value=st.floats(-100, 100))
def test_flags_set_points_and_counters_never_bend_unless_named(
    kind: SensorFault, age_s: float, value: float
) -> None:
    seen = shown(kind, value=value, age_s=age_s, ramp_s=10.0)
    assert {name: seen[name] for name in ("setpoint_c", "running", "energy_kwh", "flow_m3h")} == {
        name: TRUE[name] for name in ("setpoint_c", "running", "energy_kwh", "flow_m3h")
    }
