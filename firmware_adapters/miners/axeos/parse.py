"""AxeOS pages → state, readings, board, pools, faults. Pure; raises nothing but `MalformedReply`.

Sources: miners.md §2, a recorded reply of a machine with 2.4, and field names that later 2.x releases added
(a second fan and temperature, the expected hashrate, errors per chip). Hashrates are GH/s, voltages mV,
currents mA, power W, measured by a sensor on the board. There is no word for the machine's state: it is
what hashrate and overheat mode say. A sensor that is absent reads -1 or 0. The only sensor of the board
beside the chip's is that of its voltage regulator, so that is the board's temperature.
"""

from types import MappingProxyType

import msgspec

from firmware_adapters.miners.claims import power_beside
from firmware_adapters.miners.fields import (
    Object,
    amount,
    as_page,
    child,
    children,
    number,
    reading,
    text,
)
from shared.details import Board, Fault, Pool, PoolState
from shared.errors import MalformedReply
from shared.telemetry import MISSING, MinerState, Quality, Reading
from shared.units import ghs_to_ths, mhs_to_ths

CORE_POINTS = ("hashrate_ths", "hashrate_nominal_ths", "power_w", "chip_temp_max_c", "board_temp_max_c")
"""Points that every observation names, MISSING where the reply did not say."""
_MODELS = MappingProxyType({"BM1397": "Max", "BM1366": "Ultra", "BM1368": "Supra", "BM1370": "Gamma"})
"""What a machine with this chip is sold as, where it does not say so itself."""
_OWN_KEYS = ("ASICModel", "hashRate", "coreVoltage", "stratumURL")
_ABSENT = (-1.0, 0.0)


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who the machine is."""

    model: str
    firmware: str
    """The version alone."""
    mac: str


class Steps(msgspec.Struct, frozen=True, kw_only=True):
    """`/api/system/asic`: the frequencies that the maker foresees, MHz."""

    default_mhz: float | None = None
    options_mhz: tuple[float, ...] = ()


def info(body: object) -> Object:
    """The page `/api/system/info`; raises `MalformedReply` if it is no object or not AxeOS'."""
    page = as_page(body, "/api/system/info")
    if not any(key in page for key in _OWN_KEYS):
        raise MalformedReply("/api/system/info: has nothing that AxeOS tells")
    return page


def identity(page: Object) -> Identity:
    """Who the machine is."""
    chip = text(page, "ASICModel") or ""
    name = text(page, "deviceModel") or _MODELS.get(chip, "")
    board = text(page, "boardVersion")
    # Kin of the Bitaxe tell their whole name (NerdQAxe).
    maker = "" if "axe" in name.lower() else "Bitaxe"
    parts = (maker, name or chip, f"({board})" if board else "")
    return Identity(
        model=" ".join(part for part in parts if part),
        firmware=text(page, "version") or text(page, "axeOSVersion") or "",
        mac=(text(page, "macAddr") or "").lower(),
    )


def readings(page: Object) -> dict[str, Reading]:
    """Everything in our units."""
    found: dict[str, Reading] = dict.fromkeys(CORE_POINTS, MISSING)
    found["hashrate_ths"] = reading("hashrate_ths", hashrate_ths(page))
    # Counted from cores and clock, so it is what it should be and not what was measured.
    found["hashrate_nominal_ths"] = reading("hashrate_nominal_ths", nominal_ths(page), Quality.ESTIMATED)
    found["power_w"] = _power(page)
    found["chip_temp_max_c"] = _temperature("chip_temp_max_c", page, "temp", "temp2")
    found["board_temp_max_c"] = _temperature("board_temp_max_c", page, "vrTemp")
    found["voltage_v"] = reading("voltage_v", _thousandth(page, "voltage"))
    found["current_a"] = reading("current_a", _thousandth(page, "current"))
    for index, key in enumerate(("fanrpm", "fan2rpm")):
        rpm = amount(page, key)
        if rpm is not None:
            found[f"fan_rpm.{index}"] = reading("fan_rpm", rpm)
    found["fan_duty_pct"] = reading("fan_duty_pct", amount(page, "fanspeed"))
    if switched(page, "autofanspeed") and "temptarget" in page:
        found["setpoint_c"] = reading("setpoint_c", number(page, "temptarget"))
    found["shares_accepted"] = reading("shares_accepted", amount(page, "sharesAccepted"))
    found["shares_rejected"] = reading("shares_rejected", amount(page, "sharesRejected"))
    found["uptime_s"] = reading("uptime_s", amount(page, "uptimeSeconds"))
    found["hw_errors"] = reading("hw_errors", hw_errors(page))
    rate = hashrate_ths(page)
    found["boards_working"] = reading("boards_working", None if rate is None else float(rate > 0))
    return found


def hashrate_ths(page: Object) -> float | None:
    """Hashrate now, TH/s."""
    rate = amount(page, "hashRate")
    return ghs_to_ths(rate) if rate is not None else None


