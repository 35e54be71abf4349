"""What a recorded reply says, worked out a second time, apart from the adapters: {point: value} in our units.

Only what every release of a firmware says in the same words; a number that is absent, or that stands for "no
sensor" (0 °C, -1), is left out. A new recording is held against this without anybody having read it before.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from firmware_adapters.miners.fields import as_number
from firmware_adapters.transport.line_json import decode
from shared.errors import MalformedReply
from support.recordings import Recording

_SCALE = {"K": 1e-9, "M": 1e-6, "G": 1e-3, "T": 1.0, "P": 1e3}
_BRACKET = re.compile(r"(\w+)\[([^\]]*)\]")

Said = dict[str, float]


def expected(recording: Recording) -> Said:
    """The points that the sample of this machine must have, as far as its replies say them."""
    found = _READERS[recording.adapter](Pages(recording))
    return {point: value for point, value in found.items() if value is not None}


class Pages:
    """The replies as JSON; what is none, or was not recorded, is empty."""

    def __init__(self, recording: Recording) -> None:
        self._replies = recording.replies

    def __call__(self, name: str) -> dict[str, Any]:
        try:
            return decode(self._replies.get(name, b"{}"))
        except MalformedReply:
            return {}

    def first(self, name: str, section: str) -> dict[str, Any]:
        return next(iter(self.list(name, section)), {})

    def list(self, name: str, section: str) -> list[dict[str, Any]]:
        listed = self(name).get(section)
        return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _num(value: object) -> float | None:
    found = as_number(value)
    return found if found is not None and found >= 0 else None


def _scale(unit: object) -> float | None:
    """TH/s in one of "GH/s"; None for what is no hashrate (KSol/s)."""
    match = re.fullmatch(r"([KMGTP])H(S|/s)?", str(unit), re.IGNORECASE)
    return None if match is None else _SCALE[match[1].upper()]


def _times(value: object, scale: float | None) -> float | None:
    found = _num(value)
    return None if found is None or scale is None else found * scale


def _heat(values: Iterable[object]) -> list[float]:
    """Temperatures of sensors that are there and can be true, °C."""
    found = (as_number(value) for value in values)
    return [value for value in found if value is not None and value not in (0.0, -1.0) and -39 < value < 149]


def _sum(values: Iterable[object]) -> float | None:
    found = [value for one in values if (value := _num(one)) is not None]
    return sum(found) if found else None


def _span(name: str, heat: list[float]) -> dict[str, float | None]:
    return {f"{name}_temp_max_c": max(heat), f"{name}_temp_min_c": min(heat)} if heat else {}


def _axeos(said: Pages) -> dict[str, float | None]:
    info = said("system_info")
    heat = _heat((info.get("temp"), info.get("temp2")))
    board = _heat((info.get("vrTemp"), info.get("boardtemp1"), info.get("boardtemp2")))
    rate = _num(info.get("hashRate"))
    return {
        "hashrate_ths": _times(rate, 1e-3),
        "power_w": _num(info.get("power")) or (None if rate else _num(info.get("power"))),
        "chip_temp_max_c": max(heat, default=None),
        "board_temp_max_c": max(board, default=None),
        "voltage_v": _times(info.get("voltage"), 1e-3 if (_num(info.get("voltage")) or 0) >= 100 else 1.0),
        "fan_rpm.0": _num(info.get("fanrpm")),
        "fan_duty_pct": _num(info.get("fanspeed")),
        "shares_accepted": _num(info.get("sharesAccepted")),
        "shares_rejected": _num(info.get("sharesRejected")),
        "uptime_s": _num(info.get("uptimeSeconds")),
    }


def _antminer(said: Pages) -> dict[str, float | None]:
    web = said("web_stats") or said("stats")
    listed = web.get("STATS") or []
    machine = next((one for one in listed if "rate_5s" in one), None)
    if machine is None:
        return _antminer_socket(said)
    scale = _scale(machine.get("rate_unit"))
    chains = machine.get("chain") or []
    heat = _heat(one for chain in chains for one in chain.get("temp_pcb") or [])
    chips = _heat(one for chain in chains for one in chain.get("temp_chip") or [])
    return {
        "hashrate_ths": _times(machine.get("rate_5s"), scale),
        "hashrate_nominal_ths": _times(machine.get("rate_ideal"), scale),
        "hw_errors": _sum(chain.get("hw") for chain in chains),
        "uptime_s": _num(machine.get("elapsed")),
        **_span("board", heat),
        **(_span("chip", chips) if "hyd" not in str((web, said("system_info"))).lower() else {}),
        **{f"fan_rpm.{at}": rpm for at, one in enumerate(machine.get("fan") or []) if (rpm := _num(one))},
        **_antminer_shares(said),
    }


def _antminer_socket(said: Pages) -> dict[str, float | None]:
    machine = next((one for one in said.list("stats", "STATS") if "GHS 5s" in one), {})
    scale = _scale(machine.get("rate_unit", "GH"))

    def quartets(name: str) -> list[float]:
        return _heat(one for n in range(1, 17) for one in str(machine.get(f"{name}{n}", "")).split("-"))

    hydro = "hyd" in str((said("stats"), said("system_info"))).lower()
    return {
        "hashrate_ths": _times(machine.get("GHS 5s"), scale),
        "hashrate_nominal_ths": _times(machine.get("total_rateideal"), scale),
        "hw_errors": _num(machine.get("no_matching_work")),
        "uptime_s": _num(machine.get("Elapsed")),
        **_span("board", quartets("temp_pcb")),
        **({} if hydro else _span("chip", quartets("temp_chip"))),
        **{f"fan_rpm.{n - 1}": rpm for n in range(1, 17) if (rpm := _num(machine.get(f"fan{n}")))},
        **_antminer_shares(said),
    }


def _antminer_shares(said: Pages) -> dict[str, float | None]:
    pools = said.list("web_pools", "POOLS") or said.list("pools", "POOLS")
    told = [{key.lower(): value for key, value in pool.items()} for pool in pools]
    words = ("accepted", "rejected", "stale")
    return {f"shares_{word}": _sum(pool.get(word) for pool in told) for word in words}


def _luxos(said: Pages) -> dict[str, float | None]:
    machine = said.first("summary", "SUMMARY")
    corners = ("BottomLeft", "BottomRight", "TopLeft", "TopRight")
    heat = _heat(board.get(corner) for board in said.list("temps", "TEMPS") for corner in corners)
    key = next((key for key in machine if key.endswith("HS 5s")), "GHS 5s")
    units = [one["rate_unit"] for one in said.list("stats", "STATS") if "rate_unit" in one]
    scale = _scale(units[0] if units else key[:2])
    return {
        "hashrate_ths": _times(machine.get(key), scale),
        "power_w": _num(said.first("power", "POWER").get("Watts")) or None,
        "shares_accepted": _num(machine.get("Accepted")),
        "shares_rejected": _num(machine.get("Rejected")),
        "shares_stale": _num(machine.get("Stale")),
        "hw_errors": _num(machine.get("Hardware Errors")),
        "uptime_s": _num(machine.get("Elapsed")),
        **_span("board", heat),
        **{
            f"fan_rpm.{at}": rpm
            for at, fan in enumerate(said.list("fans", "FANS"))
            if (rpm := _num(fan.get("RPM")))
        },
    }


def _whatsminer(said: Pages) -> dict[str, float | None]:
    summary = said("summary")
    told = summary.get("Msg") if isinstance(summary.get("Msg"), dict) else summary
    machine = next(iter((told or {}).get("SUMMARY") or []), {})
    boards = said.list("devs", "DEVS") or said.list("edevs", "DEVS")
    heat = _heat(board.get("Temperature") for board in boards)
    chips = _heat([machine.get("Chip Temp Max"), *(board.get("Chip Temp Max") for board in boards)])
    return {
        "hashrate_ths": _times(machine.get("HS RT"), 1e-6),
        "power_w": _num(machine.get("Power_RT")) or _num(machine.get("Power")) or None,
        "chip_temp_max_c": max(chips, default=None),
        "board_temp_max_c": max(heat, default=None),
        "power_limit_w": _num(machine.get("Power Limit")) or None,
        "fan_rpm.0": _num(machine.get("Fan Speed In")) or None,
        "fan_rpm.1": _num(machine.get("Fan Speed Out")) or None,
        "shares_accepted": _num(machine.get("Accepted")),
        "shares_rejected": _num(machine.get("Rejected")),
        "uptime_s": _num(machine.get("Uptime")),
    }


def _braiins(said: Pages) -> dict[str, float | None]:
    def deep(page: object, *path: str) -> object:
        for key in path:
            page = page.get(key) if isinstance(page, dict) else None
        return page

    stats, boards = said("miner_stats"), said("miner_hw_hashboards").get("hashboards") or []
    rate = deep(stats, "miner_stats", "real_hashrate", "last_5s", "gigahash_per_second")
    nominal = deep(stats, "miner_stats", "nominal_hashrate", "gigahash_per_second")
    out = _heat(deep(board, "highest_outlet_temp", "degree_c") for board in boards)
    highest = said("cooling_state").get("highest_temperature")
    of_chip = str(deep(highest, "location")) in ("1", "SENSOR_LOCATION_CHIP")
    hot = _heat([deep(highest, "temperature", "degree_c")] if of_chip else [])
    return {
        "hashrate_ths": _times(rate, 1e-3),
        "hashrate_nominal_ths": _times(nominal, 1e-3),
        "power_w": _num(deep(stats, "power_stats", "approximated_consumption", "watt")) or None,
        "chip_temp_max_c": max(hot, default=None),
        "board_temp_max_c": max(out, default=None),
        "shares_accepted": _num(deep(stats, "pool_stats", "accepted_shares")),
        "shares_rejected": _num(deep(stats, "pool_stats", "rejected_shares")),
        "shares_stale": _num(deep(stats, "pool_stats", "stale_shares")),
        **{
            f"fan_rpm.{fan.get('position')}": rpm
            for fan in said("cooling_state").get("fans") or []
            if (rpm := _num(fan.get("rpm")))
        },
        "uptime_s": _num(said("miner_details").get("system_uptime_s")),
    }


def _avalon(said: Pages) -> dict[str, float | None]:
    machine = said.first("stats", "STATS")
    modules = [value for key, value in machine.items() if re.fullmatch(r"MM ID\d+(:Summary)?", key)]
    if len(modules) != 1:
        return {}
    told = dict(_BRACKET.findall(str(modules[0])))
    summary = said.first("summary", "SUMMARY")
    return {
        "hashrate_ths": _times(told.get("GHSspd"), 1e-3),
        "hashrate_nominal_ths": _times(told.get("GHSmm"), 1e-3) or None,
        "chip_temp_max_c": max(_heat([told.get("TMax")]), default=None),
        "air_temp_c": max(_heat([told.get("ITemp")]), default=None),
        "shares_accepted": _num(summary.get("Accepted")),
        "shares_rejected": _num(summary.get("Rejected")),
        "uptime_s": _num(told.get("Elapsed")),
        **{f"fan_rpm.{n - 1}": rpm for n in range(1, 9) if (rpm := _num(told.get(f"Fan{n}")))},
    }


def _vnish(said: Pages) -> dict[str, float | None]:
    machine = said("summary").get("miner") or {}
    fans = (machine.get("cooling") or {}).get("fans") or []
    chips = _heat([(machine.get("chip_temp") or {}).get("max")])
    boards = _heat([(machine.get("pcb_temp") or {}).get("max")])
    return {
        "power_w": _num(machine.get("power_consumption", machine.get("power_usage"))) or None,
        "chip_temp_max_c": max(chips, default=None),
        "board_temp_max_c": max(boards, default=None),
        "fan_duty_pct": _num((machine.get("cooling") or {}).get("fan_duty")) or None,
        "shares_accepted": _sum(
            pool.get("accepted") for pool in machine.get("pools") or [] if pool.get("pool_type") != "DevFee"
        ),
        **{f"fan_rpm.{at}": rpm for at, fan in enumerate(fans) if (rpm := _num(fan.get("rpm")))},
    }


def _whatsminer_v3(said: Pages) -> dict[str, float | None]:
    told = (said("get_miner_status_summary").get("msg") or {}).get("summary") or {}
    return {
        "power_w": _num(told.get("power-realtime")) or None,
        "chip_temp_max_c": max(_heat([told.get("chip-temp-max")]), default=None),
    }


_READERS: dict[str, Callable[[Pages], dict[str, float | None]]] = {
    "antminer": _antminer,
    "avalon": _avalon,
    "axeos": _axeos,
    "braiins": _braiins,
    "luxos": _luxos,
    "vnish": _vnish,
    "whatsminer": _whatsminer,
    "whatsminer-v3": _whatsminer_v3,
}
