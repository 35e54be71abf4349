"""VNish `stats` on the 4028 socket → readings: what can still be seen while the web server hangs.

Field names as recorded on a real machine (miners.md §2.1). There is no running preset, no pool and no total
of watts here: `chain_consumption` leaves out fans and supply losses, so power is not reported at all rather
than too low. Rates are in `rate_unit`, whatever a key's name says; without it a key that is called GHS is
believed of a SHA-256 machine only, because no source says what a scrypt machine fills in there.
"""

import re

from firmware_adapters.miners.cgminer import rate_scale, scaled
from firmware_adapters.miners.declared import CORE_POINTS
from firmware_adapters.miners.vnish.fields import (
    Object,
    amount,
    as_number,
    as_object,
    number,
    reading,
    text,
)
from firmware_adapters.miners.vnish.parse import algorithm_of, miner_state
from firmware_adapters.miners.vnish.temperatures import usable
from shared.details import Board, Fault
from shared.errors import MalformedReply
from shared.telemetry import MISSING, MinerState, Quality, Reading
from shared.units import Algorithm

_BOARDS = range(1, 17)
_WORKING = ("mining", "initializing", "stopped")
_TEMPERATURE = re.compile(r"-?\d{1,3}", re.ASCII)


def stats(
    body: Object, algorithm: Algorithm = Algorithm.UNKNOWN
) -> tuple[MinerState, Algorithm, dict[str, Reading]]:
    """State, algorithm and readings of a `stats` reply. Raises `MalformedReply` where it holds no machine.

    `algorithm` is what is known of the machine; where that is nothing, its `Type` tells it here.
    """
    machine = _machine(body)
    if algorithm is Algorithm.UNKNOWN:
        algorithm = algorithm_of(_model(body))
    readings: dict[str, Reading] = dict.fromkeys(CORE_POINTS, MISSING)
    scale = _scale(machine, algorithm)
    for point, value in (
        ("hashrate_ths", amount(machine, "GHS 5s")),
        ("hashrate_nominal_ths", _ideal(machine)),
    ):
        rate_ths = scaled(value, scale)
        if rate_ths is not None:
            readings[point] = reading(point, rate_ths)
    for what, name, quality in (
        ("chip", "temp_chip", Quality.ESTIMATED),
        ("board", "temp_pcb", Quality.GOOD),
    ):
        span = [value for board in _BOARDS for value in _temperatures(text(machine, f"{name}{board}"))]
        if span:
            for point, value in ((f"{what}_temp_min_c", min(span)), (f"{what}_temp_max_c", max(span))):
                readings[point] = reading(point, value, quality)
    readings |= _fans(machine)
    readings["boards_working"] = _boards_working(machine)
    return miner_state(text(machine, "state")), algorithm, readings


def _model(body: Object) -> str:
    parts = body.get("STATS")
    for part in parts if isinstance(parts, list) else []:
        found = as_object(part)
        model = text(found, "Type") if found is not None else None
        if model is not None:
            return model
    return ""


def _scale(machine: Object, algorithm: Algorithm) -> float | None:
    """TH/s in one of the reply's unit; None where that is not known."""
    told = text(machine, "rate_unit")
    if told is not None:
        return rate_scale(told)
    return rate_scale("GH") if algorithm is Algorithm.SHA256D else None


def _ideal(machine: Object) -> float | None:
    """What all boards should hash, in the reply's unit; None where a board that hashes does not tell."""
    total = amount(machine, "total_rateideal")
    if total is not None:
        return total
    there = [board for board in _BOARDS if number(machine, f"chain_rate{board}") is not None]
    ideal = [amount(machine, f"chain_rateideal{board}") for board in there]
    told = [rate for rate in ideal if rate is not None]
    return sum(told) if told and len(told) == len(there) else None


def stats_boards(body: Object, algorithm: Algorithm) -> tuple[Board, ...]:
    """The boards of a `stats` reply, numbered as the web pages number them. Raises `MalformedReply`."""
    machine = _machine(body)
    scale = _scale(machine, algorithm if algorithm is not Algorithm.UNKNOWN else algorithm_of(_model(body)))
    return tuple(
        _board(machine, number, scale)
        for number in _BOARDS
        if any(f"{name}{number}" in machine for name in ("chain_state", "chain_rate", "temp_chip"))
    )


def _board(machine: Object, number: int, scale: float | None) -> Board:
    chips_c = _temperatures(text(machine, f"temp_chip{number}"))
    boards_c = _temperatures(text(machine, f"temp_pcb{number}"))
    state = text(machine, f"chain_state{number}")
    millivolts, chips = amount(machine, f"chain_vol{number}"), amount(machine, f"chain_acn{number}")
    return Board(
        index=number,
        working=None if state is None else state in _WORKING,
        hashrate_ths=scaled(amount(machine, f"chain_rate{number}"), scale),
        hashrate_nominal_ths=scaled(amount(machine, f"chain_rateideal{number}"), scale),
        power_w=amount(machine, f"chain_consumption{number}"),
        chip_temp_max_c=max(chips_c, default=None),
        chip_temp_min_c=min(chips_c, default=None),
        board_temp_max_c=max(boards_c, default=None),
        board_temp_min_c=min(boards_c, default=None),
        frequency_mhz=amount(machine, f"freq_avg{number}"),
        voltage_v=None if millivolts is None else millivolts / 1000.0,
        hw_errors=amount(machine, f"chain_hw{number}"),
        chips=None if chips is None else int(min(chips, 1e6)),
        fault=text(machine, f"chain_fault{number}") or "",
    )


def stats_faults(body: Object) -> tuple[Fault, ...]:
    """What a `stats` reply says is wrong with boards; it has no codes. Raises `MalformedReply` as `stats`."""
    machine = _machine(body)
    return tuple(
        Fault(code="", words=f"board {board}: {words}")
        for board in _BOARDS
        if (words := text(machine, f"chain_fault{board}")) is not None
    )


def _machine(body: Object) -> Object:
    parts = body.get("STATS")
    for part in parts if isinstance(parts, list) else []:
        found = as_object(part)
        if found is not None and "GHS 5s" in found:
            return found
    raise MalformedReply("4028 stats: no machine in the reply")


def _temperatures(quartet: str | None) -> list[float]:
    """ "65-55-65-65" is four sensors; zeros are no data and so dropped, as is what none can mean."""
    words = quartet.split("-") if quartet is not None else []
    told = [usable(float(word)) for word in words if _TEMPERATURE.fullmatch(word)]
    return [value for value in told if value]


def _fans(machine: Object) -> dict[str, Reading]:
    """Fans as they turn. All of them at 0 is immersion or a dead tachometer, which this socket cannot tell
    apart, so then none is reported."""
    found = {
        f"fan_rpm.{index - 1}": reading("fan_rpm", rpm)
        for index in range(1, 9)
        if (rpm := as_number(machine.get(f"fan{index}"))) is not None and rpm >= 0
    }
    if all(fan.value == 0 for fan in found.values()):
        return {}
    duty = number(machine, "fan_pwm")
    return found if duty is None else {**found, "fan_duty_pct": reading("fan_duty_pct", duty)}


def _boards_working(machine: Object) -> Reading:
    states = [text(machine, f"chain_state{board}") for board in _BOARDS]
    known = [state for state in states if state is not None]
    if not known:
        return MISSING
    return Reading(float(sum(state in _WORKING for state in known)))
