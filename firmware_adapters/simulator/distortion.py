"""What is wrong with a sensor: the ways in which measured values lie (pure; edge.md §7.2).

A distortion changes measured values only: never a flag, a set-point or a counter.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from shared.telemetry import metric_of
from shared.units import Unit


class SensorFault(StrEnum):
    """How the value lies. The word after each is its `value` and the default of it."""

    DRIFT = "sensor_drift"
    """Wanders off by `value` (10) over `ramp_s`, in the point's unit."""
    SPIKE = "sensor_spike"
    """Jumps by `value` (40) for one second in ten."""
    FAHRENHEIT = "sensor_fahrenheit"
    """Temperatures come in °F."""
    VALUE = "sensor_value"
    """Shows `value` (no default), whatever is so."""
    LOST = "sensor_lost"
    """The point does not exist any more."""


DEFAULT_VALUE = {SensorFault.DRIFT: 10.0, SensorFault.SPIKE: 40.0}
SPIKE_EVERY_S, SPIKE_S = 10.0, 1.0
_MEASURED = (Unit.CELSIUS, Unit.PERCENT, Unit.CUBIC_METRE_PER_HOUR, Unit.PASCAL, Unit.WATT, Unit.AMPERE)
_TOLD = ("setpoint_c", "speed_setpoint_pct")


class Distortion(msgspec.Struct, frozen=True, kw_only=True):
    """One sensor fault that began at `began_s` of plant time; `point` None means every temperature."""

    kind: SensorFault
    value: float = 0.0
    began_s: float
    ramp_s: float = 0.0
    point: str | None = None


def distorted(values: Mapping[str, float], fault: Distortion, time_s: float) -> Mapping[str, float]:
    """The values as the faulty sensor shows them at `time_s`."""
    result = dict(values)
    for name, true in values.items():
        if not _applies(name, fault):
            continue
        shown = _shown(true, fault, time_s - fault.began_s)
        if shown is None:
            del result[name]
        else:
            result[name] = shown
    return result


def _applies(name: str, fault: Distortion) -> bool:
    metric = name.split(".", 1)[0]
    if fault.point is not None:
        # Benches set flags too, by their full name; everything else only bends what is measured.
        exact = fault.kind in (SensorFault.VALUE, SensorFault.LOST) and name == fault.point
        return exact or (fault.point in (name, metric) and _measured(metric))
    return _measured(metric) and metric_of(name).unit is Unit.CELSIUS


def _measured(metric: str) -> bool:
    return metric not in _TOLD and metric_of(metric).unit in _MEASURED


def _shown(true: float, fault: Distortion, age_s: float) -> float | None:
    match fault.kind:
        case SensorFault.DRIFT:
            return true + fault.value * (min(1.0, age_s / fault.ramp_s) if fault.ramp_s > 0 else 1.0)
        case SensorFault.SPIKE:
            return true + (fault.value if age_s % SPIKE_EVERY_S < SPIKE_S else 0.0)
        case SensorFault.FAHRENHEIT:
            return true * 1.8 + 32.0
        case SensorFault.VALUE:
            return fault.value
        case SensorFault.LOST:
            return None


def exchanged(values: Mapping[str, float]) -> Mapping[str, float]:
    """Sensors 1 and 2 of each kind at each other's place."""
    result = dict(values)
    for name in values:
        head, _, index = name.rpartition(".")
        if index == "1" and f"{head}.2" in values and _measured(head):
            result[name], result[f"{head}.2"] = values[f"{head}.2"], values[name]
    return result
