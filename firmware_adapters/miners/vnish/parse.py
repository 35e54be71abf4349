"""VNish HTTP pages → readings, state, faults, identity. Pure; raises nothing but `MalformedReply`.

Sources for every field and trap: miners.md §1.5-1.7, recorded replies and the vendor's API documents for
1.2.0 to 1.3.4. Rules: a field is found by meaning and may be absent in any version; 0/0 temperatures are no
data; chip temperatures are the firmware's estimate (board + 10..15 °C); watts are an estimate unless
`psu_power_metering`; the dev fee's shares and hashrate are not the owner's.
"""

import re
from collections.abc import Callable
from types import MappingProxyType

import msgspec

from firmware_adapters.miners.claims import power_beside
from firmware_adapters.miners.declared import CORE_POINTS
from firmware_adapters.miners.vnish.fields import (
    NOT_JSON,
    Object,
    amount,
    as_object,
    as_page,
    child,
    children,
    flag,
    number,
    reading,
    text,
    total,
)
from firmware_adapters.miners.vnish.pools import shares
from firmware_adapters.miners.vnish.temperatures import Range, hottest_psu, temperature_range
from firmware_adapters.miners.vnish.versions import Firmware, firmware
from shared.details import Fault
from shared.errors import MalformedReply
from shared.telemetry import MISSING, MinerState, Quality, Reading
from shared.units import Algorithm, ghs_to_ths, mhs_to_ths

HASH_UNITS: MappingProxyType[str, Callable[[float], float]] = MappingProxyType(
    {
        "kH/s": lambda khs: mhs_to_ths(khs / 1_000.0),
        "MH/s": mhs_to_ths,
        "GH/s": ghs_to_ths,
        "TH/s": lambda ths: ths,
        "PH/s": lambda phs: phs * 1_000.0,
        "EH/s": lambda ehs: ehs * 1_000_000.0,
    }
)
"""To TH/s. The documents name GH/s and MH/s only; the other multiples mean what they say everywhere."""
_UNIT_OF = MappingProxyType({Algorithm.SHA256D: "GH/s", Algorithm.SCRYPT: "MH/s"})
BROKEN_BOARD = frozenset({"failure", "disconnected", "disabled", "unknown"})
IMMERSED = ("immersion", "immers")
_ALGORITHM_OF = MappingProxyType({"GH/s": Algorithm.SHA256D, "MH/s": Algorithm.SCRYPT})
_SERIES = re.compile(r"(?:antminer )?([stl])\d", re.IGNORECASE)
_SPLIT_TOLERANCE = 0.02
"""Total and boards may differ by this much before the total counts as an estimate only [default]."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """`/info`: who the machine is, and in which of `HASH_UNITS` it counts hashes (None: not known)."""

    model: str
    firmware: Firmware
    mac: str
    serial: str
    algorithm: Algorithm
    hash_unit: str | None
    uptime_s: float | None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """`/status`; None where it does not say."""

    state: MinerState
    state_time_s: float | None
    """For how long it has been in this state; the documents vouch for it in `mining` only."""
    throttle_pct: float | None
    restart_required: bool | None
    reboot_required: bool | None
    locating: bool | None
    """It blinks, so that a person finds it."""
    locked_s: float | None
    """For so long it takes no password, because somebody tried too often."""
    faults: tuple[Fault, ...]
    """The machine's own failure, by its code; boards and fans stand in `/summary`."""


# ---------------------------------------------------------------- identity


def identity(body: object) -> Identity:
    """Read `/info`. Raises `MalformedReply` if it is no object or names neither a firmware nor a machine.

    A firmware with another name is an identity like any other: whether it may be commanded is for
    `identify.Trust` to say.
    """
    info = as_page(body, "/info")
    model = text(info, "miner") or text(info, "model") or ""
    name = text(info, "fw_name")
    if name is None and not model:
        raise MalformedReply("/info: it names neither a firmware nor a machine")
    told = text(info, "hr_measure")
    algorithm = _algorithm(text(info, "algorithm"), told, model)
    # Only what is not told follows from the algorithm: another unit guessed here is wrong a thousandfold.
    unit = _UNIT_OF.get(algorithm) if told is None else told
    system = child(info, "system")
    return Identity(
        model=model,
        firmware=firmware(name, text(info, "fw_version")),
        mac=(text(child(system, "network_status"), "mac") or "").lower(),
        serial=text(info, "serial") or "",
        algorithm=algorithm,
        hash_unit=unit if unit in HASH_UNITS else None,
        uptime_s=uptime_s(text(system, "uptime")),
    )


