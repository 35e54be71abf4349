"""Bitmain's CGI pages → readings, boards, identity. Pure; raises nothing but `MalformedReply` and `Busy`.

Facts: miners.md §2, §5; plant.md §1.4 for temperatures. Rules: a field is found by meaning and may be absent
in any build; no page tells watts, so power is unknown and never estimated here; of the four temperatures of a
board two are on the inlet side and two on the outlet side, a 0 among them is no sensor; "chip" temperatures
are the board's plus a constant, so estimates. A hydro machine shows its water in the chip fields.
"""

import msgspec

from firmware_adapters.miners.antminer.modes import Mode, mode_of
from firmware_adapters.miners.cgminer import (
    MOST_BOARDS,
    MOST_FANS,
    Chain,
    Stats,
    chip_marks,
    quartet,
    rate_scale,
    real_fans,
    scaled,
    temperature_readings,
    temperatures,
)
from firmware_adapters.miners.declared import CORE_POINTS
from firmware_adapters.miners.fields import (
    Object,
    amount,
    as_number,
    as_object,
    as_page,
    child,
    children,
    number,
    reading,
    text,
)
from shared.details import Board, Fault
from shared.errors import Busy, MalformedReply
from shared.telemetry import MISSING, Quality, Reading
from shared.units import Algorithm

_SCRYPT = "l"
_SHA256 = ("s", "t")


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """`stats.cgi`: what runs now."""

    stats: Stats
    mode: Mode | None = None


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who the machine is."""

    model: str = ""
    firmware: str = ""
    mac: str = ""
    serial: str = ""
    algorithm: Algorithm = Algorithm.UNKNOWN


# ---------------------------------------------------------------- stats


def running(body: object) -> Running:
    """Read `stats.cgi`. Raises `Busy` where the page says that the mining process does not answer."""
    page = as_page(body, "stats.cgi")
    machine = _section(page, "stats.cgi", "STATS")
    scale = rate_scale(text(machine, "rate_unit"))
    listed = children(machine, "chain")[:MOST_BOARDS]
    chains = tuple(_chain(item, at, scale) for at, item in enumerate(listed))
    counted = [chain.hw_errors for chain in chains if chain.hw_errors is not None]
    fans = machine.get("fan")
    told = [as_number(fan) for fan in fans[:MOST_FANS]] if isinstance(fans, list) else []
    turning = [fan if fan is not None and fan >= 0 else None for fan in told]
    stats = Stats(
        model=text(page, "INFO", "type") or "",
        elapsed_s=amount(machine, "elapsed"),
        rate_ths=scaled(amount(machine, "rate_5s"), scale),
        rate=amount(machine, "rate_5s"),
        nominal_ths=scaled(amount(machine, "rate_ideal"), scale),
        fans_rpm=real_fans(turning, amount(machine, "fan_num")),
        chains=tuple(sorted({chain.index: chain for chain in chains}.values(), key=lambda one: one.index)),
        hw_errors=sum(counted) if counted else None,
    )
    return Running(stats=stats, mode=mode_of(machine.get("miner-mode")))


def _section(page: Object, name: str, section: str) -> Object:
    listed = children(page, section)
    if listed:
        return listed[0]
    if "STATUS" in page or section in page:
        said = text(page, "STATUS", "msg") or text(page, "STATUS", "Msg") or "nothing"
        raise Busy(f"{name}: the mining process does not answer ({said})")
    raise MalformedReply(f"{name}: no {section} in the page")


def _chain(item: Object, at: int, scale: float | None) -> Chain:
    own = amount(item, "index")
    good, bad = chip_marks(item.get("asic"))
    chips = amount(item, "asic_num")
    faults = [f"{bad} chips do not answer"] if bad else []
    if item.get("eeprom_loaded") is False:
        faults.append("its EEPROM was not read")
    return Chain(
        index=at if own is None else int(own),
        chips=good if good + bad else None if chips is None else int(chips),
        bad_chips=bad,
        rate_ths=scaled(amount(item, "rate_real"), scale),
        nominal_ths=scaled(amount(item, "rate_ideal"), scale),
        frequency_mhz=amount(item, "freq_avg"),
        hw_errors=amount(item, "hw"),
        pcb_c=_numbers(item.get("temp_pcb")),
        chip_c=_numbers(item.get("temp_chip")),
        serial=text(item, "sn") or "",
        fault="; ".join(faults),
    )


def _numbers(values: object) -> tuple[float, ...]:
    if not isinstance(values, list):
        return quartet(values)
    return tuple(one for value in values[:16] if (one := as_number(value)) is not None)


def is_hydro(model: str) -> bool:
    """Whether it is cooled by water: "Antminer S19 Pro Hyd."."""
    return "hyd" in model.lower()


def readings(stats: Stats) -> dict[str, Reading]:
    """The sample's points. Power is always MISSING: this firmware tells none."""
    hydro = is_hydro(stats.model)
    found: dict[str, Reading] = dict.fromkeys(CORE_POINTS, MISSING)
    found["hashrate_ths"] = reading("hashrate_ths", stats.rate_ths)
    found["hashrate_nominal_ths"] = reading("hashrate_nominal_ths", stats.nominal_ths)
    pcb = temperatures(tuple(value for chain in stats.chains for value in chain.pcb_c))
    found |= temperature_readings("board", pcb, Quality.GOOD)
    if not hydro:
        chip = temperatures(tuple(value for chain in stats.chains for value in chain.chip_c))
        found |= temperature_readings("chip", chip, Quality.ESTIMATED)
    found |= {f"fan_rpm.{fan}": reading("fan_rpm", rpm) for fan, rpm in stats.fans_rpm}
    if stats.hw_errors is not None:
        found["hw_errors"] = reading("hw_errors", stats.hw_errors)
    if stats.elapsed_s is not None:
        # Since the mining process began, which a reboot restarts too; nothing tells the time since boot.
        found["uptime_s"] = reading("uptime_s", stats.elapsed_s)
    found["boards_working"] = _boards_working(stats)
    return found


