"""Avalon replies → readings, faults, state, identity. Pure; raises nothing but `MalformedReply`.

Sources: miners.md §2 and a recorded Avalon Q; brackets of the A series as its vendor prints them. `summary`
counts MH/s, brackets GH/s. Rules: a name is found by meaning and may be absent; a temperature of 0 is no
data; watts are an estimate; averages never stand for the hashrate of now. Boards, chips and pools: `parts`.
"""

import re

import msgspec

from firmware_adapters.miners.avalon.brackets import Values, amount, number, numbers, sections
from firmware_adapters.miners.declared import CORE_POINTS
from firmware_adapters.miners.fields import Object, as_number, children, objects, reading, text
from firmware_adapters.miners.fields import amount as amount_of
from shared.details import Fault
from shared.errors import MalformedReply
from shared.telemetry import MISSING, MinerState, Quality, Reading
from shared.units import ghs_to_ths, mhs_to_ths

RAMP_S = 900.0
"""After this long without a hash it is no start any more [default]."""
_UNIX = 1e9
"""A smaller number of seconds is no date."""
_MODULE = re.compile(r"MM ID(\d{1,3})", re.ASCII)
"""`MM ID0`, or cut in parts: `MM ID0:Summary`."""
_NO_SENSOR_C = -40.0
_HIGHEST_CENTIVOLTS = 6000
"""More cannot be a supply's 10 mV: small machines count its voltage in mV [default]."""
_MOST_FANS = 16
_SUPPLY_OUT_V, _SUPPLY_OUT_W, _SUPPLY_IN_W = 2, 4, 6
"""Places in `PS`: error, own voltage, voltage, current and power of its output, voltage wanted, and on newer
machines the power that it takes in. Voltages in 10 mV."""


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """One `estats` reply: the brackets of its modules (an old controller may have several, all others one),
    and those of its boards where they stand apart."""

    modules: tuple[Values, ...]
    boards: tuple[Values, ...] = ()

    @property
    def module(self) -> Values:
        """The first module, which speaks for the machine."""
        return self.modules[0]

    @property
    def rests(self) -> bool:
        """It says itself that no chip has a temperature now: what it lists per chip is of an earlier time."""
        return all(amount(module, "TMax") == 0 for module in self.modules)


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """`version`: who the machine is; empty where it does not say. `now_s` is its own clock, unix seconds."""

    model: str = ""
    firmware: str = ""
    mac: str = ""
    serial: str = ""
    now_s: float | None = None


# ---------------------------------------------------------------- pages


def identity(body: object) -> Identity:
    """Read `version`. Raises `MalformedReply` where it is not an Avalon's."""
    page = body if isinstance(body, dict) else {}
    said = next(iter(children(page, "VERSION")), None)
    product = text(said, "PROD") or ""
    if said is None or ("avalon" not in product.lower() and not {"LVERSION", "DNA"} <= set(said)):
        raise MalformedReply("version: this is not an Avalon")
    model = text(said, "MODEL") or ""
    return Identity(
        model=(product or f"Avalon {model}").replace("AvalonMiner", "Avalon").strip(),
        firmware=text(said, "LVERSION") or text(said, "CGVERSION") or "",
        mac=_mac(text(said, "MAC") or ""),
        serial=text(said, "DNA") or "",
        now_s=clock_s(page),
    )


def _mac(told: str) -> str:
    told = told.lower()
    plain = told.isascii() and told.isalnum() and len(told) == 12
    return ":".join(told[at : at + 2] for at in range(0, 12, 2)) if plain else told


def clock_s(page: Object) -> float | None:
    """The machine's own time in a reply, unix seconds; None where its clock is not set."""
    when = amount_of(next(iter(children(page, "STATUS")), None), "When")
    return when if when is not None and when >= _UNIX else None


