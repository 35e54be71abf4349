"""VNish HTTP pages → readings, state, identity, ladder. Pure; raises nothing but `MalformedReply`.

Sources for every field and trap: miners.md §1.5-1.7, recorded replies and the vendor's API documents for
1.2.0 to 1.3.4. Rules: a field is found by meaning and may be absent in any version; 0/0 temperatures are no
data; chip temperatures are the firmware's estimate (board + 10..15 °C); watts are an estimate unless
`psu_power_metering`; the dev fee's shares and hashrate are not the owner's.
"""

import re
from types import MappingProxyType

import msgspec

from firmware_adapters.miners.vnish.fields import (
    NOT_JSON,
    Object,
    as_object,
    as_page,
    child,
    children,
    flag,
    number,
    reading,
    text,
)
from firmware_adapters.miners.vnish.temperatures import Range, hottest_psu, temperature_range
from shared.errors import MalformedReply
from shared.telemetry import MISSING, MinerState, Quality, Reading
from shared.units import Algorithm, ghs_to_ths, mhs_to_ths

HASH_UNITS = MappingProxyType({"GH/s": ghs_to_ths, "MH/s": mhs_to_ths})
_UNIT_OF = MappingProxyType({Algorithm.SHA256D: "GH/s", Algorithm.SCRYPT: "MH/s"})
_BROKEN_BOARD = frozenset({"failure", "disconnected", "disabled", "unknown"})
_SPLIT_TOLERANCE = 0.02
"""Total and boards may differ by this much before the total counts as an estimate only [default]."""

CORE_POINTS = (
    "hashrate_ths",
    "hashrate_nominal_ths",
    "power_w",
    "chip_temp_max_c",
    "chip_temp_min_c",
    "board_temp_max_c",
    "board_temp_min_c",
)
"""Points that every observation names, MISSING where the reply did not say."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """`/info`: who the machine is and in which unit it counts hashes (`hash_unit` None: it does not say)."""

    model: str
    firmware: str
    mac: str
    serial: str
    algorithm: Algorithm
    hash_unit: str | None
    uptime_s: float | None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """`/status`; None where it does not say."""

    state: MinerState
    throttle_pct: float | None
    restart_required: bool | None
    reboot_required: bool | None


# ---------------------------------------------------------------- identity


def identity(body: object) -> Identity:
    """Read `/info`. Raises `MalformedReply` if it is no object or not VNish's."""
    info = as_page(body, "/info")
    name = text(info, "fw_name")
    if name is None or "vnish" not in name.lower():
        raise MalformedReply(f"/info: the firmware calls itself {name!r}, not Vnish")
    algorithm = _algorithm(text(info, "algorithm"))
    unit = text(info, "hr_measure")
    if unit not in HASH_UNITS:
        unit = _UNIT_OF.get(algorithm)
    system = child(info, "system")
    return Identity(
        model=text(info, "miner") or text(info, "model") or "",
        firmware=f"{name} {text(info, 'fw_version') or '?'}",
        mac=(text(child(system, "network_status"), "mac") or "").lower(),
        serial=text(info, "serial") or "",
        algorithm=algorithm,
        hash_unit=unit,
        uptime_s=uptime_s(text(system, "uptime")),
    )


def _algorithm(word: str | None) -> Algorithm:
    try:
        return Algorithm(word or "unknown")
    except ValueError:
        return Algorithm.UNKNOWN


_UPTIME = re.compile(r"(?:(\d{1,6}) days?,\s*)?(\d{1,6}):(\d{1,2})(?::(\d{1,2}))?", re.ASCII)


def uptime_s(words: str | None) -> float | None:
    """Seconds in "0:06", "1:55" (h:mm) or "9 days,  3:58"; None for anything else ("23 min" included)."""
    match = _UPTIME.fullmatch(words or "")
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


# ---------------------------------------------------------------- state


def status(body: object) -> Status:
    """Read `/status`. Raises `MalformedReply` if it is no object or has no state at all."""
    page = as_page(body, "/status")
    word = text(page, "miner_state")
    if word is None:
        raise MalformedReply("/status: no miner_state")
    return Status(
        state=miner_state(word),
        throttle_pct=number(page, "throttled"),
        restart_required=flag(page, "restart_required"),
        reboot_required=flag(page, "reboot_required"),
    )


def miner_state(word: str | None) -> MinerState:
    """The state by its vendor name; a name that no document lists is UNKNOWN, so it counts as running."""
    try:
        return MinerState(word or "unknown")
    except ValueError:
        return MinerState.UNKNOWN


# ---------------------------------------------------------------- summary


