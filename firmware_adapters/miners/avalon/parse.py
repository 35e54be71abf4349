"""Avalon replies → readings, faults, state, identity. Pure; raises nothing but `MalformedReply`.

Sources: miners.md §2 and a recorded Avalon Q; brackets of the A series as its vendor prints them. `summary`
counts MH/s, brackets GH/s. Rules: a name is found by meaning and may be absent; a temperature of 0 or -273 is
no data; watts are an estimate; averages never stand for the hashrate of now; of several modules each counts,
in their order. Boards, chips and pools: `parts`.
"""

import re

import msgspec

from firmware_adapters.miners.avalon.brackets import Values, amount, number, numbers, sections
from firmware_adapters.miners.claims import still_hashes
from firmware_adapters.miners.declared import CORE_POINTS
from firmware_adapters.miners.fields import Object, as_number, children, objects, reading, text
from firmware_adapters.miners.fields import amount as amount_of
from shared.details import Fault
from shared.errors import MalformedReply
from shared.telemetry import METRICS, MISSING, MinerState, Quality, Reading
from shared.units import ghs_to_ths, mhs_to_ths

RAMP_S = 900.0
"""After this long without a hash it is no start any more [default]."""
_UNIX = 1e9
"""A smaller number of seconds is no date."""
_MODULE = re.compile(r"MM ID(\d{1,3})", re.ASCII)
"""`MM ID0`, or cut in parts: `MM ID0:Summary`."""
_NO_SENSOR_C = -40.0
_CHIP_C = METRICS["chip_temp_max_c"]
_LIQUID = re.compile(r"\d(?:I|HA?)(?![0-9A-Z])", re.ASCII | re.IGNORECASE)
"""Models of the A series that stand in oil (1366I) or are cooled by water (1566HA) [default]."""
_HIGHEST_CENTIVOLTS = 6000
"""More cannot be a supply's 10 mV: small machines count its voltage in mV [default]."""
_MOST_FANS = 16
_MOST_MODULES = 16
_MOST_BOARDS = 16
"""Of one module."""
_SUPPLY_OUT_V, _SUPPLY_OUT_W, _SUPPLY_IN_W = 2, 4, 6
"""Places in `PS`: error, own voltage, voltage, current and power of its output, voltage wanted, and on newer
machines the power that it takes in. Voltages in 10 mV."""


class Module(msgspec.Struct, frozen=True, kw_only=True):
    """The brackets of one module, and of its boards where they stand apart. `name`: its number as printed."""

    name: str
    said: Values
    boards: tuple[Values, ...] = ()

    @property
    def idle(self) -> bool:
        """It says that it is switched off."""
        return "idle" in _work(self.said)

    @property
    def rests(self) -> bool:
        """It says itself that no chip has a temperature now: what it lists per chip is of an earlier time.

        One that hashes has warm chips, whatever its `TMax` says.
        """
        if celsius(self.said, "TMax") is not None:
            return False
        return self.idle or ("TMax" in self.said and not amount(self.said, "GHSspd"))


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """One `estats` reply: its modules (an old controller may have several, all others have one)."""

    modules: tuple[Module, ...]

    def each(self, name: str) -> list[float | None]:
        """What each module says under `name`; None where one does not say, or a negative number."""
        return [amount(module.said, name) for module in self.modules]


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """`version`: who the machine is; empty where it does not say. `now_s` is its own clock, unix seconds.

    `liquid`: its model has no fans, so what it prints of fans and of air is nothing.
    """

    model: str = ""
    firmware: str = ""
    mac: str = ""
    serial: str = ""
    now_s: float | None = None
    liquid: bool = False


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
        firmware=text(said, "LVERSION") or text(said, "CGVERSION") or text(said, "VERSION") or "",
        mac=_mac(text(said, "MAC") or ""),
        serial=text(said, "DNA") or "",
        # A clock that was never set counts all the same, and times that it is told are by what it counts.
        now_s=amount_of(next(iter(children(page, "STATUS")), None), "When") or None,
        liquid=any(_LIQUID.search(name) is not None for name in (product.strip(), model)),
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
    boards: dict[str, list[Values]] = {}
    apart: list[Values] = []
    for part in objects(body.get("STATS")) if isinstance(body, dict) else []:
        owner = None
        for key, value in part.items():
            if not isinstance(value, str):
                continue
            if key.startswith("HBinfo"):
                apart += [inner for inner in sections(value).values() if inner]
            elif (own := _MODULE.match(key)) is not None:
                owner = owner or own[1]
                for inner in sections(value).values():
                    modules[own[1]] = {**inner, **modules.get(own[1], {})}
        if owner is not None:
            # Boards stand beside their module, whichever comes first in the reply.
            boards.setdefault(owner, []).extend(apart)
            apart = []
    found = [name for name, said in modules.items() if said][:_MOST_MODULES]
    if not found:
        raise MalformedReply("estats: no module in the reply")
    boards.setdefault(found[-1], []).extend(apart)
    return Stats(
        modules=tuple(
            Module(name=name, said=modules[name], boards=tuple(boards.get(name, ())[:_MOST_BOARDS]))
            for name in found
        )
    )


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