def _power(page: Object) -> Reading:
    return power_beside(
        reading("power_w", amount(page, "power")), reading("hashrate_ths", hashrate_ths(page))
    )


def nominal_ths(page: Object) -> float | None:
    """What cores and clock make, TH/s: one hash per small core and clock tick, unless the machine says it."""
    told = amount(page, "expectedHashrate")
    if told is not None:
        return ghs_to_ths(told)
    cores, chips, mhz = amount(page, "smallCoreCount"), chip_count(page), amount(page, "frequency")
    if cores is None or chips is None or mhz is None:
        return None
    return mhs_to_ths(cores * chips * mhz)


def chip_count(page: Object) -> int | None:
    """How many chips it has."""
    chips = amount(page, "asicCount")
    return int(chips) if chips is not None and chips.is_integer() and chips < 1_000 else None


def hw_errors(page: Object) -> float | None:
    """Errors counted per chip, where the release counts them."""
    chips = children(child(page, "hashrateMonitor"), "asics")
    counts = [count for chip in chips if (count := amount(chip, "errorCount")) is not None]
    return sum(counts) if counts else None


def _temperature(point: str, page: Object, *keys: str) -> Reading:
    known = [value for key in keys if (value := number(page, key)) is not None and value not in _ABSENT]
    return reading(point, max(known, default=None))


def _thousandth(page: Object, key: str) -> float | None:
    value = amount(page, key)
    return value / 1_000.0 if value is not None else None


# ---------------------------------------------------------------- state and faults


def switched(page: Object, key: str) -> bool | None:
    """A switch, which some releases write as a number; None where it is not told."""
    value = page.get(key)
    if isinstance(value, bool):
        return value
    told = number(page, key)
    return told != 0 if told is not None else None


def overheated(page: Object) -> bool | None:
    """Whether the machine has put itself into overheat mode."""
    return switched(page, "overheat_mode")


def state(page: Object) -> MinerState:
    """What can be told: hashing, off for heat, or unknown, which counts as running."""
    rate = hashrate_ths(page)
    if rate is not None and rate > 0:
        return MinerState.MINING
    return MinerState.FAILURE if overheated(page) and rate == 0 else MinerState.UNKNOWN


def faults(page: Object) -> tuple[Fault, ...]:
    """Overheat mode, and what the power stage says."""
    found = []
    if overheated(page):
        found.append(
            Fault(code="overheat_mode", words="the machine was too hot and has throttled or stopped")
        )
    power = text(page, "power_fault")
    if power is not None:
        found.append(Fault(code="power_fault", words=power[:200]))
    return tuple(found)


# ---------------------------------------------------------------- parts


def board(page: Object) -> Board:
    """The one board there is."""
    rate = hashrate_ths(page)
    volts = _thousandth(page, "coreVoltageActual")
    return Board(
        index=0,
        working=None if rate is None else rate > 0,
        hashrate_ths=rate,
        hashrate_nominal_ths=nominal_ths(page),
        power_w=_power(page).value,
        chip_temp_max_c=_temperature("chip_temp_max_c", page, "temp", "temp2").value,
        board_temp_max_c=_temperature("board_temp_max_c", page, "vrTemp").value,
        frequency_mhz=amount(page, "frequency"),
        voltage_v=volts if volts is not None else _thousandth(page, "coreVoltage"),
        hw_errors=hw_errors(page),
        chips=chip_count(page),
    )


def pools(page: Object) -> tuple[Pool, ...]:
    """The pool and its stand-in; those without an address are left out.

    Shares are counted for the machine, so they are told of a pool only where there is no other.
    """
    spare = switched(page, "isUsingFallbackStratum")
    found = []
    for index, prefix in enumerate(("stratum", "fallbackStratum")):
        host, port = text(page, f"{prefix}URL"), amount(page, f"{prefix}Port")
        if host is None:
            continue
        used = None if spare is None else spare == (index == 1)
        found.append((index, _url(host, port), text(page, f"{prefix}User") or "", used))
    alone = len(found) == 1
    return tuple(
        Pool(
            index=index,
            url=url,
            user=user,
            state=PoolState.ACTIVE if used else PoolState.UNKNOWN,
            accepted=amount(page, "sharesAccepted") if alone else None,
            rejected=amount(page, "sharesRejected") if alone else None,
        )
        for index, url, user, used in found
    )


def _url(host: str, port: float | None) -> str:
    bare = host if "://" in host else f"stratum+tcp://{host}"
    return bare if port is None else f"{bare}:{port:.0f}"


def steps(body: object) -> Steps:
    """Read `/api/system/asic`. Raises `MalformedReply` if it is no object."""
    page = as_page(body, "/api/system/asic")
    listed = page.get("frequencyOptions")
    options = [value for value in (listed if isinstance(listed, list) else []) if _is_frequency(value)]
    default = amount(page, "defaultFrequency")
    return Steps(
        default_mhz=default if default is not None and default > 0 else None,
        options_mhz=tuple(sorted({float(value) for value in options})),
    )


def _is_frequency(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 10_000
