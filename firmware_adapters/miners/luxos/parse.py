"""LuxOS socket replies → readings, state, ladder, identity. Pure; raises nothing but `MalformedReply`.

Facts: miners.md §2, plant.md §1.2 and §1.4, recorded replies. Rules: a field is found by meaning and may be
absent in any release; watts are the firmware's estimate unless the supply measures them; `stats` repeats the
board sensors under the name of the chips, and a copy is no chip temperature; `total rate` and `total_acn`
there are not what they are called and are not read.
"""

import re
from datetime import UTC, datetime

import msgspec

from firmware_adapters.miners.cgminer import (
    Stats,
    first,
    real_fans,
    temperature_readings,
    temperatures,
)
from firmware_adapters.miners.declared import CORE_POINTS
from firmware_adapters.miners.fields import (
    Object,
    amount,
    as_object,
    children,
    flag,
    number,
    objects,
    reading,
    text,
)
from shared.capabilities import Preset
from shared.details import Fault
from shared.errors import MalformedReply
from shared.telemetry import MISSING, MinerState, Quality, Reading
from shared.units import Algorithm

START_S = 600.0
"""A firmware this young that does not hash yet is starting [default]."""
_AWAKE = frozenset({"none", "wakeup", "wake", "off", "no"})
_DEFAULT_STEP = 0.0
RECENT_S = 900.0
"""An event of a machine that works again, or sleeps as told, is over after this [default]."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """`config`: what it runs and whether it is told to sleep; None where it does not say."""

    model: str = ""
    mac: str = ""
    serial: str = ""
    profile: str | None = None
    tuning: bool | None = None
    asleep: bool | None = None
    supply_on: bool | None = None
    atm_on: bool | None = None
    air: bool = True
    """It cools with its own fans."""


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """`version`: the release as LuxOS writes it ("2025.4.8.220305-57b389c7"), and the machine it runs on."""

    release: str
    model: str


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """`tempctrl`: board temperatures in °C that it steps down at, and shuts off at."""

    hot_c: float
    dangerous_c: float


# ---------------------------------------------------------------- identity and configuration


def version(body: object) -> Version:
    """Read `version`. Raises `MalformedReply` where it is not LuxOS."""
    told = first(body, "VERSION")
    release = text(told, "LUXminer")
    if release is None:
        raise MalformedReply("version: this is not LuxOS")
    return Version(release=release, model=text(told, "Type") or "")


def config(body: object) -> Config:
    """Read `config`. Raises `MalformedReply` where it holds nothing."""
    told = first(body, "CONFIG")
    if told is None:
        raise MalformedReply("config: nothing in the reply")
    curtailed = text(told, "CurtailMode")
    cooling = (text(told, "Cooling") or "air").lower()
    return Config(
        model=text(told, "Model") or "",
        mac=(text(told, "MACAddr") or "").lower(),
        serial=text(told, "SerialNumber") or "",
        profile=text(told, "Profile"),
        tuning=flag(told, "IsTuning"),
        asleep=None if curtailed is None else curtailed.lower() not in _AWAKE,
        supply_on=flag(told, "IsPowerSupplyOn"),
        atm_on=flag(told, "IsAtmEnabled"),
        air=cooling == "air" and flag(told, "ImmersionMode") is not True,
    )


def atm_on(body: object) -> bool | None:
    """Whether thermal management steps profiles by itself; None where `atm` does not say."""
    return flag(first(body, "ATM"), "Enabled")


def control(body: object) -> Control:
    """Read `tempctrl`. Raises `MalformedReply` unless it names hot and dangerous, in that order."""
    told = first(body, "TEMPCTRL")
    hot, dangerous = number(told, "Hot"), number(told, "Dangerous")
    if hot is None or dangerous is None or not hot < dangerous:
        raise MalformedReply("tempctrl: no hot and dangerous temperature in that order")
    return Control(hot_c=hot, dangerous_c=dangerous)


def session_id(body: object) -> str:
    """The session that `logon` opened. Raises `MalformedReply` where it names none that can be sent back."""
    told = text(first(body, "SESSION"), "SessionID")
    if told is None or not told.isascii() or not told.isprintable() or "," in told:
        raise MalformedReply("logon: no usable session in the reply")
    return told


_FAMILY = re.compile(r"(?:antminer\s+)?([stl])\d", re.IGNORECASE)


def algorithm(model: str) -> Algorithm:
    """What a machine of this model mines, by its family: S and T are SHA-256, L is scrypt."""
    family = _FAMILY.match(model.strip())
    if family is None:
        return Algorithm.UNKNOWN
    return Algorithm.SCRYPT if family[1].lower() == "l" else Algorithm.SHA256D


# ---------------------------------------------------------------- sample


def readings(stats: Stats, *, air: bool) -> dict[str, Reading]:
    """Points of `stats`. An immersed machine's fans are not reported: all at 0 is its health."""
    found: dict[str, Reading] = dict.fromkeys(CORE_POINTS, MISSING)
    found["hashrate_ths"] = reading("hashrate_ths", stats.rate_ths)
    found["hashrate_nominal_ths"] = reading("hashrate_nominal_ths", stats.nominal_ths)
    pcb = temperatures(tuple(value for chain in stats.chains for value in chain.pcb_c))
    found |= temperature_readings("board", pcb, Quality.GOOD)
    chips = [value for chain in stats.chains if chain.chip_c != chain.pcb_c for value in chain.chip_c]
    found |= temperature_readings("chip", temperatures(tuple(chips)), Quality.ESTIMATED)
    if air:
        found |= {f"fan_rpm.{fan}": reading("fan_rpm", rpm) for fan, rpm in stats.fans_rpm}
    if stats.hw_errors is not None:
        found["hw_errors"] = reading("hw_errors", stats.hw_errors)
    if stats.elapsed_s is not None:
        found["uptime_s"] = reading("uptime_s", stats.elapsed_s)
    found["boards_working"] = _boards_working(stats)
    return found


