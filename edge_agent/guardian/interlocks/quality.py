"""Graded quality of readings before anything believes them (S04).

NaN, infinite, out of range, 0/0 pairs and values that do not move while power does are *bad*: the reading
keeps its flag and loses its value. Bad is never 0 and never the last value. Sources of the bogus values:
miners.md §5.7 (0/0 pairs, ≤ -40, ≥ 150, 255, no change for 10 min while power moves).
"""

import math

import msgspec

from shared.telemetry import METRICS, MISSING, MinerState, Quality, Reading, metric_of

STUCK_AFTER_S = 600.0
POWER_MOVES_SHARE = 0.05
"""Power counts as moving when it spans this share of its highest value meanwhile."""

_PAIRS = (("chip_temp_max_c", "chip_temp_min_c"), ("board_temp_max_c", "board_temp_min_c"))
_MAY_STICK = ("chip_temp_max_c", "board_temp_max_c", "air_temp_c", "water_temp_c")


class Still(msgspec.Struct, frozen=True):
    """One point that may be stuck: its value, since when (s, monotonic), and power meanwhile (W)."""

    value: float
    since_s: float
    power_low_w: float
    power_high_w: float


Stillness = dict[str, Still]


def judge(
    still: Stillness, readings: dict[str, Reading], at_s: float, state: MinerState | None = None
) -> tuple[Stillness, dict[str, Reading]]:
    """Flag one device's readings taken at `at_s`; returns the memory for the next call and the readings.

    Points whose metric is unknown are dropped (S03): nothing downstream could know their unit or range.
    """
    judged = {point: _in_range(point, reading) for point, reading in readings.items() if _known(point)}
    for high, low in _PAIRS:
        if _is_zero(judged.get(high)) and _is_zero(judged.get(low, Reading(0.0))):
            judged[high] = MISSING
            if low in judged:
                judged[low] = MISSING
    running = state is None or state.draws_power
    power_w = _value(judged.get("power_w"))
    after: Stillness = {}
    for point, reading in judged.items():
        if point.split(".", 1)[0] not in _MAY_STICK or not running or reading.usable is None:
            continue
        if power_w is None:
            continue  # without power there is nothing that should have moved the value
        after[point] = _moved(still.get(point), reading.usable, power_w, at_s)
        if _is_stuck(after[point], at_s):
            judged[point] = Reading(None, Quality.STUCK)
    return after, judged


def _known(point: str) -> bool:
    return point.split(".", 1)[0] in METRICS


def _in_range(point: str, reading: Reading) -> Reading:
    if not reading.quality.usable:
        return reading if reading.value is None else Reading(None, reading.quality)
    if reading.value is None:
        return MISSING
    if not math.isfinite(reading.value):
        return Reading(None, Quality.SENSOR_ERROR)
    metric = metric_of(point)
    if not metric.low <= reading.value <= metric.high:
        return Reading(None, Quality.OUT_OF_RANGE)
    return reading


def _is_zero(reading: Reading | None) -> bool:
    return reading is not None and reading.usable == 0.0


def _value(reading: Reading | None) -> float | None:
    return reading.usable if reading is not None else None


def _moved(before: Still | None, value: float, power_w: float, at_s: float) -> Still:
    if before is None or before.value != value:
        return Still(value, at_s, power_w, power_w)
    low_w, high_w = min(before.power_low_w, power_w), max(before.power_high_w, power_w)
    return Still(value, before.since_s, low_w, high_w)


def _is_stuck(still: Still, at_s: float) -> bool:
    span_w = still.power_high_w - still.power_low_w
    return at_s - still.since_s >= STUCK_AFTER_S and span_w > POWER_MOVES_SHARE * still.power_high_w
