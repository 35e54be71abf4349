"""VNish `stats` on the 4028 socket → readings: what can still be seen while the web server hangs.

Field names as recorded on a real machine (miners.md §2.1). There is no running preset, no pool and no total
of watts here: `chain_consumption` leaves out fans and supply losses, so power is not reported at all rather
than too low.
"""

import re

from firmware_adapters.miners.declared import CORE_POINTS
from firmware_adapters.miners.vnish.fields import Object, as_number, as_object, number, reading, text
from firmware_adapters.miners.vnish.parse import miner_state
from firmware_adapters.miners.vnish.temperatures import usable
from shared.details import Fault
from shared.errors import MalformedReply
from shared.telemetry import MISSING, MinerState, Quality, Reading
from shared.units import ghs_to_ths

_BOARDS = range(1, 17)
_TEMPERATURE = re.compile(r"-?\d{1,3}", re.ASCII)


def stats(body: Object) -> tuple[MinerState, dict[str, Reading]]:
    """State and readings of a `stats` reply. Raises `MalformedReply` where it holds no machine."""
    machine = _machine(body)
    readings: dict[str, Reading] = dict.fromkeys(CORE_POINTS, MISSING)
    hashrate = number(machine, "GHS 5s")
    if hashrate is not None and hashrate >= 0:
        readings["hashrate_ths"] = reading("hashrate_ths", ghs_to_ths(hashrate))
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
    return miner_state(text(machine, "state")), readings


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
    return Reading(float(sum(state in ("mining", "initializing", "stopped") for state in known)))
