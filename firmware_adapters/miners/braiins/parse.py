"""Braiins OS pages → state and readings. Pure; raises nothing but `MalformedReply`.

Sources: miners.md §2, recorded replies of 25.07 and 25.11, and the vendor's public message definitions
(braiins.bos.v1) for the numbers behind words. Every quantity is an object that names its unit
(`{"watt": 3137}`, `{"gigahash_per_second": 48215.7}`, `{"degree_c": 55.5}`), so it is read by that name.
Watts are approximated by the firmware, and the hottest chip is the board's sensor plus 15 °C in every
recording: both are estimates.
"""

import re
from collections.abc import Iterable
from types import MappingProxyType

import msgspec

from firmware_adapters.miners.claims import power_beside
from firmware_adapters.miners.declared import CORE_POINTS
from firmware_adapters.miners.fields import (
    Object,
    amount,
    as_number,
    as_page,
    child,
    children,
    flag,
    number,
    reading,
    text,
)
from shared.errors import MalformedReply
from shared.telemetry import MISSING, MinerState, Quality, Reading
from shared.units import Algorithm, ghs_to_ths, mhs_to_ths

WINDOWS = ("last_5s", "last_15s", "last_30s", "last_1m", "last_5m")
"""Averages of the hashrate, the nearest to now first; longer ones are history."""
_START_S = 900.0
"""A backend that runs for less than this and is "not started" is starting: it may draw power [default]."""
_OLDEST_S = 1_640_995_200.0
"""2022 in UTC: no machine with this API mined before, so its clock has not been set (it starts at 2015)."""
_CLOCK_TOLERANCE_S = 60.0
_MAX_FANS = 16
_CHIP, _BOARD = (1, "SENSOR_LOCATION_CHIP"), (2, "SENSOR_LOCATION_PCB")
"""As number, as recorded, or by name, as the API's own definition has it."""

_STATUS = MappingProxyType(
    {1: "NOT_STARTED", 2: "NORMAL", 3: "PAUSED", 4: "SUSPENDED", 5: "RESTRICTED"},
)


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """`miner/details`: who the machine is and what it is doing."""

    model: str
    firmware: str
    mac: str
    serial: str
    state: MinerState
    uptime_s: float | None


def details(body: object) -> Details:
    """Read `miner/details`. Raises `MalformedReply` if it is no object or not Braiins'."""
    page = as_page(body, "miner/details")
    version = child(page, "bos_version")
    if version is None and child(page, "miner_identity") is None:
        raise MalformedReply("miner/details: names neither a BOS version nor a miner")
    identity = child(page, "miner_identity")
    uptime_s = amount(page, "system_uptime_s")
    return Details(
        model=text(identity, "miner_model") or text(identity, "name") or "",
        firmware=f"Braiins OS {text(version, 'current') or '?'}",
        mac=(text(page, "mac_address") or "").lower(),
        serial=text(page, "serial_number") or "",
        state=miner_state(page.get("status"), amount(page, "bosminer_uptime_s")),
        uptime_s=uptime_s if uptime_s is not None else amount(page, "system_uptime"),
    )


def miner_state(status: object, backend_uptime_s: float | None) -> MinerState:
    """The state by the number or the name that the API gives; any other is UNKNOWN, so it counts as running.

    A machine that is *not started* while its mining process has just come up is about to power its boards. A
    *suspended* one was stopped by its own scaling or protection and may come back by itself, so it is not
    taken for stopped. *Restricted* hashes (for somebody else).
    """
    if isinstance(status, str):
        word = status.strip().upper().removeprefix("MINER_STATUS_")
    else:
        code = as_number(status)
        word = _STATUS.get(int(code), "") if code is not None and code.is_integer() else ""
    if word == "NOT_STARTED":
        starting = backend_uptime_s is not None and 0 < backend_uptime_s < _START_S
        return MinerState.INITIALIZING if starting else MinerState.STOPPED
    if word == "PAUSED":
        return MinerState.STOPPED
    return MinerState.MINING if word in ("NORMAL", "RESTRICTED") else MinerState.UNKNOWN


_FAMILY = re.compile(r"(?:antminer\s+)?([stl])\d|(braiins|bmm)", re.IGNORECASE)


def algorithm(model: str) -> Algorithm:
    """What a machine of this model mines, by its family: S, T and the
    vendor's own are SHA-256, L is scrypt."""
    family = _FAMILY.match(model.strip())
    if family is None:
        return Algorithm.UNKNOWN
    return Algorithm.SCRYPT if (family[1] or "").lower() == "l" else Algorithm.SHA256D


# ---------------------------------------------------------------- miner/stats


def stats(body: object, utc_ms: int, *, hashing: bool = True) -> dict[str, Reading]:
    """Readings in `miner/stats`; `utc_ms` is our clock. Raises `MalformedReply` if it is no object.

    `hashing` False: its state says that it does not, so that an average over minutes is about before.
    """
    page = as_page(body, "miner/stats")
    miner, pool = child(page, "miner_stats"), child(page, "pool_stats")
    watts = amount(page, "power_stats", "approximated_consumption", "watt")
    hashrate = reading("hashrate_ths", hashrate_now(miner, hashing=hashing))
    found = {
        "hashrate_ths": hashrate,
        "hashrate_nominal_ths": reading("hashrate_nominal_ths", rate_ths(child(miner, "nominal_hashrate"))),
        "power_w": power_beside(reading("power_w", watts, Quality.ESTIMATED), hashrate),
    }
    for word in ("accepted", "rejected", "stale"):
        found[f"shares_{word}"] = reading(f"shares_{word}", amount(pool, f"{word}_shares"))
    # By two clocks, the machine's and ours, which need not agree.
    age_s = share_age_s(pool, utc_ms)
    found["last_share_age_s"] = reading("last_share_age_s", age_s, Quality.ESTIMATED)
    return found