def module_readings(seen: Stats, *, liquid: bool = False) -> dict[str, Reading]:
    """What the brackets tell, except the hashrate where `summary` has it. `liquid`: see `Identity`.

    Of several modules: sums where each of them tells, the hottest and the coolest of all, the least uptime
    (one that began anew has), the fans of one after those of the other.
    """
    readings: dict[str, Reading] = dict.fromkeys(CORE_POINTS, MISSING)
    for point, name in (("hashrate_ths", "GHSspd"), ("hashrate_nominal_ths", "GHSmm")):
        ghs = _total(seen.each(name))
        if name == "GHSmm" and ghs == 0:
            ghs = None  # a rate of 0 is not what it expects but what it does not know
        readings[point] = reading(point, None if ghs is None else ghs_to_ths(ghs))
    watts = _total([_watts(module.said) for module in seen.modules])
    readings["power_w"] = reading("power_w", watts, Quality.ESTIMATED)
    readings |= _temperatures(seen)
    if not liquid:
        readings |= _air(seen)
    for point, value in (
        ("uptime_s", min(_known(seen.each("Elapsed")), default=None)),
        ("boards_working", _total([_boards_working(module) for module in seen.modules])),
        ("power_limit_w", _total(seen.each("MPO")) or None),
    ):
        if value is not None:
            readings[point] = reading(point, value)
    return readings


def _temperatures(seen: Stats) -> dict[str, Reading]:
    tops = [value for module in seen.modules for value in hottest(module)]
    tops += _known([number(module.said, "TMax") for module in seen.modules])
    chips = [value for module in seen.modules for row in chips_c(module) for value in row]
    ends = _known([celsius(module.said, name) for module in seen.modules for name in ("HBITemp", "HBOTemp")])
    return {
        "chip_temp_max_c": reading("chip_temp_max_c", _hottest_of(tops) or max(chips, default=None)),
        "chip_temp_min_c": reading("chip_temp_min_c", min(chips, default=None)),
        "board_temp_min_c": reading("board_temp_min_c", min(ends, default=None)),
        "board_temp_max_c": reading("board_temp_max_c", max(ends, default=None)),
    }


def _hottest_of(told: list[float]) -> float | None:
    """The hottest that can be; where none can, what lies above (a broken sensor, and no silence)."""
    likely = [value for value in told if is_celsius(value)]
    return max(likely or [value for value in told if value > _CHIP_C.high], default=None)


def is_celsius(value: float) -> bool:
    """Whether a chip can have that temperature, °C: 0 and -273 are printed of one that does not answer."""
    return value != 0 and _CHIP_C.low <= value <= _CHIP_C.high


def hottest(module: Module) -> list[float]:
    """The hottest chip of each board as printed, °C; empty where that is of an earlier time."""
    return [] if module.rests else numbers(module.said, "MTmax")[:_MOST_BOARDS]