def _boards_working(stats: Stats) -> Reading:
    if not stats.chains or any(chain.chips is None for chain in stats.chains):
        return MISSING
    hashing = bool(stats.rate_ths)
    return Reading(
        float(sum(bool(chain.chips) and not (hashing and chain.rate_ths == 0) for chain in stats.chains))
    )


def power(body: object) -> Reading:
    """Watts of `power`: measured where the supply tells them, else estimated."""
    told = first(body, "POWER")
    measured = flag(told, "PSU") is True
    return reading("power_w", amount(told, "Watts"), Quality.GOOD if measured else Quality.ESTIMATED)


def fans(body: object) -> dict[str, Reading]:
    """Speeds and duty of `fans`; the duty is that of the fan that is asked for most."""
    listed = children(as_object(body), "FANS")
    speeds: list[float | None] = [None] * 16
    for at, fan in enumerate(listed[:16]):
        own = amount(fan, "ID")
        index = int(own) if own is not None and own < 16 else at
        speeds[index] = amount(fan, "RPM")
    found = {f"fan_rpm.{fan}": reading("fan_rpm", rpm) for fan, rpm in real_fans(speeds, None)}
    duties = [duty for fan in listed if (duty := amount(fan, "Speed")) is not None]
    return {**found, "fan_duty_pct": reading("fan_duty_pct", max(duties))} if duties else found


def state(stats: Stats, told: Config, *, ramping: bool) -> MinerState:
    """What it is doing, from hashrate, the order to sleep, the supply and whether boards ramp up.

    A machine that does not hash without being told so is UNKNOWN while its supply is on: what it draws then
    is not known. Tuning is full power.
    """
    rate = stats.rate_ths
    if rate:
        if told.asleep:
            return MinerState.SHUTTING_DOWN
        return MinerState.AUTO_TUNING if told.tuning else MinerState.MINING
    off = rate == 0 and told.supply_on is False
    if (told.asleep and (rate == 0 or told.supply_on is False)) or (off and told.asleep is None):
        return MinerState.STOPPED
    young = stats.elapsed_s is not None and stats.elapsed_s < START_S
    if ramping or (rate == 0 and young and not told.asleep):
        return MinerState.STARTING
    return MinerState.FAILURE if off and told.asleep is False else MinerState.UNKNOWN


