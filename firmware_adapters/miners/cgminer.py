"""The dialect of cgminer's socket (TCP 4028) that Bitmain's miner and its imitators share: `stats`, `pools`.

Pure; raises nothing but `MalformedReply`. Field names as recorded on real machines (miners.md §2.1). Boards
are numbered from 1 in the keys (`chain_acn1`) and from 0 in everything else that these firmwares show, so
`index` is from 0. The unit of every rate is `rate_unit`, whatever a key's name says; without it the letter in
the key (`GHS 5s`) decides.
"""

import re
from collections.abc import Sequence
from types import MappingProxyType

import msgspec

from firmware_adapters.miners.fields import (
    Object,
    amount,
    as_number,
    as_object,
    number,
    objects,
    reading,
    text,
)
from shared.details import Pool, PoolState
from shared.errors import MalformedReply
from shared.telemetry import METRICS, Quality, Reading

MOST_BOARDS = 16
MOST_FANS = 16
_TO_THS = MappingProxyType({"K": 1e-9, "M": 1e-6, "G": 1e-3, "T": 1.0, "P": 1e3})
_RATE_KEY = re.compile(r"([KMGTP])HS 5s")
_UNIT = re.compile(r"([KMGTP])HS?(?:/S)?", re.IGNORECASE)
_QUARTET = re.compile(r"-?\d{1,4}(?:--?\d{1,4}){0,15}", re.ASCII)
_ONE = re.compile(r"(?:^|(?<=[0-9])-)(-?\d{1,4})", re.ASCII)
_AGE = re.compile(r"(?:(\d{1,5}) ?d(?:ays?)?,?\s*)?(\d{1,5}):(\d{1,2}):(\d{1,2})", re.ASCII)


class Temperatures(msgspec.Struct, frozen=True):
    """Coolest and hottest of some sensors in °C; None is no data. `failed`: all that speak talk nonsense."""

    low: float | None = None
    high: float | None = None
    failed: bool = False


_SERIES = re.compile(r"(?:antminer\s*)?([a-z]+)\d", re.IGNORECASE)


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """One hash board as it tells of itself. Temperatures as printed, zeros (no data) included."""

    index: int
    chips: int | None = None
    bad_chips: int = 0
    rate_ths: float | None = None
    nominal_ths: float | None = None
    frequency_mhz: float | None = None
    hw_errors: float | None = None
    pcb_c: tuple[float, ...] = ()
    chip_c: tuple[float, ...] = ()
    serial: str = ""
    fault: str = ""


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """One `stats` reply. `elapsed_s` counts from the start of the mining process, s."""

    model: str = ""
    elapsed_s: float | None = None
    rate_ths: float | None = None
    rate: float | None = None
    """The same in its own unit, which may be none of a hash rate (KSol/s): it says that it works."""
    nominal_ths: float | None = None
    fans_rpm: tuple[tuple[int, float], ...] = ()
    """Number from 0, and speed."""
    chains: tuple[Chain, ...] = ()
    hw_errors: float | None = None


# ---------------------------------------------------------------- stats


def stats(body: object) -> Stats:
    """Read a `stats` reply. Raises `MalformedReply` where it holds no machine."""
    parts = objects(body.get("STATS")) if isinstance(body, dict) else []
    machine = next((part for part in parts if any(_RATE_KEY.fullmatch(key) for key in part)), None)
    if machine is None:
        raise MalformedReply("4028 stats: no machine in the reply")
    key = next(key for key in machine if _RATE_KEY.fullmatch(key))
    model = next((kind for part in parts if (kind := text(part, "Type")) is not None), "")
    scale = rate_scale(text(machine, "rate_unit") or _own_unit(model, key))
    chains = _chains(machine, scale)
    counted = [chain.hw_errors for chain in chains if chain.hw_errors is not None]
    total_errors = amount(machine, "no_matching_work")
    return Stats(
        model=model,
        elapsed_s=amount(machine, "Elapsed"),
        rate_ths=scaled(amount(machine, key), scale),
        rate=amount(machine, key),
        nominal_ths=scaled(amount(machine, "total_rateideal"), scale),
        fans_rpm=_fans(machine),
        chains=chains,
        hw_errors=total_errors if total_errors is not None or not counted else sum(counted),
    )


def _own_unit(model: str, key: str) -> str:
    """The unit where the reply names none: a key's letter is the truth about SHA-256 machines only.

    Old firmware calls a field GHS and fills in MH/s on the scrypt machines (an L3+ of 504 MH/s says 504), and
    on others what no hash rate is.
    """
    series = _SERIES.match(model)
    if series is None or series[1].upper() in ("S", "T", "R", "V"):
        return key[0]
    return "M" if series[1].upper() == "L" else "?"


