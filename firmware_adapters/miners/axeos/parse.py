"""AxeOS pages → state, readings, board, pools, faults. Pure; raises nothing but `MalformedReply`.

Sources: miners.md §2, a recorded reply of a machine with 2.4, and field names that later 2.x releases added
(a second fan and temperature, the expected hashrate, errors per chip), and those of its kin (NerdQAxe++:
board sensors, pools side by side, `shutdown`). Hashrates are GH/s, voltages mV, currents mA, power W,
measured by a sensor on the board. There is no word for a Bitaxe's state: it is what hashrate and overheat
mode say. A sensor that is absent reads -1 or 0. The only sensor of a Bitaxe's board beside the chip's is
that of its voltage regulator, so that is the board's temperature.
"""

from types import MappingProxyType

import msgspec

from firmware_adapters.miners.claims import power_beside, still_hashes
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
_BITAXES = ("max", "ultra", "supra", "gamma", "hex", "gt", "duo", "touch")
_OWN_KEYS = ("ASICModel", "hashRate", "coreVoltage", "stratumURL")
_ABSENT = (-1.0, 0.0)
_BOARD_SENSORS = ("boardtemp1", "boardtemp2")
_SECOND_PAGE = ("ASICModel", "deviceModel", "asicCount", "smallCoreCount", "expectedHashrate")
"""What some releases tell on `/api/system/asic` alone."""
_LEAST_MILLIVOLTS = 100.0
"""No supply is below 0.1 V, so a smaller number is volts."""
_SAME_POWER = 0.25
"""How far voltage times current may be from the power of the same supply: sensors and losses [default]."""
_PID = 2.0
"""The fan mode of a NerdQAxe in which it holds `pidTargetTemp`."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who the machine is."""

    model: str
    firmware: str
    """The version alone."""
    mac: str


class Steps(msgspec.Struct, frozen=True, kw_only=True):
    """`/api/system/asic`: the frequencies that the maker foresees, MHz, and what it tells of the machine."""

    default_mhz: float | None = None
    options_mhz: tuple[float, ...] = ()
    told: Object = {}
    """Of `_SECOND_PAGE` what it names."""


def info(body: object) -> Object:
    """The page `/api/system/info`; raises `MalformedReply` if it is no object or not AxeOS'."""
    page = as_page(body, "/api/system/info")
    if not any(key in page for key in _OWN_KEYS):
        raise MalformedReply("/api/system/info: has nothing that AxeOS tells")
    return page


def completed(page: Object, steps: Steps) -> Object:
    """The page with what only `/api/system/asic` tells; what the page itself says goes before."""
    return {**page, **{key: value for key, value in steps.told.items() if page.get(key) in (None, "")}}


def identity(page: Object) -> Identity:
    """Who the machine is."""
    chip = text(page, "ASICModel") or ""
    name = text(page, "deviceModel") or _MODELS.get(chip, "")
    board = text(page, "boardVersion")
    parts = (sold_as(name) if name else f"Bitaxe {chip}".strip(), f"({board})" if board else "")
    return Identity(
        model=" ".join(part for part in parts if part),
        firmware=text(page, "version") or text(page, "axeOSVersion") or "",
        mac=(text(page, "macAddr") or "").lower(),
    )


def firmware(page: Object) -> str:
    """For `DeviceFacts.firmware`: "AxeOS v2.9.0", "AxeOS of NerdQAxe++ v1.0.35"."""
    return named(text(page, "deviceModel") or "", identity(page).firmware)


def named(model: str, version: str) -> str:
    """A release by its maker and number, because kin of the Bitaxe count their own releases from 1 too."""
    maker = f"AxeOS of {model}" if model and sold_as(model) == model else "AxeOS"
    return f"{maker} {version or '?'}"


def own_fan_mode(page: Object) -> int:
    """What sets the fan to hold its temperature by itself."""
    return int(_PID) if "pidTargetTemp" in page else 1


def sold_as(name: str) -> str:
    """With the maker in front of a Bitaxe's model; its kin tell their whole name (NerdQAxe++, LV07)."""
    return f"Bitaxe {name}" if name.lower().startswith(_BITAXES) else name