def ramping(devs: object) -> bool:
    """Whether any board of `devs` is on its way up."""
    return any(flag(board, "IsRamping") is True for board in children(as_object(devs), "DEVS"))


def faults(body: object, utc_ms: int, *, broken: bool) -> tuple[Fault, ...]:
    """`events`: what is wrong now. Raises `MalformedReply` without a list.

    The list is a record of days. While the machine is `broken` (idle without being told to) all of it may be
    why; else an event counts for `RECENT_S`, by the clock of the machine that wrote both, or ours (`utc_ms`)
    where it tells none. One without a time that can be read counts.
    """
    listed = body.get("EVENTS") if isinstance(body, dict) else None
    if not isinstance(listed, list):
        raise MalformedReply("events: no list in the reply")
    said_s = amount(first(body, "STATUS"), "When")
    now_s = said_s or utc_ms / 1000.0
    found = []
    for event in objects(listed):
        if not broken and _is_over(text(event, "CreatedAt"), now_s):
            continue
        code = text(event, "Code")
        words = text(event, "Description") or ""
        where, when = text(event, "Target"), text(event, "CreatedAt")
        told = ", ".join(part for part in (where, when) if part is not None)
        if code is not None:
            found.append(Fault(code=code, words=f"{words} ({told})" if told else words))
    return tuple(found)


def _is_over(when: str | None, now_s: float) -> bool:
    """Whether something of that time (ISO 8601) is history; False where the time cannot be read."""
    try:
        at = datetime.fromisoformat(when or "")
    except ValueError:
        return False
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return now_s - at.timestamp() > RECENT_S


# ---------------------------------------------------------------- ladder


def presets(body: object) -> tuple[Preset, ...]:
    """The ladder of `profiles`, by power. Raises `MalformedReply` if it is no list.

    A profile is a step of frequency and voltage that the firmware computed, and runs at once at its own
    power; tuning refines it in place. So every step up to the default counts as tuned, and one above it,
    which overclocks the machine, only once the firmware has tuned it. Without a step number its own word
    decides.
    """
    listed = body.get("PROFILES") if isinstance(body, dict) else None
    if not isinstance(listed, list):
        raise MalformedReply("profiles: no list in the reply")
    ladder: dict[str, Preset] = {}
    for item in objects(listed):
        rung = _rung(item)
        if rung is not None:
            ladder[rung.name] = rung
    return tuple(sorted(ladder.values(), key=lambda rung: (rung.power_w, rung.name)))


def _rung(item: Object) -> Preset | None:
    name, watts, rate = text(item, "Profile Name"), amount(item, "Watts"), amount(item, "Hashrate")
    if name is None or "," in name or watts is None or rate is None:
        return None
    step = number(item, "Step")
    return Preset(
        name=name,
        power_w=watts,
        hashrate_ths=rate,
        tuned=flag(item, "IsTuned") is True or (step is not None and step <= _DEFAULT_STEP),
    )


def rated(body: object, name: str | None) -> dict[str, Reading]:
    """`preset_w` of the running profile; empty where ladder or profile do not tell it."""
    try:
        ladder = presets(body)
    except MalformedReply:
        return {}
    watts = next((rung.power_w for rung in ladder if rung.name == name), None)
    return {} if watts is None else {"preset_w": reading("preset_w", watts)}


def target(body: object) -> dict[str, Reading]:
    """`setpoint_c`, the board temperature that it holds; empty where `tempctrl` does not tell it."""
    told = number(first(body, "TEMPCTRL"), "Target")
    return {} if told is None else {"setpoint_c": reading("setpoint_c", told)}