def stats(body: object) -> Stats:
    """Read `estats` or `stats`. Raises `MalformedReply` where it holds no module."""
    modules: dict[str, Values] = {}
    boards: list[Values] = []
    for part in objects(body.get("STATS")) if isinstance(body, dict) else []:
        for key, value in part.items():
            if not isinstance(value, str):
                continue
            if key.startswith("HBinfo"):
                boards += [inner for inner in sections(value).values() if inner]
            elif (own := _MODULE.match(key)) is not None:
                for inner in sections(value).values():
                    modules[own[1]] = {**inner, **modules.get(own[1], {})}
    found = tuple(module for module in modules.values() if module)
    if not found:
        raise MalformedReply("estats: no module in the reply")
    return Stats(modules=found[:16], boards=tuple(boards[:16]))


def summary(body: object) -> dict[str, Reading]:
    """Readings in `summary`. Raises `MalformedReply` where it holds none."""
    said = next(iter(children(body if isinstance(body, dict) else None, "SUMMARY")), None)
    if said is None:
        raise MalformedReply("summary: there is none in the reply")
    readings: dict[str, Reading] = {}
    mhs = next((mhs for key in ("MHS 5s", "MHS 1m") if (mhs := amount_of(said, key)) is not None), None)
    readings["hashrate_ths"] = reading("hashrate_ths", None if mhs is None else mhs_to_ths(mhs))
    for point, key in (
        ("shares_accepted", "Accepted"),
        ("shares_rejected", "Rejected"),
        ("shares_stale", "Stale"),
        ("hw_errors", "Hardware Errors"),
    ):
        value = amount_of(said, key)
        if value is not None:
            readings[point] = reading(point, value)
    return readings


# ---------------------------------------------------------------- brackets


def module_readings(seen: Stats) -> dict[str, Reading]:
    """What the brackets tell, except the hashrate where `summary` has it."""
    module = seen.module
    readings: dict[str, Reading] = dict.fromkeys(CORE_POINTS, MISSING)
    for point, name in (("hashrate_ths", "GHSspd"), ("hashrate_nominal_ths", "GHSmm")):
        ghs = _total([amount(one, name) for one in seen.modules])
        if name == "GHSmm" and ghs == 0:
            ghs = None  # a rate of 0 is not what it expects but what it does not know
        readings[point] = reading(point, None if ghs is None else ghs_to_ths(ghs))
    readings["power_w"] = reading("power_w", _total([_watts(one) for one in seen.modules]), Quality.ESTIMATED)
    told = [[amount(one, "TMax") or 0.0, *numbers(one, "MTmax")] for one in seen.modules]
    hottest = max(value for values in told for value in values)
    readings["chip_temp_max_c"] = reading("chip_temp_max_c", hottest or None)
    coolest = [] if seen.rests else [value for board in chip_temperatures(seen) for value in board if value]
    readings["chip_temp_min_c"] = reading("chip_temp_min_c", min(coolest, default=None))
    ends = [value for name in ("HBITemp", "HBOTemp") if (value := celsius(module, name)) is not None]
    readings["board_temp_min_c"] = reading("board_temp_min_c", min(ends, default=None))
    readings["board_temp_max_c"] = reading("board_temp_max_c", max(ends, default=None))
    inlet = celsius(module, "ITemp", "Temp")
    if inlet is not None:
        readings["air_temp_c"] = reading("air_temp_c", inlet)
    uptime_s = amount(module, "Elapsed")
    if uptime_s is not None:
        readings["uptime_s"] = reading("uptime_s", uptime_s)
    working = _boards_found(module)
    if working is not None:
        readings["boards_working"] = reading("boards_working", working)
    limit = amount(module, "MPO")
    if limit:
        readings["power_limit_w"] = reading("power_limit_w", limit)
    return readings | _fans(module)


def celsius(module: Values, *names: str) -> float | None:
    """The first temperature under `names`; 0 and -273 are how a sensor prints that is not there."""
    told = (number(module, name) for name in names)
    return next((value for value in told if value is not None and value != 0 and value > _NO_SENSOR_C), None)


