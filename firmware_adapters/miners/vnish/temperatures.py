"""Which of the many temperatures of one `/summary` to believe. °C throughout.

A pair 0/0 is no data (failure, start-up, a dead board), not frost. Firmwares up to 1.2.0 also list single
sensors with their state: one in `error` reads something plausible and wrong (13 °C among good ones at 36),
so where the list exists it decides. Otherwise boards are merged with the machine's own pair, and the wider
span wins, because the hotter claim is the safer one.
"""

import msgspec

from firmware_adapters.miners.vnish.fields import Object, child, children, number, text

_GOOD_SENSOR = frozenset({"ready", "measure"})


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """Coolest and hottest; None is no data. `sensors_failed`: there are sensors and none of them works."""

    low: float | None = None
    high: float | None = None
    sensors_failed: bool = False


def temperature_range(miner: Object, boards: list[Object], what: str) -> Range:
    """The span of `what` ("chip" or "pcb") over a machine."""
    sensors = [sensor for board in boards for sensor in children(board, f"{what}_temp_sens")]
    if sensors:
        return _from_sensors(sensors)
    pairs = [pair for board in boards if (pair := _pair(child(board, f"{what}_temp"))) is not None]
    whole = _pair(child(miner, f"{what}_temp"))
    if not pairs:
        return Range(low=whole[0], high=whole[1]) if whole is not None else Range()
    low = min(pair[0] for pair in pairs)
    high = max(pair[1] for pair in pairs)
    if whole is not None:
        high = max(high, whole[1])
    return Range(low=low, high=high)


def _from_sensors(sensors: list[Object]) -> Range:
    states = [text(sensor, "status") for sensor in sensors]
    good = [
        value
        for sensor, state in zip(sensors, states, strict=True)
        if state in _GOOD_SENSOR and (value := number(sensor, "temp")) is not None and value != 0
    ]
    if good:
        return Range(low=min(good), high=max(good))
    return Range(sensors_failed="error" in states)


def _pair(span: Object | None) -> tuple[float, float] | None:
    low, high = number(span, "min"), number(span, "max")
    if low is None or high is None or (low == 0 and high == 0) or low > high:
        return None
    return low, high


def hottest_psu(temps: Object | None) -> float | None:
    """The hottest of the supply's own sensors; 0 is an absent one."""
    known = [
        value
        for key in ("pfc_temp", "llc1_temp", "llc2_temp")
        if (value := number(temps, key)) is not None and value != 0
    ]
    return max(known) if known else None