def _algorithm(word: str | None, unit: str | None, model: str) -> Algorithm:
    """As told, else by the unit, else by the model's letter: 1.2.0 tells the unit only."""
    try:
        told = Algorithm(word or "unknown")
    except ValueError:
        told = Algorithm.UNKNOWN
    if told is not Algorithm.UNKNOWN or word not in (None, "unknown"):
        return told
    return _ALGORITHM_OF.get(unit or "", algorithm_of(model))


def algorithm_of(model: str) -> Algorithm:
    """By the letter of an Antminer's series; unknown for any other name."""
    series = _SERIES.match(model)
    if series is None:
        return Algorithm.UNKNOWN
    return Algorithm.SCRYPT if series[1].lower() == "l" else Algorithm.SHA256D


_UPTIME = re.compile(
    r"(?:(\d{1,6}) days?,\s*)?(?:(\d{1,6}):(\d{1,2})(?::(\d{1,2}))?|(\d{1,6}) min)", re.ASCII
)


def uptime_s(words: str | None) -> float | None:
    """Seconds in "0:06", "1:55" (h:mm), "9 days,  3:58" or "23 min"; None for anything else."""
    match = _UPTIME.fullmatch(words or "")
    if match is None:
        return None
    days, hours, minutes, seconds, only_minutes = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes + only_minutes) * 60 + seconds)


# ---------------------------------------------------------------- state


def status(body: object) -> Status:
    """Read `/status`. Raises `MalformedReply` if it is no object or has no state at all."""
    page = as_page(body, "/status")
    word = text(page, "miner_state")
    if word is None:
        raise MalformedReply("/status: no miner_state")
    return Status(
        state=miner_state(word),
        state_time_s=amount(page, "miner_state_time"),
        throttle_pct=number(page, "throttled"),
        restart_required=flag(page, "restart_required"),
        reboot_required=flag(page, "reboot_required"),
        locating=flag(page, "find_miner"),
        locked_s=amount(page, "unlock_timeout") or None,
        faults=_failure(page, word),
    )


def summary_status(body: object) -> Status | None:
    """The state as `/summary` carries it beside the readings; None where it does not."""
    page = child(child(as_object(body), "miner"), "miner_status")
    return None if text(page, "miner_state") is None else status(page)


def _failure(page: Object, state: str) -> tuple[Fault, ...]:
    """The failure that `/status` names. A description alone is a fault only in the state of failure."""
    code, words = number(page, "failure_code"), text(page, "description") or ""
    if code is None or code == 0:
        return (Fault(code="", words=words),) if state == MinerState.FAILURE else ()
    return (Fault(code=str(int(code)) if code == int(code) else str(code), words=words),)


def miner_state(word: str | None) -> MinerState:
    """The state by its vendor name; a name that no document lists is UNKNOWN, so it counts as running."""
    try:
        return MinerState(word or "unknown")
    except ValueError:
        return MinerState.UNKNOWN


# ---------------------------------------------------------------- summary


def summary(body: object, hash_unit: str | None) -> dict[str, Reading]:
    """Readings in `/summary`; hashrates in TH/s by `hash_unit` of `HASH_UNITS` (None: unknown, so missing).

    Raises `MalformedReply` if it is no object. `{"miner": null}` is legal: everything is missing.
    """
    page = as_page(body, "/summary")
    readings: dict[str, Reading] = dict.fromkeys(CORE_POINTS, MISSING)
    miner = as_object(page.get("miner"))
    if miner is None:
        return readings
    boards = _boards(miner)
    readings |= _hashrates(miner, boards, hash_unit)
    readings["power_w"] = power_beside(_power(miner), readings["hashrate_ths"])
    readings |= _named("chip", temperature_range(miner, boards, "chip"), Quality.ESTIMATED)
    readings |= _named("board", temperature_range(miner, boards, "pcb"), Quality.GOOD)
    readings |= _fans(child(miner, "cooling"))
    readings |= shares(children(miner, "pools"))
    readings["hw_errors"] = reading("hw_errors", amount(miner, "hw_errors"))
    readings["boards_working"] = _boards_working(boards)
    psu_c = hottest_psu(child(child(miner, "psu"), "temps"))
    if psu_c is not None:
        readings["psu_temp_c"] = reading("psu_temp_c", psu_c)
    return readings


def _boards(miner: Object | None) -> list[Object]:
    return children(miner, "chains") or children(miner, "boards")


def _hashrates(miner: Object, boards: list[Object], hash_unit: str | None) -> dict[str, Reading]:
    convert = HASH_UNITS.get(hash_unit or "")
    if convert is None:
        return {}
    whole, summed = amount(miner, "hr_realtime"), _sum(boards, "hashrate_rt")
    quality = Quality.GOOD
    if "hr_realtime" not in miner:
        whole, quality = summed, Quality.ESTIMATED
    elif whole is not None and summed is not None and _differ(whole, summed):
        quality = Quality.ESTIMATED
    nominal, sure = amount(miner, "hr_nominal"), Quality.GOOD
    if "hr_nominal" not in miner:  # as in 1.2.0
        nominal, sure = _sum(boards, "hashrate_ideal"), Quality.ESTIMATED
    return {
        name: MISSING if rate is None else reading(name, convert(rate), how)
        for name, rate, how in (
            ("hashrate_ths", whole, quality),
            ("hashrate_nominal_ths", nominal, sure),
        )
    }