def readings(page: Object) -> dict[str, Reading]:
    """Everything in our units."""
    found: dict[str, Reading] = dict.fromkeys(CORE_POINTS, MISSING)
    found["hashrate_ths"] = reading("hashrate_ths", hashrate_ths(page))
    # Counted from cores and clock, so it is what it should be and not what was measured.
    found["hashrate_nominal_ths"] = reading("hashrate_nominal_ths", nominal_ths(page), Quality.ESTIMATED)
    found["power_w"] = _power(page)
    found |= _temperatures(page)
    found["voltage_v"] = reading("voltage_v", supply_v(page))
    found["current_a"] = reading("current_a", supply_a(page))
    for index, key in enumerate(("fanrpm", "fan2rpm")):
        rpm = amount(page, key)
        if rpm is not None:
            found[f"fan_rpm.{index}"] = reading("fan_rpm", rpm)
    found["fan_duty_pct"] = reading("fan_duty_pct", amount(page, "fanspeed"))
    target = _fan_target(page)
    if target is not None:
        found["setpoint_c"] = reading("setpoint_c", number(page, target))
    found["shares_accepted"] = reading("shares_accepted", _shares(page, "sharesAccepted", "accepted"))
    found["shares_rejected"] = reading("shares_rejected", _shares(page, "sharesRejected", "rejected"))
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
    if told:
        return ghs_to_ths(told)
    cores, chips, mhz = amount(page, "smallCoreCount"), chip_count(page), amount(page, "frequency")
    if not cores or not chips or mhz is None:
        # A chip that was not found has no rate to expect.
        return None
    return mhs_to_ths(cores * chips * mhz)


def chip_count(page: Object) -> int | None:
    """How many chips it has: as it says, else as many as it lists."""
    chips = amount(page, "asicCount")
    if chips is None:
        return len(_chips(page)) or None
    return int(chips) if chips.is_integer() and chips < 1_000 else None


def hw_errors(page: Object) -> float | None:
    """Errors counted per chip, or nonces that came twice: what the release counts."""
    counts = [count for chip in _chips(page) if (count := amount(chip, "errorCount")) is not None]
    return sum(counts) if counts else amount(page, "duplicateHWNonces")


def _chips(page: Object) -> list[Object]:
    return children(child(page, "hashrateMonitor"), "asics")


def _shares(page: Object, whole: str, each: str) -> float | None:
    """Of the machine; where only its pools count them, over all pools."""
    told = amount(page, whole)
    if told is not None:
        return told
    counts = [count for pool in _pools_told(page) if (count := amount(pool, each)) is not None]
    return sum(counts) if counts else None


def _fan_target(page: Object) -> str | None:
    """The key of the temperature that the fan holds; None while it holds none."""
    if "temptarget" in page:
        return "temptarget" if switched(page, "autofanspeed") else None
    return "pidTargetTemp" if number(page, "autofanspeed") == _PID and "pidTargetTemp" in page else None


def _temperatures(page: Object) -> dict[str, Reading]:
    """Hottest and coolest of chips and board; the minimum only where there are several sensors.

    The regulator counts as the board's hottest sensor always, so that nothing hot on it goes unseen. Where
    the board has sensors of its own, it is told as the power supply as well.
    """
    chips, own = _sensors(page, "temp", "temp2"), _sensors(page, *_BOARD_SENSORS)
    regulator = _sensors(page, "vrTemp")
    found = {
        "chip_temp_max_c": reading("chip_temp_max_c", max(chips, default=None)),
        "board_temp_max_c": reading("board_temp_max_c", max([*own, *regulator], default=None)),
    }
    if len(chips) > 1:
        found["chip_temp_min_c"] = reading("chip_temp_min_c", min(chips))
    if own:
        found["board_temp_min_c"] = reading("board_temp_min_c", min(own))
        found["psu_temp_c"] = reading("psu_temp_c", max(regulator, default=None))
    return found


