"""What can be true of one look at a machine: the ranges and the 0/0 rule by which a guardian judges readings.

A single look cannot tell what is stuck; everything else comes out as in the guardian's own
`interlocks.quality`, which lives where this package may not import it. A test holds the two together.
"""

import math
from collections.abc import Mapping

import msgspec

from shared.details import Board
from shared.telemetry import METRICS, MISSING, Quality, Reading, metric_of

PAIRS = (("chip_temp_max_c", "chip_temp_min_c"), ("board_temp_max_c", "board_temp_min_c"))
"""Both 0 is no data and not frost (miners.md §5.7)."""


def plausible(readings: Mapping[str, Reading]) -> dict[str, Reading]:
    """The readings, each that cannot be true without its value and with the reason as its quality.

    Points whose metric is unknown are left out: nobody knows their unit or range.
    """
    told = {
        point: _in_range(point, reading)
        for point, reading in readings.items()
        if point.split(".", 1)[0] in METRICS
    }
    for high, low in PAIRS:
        if _is_zero(told.get(high)) and _is_zero(told.get(low, Reading(0.0))):
            told[high] = MISSING
            if low in told:
                told[low] = MISSING
    return told


def plausible_board(board: Board) -> tuple[Board, tuple[str, ...]]:
    """The board with what cannot be true unknown, and the names of those fields."""
    before = {
        name: Reading(value)
        for name in board.__struct_fields__
        if name in METRICS and isinstance(value := getattr(board, name), int | float)
    }
    after = plausible(before)
    gone = tuple(name for name in before if after[name].usable is None)
    return msgspec.structs.replace(board, **dict.fromkeys(gone)), gone


def _in_range(point: str, reading: Reading) -> Reading:
    if not reading.quality.usable:
        return Reading(None, reading.quality)
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