def _differ(whole: float, summed: float) -> bool:
    """Both 1.2.0 recordings show 0.7 of what their boards add up to: then neither is certain."""
    return abs(whole - summed) > _SPLIT_TOLERANCE * max(whole, summed)


def _sum(boards: list[Object], key: str) -> float | None:
    """The sum over all boards; None where one of them does not say, or there is none."""
    values = [value for board in boards if (value := amount(board, key)) is not None]
    return total(values) if len(values) == len(boards) else None


def _power(miner: Object) -> Reading:
    watts = amount(miner, "power_consumption")
    if watts is None:
        watts = amount(miner, "power_usage")
        # The documents call `power_usage` the efficiency; only where it differs from that is it watts.
        if watts is not None and watts == number(miner, "power_efficiency"):
            return MISSING
    measured = flag(child(miner, "psu"), "psu_power_metering")
    return reading("power_w", watts, Quality.GOOD if measured is True else Quality.ESTIMATED)


def _named(what: str, span: Range, quality: Quality) -> dict[str, Reading]:
    if span.sensors_failed:
        failed = Reading(None, Quality.SENSOR_ERROR)
        return {f"{what}_temp_min_c": failed, f"{what}_temp_max_c": failed}
    ends = {f"{what}_temp_min_c": span.low, f"{what}_temp_max_c": span.high}
    return {name: reading(name, value, quality) for name, value in ends.items()}


def cooling_mode(body: object) -> tuple[str | None, float | None]:
    """Mode and its parameter in `/summary`: (`auto`, target °C), (`manual`, duty %), (`immersion`, None)."""
    mode = child(child(child(child(as_object(body), "miner"), "cooling"), "settings"), "mode")
    return text(mode, "name"), amount(mode, "param")


def _fans(cooling: Object | None) -> dict[str, Reading]:
    mode = child(child(cooling, "settings"), "mode")
    if text(mode, "name") in IMMERSED:
        # Immersed machines have no fans and report every one as lost: that is health, not failure.
        return {}
    found: dict[str, Reading] = {}
    for index, fan in _numbered(cooling):
        found[f"fan_rpm.{index}"] = reading("fan_rpm", amount(fan, "rpm"))
    duty = amount(cooling, "fan_duty")
    if found and duty is not None:
        found["fan_duty_pct"] = reading("fan_duty_pct", duty)
    target_c = amount(mode, "param")
    if text(mode, "name") == "auto" and target_c is not None:
        found["setpoint_c"] = reading("setpoint_c", target_c)
    return found


def _numbered(cooling: Object | None) -> list[tuple[int, Object]]:
    listed = []
    for position, fan in enumerate(children(cooling, "fans")):
        own = number(fan, "id")
        listed.append((int(own) if own is not None and 0 <= own < 16 else position, fan))
    return listed


def summary_faults(body: object) -> tuple[Fault, ...]:
    """What `/summary` says is wrong with boards and fans. The firmware has no codes for these."""
    miner = child(as_object(body), "miner")
    found = []
    for position, board in enumerate(_boards(miner)):
        status = child(board, "status")
        if text(status, "state") in ("failure", "disconnected"):
            own = amount(board, "id")
            which = int(own) if own is not None and own < 1000 else position + 1
            why = text(status, "description") or text(status, "state") or ""
            found.append(Fault(code="", words=f"board {which}: {why}"))
    cooling = child(miner, "cooling")
    if text(child(child(cooling, "settings"), "mode"), "name") not in IMMERSED:
        found += [
            Fault(code="", words=f"fan {index} is lost")
            for index, fan in _numbered(cooling)
            if text(fan, "status") == "lost"
        ]
    return tuple(found)


def _boards_working(boards: list[Object]) -> Reading:
    states = [text(child(board, "status"), "state") for board in boards]
    if not states or None in states:
        return MISSING
    working = sum(state not in BROKEN_BOARD for state in states)
    return reading("boards_working", float(working))


# ---------------------------------------------------------------- small


def error_text(body: bytes) -> str:
    """The `err` of a 500 reply, or the start of whatever came instead."""
    try:
        told = text(as_object(msgspec.json.decode(body)), "err")
    except NOT_JSON:
        told = None
    return told or body[:200].decode("utf-8", "replace")
