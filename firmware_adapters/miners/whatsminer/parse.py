"""Whatsminer replies → readings, state, faults, identity. Pure; raises nothing but `MalformedReply`.

For both APIs: v2 counts MH/s and GH/s under names that say so (`MHS av`, `Factory GHS`; `HS RT` is MH/s
too), v3 counts TH/s (`hash-realtime`). Sources: miners.md §2 and recorded replies of v2. Rules: a field is
found by meaning and may be absent; 0/0 temperatures are no data; watts are an estimate; an average hashrate
is not the one of now and so never stands for it; a sensor that prints what cannot be does not hide the
others. Boards and pools: `parts`.
"""

import re
from collections.abc import Sequence

import msgspec

from firmware_adapters.miners.claims import power_beside, still_hashes
from firmware_adapters.miners.fields import reading
from firmware_adapters.miners.whatsminer.faults import faults_in, faults_of_summary
from firmware_adapters.miners.whatsminer.fields import (
    Page,
    amount,
    message,
    number,
    numbers,
    section,
    text,
    truth,
)
from shared.details import Fault
from shared.errors import MalformedReply
from shared.telemetry import METRICS, MinerState, Quality, Reading
from shared.units import ghs_to_ths, mhs_to_ths

RAMP_S = 1800.0
"""A cold start takes 6-10 min (miners.md §5.1, plant.md S21); after this long without a hash it is no start
any more [default]."""
_MODEL = re.compile(r"M\d(\d)", re.ASCII)
_PLAIN = (
    ("power_limit_w", ("powerlimit",)),
    ("uptime_s", ("uptime", "bootuptime")),
    ("shares_accepted", ("accepted",)),
    ("shares_rejected", ("rejected",)),
    ("shares_stale", ("stale",)),
    ("hw_errors", ("hardwareerrors",)),
)
"""Points that are one number in `summary`, and named only where it is there."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """`summary`; None where it does not say."""

    readings: dict[str, Reading]
    stable: bool | None = None
    """The ramp of frequencies is over."""
    elapsed_s: float | None = None
    mode: str | None = None
    """The power mode that runs, in lower case."""
    faults: tuple[Fault, ...] | None = None
    boards_c: tuple[float, ...] = ()
    """v3: the boards' temperatures in their order, °C; 0 is no data."""


class Switch(msgspec.Struct, frozen=True, kw_only=True):
    """Whether mining is switched off, and the power mode that was asked for; None where it does not say."""

    off: bool | None = None
    mode: str | None = None


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who the machine is; empty where it does not say."""

    model: str = ""
    firmware: str = ""
    mac: str = ""
    serial: str = ""


def is_model(name: str) -> bool:
    """Whether it names one of the family, so that its name tells what cools it."""
    return _MODEL.search(name) is not None


def stands_in_liquid(model: str) -> bool:
    """Whether it has no fans: M_3 is water-cooled, M_6 immersed (M33S, M53, M56, M66S)."""
    found = _MODEL.search(model)
    return found is not None and found.group(1) in "36"


def may_stand_in_liquid(model: str) -> bool:
    """Whether models of this name are known with and without fans (M31H, M34S+, M39, M54S++, M59, M64, M69):
    one that hashes while none turns has none."""
    found = _MODEL.search(model)
    return found is not None and (found.group(1) in "49" or model[found.end() :][:1].upper() == "H")


# ---------------------------------------------------------------- summary


def summary(body: object, *, liquid: bool = False) -> Summary:
    """Read `summary`. `liquid`: the model has no fans, so what it prints of fans and air is nothing.

    Raises `MalformedReply` where the reply holds no summary.
    """
    found = section(body, "summary")
    if not found:
        raise MalformedReply("summary: there is none in the reply")
    said = found[0]
    boards_c = tuple(numbers(said, "boardtemperature"))
    watts = amount(said, "powerrealtime", "powerrt", "power")
    hashrate = reading("hashrate_ths", rate_now(said))
    readings = {
        "hashrate_ths": hashrate,
        "hashrate_nominal_ths": _nominal(said),
        "power_w": power_beside(reading("power_w", watts, Quality.ESTIMATED), hashrate),
        # Each end by itself: the hottest chip is not the coolest one where only it is told.
        "chip_temp_min_c": reading("chip_temp_min_c", amount(said, "chiptempmin") or None),
        "chip_temp_max_c": reading("chip_temp_max_c", amount(said, "chiptempmax") or None),
        **span("board", likely_c(boards_c) or [number(said, "temperature")]),
    }
    if not liquid:
        readings |= _air(said)
    for point, names in _PLAIN:
        value = amount(said, *names)
        if value or (value is not None and point != "power_limit_w"):  # a limit of 0 W is none that it holds
            readings[point] = reading(point, value)
    mode = text(said, "powermode")
    return Summary(
        readings=readings,
        stable=_stable(said),
        elapsed_s=amount(said, "elapsed"),
        mode=mode.lower() if mode is not None else None,
        faults=faults_of_summary(said),
        boards_c=boards_c,
    )


def rate_now(said: Page) -> float | None:
    """The hashrate of now, TH/s, of a machine or of a board; None where only an average is told."""
    ths = amount(said, "hashrealtime")
    if ths is not None:
        return ths
    mhs = amount(said, "hsrt", "mhs5s", "mhs1m")
    return None if mhs is None else mhs_to_ths(mhs)


def _nominal(said: Page) -> Reading:
    """At the present clocks where it tells; the factory's rating only stands in for it, so as an estimate."""
    target = amount(said, "targetmhs")
    if target:
        return reading("hashrate_nominal_ths", mhs_to_ths(target))
    return reading("hashrate_nominal_ths", factory_ths(said), Quality.ESTIMATED)