def summary(body: object, hash_unit: str | None) -> dict[str, Reading]:
    """Readings in `/summary`; hashrates in TH/s by `hash_unit` ("GH/s", "MH/s"; None: unknown, so missing).

    Raises `MalformedReply` if it is no object. `{"miner": null}` is legal: everything is missing.
    """
    page = as_page(body, "/summary")
    readings: dict[str, Reading] = dict.fromkeys(CORE_POINTS, MISSING)
    miner = as_object(page.get("miner"))
    if miner is None:
        return readings
    boards = children(miner, "chains") or children(miner, "boards")
    readings |= _hashrates(miner, boards, hash_unit)
    readings["power_w"] = _power(miner)
    readings |= _named("chip", temperature_range(miner, boards, "chip"), Quality.ESTIMATED)
    readings |= _named("board", temperature_range(miner, boards, "pcb"), Quality.GOOD)
    readings |= _fans(child(miner, "cooling"))
    readings |= _shares(children(miner, "pools"))
    readings["hw_errors"] = reading(_count(miner, "hw_errors"))
    readings["boards_working"] = _boards_working(boards)
    psu_c = hottest_psu(child(child(miner, "psu"), "temps"))
    if psu_c is not None:
        readings["psu_temp_c"] = Reading(psu_c)
    return readings


def _hashrates(miner: Object, boards: list[Object], hash_unit: str | None) -> dict[str, Reading]:
    convert = HASH_UNITS.get(hash_unit or "")
    if convert is None:
        return {}
    total = _amount(miner, "hr_realtime")
    per_board = [value for board in boards if (value := _amount(board, "hashrate_rt")) is not None]
    quality = Quality.GOOD
    if total is not None and len(per_board) == len(boards) > 0:
        # Both 1.2.0 recordings show 0.7 of what their boards add up to: then neither is certain.
        boards_sum = sum(per_board)
        if abs(total - boards_sum) > _SPLIT_TOLERANCE * max(total, boards_sum):
            quality = Quality.ESTIMATED
    nominal = _amount(miner, "hr_nominal")
    return {
        "hashrate_ths": MISSING if total is None else Reading(convert(total), quality),
        "hashrate_nominal_ths": MISSING if nominal is None else Reading(convert(nominal)),
    }


def _power(miner: Object) -> Reading:
    watts = _amount(miner, "power_consumption")
    if watts is None:
        watts = _amount(miner, "power_usage")
        # The documents call `power_usage` the efficiency; only where it differs from that is it watts.
        if watts is not None and watts == number(miner, "power_efficiency"):
            return MISSING
    measured = flag(child(miner, "psu"), "psu_power_metering")
    return reading(watts, Quality.GOOD if measured is True else Quality.ESTIMATED)


def _named(what: str, span: Range, quality: Quality) -> dict[str, Reading]:
    if span.sensors_failed:
        failed = Reading(None, Quality.SENSOR_ERROR)
        return {f"{what}_temp_min_c": failed, f"{what}_temp_max_c": failed}
    return {
        f"{what}_temp_min_c": reading(span.low, quality),
        f"{what}_temp_max_c": reading(span.high, quality),
    }


def _fans(cooling: Object | None) -> dict[str, Reading]:
    mode = text(child(child(cooling, "settings"), "mode"), "name")
    if mode in ("immersion", "immers"):
        # Immersed machines have no fans and report every one as lost: that is health, not failure.
        return {}
    found: dict[str, Reading] = {}
    for position, fan in enumerate(children(cooling, "fans")):
        own = number(fan, "id")
        index = int(own) if own is not None and 0 <= own < 16 else position
        found[f"fan_rpm.{index}"] = reading(_amount(fan, "rpm"))
    duty = _amount(cooling, "fan_duty")
    if found and duty is not None:
        found["fan_duty_pct"] = Reading(duty)
    return found


def _shares(pools: list[Object]) -> dict[str, Reading]:
    own = [pool for pool in pools if text(pool, "pool_type") != "DevFee"]
    counted = {}
    for word in ("accepted", "rejected"):
        counts = [count for pool in own if (count := _count(pool, word)) is not None]
        counted[f"shares_{word}"] = Reading(float(sum(counts))) if counts else MISSING
    return counted


def _boards_working(boards: list[Object]) -> Reading:
    states = [text(child(board, "status"), "state") for board in boards]
    if not states or None in states:
        return MISSING
    return Reading(float(sum(state not in _BROKEN_BOARD for state in states)))


# ---------------------------------------------------------------- small


def error_text(body: bytes) -> str:
    """The `err` of a 500 reply, or the start of whatever came instead."""
    try:
        told = text(as_object(msgspec.json.decode(body)), "err")
    except NOT_JSON:
        told = None
    return told or body[:200].decode("utf-8", "replace")


def _amount(parent: Object | None, key: str) -> float | None:
    """A number that cannot be negative; a negative one is a lie and so missing."""
    value = number(parent, key)
    return value if value is not None and value >= 0 else None


_count = _amount