def _sensors(page: Object, *keys: str) -> list[float]:
    return [value for key in keys if (value := number(page, key)) is not None and value not in _ABSENT]


def supply_v(page: Object) -> float | None:
    """Voltage at its plug, V."""
    volts = amount(page, "voltage")
    return volts if volts is None or volts < _LEAST_MILLIVOLTS else volts / 1_000.0


def supply_a(page: Object) -> float | None:
    """Current at its plug, A, in whichever unit agrees with voltage and power.

    None where neither does: some boards measure it behind the regulator, where it is several times as much.
    """
    amps, volts, watts = amount(page, "current"), supply_v(page), amount(page, "power")
    if amps is None or volts is None or watts is None:
        return None
    for one in (amps / 1_000.0, amps):
        if abs(volts * one - watts) <= _SAME_POWER * watts:
            return one
    return None


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
    """What can be told: hashing, off for heat, shut down or paused, or unknown, which counts as running."""
    rate = hashrate_ths(page)
    asked_off = switched(page, "shutdown") or switched(page, "miningPaused")
    if asked_off and not (overheated(page) and rate == 0):
        return MinerState.SHUTTING_DOWN if still_hashes(rate, nominal_ths(page)) else MinerState.STOPPED
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
    chips = _sensors(page, "temp", "temp2")
    sensors = _sensors(page, *_BOARD_SENSORS) or _sensors(page, "vrTemp")
    return Board(
        index=0,
        working=None if rate is None else rate > 0,
        hashrate_ths=rate,
        hashrate_nominal_ths=nominal_ths(page),
        power_w=_power(page).value,
        chip_temp_max_c=_believed("chip_temp_max_c", max(chips, default=None)),
        chip_temp_min_c=_believed("chip_temp_min_c", min(chips)) if len(chips) > 1 else None,
        board_temp_max_c=_believed("board_temp_max_c", max(sensors, default=None)),
        board_temp_min_c=_believed("board_temp_min_c", min(sensors)) if len(sensors) > 1 else None,
        frequency_mhz=amount(page, "frequency"),
        voltage_v=volts if volts is not None else _thousandth(page, "coreVoltage"),
        hw_errors=hw_errors(page),
        chips=chip_count(page),
    )


def _believed(point: str, value: float | None) -> float | None:
    return reading(point, value).value


def _pools_told(page: Object) -> list[Object]:
    """What a NerdQAxe tells of each pool, in the order of their addresses."""
    return children(child(page, "stratum"), "pools")


def pools(page: Object) -> tuple[Pool, ...]:
    """The pool and its stand-in; those without an address are left out.

    Shares are the pool's own where the machine counts them so. Else they are counted for the machine, and
    told of a pool only where there is no other.
    """
    spare = switched(page, "isUsingFallbackStratum")
    unconnected = switched(page, "isStratumConnected") is False
    each = _pools_told(page)
    found = []
    for index, prefix in enumerate(("stratum", "fallbackStratum")):
        own = each[index] if index < len(each) else {}
        host = text(own, "host") or text(page, f"{prefix}URL")
        if host is None:
            continue
        port = amount(own, "port")
        used = None if spare is None else spare == (index == 1) and not unconnected
        connected = switched(own, "connected")
        found.append(
            Pool(
                index=index,
                url=_url(host, amount(page, f"{prefix}Port") if port is None else port),
                user=text(own, "user") or text(page, f"{prefix}User") or "",
                state=PoolState.ACTIVE if (used if connected is None else connected) else PoolState.UNKNOWN,
                accepted=amount(own, "accepted"),
                rejected=amount(own, "rejected"),
            )
        )
    alone = found[0] if len(found) == 1 else None
    if alone is not None and alone.accepted is None and alone.rejected is None:
        shares = {"accepted": amount(page, "sharesAccepted"), "rejected": amount(page, "sharesRejected")}
        return (msgspec.structs.replace(alone, **shares),)
    return tuple(found)


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
        told={key: page[key] for key in _SECOND_PAGE if page.get(key) not in (None, "")},
    )


def _is_frequency(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 10_000