def factory_ths(said: Page) -> float | None:
    """The factory's rating, TH/s, of a machine or of a board."""
    ths = amount(said, "factoryhash", "hashfactory")
    if ths:
        return ths
    ghs = amount(said, "factoryghs")
    # 0 is what a machine prints whose boards it has not found yet.
    return ghs_to_ths(ghs) if ghs else None


def span(what: str, values: Sequence[float | None]) -> dict[str, Reading]:
    """Coolest and hottest; a zero is no data, as everywhere in this family."""
    known = [value for value in values if value]
    low, high = f"{what}_temp_min_c", f"{what}_temp_max_c"
    return {low: reading(low, min(known, default=None)), high: reading(high, max(known, default=None))}


def _air(said: Page) -> dict[str, Reading]:
    found: dict[str, Reading] = {}
    for index, name in enumerate(("fanspeedin", "fanspeedout")):
        rpm = amount(said, name)
        if rpm is not None:
            found[f"fan_rpm.{index}"] = reading(f"fan_rpm.{index}", rpm)
    inlet_c = number(said, "envtemp", "environmenttemperature")
    if inlet_c:
        found["air_temp_c"] = reading("air_temp_c", inlet_c)
    return found


def likely_c(values: Sequence[float]) -> Sequence[float]:
    """Of the temperatures of boards (°C) those that can be; all of them where none can."""
    metric = METRICS["board_temp_max_c"]
    return [value for value in values if value and metric.low <= value <= metric.high] or values


def summary_of(body: object, model: str) -> Summary:
    """`summary`, for a machine of this model; what prints fans and has none tells of none."""
    seen = summary(body, liquid=stands_in_liquid(model))
    hashes = (seen.readings["hashrate_ths"].usable or 0.0) > 0
    if hashes and may_stand_in_liquid(model) and not turns_fans(seen):
        return summary(body, liquid=True)
    return seen


def turns_fans(seen: Summary) -> bool:
    """Whether a fan of it turns."""
    return any(point.startswith("fan_rpm.") and found.usable for point, found in seen.readings.items())


def _stable(said: Page) -> bool | None:
    told = truth(said, "hashstable")
    if told is None:
        finished = number(said, "upfreqfinish")
        told = None if finished is None else finished != 0
    return told


# ---------------------------------------------------------------- state


def status(body: object) -> Switch:
    """Read v2's `status`. Raises `MalformedReply` where it says nothing."""
    said = message(body, "status")
    mode = text(said, "powermode")
    return Switch(off=truth(said, "mineroff", "btmineroff"), mode=mode.lower() if mode is not None else None)


def miner_state(switch: Switch, seen: Summary | None) -> MinerState:
    """What it does, from its switch and its hashrate; UNKNOWN where they do not tell.

    A ramp of frequencies hashes, so it counts as tuning, which is a state of full power. The switch is the
    echo of an order: one that is off and still hashes is on its way down at best.
    """
    hashrate = seen.readings["hashrate_ths"].usable if seen is not None else None
    if switch.off:
        nominal = seen.readings["hashrate_nominal_ths"].usable if seen is not None else None
        return MinerState.SHUTTING_DOWN if still_hashes(hashrate, nominal) else MinerState.STOPPED
    if seen is None or hashrate is None:
        return MinerState.UNKNOWN
    if hashrate > 0:
        return MinerState.AUTO_TUNING if seen.stable is False else MinerState.MINING
    if switch.off is False and seen.elapsed_s is not None and seen.elapsed_s <= RAMP_S:
        return MinerState.INITIALIZING
    return MinerState.UNKNOWN


# ---------------------------------------------------------------- faults and supply


def faults(body: object) -> tuple[Fault, ...]:
    """The codes in v2's `get_error_code`. Raises `MalformedReply` where it holds no list of them."""
    said = message(body, "get_error_code")
    if "errorcode" not in said:
        raise MalformedReply("get_error_code: no list of codes in the reply")
    return faults_in(said["errorcode"])


def psu_temp_c(body: object) -> float | None:
    """The supply's temperature in v2's `get_psu`, °C; not every version tells. Raises `MalformedReply`."""
    return amount(message(body, "get_psu"), "temp0", "temp") or None


# ---------------------------------------------------------------- identity


def identity(
    version: object, info: object = None, details: object = None, summary: object = None
) -> Identity:
    """v2: who it is, from `get_version`, `get_miner_info`, `devdetails` and `summary` (None: not answered).

    Raises `MalformedReply` where `get_version` says nothing.
    """
    said = message(version, "get_version")
    own = next(iter(section(info, "msg") or []), {})
    now = next(iter(section(summary, "summary") or []), {})
    firmware = text(said, "fwver", "firmwareversion")
    if firmware is None and "apiver" not in said:
        raise MalformedReply("get_version: neither a firmware nor an API version in the reply")
    return Identity(
        model=model_told(version) or model_told(info) or model_told(details),
        firmware=firmware or "",
        mac=(text(own, "mac") or text(now, "mac") or "").lower(),
        serial=text(own, "minersn") or "",
    )


def model_told(body: object) -> str:
    """The model in `get_version`, `get_miner_info` or `devdetails`; empty where it does not say."""
    own = next(iter(section(body, "msg") or []), {})
    board = next(iter(section(body, "devdetails") or []), {})
    return text(own, "minertype") or text(board, "model") or ""