def _total(values: list[float | None]) -> float | None:
    """The sum, where every module tells."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _watts(module: Values) -> float | None:
    """What it takes from the wall, or else what its supply gives to the boards: some per cent less."""
    told = amount(module, "WALLPOWER")
    supply = numbers(module, "PS")
    if not told and len(supply) > _SUPPLY_IN_W:
        told = supply[_SUPPLY_IN_W]
    if told is None and len(supply) > _SUPPLY_OUT_W:
        told = supply[_SUPPLY_OUT_W]
    return told if told is not None and told >= 0 else None


def _fans(module: Values) -> dict[str, Reading]:
    found: dict[str, Reading] = {}
    for index in range(_MOST_FANS):
        rpm = amount(module, f"Fan{index + 1}")
        if rpm is not None:
            found[f"fan_rpm.{index}"] = reading(f"fan_rpm.{index}", rpm)
    duty = amount(module, "FanR")
    if found and duty is not None:
        found["fan_duty_pct"] = reading("fan_duty_pct", duty)
    return found


def _boards_found(module: Values) -> float | None:
    """`SYSTEMSTATU[Work: In Work, Hash Board: 3 ]` counts the boards that it found."""
    _, _, told = module.get("SYSTEMSTATU", "").partition("Hash Board:")
    count = as_number(told.strip().split(" ")[0].rstrip(",")) if told.strip() else None
    return count if count is not None and 0 <= count <= 16 else None


def chip_temperatures(seen: Stats) -> list[list[float]]:
    """The chips' temperatures per board, °C; 0 is no data."""
    return chip_values(seen, "PVT_T")


def chip_values(seen: Stats, name: str) -> list[list[float]]:
    """One list per board: from the boards' own parts, or numbered in the module's."""
    if seen.boards:
        return [
            next((numbers(board, key) for key in board if key.startswith(name)), []) for board in seen.boards
        ]
    return [numbers(seen.module, f"{name}{index}") for index in range(16) if f"{name}{index}" in seen.module]


def supply_voltage_v(seen: Stats) -> float | None:
    """The voltage that the supply gives to the boards, V."""
    supply = numbers(seen.module, "PS")
    if len(supply) <= _SUPPLY_OUT_W or supply[_SUPPLY_OUT_V] < 0:
        return None
    told = supply[_SUPPLY_OUT_V]
    return told / 100 if told <= _HIGHEST_CENTIVOLTS else told / 1000


def work_mode(seen: Stats) -> int | None:
    """The number of the mode that it works in."""
    mode = amount(seen.module, "WORKMODE")
    return int(mode) if mode is not None and mode < 100 and mode == int(mode) else None


def miner_state(seen: Stats, hashrate: float | None) -> MinerState:
    """What it says that it does; UNKNOWN where its words and its hashrate do not tell."""
    _, _, told = seen.module.get("SYSTEMSTATU", "").partition("Work:")
    word = told.partition(",")[0].strip().lower()
    if "idle" in word:
        return MinerState.STOPPED
    if "init" in word:
        return MinerState.INITIALIZING
    if hashrate is None:
        return MinerState.UNKNOWN
    if hashrate > 0:
        return MinerState.MINING
    if not word and amount(seen.module, "SoftOFF"):
        return MinerState.STOPPED
    elapsed_s = amount(seen.module, "Elapsed")
    starting = elapsed_s is not None and elapsed_s <= RAMP_S
    return MinerState.INITIALIZING if starting else MinerState.UNKNOWN


def faults(seen: Stats) -> tuple[Fault, ...]:
    """Codes of its parts that are not 0: hash units, main module, fans, supply."""
    found = []
    for name, words in _FAULTS:
        codes = numbers(seen.module, name)
        for place, code in enumerate(codes[:1] if name == "PS" else codes[:16]):
            if code:
                found.append(
                    Fault(
                        code=f"{name}{place if len(codes) > 1 and name != 'PS' else ''}:{code:g}", words=words
                    )
                )
    return tuple(found)


_FAULTS = (
    ("ECHU", "hash unit"),
    ("ECMM", "main module"),
    ("FanErr", "fans"),
    ("PS", "power supply"),
)