def rate_ths(rate: Object | None) -> float | None:
    """A hashrate in TH/s, whichever unit the object names."""
    for unit, convert in (
        ("gigahash_per_second", ghs_to_ths),
        ("megahash_per_second", mhs_to_ths),
        ("terahash_per_second", float),
    ):
        value = amount(rate, unit)
        if value is not None:
            return convert(value)
    return None


def hashrate_now(parent: Object | None, *, hashing: bool = True) -> float | None:
    """The average nearest to now under `real_hashrate`, TH/s; minutes are not now on a machine at rest."""
    rates = child(parent, "real_hashrate")
    windows = WINDOWS if hashing else WINDOWS[:-1]
    return next((found for window in windows if (found := rate_ths(child(rates, window))) is not None), None)


def share_age_s(pool: Object | None, utc_ms: int) -> float | None:
    """Seconds since the last share of a pool's statistics; None where the clocks cannot both be right."""
    seconds = amount(pool, "last_share_time", "seconds")
    if seconds is None or seconds < _OLDEST_S:
        return None
    nanos = amount(pool, "last_share_time", "nanos") or 0.0
    age_s = utc_ms / 1000.0 - seconds - nanos / 1e9
    return max(0.0, age_s) if age_s >= -_CLOCK_TOLERANCE_S else None


# ---------------------------------------------------------------- cooling and boards


def cooling(body: object, *, hashing: bool = False) -> dict[str, Reading]:
    """Fans and the hottest sensor in `cooling/state`. Raises `MalformedReply` if it is no object.

    A machine that hashes while every fan stands still and none is asked to turn has none: it is immersed.
    """
    page = as_page(body, "cooling/state")
    found: dict[str, Reading] = {}
    duties = []
    for place, fan in enumerate(children(page, "fans")[:_MAX_FANS]):
        own = number(fan, "position")
        index = int(own) if own is not None and 0 <= own < _MAX_FANS else place
        found[f"fan_rpm.{index}"] = reading("fan_rpm", amount(fan, "rpm"))
        duty = amount(fan, "target_speed_ratio")
        if duty is not None:
            duties.append(duty * 100.0)
    turning = any(duties) or any(fan.value != 0.0 for fan in found.values())
    if hashing and not turning:
        found, duties = {}, []
    if duties:
        found["fan_duty_pct"] = reading("fan_duty_pct", max(duties))
    hottest = child(page, "highest_temperature")
    celsius, where = sensor_c(child(hottest, "temperature")), (hottest or {}).get("location")
    if celsius is not None and where in _CHIP:
        found["chip_temp_max_c"] = reading("chip_temp_max_c", celsius, Quality.ESTIMATED)
    if celsius is not None and where in _BOARD:
        found["board_temp_max_c"] = reading("board_temp_max_c", celsius)
    return found


def degrees(temperature: Object | None) -> float | None:
    """Degrees Celsius of a temperature object."""
    return number(temperature, "degree_c")


def sensor_c(temperature: Object | None) -> float | None:
    """What a sensor says, °C; 0 is how one prints that has no data (a board without power)."""
    return degrees(temperature) or None


def board_span(board: Object) -> list[float]:
    """What the sensors of one board say, °C: the board itself, its hottest outlet, its coolest inlet."""
    keys = ("board_temp", "highest_outlet_temp", "lowest_inlet_temp")
    return [value for key in keys if (value := sensor_c(child(board, key))) is not None]


def chip_temp(board: Object) -> float | None:
    """The hottest chip of one board, °C."""
    return sensor_c(child(board, "highest_chip_temp", "temperature"))


def hashboards(body: object, *, hashing: bool) -> dict[str, Reading]:
    """Readings over all boards of `miner/hw/hashboards`; `hashing` as the machine's state has it.

    Raises `MalformedReply` if it is no object.
    """
    boards = children(as_page(body, "miner/hw/hashboards"), "hashboards")
    chips = [value for board in boards if (value := chip_temp(board)) is not None]
    spans = [value for board in boards for value in board_span(board)]
    works = [working(board, hashing=hashing) for board in boards]
    known = bool(works) and None not in works
    return {
        "chip_temp_max_c": reading("chip_temp_max_c", max(chips, default=None), Quality.ESTIMATED),
        "board_temp_max_c": reading("board_temp_max_c", max(spans, default=None)),
        "board_temp_min_c": reading("board_temp_min_c", min(spans, default=None)),
        "boards_working": reading("boards_working", float(works.count(True)) if known else None),
    }


def working(board: Object, *, hashing: bool) -> bool | None:
    """Whether a board works; a machine that does not hash cannot show it."""
    enabled, rate = flag(board, "enabled"), hashrate_now(child(board, "stats"))
    if enabled is False:
        return False
    if rate is None or enabled is None:
        return None
    if rate > 0:
        return True
    return False if hashing else None


def merge(parts: Iterable[dict[str, Reading]]) -> dict[str, Reading]:
    """All readings of one poll; where two pages tell the same maximum, the hotter claim wins."""
    merged: dict[str, Reading] = dict.fromkeys(CORE_POINTS, MISSING)
    for part in parts:
        for point, found in part.items():
            old = merged.get(point, MISSING).value
            if old is None or (found.value is not None and found.value > old):
                merged[point] = found
    return merged


def message(body: bytes) -> str:
    """What a failed request says, for people: the `message` or `error` of its object, or its start."""
    try:
        told = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        told = None
    page = told if isinstance(told, dict) else None
    return text(page, "message") or text(page, "error") or body[:200].decode("utf-8", "replace")
