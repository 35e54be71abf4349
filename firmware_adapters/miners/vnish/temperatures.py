"""Which of the many temperatures of one `/summary` to believe. °C throughout.

A pair 0/0 is no data (failure, start-up, a dead board), not frost. Firmwares up to 1.2.0 also list single
sensors with their state: one in `error` reads something plausible and wrong (13 °C among good ones at 36),
so on a board whose list has a good one the list says how cool it is. How hot the machine is, is the hottest
claim of them all, because the hotter claim is the safer one: every board counts in the way in which it tells,
and the machine's own pair beside them. What no sensor can mean (255, -64) is a broken one and counts nowhere.
"""

import msgspec

from firmware_adapters.miners.vnish.fields import Object, child, children, number, text
from shared.telemetry import METRICS

_GOOD_SENSOR = frozenset({"ready", "measure"})
_SENSOR = METRICS["chip_temp_max_c"]
WIDEST_C = 30.0
"""No board is so cold at one end and so warm at the other: a 0 so far from the other end is no data, while
0 to 3 °C is a cold morning [default]."""


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """Coolest and hottest; None is no data. `sensors_failed`: there are sensors and none of them works."""

    low: float | None = None
    high: float | None = None
    sensors_failed: bool = False


def temperature_range(miner: Object, boards: list[Object], what: str) -> Range:
    """The span of `what` ("chip" or "pcb") over a machine."""
    spans = [_of_board(board, what) for board in boards]
    whole = _pair(child(miner, f"{what}_temp"))
    lows = [span.low for span in spans if span.low is not None]
    highs = [span.high for span in spans if span.high is not None]
    if not lows and not highs:
        # Where the boards' sensors are broken, the machine's own pair is made of the same ones.
        return Range(sensors_failed=True) if any(span.sensors_failed for span in spans) else whole
    if whole.high is not None:
        highs.append(whole.high)
    return Range(
        low=min(lows) if lows else whole.low,
        # A low end alone is no maximum, but it is never above one.
        high=max(highs + lows) if highs else None,
    )


def _of_board(board: Object, what: str) -> Range:
    """One board by its sensors, by its pair where none of them has begun to measure."""
    pair = _pair(child(board, f"{what}_temp"))
    sensors = children(board, f"{what}_temp_sens")
    if not sensors:
        return pair
    states = [text(sensor, "status") for sensor in sensors]
    good = [
        value
        for sensor, state in zip(sensors, states, strict=True)
        if state in _GOOD_SENSOR and (value := usable(number(sensor, "temp"))) is not None and value != 0
    ]
    if good:
        return Range(low=min(good), high=max(good if pair.high is None else [*good, pair.high]))
    return Range(sensors_failed=True) if "error" in states else pair


def _pair(span: Object | None) -> Range:
    """`{min, max}`; either end may be missing. One whose ends contradict each other is no data."""
    told = number(span, "min"), number(span, "max")
    low, high = usable(told[0]), usable(told[1])
    if low == 0 and (high is None or high > WIDEST_C):
        low = None
    if high == 0 and (low is None or low > WIDEST_C):
        high = None
    if low is None and high is None:
        return Range(sensors_failed=any(told))
    if low is not None and high is not None and (low > high or low == high == 0):
        return Range()
    return Range(low=low, high=high)


def usable(value: float | None) -> float | None:
    """What a sensor can mean (°C); the range is that of the metric."""
    return value if value is not None and _SENSOR.low <= value <= _SENSOR.high else None


def hottest_psu(temps: Object | None) -> float | None:
    """The hottest of the supply's own sensors; 0 is an absent one."""
    known = [
        value
        for key in ("pfc_temp", "llc1_temp", "llc2_temp")
        if (value := number(temps, key)) is not None and value != 0
    ]
    return max(known) if known else None