def chips_c(module: Module) -> list[list[float]]:
    """Per board the temperatures of the chips that answer, °C; none where they are of an earlier time."""
    rows = chip_values(module, "PVT_T")
    return [[] if module.rests else [value for value in row if is_celsius(value)] for row in rows]


def celsius(said: Values, *names: str) -> float | None:
    """The first temperature under `names`; 0 and -273 are how a sensor prints that is not there."""
    told = (number(said, name) for name in names)
    return next((value for value in told if value is not None and value != 0 and value > _NO_SENSOR_C), None)


def _known(values: list[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _total(values: list[float | None]) -> float | None:
    """The sum, where every module tells."""
    known = _known(values)
    return sum(known) if len(known) == len(values) else None


def _watts(said: Values) -> float | None:
    """What it takes from the wall, or else what its supply gives to the boards: some per cent less.

    0 W is told only where nothing tells more and nothing is hashed: else it is a supply that was not read.
    """
    supply = _supply(said)
    claims = [amount(said, "WALLPOWER")]
    claims += [supply[at] for at in (_SUPPLY_IN_W, _SUPPLY_OUT_W) if len(supply) > at and supply[at] >= 0]
    known = _known(claims)
    watts = next((watts for watts in known if watts > 0), None)
    if watts is None and known and not amount(said, "GHSspd"):
        return 0.0
    return watts


def _supply(said: Values) -> list[float]:
    """`PS`; empty where its error is negative: a supply that does not answer [default]."""
    supply = numbers(said, "PS")
    return supply if supply and supply[0] >= 0 else []


def _air(seen: Stats) -> dict[str, Reading]:
    """What stands in air: its inlet, and fans by the numbers of their sockets."""
    found: dict[str, Reading] = {}
    inlets = _known([celsius(module.said, "ITemp", "Temp") for module in seen.modules])
    if inlets:
        found["air_temp_c"] = reading("air_temp_c", max(inlets))
    before = 0
    for module in seen.modules:
        said = module.said
        sockets = {fan: f"Fan{fan + 1}" for fan in range(_MOST_FANS) if f"Fan{fan + 1}" in said}
        if not sockets and "Fan" in said:
            sockets[0] = "Fan"  # machines of the A9 age have one, without a number
        for fan, name in sockets.items():
            rpm = amount(said, name)
            if rpm is not None:
                point = f"fan_rpm.{before + fan}"
                found[point] = reading(point, rpm)
        before += max(sockets, default=-1) + 1
    duties = _known(seen.each("FanR"))
    if duties and any(point.startswith("fan_rpm") for point in found):
        found["fan_duty_pct"] = reading("fan_duty_pct", max(duties))
    return found


def boards_found(said: Values) -> float | None:
    """`SYSTEMSTATU[Work: In Work, Hash Board: 3 ]` counts the boards that it found."""
    _, _, told = said.get("SYSTEMSTATU", "").partition("Hash Board:")
    count = as_number(told.strip().split(" ")[0].rstrip(",")) if told.strip() else None
    return count if count is not None and 0 <= count <= 16 else None


def _boards_working(module: Module) -> float | None:
    """The boards that it found, where no more of them answer nothing than it did not find: a count of the
    start says nothing of a board that fell silent since."""
    found, lives = boards_found(module.said), board_lives(module)
    silent = lives.count(False)
    return None if found is not None and silent and found > len(lives) - silent else found


def board_lives(module: Module) -> list[bool | None]:
    """Of each board told of whether a chip of it has a temperature now; None where nothing tells.

    Where none has one, it is no board that fell silent but what measures them.
    """
    unknown: list[bool | None] = [None] * board_count(module)
    if module.rests:
        return unknown
    rows, tops = chip_values(module, "PVT_T"), hottest(module)
    found: list[bool | None] = []
    for place in range(board_count(module)):
        told = [*(rows[place] if place < len(rows) else []), *tops[place : place + 1]]
        found.append(any(is_celsius(value) for value in told) if told else None)
    return found if True in found else unknown


def board_count(module: Module) -> int:
    """As many boards as anything tells of, at most 16."""
    said = module.said
    rows, lists = chip_values(module, "PVT_T"), [numbers(said, name) for name in ("MTmax", "MGHS")]
    return min(max(len(rows), len(module.boards), *(len(told) for told in lists)), _MOST_BOARDS)


def chip_values(module: Module, name: str) -> list[list[float]]:
    """One list per board: from the boards' own parts, or numbered in the module's."""
    if module.boards:
        return [
            next((numbers(board, key) for key in board if key.startswith(name)), [])
            for board in module.boards[:_MOST_BOARDS]
        ]
    said = module.said
    return [numbers(said, f"{name}{index}") for index in range(_MOST_BOARDS) if f"{name}{index}" in said]


def supply_voltage_v(module: Module) -> float | None:
    """The voltage that the supply gives to the boards, V; 0 of one that hashes is a supply not read."""
    supply = _supply(module.said)
    if len(supply) <= _SUPPLY_OUT_W or supply[_SUPPLY_OUT_V] < 0:
        return None
    told = supply[_SUPPLY_OUT_V]
    if told == 0 and amount(module.said, "GHSspd"):
        return None
    return told / 100 if told <= _HIGHEST_CENTIVOLTS else told / 1000


def work_mode(seen: Stats) -> int | None:
    """The number of the mode that it works in; None where its modules do not agree."""
    modes = set(seen.each("WORKMODE"))
    mode = modes.pop() if len(modes) == 1 else None
    return int(mode) if mode is not None and mode < 100 and mode == int(mode) else None


# ---------------------------------------------------------------- state and faults


def miner_state(seen: Stats, hashrate: float | None) -> MinerState:
    """What it says that it does; UNKNOWN where its words and its hashrate (TH/s) do not tell.

    It rests where each module says so; one that hashes all the same is on its way down at best.
    """
    words = [_work(module.said) for module in seen.modules]
    awake = [word for word in words if "idle" not in word]
    off = not awake or (not any(words) and all(seen.each("SoftOFF")))
    if off and (hashrate is not None or not awake):
        hashes = still_hashes(hashrate, _nominal_ths(seen))
        return MinerState.SHUTTING_DOWN if hashes else MinerState.STOPPED
    if all("init" in word for word in awake):
        return MinerState.INITIALIZING
    if hashrate is None:
        return MinerState.UNKNOWN
    if hashrate > 0:
        return MinerState.MINING
    elapsed_s = min(_known(seen.each("Elapsed")), default=None)
    young = elapsed_s is not None and elapsed_s <= RAMP_S
    return MinerState.INITIALIZING if young or any("init" in word for word in awake) else MinerState.UNKNOWN


def _work(said: Values) -> str:
    """Its own word for what it does: `SYSTEMSTATU[Work: In Idle, Hash Board: 1]`."""
    _, _, told = said.get("SYSTEMSTATU", "").partition("Work:")
    return told.partition(",")[0].strip().lower()


def _nominal_ths(seen: Stats) -> float | None:
    ghs = _total(seen.each("GHSmm"))
    return None if ghs is None else ghs_to_ths(ghs)


def faults(seen: Stats) -> tuple[Fault, ...]:
    """Codes of its parts that are not 0: hash units, main module, fans, supply. Of several modules each names
    itself in the code."""
    several = len(seen.modules) > 1
    return tuple(
        fault
        for module in seen.modules
        for fault in _module_faults(module.said, f"MM{module.name} " if several else "")
    )


def _module_faults(said: Values, whose: str) -> list[Fault]:
    found = []
    for name, words in _FAULTS:
        codes = numbers(said, name)
        for place, code in enumerate(codes[:1] if name == "PS" else codes[:_MOST_BOARDS]):
            if code:
                where = place if len(codes) > 1 and name != "PS" else ""
                found.append(Fault(code=f"{whose}{name}{where}:{code:g}", words=words))
    return found


_FAULTS = (
    ("ECHU", "hash unit"),
    ("ECMM", "main module"),
    ("FanErr", "fans"),
    ("PS", "power supply"),
)