def _boards_working(stats: Stats) -> Reading:
    known = [working(chain, stats) for chain in stats.chains]
    return MISSING if not known or None in known else Reading(float(sum(one is True for one in known)))


def working(chain: Chain, stats: Stats) -> bool | None:
    """Whether a board does its work: its chips answer, and it hashes while the machine does."""
    if chain.chips == 0:
        return False
    if stats.rate_ths and chain.rate_ths is not None:
        return chain.rate_ths > 0
    return None if chain.chips is None else True


def boards(stats: Stats) -> tuple[Board, ...]:
    """All boards by number."""
    hydro = is_hydro(stats.model)
    return tuple(_board(chain, stats, hydro=hydro) for chain in stats.chains)


def _board(chain: Chain, stats: Stats, *, hydro: bool) -> Board:
    pcb, chip = temperatures(chain.pcb_c), temperatures(() if hydro else chain.chip_c)
    water_in, water_out = _water(chain, stats.model) if hydro else (None, None)
    return Board(
        index=chain.index,
        working=working(chain, stats),
        hashrate_ths=chain.rate_ths,
        hashrate_nominal_ths=chain.nominal_ths,
        board_temp_min_c=pcb.low,
        board_temp_max_c=pcb.high,
        chip_temp_min_c=chip.low,
        chip_temp_max_c=chip.high,
        water_in_c=water_in,
        water_out_c=water_out,
        frequency_mhz=chain.frequency_mhz,
        hw_errors=chain.hw_errors,
        chips=chain.chips,
        serial=chain.serial,
        fault=chain.fault,
    )


def _water(chain: Chain, model: str) -> tuple[float | None, float | None]:
    """Inlet and outlet water stand where the chips' first two would; the S21+ Hydro has them elsewhere, and
    where is not known for certain, so there they stay unknown."""
    if "s21+" in model.lower() or len(chain.chip_c) < 2:
        return None, None
    inlet, outlet = (temperatures((value,)).high for value in chain.chip_c[:2])
    return inlet, outlet


# ---------------------------------------------------------------- identity, faults


def identity(body: object) -> Identity:
    """Read `get_system_info.cgi`. Raises `MalformedReply` where it names no machine."""
    page = as_page(body, "get_system_info.cgi")
    model = text(page, "minertype")
    if model is None:
        raise MalformedReply("get_system_info.cgi: no minertype in the page")
    return Identity(
        model=model,
        firmware=text(page, "system_filesystem_version") or text(page, "file_system_version") or "",
        mac=(text(page, "macaddr") or "").lower(),
        serial=text(page, "serinum") or text(page, "serial_no") or "",
        algorithm=algorithm(model, text(page, "Algorithm") or text(page, "algorithm")),
    )


def socket_identity(version: object, stats: Stats) -> Identity:
    """The same from the command socket, which names neither MAC nor serial number."""
    told = child({"version": _first(version, "VERSION")}, "version")
    model = text(told, "Type") or stats.model
    if not model:
        raise MalformedReply("4028 version: no machine in the reply")
    return Identity(model=model, firmware=text(told, "CompileTime") or "", algorithm=algorithm(model, None))


def _first(body: object, section: str) -> Object | None:
    listed = children(as_object(body), section)
    return listed[0] if listed else None


def network_mac(body: object) -> str:
    """The MAC address in `get_network_info.cgi`; empty where it tells none."""
    return (text(as_object(body), "macaddr") or "").lower()


def algorithm(model: str, told: str | None) -> Algorithm:
    """What it mines, as it says itself, else by its family: S and T are SHA-256, L is scrypt."""
    if told is not None:
        try:
            return Algorithm(told.lower())
        except ValueError:
            return Algorithm.UNKNOWN
    family = model.lower().removeprefix("antminer").strip()[:2]
    if len(family) == 2 and family[1].isdigit():
        if family[0] == _SCRYPT:
            return Algorithm.SCRYPT
        if family[0] in _SHA256:
            return Algorithm.SHA256D
    return Algorithm.UNKNOWN


def faults(body: object) -> tuple[Fault, ...] | None:
    """What `summary.cgi` complains of (rate, network, fans, temp); None where it does not judge itself."""
    machine = _first(body, "SUMMARY")
    if machine is None or not isinstance(machine.get("status"), list):
        return None
    found = []
    for item in children(machine, "status"):
        if (text(item, "status") or "s").lower() == "s":
            continue
        what, code = text(item, "type") or "machine", number(item, "code")
        kind = text(item, "code") if code is None else f"{code:g}"
        found.append(
            Fault(
                code=what if kind in (None, "0") else f"{what}-{kind}",
                words=text(item, "msg") or f"{what} is not well",
            )
        )
    return tuple(found)