def rate_scale(unit: str | None) -> float | None:
    """TH/s in one of `unit` ("GH", "GH/s", "MHS", "G"); None for a unit that is no hash rate (KSol/s)."""
    match = _UNIT.fullmatch(unit.strip() if unit is not None and len(unit) > 1 else f"{unit or '?'}H")
    return None if match is None else _TO_THS[match.group(1).upper()]


def scaled(value: float | None, scale: float | None) -> float | None:
    """`value` in TH/s; None where either is unknown."""
    return None if value is None or scale is None else value * scale


def _chains(machine: Object, scale: float | None) -> tuple[Chain, ...]:
    """The boards that tell anything, and by number as many silent ones as `miner_count` still misses.

    Old controllers name sixteen connectors and have three boards somewhere among them.
    """
    named = [chain for n in range(1, MOST_BOARDS + 1) if (chain := _chain(machine, n, scale)) is not None]
    silent = [chain for chain in named if not _is_there(chain)]
    missing = max(int(number(machine, "miner_count") or 0) - (len(named) - len(silent)), 0)
    left_out = {chain.index for chain in silent[missing:]}
    return tuple(chain for chain in named if chain.index not in left_out)


def _chain(machine: Object, n: int, scale: float | None) -> Chain | None:
    if not any(f"{word}{n}" in machine for word in ("chain_acn", "chain_rate", "temp_pcb", "temp_chip")):
        return None
    good, bad = chip_marks(machine.get(f"chain_acs{n}"))
    chips = amount(machine, f"chain_acn{n}")
    return Chain(
        index=n - 1,
        chips=good if good + bad else None if chips is None else int(chips),
        bad_chips=bad,
        rate_ths=scaled(amount(machine, f"chain_rate{n}"), scale),
        nominal_ths=scaled(amount(machine, f"chain_rateideal{n}"), scale),
        frequency_mhz=amount(machine, f"freq{n}") or amount(machine, f"freq_avg{n}"),
        hw_errors=amount(machine, f"chain_hw{n}"),
        # Machines before the 17 series have one sensor each and say so under other names.
        pcb_c=quartet(machine.get(f"temp_pcb{n}", machine.get(f"temp{n}"))),
        chip_c=quartet(machine.get(f"temp_chip{n}", machine.get(f"temp2_{n}"))),
    )


def _is_there(chain: Chain) -> bool:
    return bool(chain.chips or chain.rate_ths or any(chain.pcb_c) or any(chain.chip_c))


def chip_marks(marks: object) -> tuple[int, int]:
    """How many chips of " ooo oox" answer, and how many do not."""
    if not isinstance(marks, str):
        return 0, 0
    good = marks.count("o") + marks.count("O")
    return good, sum(mark.isalpha() or mark in "-*" for mark in marks) - good


def quartet(words: object) -> tuple[float, ...]:
    """The numbers of "73-45-64-65" (or of one number); an empty tuple for anything else."""
    if isinstance(words, str):
        if _QUARTET.fullmatch(words.strip()) is None:
            return ()
        return tuple(float(word) for word in _ONE.findall(words.strip()))
    one = as_number(words)
    return () if one is None else (one,)


def _fans(machine: Object) -> tuple[tuple[int, float], ...]:
    told = [amount(machine, f"fan{n}") for n in range(1, MOST_FANS + 1)]
    return real_fans(told, amount(machine, "fan_num"))


def real_fans(told: Sequence[float | None], expected: float | None) -> tuple[tuple[int, float], ...]:
    """Fans that turn, and as many that stand still as the machine says it should have; number and rpm.

    Old controllers name connectors without a fan, at 0 rpm, beside two that turn.
    """
    found = [(fan, rpm) for fan, rpm in enumerate(told) if rpm is not None]
    turning = sum(rpm > 0 for _, rpm in found)
    still = len(found) if expected is None else max(int(expected) - turning, 0)
    kept: list[tuple[int, float]] = []
    for fan, rpm in found:
        if rpm > 0:
            kept.append((fan, rpm))
        elif still > 0:
            still -= 1
            kept.append((fan, rpm))
    return tuple(kept)


# ---------------------------------------------------------------- temperatures


def temperatures(values: tuple[float, ...]) -> Temperatures:
    """The span of what sensors say: 0 is no sensor; what none can mean (255, -64) is a broken one."""
    metric = METRICS["board_temp_max_c"]
    told = [value for value in values if value != 0]
    good = [value for value in told if metric.low <= value <= metric.high]
    if good:
        return Temperatures(min(good), max(good))
    return Temperatures(failed=bool(told))


def temperature_readings(what: str, span: Temperatures, quality: Quality) -> dict[str, Reading]:
    """`{what}_temp_min_c` and `{what}_temp_max_c`; MISSING without data, SENSOR_ERROR where all failed."""
    names = (f"{what}_temp_min_c", f"{what}_temp_max_c")
    if span.failed:
        return dict.fromkeys(names, Reading(None, Quality.SENSOR_ERROR))
    values = zip(names, (span.low, span.high), strict=True)
    return {name: reading(name, value, quality) for name, value in values}


# ---------------------------------------------------------------- pools and shares


_LIVING = {True: PoolState.ACTIVE, False: PoolState.STANDBY, None: PoolState.UNKNOWN}


def pools(body: object) -> tuple[Pool, ...]:
    """All pools of a `pools` reply by number. Raises `MalformedReply` where it holds no list of them.

    Keys are capital on the socket and small in the CGI of the same firmware. Where no pool says whether it is
    worked for, it is the first that lives, because these firmwares fail over in the order of priority.
    """
    listed = body.get("POOLS") if isinstance(body, dict) else None
    if not isinstance(listed, list):
        raise MalformedReply("pools: no list in the reply")
    told: list[Object] = [{key.lower(): value for key, value in item.items()} for item in objects(listed)]
    active = None
    if not any("stratum active" in pool for pool in told):
        living = [at for at, pool in enumerate(told) if _word(pool) == "alive"]
        active = min(living, key=lambda at: (number(told[at], "priority") or 0.0, at), default=None)
    found = {pool.index: pool for at, item in enumerate(told) if (pool := _pool(item, at, active))}
    return tuple(found[index] for index in sorted(found))


def _pool(told: Object, at: int, active: int | None) -> Pool:
    index = amount(told, "pool")
    index = amount(told, "index") if index is None else index
    accepted = amount(told, "accepted")
    return Pool(
        index=at if index is None else int(index),
        url=text(told, "url") or "",
        user=text(told, "user") or "",
        state=pool_state(_word(told), active=told.get("stratum active") is True or at == active),
        accepted=accepted,
        rejected=amount(told, "rejected"),
        stale=amount(told, "stale"),
        # Without a share the field says "0", or how long ago the process started.
        last_share_age_s=age_s(told.get("last share time", told.get("lstime"))) if accepted else None,
    )


def _word(told: Object) -> str:
    return (text(told, "status") or "").lower()


def pool_state(word: str, *, active: bool | None) -> PoolState:
    """What the status of a pool means, given whether it is the one that is worked for."""
    word = word.lower()
    if word == "alive":
        return _LIVING[active]
    try:
        return PoolState(word)
    except ValueError:
        return PoolState.UNKNOWN


def age_s(words: object) -> float | None:
    """Seconds in "0:00:03" (h:mm:ss, days may stand before); None for anything else."""
    match = _AGE.fullmatch(words.strip()) if isinstance(words, str) else None
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def share_readings(found: tuple[Pool, ...]) -> dict[str, Reading]:
    """Shares over all pools, and how long ago the last one was accepted."""
    readings = {}
    for word in ("accepted", "rejected", "stale"):
        counts = [count for pool in found if (count := getattr(pool, word)) is not None]
        if counts:
            readings[f"shares_{word}"] = Reading(float(sum(counts)))
    ages = [pool.last_share_age_s for pool in found if pool.last_share_age_s is not None]
    if ages:
        readings["last_share_age_s"] = Reading(min(ages))
    return readings


def summary_shares(body: object) -> dict[str, Reading]:
    """Shares in a `summary` reply; empty where it has none."""
    listed = objects(body.get("SUMMARY")) if isinstance(body, dict) else []
    machine = listed[0] if listed else None
    found = {}
    for key, point in (
        ("Accepted", "shares_accepted"),
        ("Rejected", "shares_rejected"),
        ("Stale", "shares_stale"),
        ("Hardware Errors", "hw_errors"),
    ):
        count = amount(machine, key)
        if count is not None:
            found[point] = reading(point, count)
    return found


def first(body: object, section: str) -> Object | None:
    """The first object of a reply's section (`CONFIG` of `config`), or None."""
    listed = objects(body.get(section)) if isinstance(body, dict) else []
    return as_object(listed[0]) if listed else None
